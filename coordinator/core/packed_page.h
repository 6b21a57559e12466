// Where an item lives once it is resolved and nothing about it is live; a part of ItemTable.
//
// Threads: none; belongs to its ItemTable.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/core/objects.h"

namespace tessera::core {

// The packed items of one page, in their order, without a gap. Where one begins follows from the
// lengths of those before it, from the last of every sixteen on.
class PackedPage {
 public:
  static constexpr size_t kItemBytesMax = std::numeric_limits<uint16_t>::max();

  bool Has(uint32_t place) const { return length_[place] != 0; }

  absl::string_view Get(uint32_t place) const {
    return absl::string_view(bytes_.data() + OffsetOf(place), length_[place]);
  }

  // `item` has 1 to kItemBytesMax bytes.
  void Put(uint32_t place, absl::string_view item) {
    Drop(place);
    const size_t wanted = bytes_.size() + item.size();
    if (wanted > bytes_.capacity()) bytes_.reserve(wanted + kSpareBytes);
    bytes_.insert(bytes_.begin() + OffsetOf(place), item.begin(), item.end());
    length_[place] = static_cast<uint16_t>(item.size());
    Shift(place, static_cast<uint32_t>(item.size()));
  }

  void Drop(uint32_t place) {
    if (!Has(place)) return;
    const auto from = bytes_.begin() + OffsetOf(place);
    bytes_.erase(from, from + length_[place]);
    Shift(place, -uint32_t{length_[place]});
    length_[place] = 0;
  }

  size_t bytes() const { return sizeof(PackedPage) + bytes_.capacity(); }

 private:
  static constexpr uint32_t kStride = 16;
  static constexpr size_t kSpareBytes = 512;

  uint32_t OffsetOf(uint32_t place) const {
    uint32_t offset = start_[place / kStride];
    for (uint32_t p = place / kStride * kStride; p < place; ++p) offset += length_[p];
    return offset;
  }
  void Shift(uint32_t place, uint32_t by) {
    for (uint32_t s = place / kStride + 1; s < start_.size(); ++s) start_[s] += by;
  }

  std::vector<char> bytes_;
  std::array<uint32_t, kItemsPerPage / kStride> start_{};  // Where every sixteenth item begins.
  std::array<uint16_t, kItemsPerPage> length_{};           // 0: not packed.
};

}  // namespace tessera::core
