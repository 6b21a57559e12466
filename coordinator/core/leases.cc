#include "coordinator/core/leases.h"

namespace tessera::core {

LeasedItem* LiveAssignment::Find(ItemIndex item) {
  for (LeasedItem& i : items) {
    if (i.item == item) return &i;
  }
  return nullptr;
}

const LeasedItem* LiveAssignment::Find(ItemIndex item) const {
  return const_cast<LiveAssignment*>(this)->Find(item);
}

LiveAssignment* LeaseTable::Find(uint32_t sequence) {
  const auto page = pages_.find(sequence / kLeasesPerPage);
  if (page == pages_.end()) return nullptr;
  const auto found = page->second.by_sequence.find(sequence);
  return found == page->second.by_sequence.end() ? nullptr : &found->second;
}

const LiveAssignment* LeaseTable::Find(uint32_t sequence) const {
  return const_cast<LeaseTable*>(this)->Find(sequence);
}

std::shared_ptr<const Route> LeaseTable::Share(Route route) {
  if (routes_.size() >= sweep_at_) {
    absl::erase_if(routes_, [](const auto& r) { return r.second.expired(); });
    sweep_at_ = 2 * routes_.size() + 16;
  }
  std::weak_ptr<const Route>& known = routes_[route];
  std::shared_ptr<const Route> shared = known.lock();
  if (shared == nullptr) {
    shared = std::make_shared<const Route>(std::move(route));
    known = shared;
  }
  return shared;
}

}  // namespace tessera::core
