#include "coordinator/edge/fair_queue.h"

#include <algorithm>

#include "common/check.h"

namespace tessera::edge {

void FairQueue::SetWeight(absl::string_view tenant, double weight) {
  TESSERA_CHECK(weight > 0);
  weights_[tenant] = weight;
}

double FairQueue::WeightOf(absl::string_view tenant) const {
  const auto found = weights_.find(tenant);
  return found == weights_.end() ? 1 : found->second;
}

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

void FairQueue::Charge(absl::string_view tenant, double seconds) {
  const double start = StartTag(tenant);
  Tenant& t = tenants_[tenant];
  const double owed = seconds + t.carried;
  const double charge = std::max(0.0, owed);
  t.carried = std::min(0.0, owed);
  t.finish = start + charge / WeightOf(tenant);
  virtual_time_ = start;
  if (tenants_.size() >= forget_at_) ForgetIdle();
}

void FairQueue::Correct(absl::string_view tenant, double charged, double actual) {
  tenants_[tenant].carried += std::clamp(actual - charged, -charged, kCorrectionMax * charged);
}

void FairQueue::ForgetIdle() {
  absl::erase_if(tenants_, [&](const auto& entry) {
    return entry.second.finish <= virtual_time_ && entry.second.carried == 0;
  });
  forget_at_ = std::max<size_t>(64, 2 * tenants_.size());
}

}  // namespace tessera::edge
