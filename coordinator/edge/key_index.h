// Finds a job's items by their keys, and knows whether a payload is the one that was sent before.
//
// It keeps no keys and no payloads, only 64-bit digests under a secret key: 16 bytes an item, and 5
// to 11 in the table that finds them; 23 to 29 bytes together. Two keys with the same digest would
// be taken for one; among a hundred million the chance is 3 in 10,000, and nobody without the
// secret can bring it about.
//
//   KeyIndex index(seed);
//   index.Add(job, "page-17.png", payload);      // Item 0 of the job; the next one is item 1.
//   index.Find(job, "page-17.png")->item;        // 0
//
// Nothing of it is stored: it is rebuilt from the payload pages. Threads: none.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "common/hash.h"
#include "coordinator/core/types.h"

namespace tessera::edge {

class KeyIndex {
 public:
  struct Entry {
    core::ItemIndex item = 0;
    uint64_t payload_digest = 0;
  };

  explicit KeyIndex(SipKey seed) : seed_(seed) {}

  // Adds the job's next item.
  void Add(core::JobIndex job, absl::string_view key, absl::string_view payload);
  std::optional<Entry> Find(core::JobIndex job, absl::string_view key) const;
  uint64_t PayloadDigest(absl::string_view payload) const;

  // The most bytes that an item's key and payload have together.
  size_t largest(core::JobIndex job) const;
  // How many items of the job there are.
  uint32_t size(core::JobIndex job) const;
  void Forget(core::JobIndex job);

  size_t bytes() const { return bytes_; }

 private:
  struct Digests {
    uint64_t key = 0;
    uint64_t payload = 0;
  };
  // The digests in the order of items, and an open-addressed table of item numbers into them.
  struct Job {
    std::vector<Digests> digests;
    size_t largest = 0;
    std::vector<uint32_t> slots;  // Item + 1; 0: free. A power of two of them, 3/8 to 3/4 full.

    size_t bytes() const {
      return digests.capacity() * sizeof(Digests) + slots.capacity() * sizeof(uint32_t);
    }
    // The slot of this digest, or the free one where it belongs.
    size_t SlotOf(uint64_t key_digest) const;
    void Grow();
  };

  const SipKey seed_;
  absl::flat_hash_map<core::JobIndex, Job> jobs_;
  size_t bytes_ = 0;
};

}  // namespace tessera::edge
