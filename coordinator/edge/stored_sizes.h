// How many bytes the store's objects have, one by one and all together.
//
// About twenty bytes an object, and an object is a page of items: a million items are some twenty
// thousand. Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "coordinator/core/objects.h"

namespace tessera::edge {

class StoredSizes {
 public:
  // The object is stored with so many bytes; 0: it is not stored any more.
  void Set(const core::ObjectKey& key, size_t bytes) {
    const auto found = sizes_.find(key);
    if (found != sizes_.end()) {
      total_ -= found->second;
      if (bytes == 0) sizes_.erase(found);
    }
    if (bytes == 0) return;
    sizes_[key] = static_cast<uint32_t>(bytes);
    total_ += static_cast<uint32_t>(bytes);
  }

  uint64_t total() const { return total_; }

 private:
  absl::flat_hash_map<core::ObjectKey, uint32_t> sizes_;
  uint64_t total_ = 0;
};

}  // namespace tessera::edge
