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

bool ReadyQueue::Holds(uint32_t slot) const {
  const uint32_t chunk = slot / kNodesPerChunk;
  return chunk < chunks_.size() && chunks_[chunk] != nullptr && At(slot).bucket != kNone;
}

void ReadyQueue::Insert(uint32_t slot, ItemIndex item, uint32_t bucket) {
  TESSERA_CHECK(!Holds(slot));
  TESSERA_CHECK(bucket < kBuckets);
  const uint32_t number = slot / kNodesPerChunk;
  if (chunks_.size() <= number) chunks_.resize(number + 1);
  if (chunks_[number] == nullptr) chunks_[number] = std::make_unique<Chunk>();
  ++chunks_[number]->used;
  At(slot) = {.previous = tail_[bucket], .next = kNone, .item = item, .bucket = bucket};
  if (tail_[bucket] == kNone) {
    head_[bucket] = slot;
    used_[bucket / 64] |= uint64_t{1} << (bucket % 64);
  } else {
    At(tail_[bucket]).next = slot;
  }
  tail_[bucket] = slot;
  ++size_;
}

void ReadyQueue::Remove(uint32_t slot) {
  if (!Holds(slot)) return;
  Node& node = At(slot);
  const uint32_t bucket = node.bucket;
  (node.previous == kNone ? head_[bucket] : At(node.previous).next) = node.next;
  (node.next == kNone ? tail_[bucket] : At(node.next).previous) = node.previous;
  if (head_[bucket] == kNone) used_[bucket / 64] &= ~(uint64_t{1} << (bucket % 64));
  node = Node();
  --size_;
  std::unique_ptr<Chunk>& chunk = chunks_[slot / kNodesPerChunk];
  if (--chunk->used == 0) chunk.reset();
}

size_t ReadyQueue::bytes() const {
  const auto used = static_cast<size_t>(
      std::count_if(chunks_.begin(), chunks_.end(), [](const auto& c) { return c != nullptr; }));
  return used * sizeof(Chunk) + chunks_.capacity() * sizeof(chunks_[0]);
}

}  // namespace tessera::core
