// Tokens that the holder of a list or stream gives back to go on: opaque, and checked.
//
//   std::string token = EncodeToken(ids, "results", scope, ResultsCursor{...});
//   std::optional<ResultsCursor> at = DecodeToken<ResultsCursor>(ids, "results", scope, token);
//
// A token holds its cursor and a keyed check over purpose, scope and cursor, so that one of another
// list, of another job, or made up, is refused and not misread. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/types.h"
#include "coordinator/edge/names.h"

namespace tessera::edge {

// Where a list of jobs goes on: in this partition, after this index.
struct JobsCursor {
  uint32_t partition = 0;
  uint32_t next = 0;
};
inline void Fields(auto& v, JobsCursor& c) {
  v("partition", c.partition);
  v("next", c.next);
}

// Where a list of items, or of names, goes on.
struct ItemsCursor {
  uint32_t next = 0;
};
inline void Fields(auto& v, ItemsCursor& c) { v("next", c.next); }
struct NameCursor {
  std::string after;
};
inline void Fields(auto& v, NameCursor& c) { v("after", c.after); }

// How far a stream of results has come. Revisions come first; once the job has ended the items that
// its end has changed follow, by index.
struct ResultsCursor {
  uint32_t revision = 0;       // All up to here were sent.
  bool ended = false;          // All revisions were sent, and the job had ended.
  uint32_t open_revision = 0;  // Up to here they were sent before the end.
  uint32_t next_item = 0;      // Of those that follow.
  core::RecordId seen;         // The record that all of it is in.
};
inline void Fields(auto& v, ResultsCursor& c) {
  v("revision", c.revision);
  v("ended", c.ended);
  v("open_revision", c.open_revision);
  v("next_item", c.next_item);
  v("seen", c.seen);
}

// The check over `bytes` as seven digits of base 32.
std::string TokenCheck(const IdMaker& ids, absl::string_view purpose, absl::string_view scope,
                       absl::string_view bytes);

template <typename Cursor>
std::string EncodeToken(const IdMaker& ids, absl::string_view purpose, absl::string_view scope,
                        const Cursor& cursor) {
  const std::string bytes = core::Encode(cursor);
  return absl::StrCat(Base32(bytes), TokenCheck(ids, purpose, scope, bytes));
}

template <typename Cursor>
std::optional<Cursor> DecodeToken(const IdMaker& ids, absl::string_view purpose,
                                  absl::string_view scope, absl::string_view token) {
  constexpr size_t kCheck = 7;
  if (token.size() < kCheck) return std::nullopt;
  const std::optional<std::string> bytes = UnBase32(token.substr(0, token.size() - kCheck));
  if (!bytes.has_value()) return std::nullopt;
  if (TokenCheck(ids, purpose, scope, *bytes) != token.substr(token.size() - kCheck)) {
    return std::nullopt;
  }
  return core::Decode<Cursor>(*bytes);
}

}  // namespace tessera::edge
