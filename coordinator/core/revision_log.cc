#include "coordinator/core/revision_log.h"

#include <algorithm>
#include <numeric>

namespace tessera::core {

void RevisionLog::Block::Put(uint32_t place, ItemIndex item) {
  MakeDense();
  if (items.size() <= place) {
    // By a quarter: doubling would have the last block of each of many small jobs half empty.
    if (items.capacity() <= place) items.reserve(std::min(kPerBlock, place + place / 4 + 4));
    items.resize(place + 1, kNone);
  }
  if (items[place] == kNone) ++live;
  items[place] = item;
}

void RevisionLog::Block::Erase(uint32_t place) {
  size_t at = place;
  if (!places.empty()) {
    const auto found = std::lower_bound(places.begin(), places.end(), place);
    if (found == places.end() || *found != place) return;
    at = static_cast<size_t>(found - places.begin());
  }
  if (at >= items.size() || items[at] == kNone) return;
  items[at] = kNone;
  if (--live == 0) {
    *this = Block();
  } else if (live < items.size() / 2) {
    MakeSparse();
  }
}

void RevisionLog::Block::MakeDense() {
  if (places.empty()) return;
  std::vector<ItemIndex> dense(kPerBlock, kNone);
  for (size_t i = 0; i < places.size(); ++i) dense[places[i]] = items[i];
  items = std::move(dense);
  places = {};
}

void RevisionLog::Block::MakeSparse() {
  std::vector<ItemIndex> left;
  std::vector<uint8_t> where;
  left.reserve(live);
  where.reserve(live);
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i] == kNone) continue;
    left.push_back(items[i]);
    where.push_back(places.empty() ? static_cast<uint8_t>(i) : places[i]);
  }
  items = std::move(left);
  places = std::move(where);
}

void RevisionLog::Add(uint32_t revision, ItemIndex item, uint32_t previous) {
  Drop(previous);
  const uint32_t number = (revision - 1) / kPerBlock;
  if (blocks_.size() <= number) blocks_.resize(number + 1);
  blocks_[number].Put((revision - 1) % kPerBlock, item);
}

void RevisionLog::Drop(uint32_t revision) {
  if (revision == 0 || (revision - 1) / kPerBlock >= blocks_.size()) return;
  blocks_[(revision - 1) / kPerBlock].Erase((revision - 1) % kPerBlock);
}

std::vector<ItemIndex> RevisionLog::After(uint32_t after, size_t max) const {
  std::vector<ItemIndex> found;
  uint32_t first = after % kPerBlock;  // The place to start from, in the first block only.
  for (size_t number = after / kPerBlock; number < blocks_.size(); ++number, first = 0) {
    const Block& block = blocks_[number];
    for (size_t i = 0; i < block.items.size(); ++i) {
      const size_t place = block.places.empty() ? i : block.places[i];
      if (place < first || block.items[i] == kNone) continue;
      if (found.size() == max) return found;
      found.push_back(block.items[i]);
    }
  }
  return found;
}

size_t RevisionLog::bytes() const {
  return std::accumulate(blocks_.begin(), blocks_.end(), blocks_.capacity() * sizeof(Block),
                         [](size_t sum, const Block& block) {
                           return sum + block.items.capacity() * sizeof(ItemIndex) +
                                  block.places.capacity();
                         });
}

}  // namespace tessera::core
