#include "coordinator/core/ready_queue.h"

#include <algorithm>

#include "common/check.h"

namespace tessera::core {

ReadyQueue::ReadyQueue() {
  head_.fill(kNone);
  tail_.fill(kNone);
}

uint32_t ReadyQueue::BucketOf(double gain) {
  const double clamped = std::clamp(gain, 0.0, 1.0);
  return static_cast<uint32_t>(clamped * (kBuckets - 1) + 0.5);
}

void ReadyQueue::Insert(uint32_t slot, ItemIndex item, uint32_t bucket) {
  if (nodes_.size() <= slot) nodes_.resize(slot + 1);
  Node& node = nodes_[slot];
  TESSERA_CHECK(node.bucket == kNone);
  TESSERA_CHECK(bucket < kBuckets);
  node = {.previous = tail_[bucket], .next = kNone, .item = item, .bucket = bucket};
  if (tail_[bucket] == kNone) {
    head_[bucket] = slot;
    used_[bucket / 64] |= uint64_t{1} << (bucket % 64);
  } else {
    nodes_[tail_[bucket]].next = slot;
  }
  tail_[bucket] = slot;
  ++size_;
}

void ReadyQueue::Remove(uint32_t slot) {
  if (slot >= nodes_.size() || nodes_[slot].bucket == kNone) return;
  Node& node = nodes_[slot];
  const uint32_t bucket = node.bucket;
  (node.previous == kNone ? head_[bucket] : nodes_[node.previous].next) = node.next;
  (node.next == kNone ? tail_[bucket] : nodes_[node.next].previous) = node.previous;
  if (head_[bucket] == kNone) used_[bucket / 64] &= ~(uint64_t{1} << (bucket % 64));
  node = Node();
  --size_;
}

}  // namespace tessera::core
