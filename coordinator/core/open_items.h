// Where an item lives while it is in progress; a part of ItemTable.
//
// Threads: none; belongs to its ItemTable.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "common/check.h"
#include "coordinator/core/items.h"

namespace tessera::core {

// An item in progress. 32 bytes, and 16 for each entry.
struct OpenItem {
  std::unique_ptr<ItemEntry[]> entries;
  uint16_t size = 0;
  uint16_t capacity = 0;
  Label value = kNoLabel;
  ItemState state = ItemState::kWaiting;
  float confidence = 0;
  uint32_t fit = 0;
  uint32_t revision = 0;

  void Append(const ItemEntry& entry) {
    TESSERA_CHECK(size < std::numeric_limits<uint16_t>::max());
    if (size == capacity) {
      // One by one at first, then by half: most items see a handful of workers.
      const int more = std::max(1, capacity / 2 - 1);
      const auto grown = static_cast<uint16_t>(std::min<uint32_t>(capacity + more, 0xffff));
      auto larger = std::make_unique<ItemEntry[]>(grown);
      std::copy_n(entries.get(), size, larger.get());
      entries = std::move(larger);
      capacity = grown;
    }
    entries[size++] = entry;
  }
};
static_assert(sizeof(OpenItem) == 32);

// The items in progress, by slot. The lowest free slot is taken first and free ones at the end are
// given back: a job whose items were once all in progress does not hold their room for ever.
class OpenItems {
 public:
  static constexpr uint32_t kNoSlot = std::numeric_limits<uint32_t>::max();

  OpenItem& operator[](uint32_t slot) { return (*chunks_[slot / kPerChunk])[slot % kPerChunk]; }
  const OpenItem& operator[](uint32_t slot) const {
    return (*chunks_[slot / kPerChunk])[slot % kPerChunk];
  }

  uint32_t Take() {
    if (free_ == 0) {
      const uint32_t slot = size_++;
      TESSERA_CHECK(slot < kNoSlot);
      if (slot / kPerChunk == chunks_.size()) chunks_.push_back(std::make_unique<Chunk>());
      if (slot / 64 == free_bits_.size()) free_bits_.push_back(0);
      return slot;
    }
    while (free_bits_[lowest_] == 0) ++lowest_;
    const auto slot = lowest_ * 64 + static_cast<uint32_t>(__builtin_ctzll(free_bits_[lowest_]));
    Flip(slot);
    --free_;
    return slot;
  }

  void Give(uint32_t slot) {
    (*this)[slot] = OpenItem();
    Flip(slot);
    ++free_;
    lowest_ = std::min(lowest_, slot / 64);
    while (size_ > 0 && IsFree(size_ - 1)) {
      Flip(--size_);
      --free_;
    }
    // One chunk more than is needed stays, for the next; of a job that is done, none.
    const size_t kept = size_ == 0 ? 0 : size_ / kPerChunk + 2;
    while (chunks_.size() > kept) chunks_.pop_back();
  }

  size_t bytes() const {
    size_t bytes = chunks_.size() * sizeof(Chunk) + chunks_.capacity() * sizeof(chunks_[0]) +
                   free_bits_.capacity() * sizeof(uint64_t);
    for (uint32_t slot = 0; slot < size_; ++slot) {
      // A block of the allocator's is a multiple of 16, its header of 8 included.
      const uint16_t capacity = (*this)[slot].capacity;
      if (capacity > 0) bytes += capacity * sizeof(ItemEntry) + 16;
    }
    return bytes;
  }

 private:
  static constexpr uint32_t kPerChunk = 256;
  using Chunk = std::array<OpenItem, kPerChunk>;

  bool IsFree(uint32_t slot) const { return free_bits_[slot / 64] >> (slot % 64) & 1; }
  void Flip(uint32_t slot) { free_bits_[slot / 64] ^= uint64_t{1} << (slot % 64); }

  std::vector<std::unique_ptr<Chunk>> chunks_;
  uint32_t size_ = 0;
  std::vector<uint64_t> free_bits_;
  size_t free_ = 0;
  uint32_t lowest_ = 0;  // No word of free_bits_ before this one has a free slot.
};

}  // namespace tessera::core
