#include "coordinator/edge/fair_queue.h"

#include <algorithm>

#include "common/check.h"

namespace tessera::edge {

double FairQueue::StartTag(absl::string_view tenant) const {
  const auto found = tenants_.find(tenant);
  return found == tenants_.end() ? virtual_time_ : std::max(virtual_time_, found->second.finish);
}

size_t FairQueue::Choose(absl::Span<const Candidate> candidates) const {
  TESSERA_CHECK(!candidates.empty());
  size_t best = 0;
  double best_tag = StartTag(candidates[0].tenant);
  for (size_t i = 1; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    const Candidate& b = candidates[best];
    const double tag = StartTag(c.tenant);
    if (tag > best_tag) continue;
    if (tag == best_tag && c.index < b.index) continue;
    if (tag == best_tag && c.index == b.index && c.tenant >= b.tenant) continue;
    best = i;
    best_tag = tag;
  }
  return best;
}

bool FairQueue::Passed(const Tenant& tenant) const {
  return tenant.finish + std::max(0.0, tenant.carried) / tenant.weight < virtual_time_;
}

FairQueue::Tenant& FairQueue::Present(absl::string_view tenant) {
  const auto [found, fresh] = tenants_.try_emplace(tenant);
  Tenant& t = found->second;
  if (fresh || Passed(t)) t = {.finish = virtual_time_};
  return t;
}

void FairQueue::Charge(absl::string_view tenant, double seconds, double weight) {
  TESSERA_CHECK(weight > 0);
  Tenant& t = Present(tenant);
  t.weight = weight;
  const double start = std::max(virtual_time_, t.finish);
  const double owed = seconds + t.carried;
  const double charge = std::max(0.0, owed);
  t.carried = std::min(0.0, owed);
  t.finish = start + charge / weight;
  virtual_time_ = start;
  if (tenants_.size() >= forget_at_) ForgetPassed();
}

void FairQueue::Correct(absl::string_view tenant, double charged, double actual) {
  Present(tenant).carried += std::clamp(actual - charged, -charged, kCorrectionMax * charged);
  if (tenants_.size() >= forget_at_) ForgetPassed();
}

void FairQueue::ForgetPassed() {
  absl::erase_if(tenants_, [&](const auto& entry) { return Passed(entry.second); });
  forget_at_ = std::max<size_t>(64, 2 * tenants_.size());
}

}  // namespace tessera::edge
