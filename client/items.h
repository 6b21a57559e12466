// Items from files: CSV and JSON lines.
//
//   TESSERA_ASSIGN_OR_RETURN(auto items, OpenItems("pairs.csv", {.key = "id"}));
//   v1::Item item;
//   while (true) {
//     TESSERA_ASSIGN_OR_RETURN(bool more, items->Next(&item));
//     if (!more) break;
//   }
//
// CSV: one column is the key, some may have a meaning (ItemColumns), all others become text parts
// of the content, named like the column (lower case, blanks as `_`; see PartName()). An empty field
// makes no part.
//
// JSON lines: each line is an object. With `content` it is an Item as in item.proto; without, it is
// taken like a CSV record: members are columns. A record may lack some of those that ItemColumns
// names; one that no record has is an error, known at the end.
//
// Errors are INVALID_ARGUMENT and name file and line; NOT_FOUND for the file; UNAVAILABLE where
// reading fails.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tessera/v1/item.pb.h"

namespace tessera::client {

// Items in an order that does not change, so that an offset names the same item every time.
class ItemSource {
 public:
  virtual ~ItemSource() = default;

  // The next item; false after the last one.
  virtual absl::StatusOr<bool> Next(v1::Item* item) = 0;

  // Makes item number `offset`, from 0, the next one. OUT_OF_RANGE beyond the end.
  virtual absl::Status Seek(int64_t offset) = 0;

  // Where the item that was read last stands: its line in the file; its number, from 1, in memory.
  virtual int64_t line() const = 0;

  // `problem` with that place before it: `pairs.csv: line 7: ...`.
  virtual absl::Status At(const absl::Status& problem) const = 0;

  // Columns whose parts, among the items that were read so far, are named otherwise than by case
  // and blanks: `größe` to `gre`.
  const std::map<std::string, std::string>& renamed() const { return renamed_; }

 protected:
  std::map<std::string, std::string> renamed_;
};

// Items in memory.
class ItemList final : public ItemSource {
 public:
  explicit ItemList(std::vector<v1::Item> items) : items_(std::move(items)) {}
  absl::StatusOr<bool> Next(v1::Item* item) override;
  absl::Status Seek(int64_t offset) override;
  int64_t line() const override { return static_cast<int64_t>(next_); }
  absl::Status At(const absl::Status& problem) const override;

 private:
  std::vector<v1::Item> items_;
  size_t next_ = 0;
};

// What columns mean. A name that is not set is looked for by its usual names where they are given
// below; nothing else is guessed.
struct ItemColumns {
  std::string key;                    // Empty: `key`, `item`, `item_key` or `id`.
  std::string length;                 // Item.length
  std::string stratum;                // Item.stratum
  std::string importance;             // Item.importance
  std::string language;               // Item.language
  std::string gold;                   // Item.gold, as a choice; an empty field is no gold.
  std::vector<std::string> content;   // Only these become parts. Empty: all that mean nothing else.
  std::vector<std::string> metadata;  // Item.metadata, not shown to workers.
  std::vector<std::string> links;     // Addresses of media; the type is told by the ending.
};

// Opens a file of items; its format is told by its ending: .csv, .jsonl or .ndjson.
absl::StatusOr<std::unique_ptr<ItemSource>> OpenItems(const std::string& path,
                                                      const ItemColumns& columns = {});

// A column's name as a part's name: `Source Text` is `source_text`. What is none of the letters a to
// z, digits, `_`, `.` and `-` falls away, as does all behind 63 characters. Empty if nothing is left.
std::string PartName(absl::string_view column);

// The media type that an address' ending stands for, such as image/png; empty if unknown.
absl::string_view MediaType(absl::string_view uri);

}  // namespace tessera::client
