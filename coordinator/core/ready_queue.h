// Items in progress that want another answer, most uncertain first.
//
// Buckets of intrusive lists: insertion, removal and finding the best bucket cost a few
// instructions whatever the size. Within a bucket, first in, first out, so that items of equal
// worth keep the plan's order. That none waits for ever while others come is up to the caller, who
// can look from the other end, too. Derived state: rebuilt on a start, no part of the digest.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "coordinator/core/types.h"

namespace tessera::core {

class ReadyQueue {
 public:
  static constexpr uint32_t kBuckets = 256;

  ReadyQueue();

  // The bucket for an expected gain in [0, 1]; higher is asked for first.
  static uint32_t BucketOf(double gain);

  // Puts the item that holds `slot` (ItemTable::OpenSlot) into `bucket`, behind the others there.
  // It must not be in the queue.
  void Insert(uint32_t slot, ItemIndex item, uint32_t bucket);
  // Takes it out. Does nothing for a slot that is not in the queue.
  void Remove(uint32_t slot);

  bool Holds(uint32_t slot) const;

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  // Calls visit(item) for items from the best bucket on, in order, until it returns false. The
  // queue must not change meanwhile.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t word = kWords; word-- > 0;) {
      for (uint64_t bits = used_[word]; bits != 0;) {
        const auto bit = static_cast<uint32_t>(63 - __builtin_clzll(bits));
        bits &= ~(uint64_t{1} << bit);
        for (uint32_t slot = head_[word * 64 + bit]; slot != kNone; slot = At(slot).next) {
          if (!visit(At(slot).item)) return;
        }
      }
    }
  }

  // The same from the least bucket on: the items that are nearest to their end.
  template <typename Visit>
  void ForEachFromLeast(Visit visit) const {
    for (size_t word = 0; word < kWords; ++word) {
      for (uint64_t bits = used_[word]; bits != 0; bits &= bits - 1) {
        const auto bit = static_cast<uint32_t>(__builtin_ctzll(bits));
        for (uint32_t slot = head_[word * 64 + bit]; slot != kNone; slot = At(slot).next) {
          if (!visit(At(slot).item)) return;
        }
      }
    }
  }

  // The same by slot, whatever the bucket, from slot `from` on. Returns the slot to go on from; 0
  // after the last.
  template <typename Visit>
  uint32_t ForEachFromSlot(uint32_t from, Visit visit) const {
    for (uint32_t slot = from; slot / kNodesPerChunk < chunks_.size();) {
      if (chunks_[slot / kNodesPerChunk] == nullptr) {
        slot = (slot / kNodesPerChunk + 1) * kNodesPerChunk;
        continue;
      }
      const Node& node = At(slot++);
      if (node.bucket != kNone && !visit(node.item)) return slot;
    }
    return 0;
  }

  size_t bytes() const;

 private:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  static constexpr size_t kWords = kBuckets / 64;
  static constexpr uint32_t kNodesPerChunk = 256;
  struct Node {
    uint32_t previous = kNone;
    uint32_t next = kNone;
    ItemIndex item = 0;
    uint32_t bucket = kNone;  // kNone: not in the queue.
  };

  struct Chunk {
    uint32_t used = 0;  // Nodes that are in the queue.
    std::array<Node, kNodesPerChunk> nodes;
  };

  Node& At(uint32_t slot) { return chunks_[slot / kNodesPerChunk]->nodes[slot % kNodesPerChunk]; }
  const Node& At(uint32_t slot) const {
    return chunks_[slot / kNodesPerChunk]->nodes[slot % kNodesPerChunk];
  }

  std::vector<std::unique_ptr<Chunk>> chunks_;  // By slot; nothing where no slot is in the queue.
  std::array<uint32_t, kBuckets> head_;
  std::array<uint32_t, kBuckets> tail_;
  std::array<uint64_t, kWords> used_{};  // Which buckets are not empty.
  size_t size_ = 0;
};

}  // namespace tessera::core
