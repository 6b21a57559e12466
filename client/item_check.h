// What the contract demands of items (proto/tessera/v1/item.proto), before any is sent. A server
// refuses the same; but by then there is a job, and the items before the bad one are in it.
//
//   ItemCheck check(job.template_());
//   v1::Item item;
//   while (true) {
//     TESSERA_ASSIGN_OR_RETURN(bool more, items->Next(&item));
//     if (!more) break;
//     const absl::Status status = check.Check(item, items->line());
//     if (!status.ok()) return items->At(status);  // pairs.csv: line 7: ...
//   }
//
// Memory: some 40 bytes for each item. Threads: none.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "tessera/v1/item.pb.h"
#include "tessera/v1/template.pb.h"

namespace tessera::client {

// Largest item, serialised, unless the deployment allows more.
inline constexpr int64_t kItemBytesMax = 64 << 10;

// An item by itself. INVALID_ARGUMENT: what is wrong and what to do about it.
absl::Status CheckItem(const v1::Item& item, int64_t item_bytes_max = kItemBytesMax);

// All items of one job, one after the other.
class ItemCheck {
 public:
  explicit ItemCheck(v1::TaskTemplate task, int64_t item_bytes_max = kItemBytesMax)
      : task_(std::move(task)), item_bytes_max_(item_bytes_max) {}

  // CheckItem(), and INVALID_ARGUMENT for a key that another item has with another content (`line`
  // is what that error will call this one), a gold answer that does not fit the template, and one
  // stratum more than a job may have.
  absl::Status Check(const v1::Item& item, int64_t line);

  // Items that were there before, key and content: a job takes them once.
  int64_t repeated() const { return repeated_; }

 private:
  struct Seen {
    uint64_t content = 0;  // A digest.
    int64_t line = 0;
  };
  absl::Status CheckGold(const v1::Item& item) const;

  const v1::TaskTemplate task_;
  const int64_t item_bytes_max_;
  absl::flat_hash_map<std::array<uint64_t, 2>, Seen> seen_;  // By a digest of the key.
  absl::flat_hash_set<std::string> strata_;                  // Those that are not the default.
  int64_t repeated_ = 0;
};

}  // namespace tessera::client
