#include "coordinator/edge/broker.h"

#include <algorithm>

#include "common/check.h"

namespace tessera::edge {

// Offers of one tenant, best first.
struct Broker::Turn {
  struct Tenant {
    std::string name;
    double index = 0;
    double weight = 1;
    std::vector<Market::Offer> partitions;  // By index, the highest first.
  };
  std::string pool;
  absl::Time now;
  std::vector<Tenant> tenants;
  int nones = 0;  // In a row.

  // Gives the work that it was.
  size_t Refresh(Market& market) {
    size_t work = 0;
    std::map<std::string, Tenant> by_name;
    for (Market::Offer& offer : market.Offers(pool)) {
      Tenant& tenant = by_name[offer.tenant];
      tenant.name = offer.tenant;
      tenant.index = std::max(tenant.index, offer.index);
      tenant.weight = offer.weight;
      work += offer.jobs;
      tenant.partitions.push_back(std::move(offer));
    }
    tenants.clear();
    for (auto& [name, tenant] : by_name) {
      std::stable_sort(tenant.partitions.begin(), tenant.partitions.end(),
                       [](const auto& a, const auto& b) { return a.index > b.index; });
      tenants.push_back(std::move(tenant));
    }
    nones = 0;
    return work;
  }
};

Broker::PoolQueue& Broker::QueueOf(absl::string_view pool) {
  auto found = pools_.find(pool);
  if (found == pools_.end()) {
    found = pools_.emplace(std::string(pool), std::make_unique<PoolQueue>()).first;
  }
  return *found->second;
}

size_t Broker::demands(uint64_t session) const {
  const auto found = by_session_.find(session);
  return found == by_session_.end() ? 0 : found->second.ids.size();
}

size_t Broker::bytes(uint64_t session) const {
  const auto found = by_session_.find(session);
  return found == by_session_.end() ? 0 : found->second.bytes;
}

size_t Broker::bytes(uint64_t session, uint64_t id) const {
  const auto found = demands_.find(Key{session, id});
  return found == demands_.end() ? 0 : found->second->demand.bytes;
}

size_t Broker::memory(absl::string_view platform) const {
  const auto found = memory_by_platform_.find(platform);
  return found == memory_by_platform_.end() ? 0 : found->second;
}

// --- Demands -------------------------------------------------------------------------------------

void Broker::Put(Demand demand) {
  const Key key{demand.session, demand.id};
  Remove(key);
  auto standing = std::make_unique<Standing>();
  standing->demand = std::move(demand);
  const Demand& d = standing->demand;
  OfSession& of_session = by_session_[d.session];
  of_session.ids.insert(d.id);
  of_session.bytes += d.bytes;
  memory_ += d.memory();
  memory_by_platform_[d.platform] += d.memory();
  if (d.only_job.has_value()) by_job_[*d.only_job].insert(key);
  Enqueue(*standing, Where::kFresh);
  demands_[key] = std::move(standing);
}

Broker::Line& Broker::LineOf(const Standing& standing) {
  switch (standing.where) {
    case Where::kFresh:
      return QueueOf(standing.demand.pool).fresh;
    case Where::kParked:
      return QueueOf(standing.demand.pool).parked;
    case Where::kHeldUp:
      break;
  }
  return by_session_.at(standing.demand.session).held_up;
}

void Broker::Enqueue(Standing& standing, Where where) {
  if (standing.ticket != 0) LineOf(standing).erase(standing.ticket);
  standing.ticket = next_ticket_++;
  standing.where = where;
  LineOf(standing)[standing.ticket] = {standing.demand.session, standing.demand.id};
  if (where == Where::kHeldUp) held_up_.insert(standing.demand.session);
}

void Broker::Remove(const Key& key) {
  const auto found = demands_.find(key);
  if (found == demands_.end()) return;
  const Standing& standing = *found->second;
  const Demand& d = standing.demand;
  LineOf(standing).erase(standing.ticket);
  until_.erase({d.until, key});
  if (d.only_job.has_value()) {
    const auto of_job = by_job_.find(*d.only_job);
    of_job->second.erase(key);
    if (of_job->second.empty()) by_job_.erase(of_job);
  }
  const auto of_session = by_session_.find(d.session);
  of_session->second.ids.erase(d.id);
  of_session->second.bytes -= d.bytes;
  if (of_session->second.ids.empty()) by_session_.erase(of_session);
  memory_ -= d.memory();
  const auto of_platform = memory_by_platform_.find(d.platform);
  of_platform->second -= d.memory();
  if (of_platform->second == 0) memory_by_platform_.erase(of_platform);
  demands_.erase(found);
}

void Broker::End(const Key& key, Market::End end) {
  const auto found = demands_.find(key);
  if (found == demands_.end()) return;
  const Demand demand = found->second->demand;
  Remove(key);
  market_->Ended(demand, end);
}

void Broker::Withdraw(uint64_t session, uint64_t id) {
  End({session, id}, Market::End::kWithdrawn);
}

void Broker::DropSession(uint64_t session) {
  const auto found = by_session_.find(session);
  if (found == by_session_.end()) return;
  const std::set<uint64_t> ids = found->second.ids;
  for (const uint64_t id : ids) Remove({session, id});
}

void Broker::JobDone(JobRef job) {
  const auto found = by_job_.find(job);
  if (found == by_job_.end()) return;
  const std::set<Key> keys = found->second;
  for (const Key& key : keys) End(key, Market::End::kJobDone);
}

void Broker::Correct(absl::string_view pool, absl::string_view tenant, double charged,
                     double actual) {
  QueueOf(pool).fair.Correct(tenant, charged, actual);
}

// --- Turns ---------------------------------------------------------------------------------------

absl::Time Broker::NextWake() const {
  absl::Time wake = until_.empty() ? absl::InfiniteFuture() : until_.begin()->first;
  if (!demands_.empty()) wake = std::min(wake, last_retry_ + kRetryInterval);
  return wake;
}

bool Broker::more() const {
  return more_ || std::any_of(held_up_.begin(), held_up_.end(),
                              [&](uint64_t session) { return market_->HasRoom(session); });
}

void Broker::Resume() {
  for (auto at = held_up_.begin(); at != held_up_.end();) {
    const auto found = by_session_.find(*at);
    if (found != by_session_.end() && !found->second.held_up.empty()) {
      if (!market_->HasRoom(*at)) {
        ++at;
        continue;
      }
      Line& line = found->second.held_up;
      for (int i = 0; i < kResumedMax && !line.empty(); ++i) {
        Enqueue(*demands_.at(line.begin()->second), Where::kFresh);
      }
      if (!line.empty()) {
        ++at;
        continue;
      }
    }
    at = held_up_.erase(at);
  }
}

void Broker::Run(absl::Time now) {
  more_ = false;
  work_ = 0;
  if (now - last_retry_ >= kRetryInterval) {
    last_retry_ = now;
    WorkAppeared();
  }
  Resume();
  auto at = pools_.lower_bound(next_pool_);
  for (size_t i = 0; i < pools_.size(); ++i, ++at) {
    if (at == pools_.end()) at = pools_.begin();
    if (work_ >= kWorkMax) {
      // The others had theirs.
      next_pool_ = at->first;
      more_ = true;
      break;
    }
    RunPool(at->first, *at->second, now);
  }
  while (!until_.empty() && until_.begin()->first <= now) {
    End(until_.begin()->second, Market::End::kNoWork);
  }
}

void Broker::RunPool(const std::string& pool, PoolQueue& queue, absl::Time now) {
  const bool retry =
      !queue.parked.empty() && demands_.at(queue.parked.begin()->second)->tried_version < version_;
  if (queue.fresh.empty() && !retry) return;
  Turn turn{.pool = pool, .now = now};
  work_ += turn.Refresh(*market_);

  int grants = 0;
  // Of a turn's work the line that is tried first has half, but each gets one step further.
  const size_t work_max = work_ + (kWorkMax - std::min(work_, kWorkMax)) / 2;
  // Those that have waited longest first; each line has a limit of its own, so that neither can
  // keep the other from being tried.
  int tries = 0;
  for (bool first = true; !turn.tenants.empty() && !queue.parked.empty(); first = false) {
    Standing& standing = *demands_.at(queue.parked.begin()->second);
    if (standing.tried_version >= version_) break;
    if (tries >= kParkedTriesMax || grants >= kGrantsMax || (!first && work_ >= work_max)) {
      more_ = true;
      break;
    }
    const Tried tried = Try(standing, queue, turn);
    tries += tried == Tried::kNone ? 1 : 0;
    grants += tried == Tried::kGranted ? 1 : 0;
  }
  tries = 0;
  for (bool first = true; !queue.fresh.empty(); first = false) {
    if (tries >= kNewTriesMax || grants >= kGrantsMax || (!first && work_ >= kWorkMax)) {
      more_ = true;
      break;
    }
    Standing& standing = *demands_.at(queue.fresh.begin()->second);
    const Tried tried = Try(standing, queue, turn);
    tries += tried == Tried::kNone && !turn.tenants.empty() ? 1 : 0;
    grants += tried == Tried::kGranted ? 1 : 0;
  }
}

Broker::Tried Broker::Try(Standing& standing, PoolQueue& queue, Turn& turn) {
  Demand& demand = standing.demand;
  const Key key{demand.session, demand.id};
  ++work_;
  // While it is held up nobody looks for work, and its time does not end it.
  if (!market_->HasRoom(demand.session)) {
    until_.erase({demand.until, key});
    Enqueue(standing, Where::kHeldUp);
    return Tried::kHeldUp;
  }
  if (demand.until > turn.now && demand.until < absl::InfiniteFuture()) {
    until_.insert({demand.until, key});
  }
  standing.tried_version = version_;
  std::vector<FairQueue::Candidate> candidates;
  std::vector<const Turn::Tenant*> tenants;
  for (const Turn::Tenant& tenant : turn.tenants) {
    if (demand.only_job.has_value() && tenant.name != demand.only_tenant) continue;
    candidates.push_back({tenant.name, tenant.index});
    tenants.push_back(&tenant);
  }
  while (!candidates.empty()) {
    const size_t chosen = queue.fair.Choose(candidates);
    const Turn::Tenant& tenant = *tenants[chosen];
    for (const Market::Offer& offer : tenant.partitions) {
      if (demand.only_job.has_value() && demand.only_job->partition != offer.partition) continue;
      if (!demand.only_job.has_value()) work_ += offer.jobs;
      const Market::Purchase purchase = market_->Buy(demand, tenant.name, offer.partition);
      if (purchase.end.has_value()) {
        End(key, *purchase.end);
        return Tried::kEnded;
      }
      if (!purchase.granted) continue;
      queue.fair.Charge(tenant.name, purchase.seconds, tenant.weight);
      turn.nones = 0;
      TESSERA_CHECK(demand.wanted > 0);
      if (--demand.wanted == 0) {
        Remove(key);
      } else {
        Enqueue(standing, Where::kFresh);
      }
      return Tried::kGranted;
    }
    candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(chosen));
    tenants.erase(tenants.begin() + static_cast<std::ptrdiff_t>(chosen));
  }
  if (!turn.tenants.empty() && ++turn.nones >= kNonesToRefresh) work_ += turn.Refresh(*market_);
  if (demand.until <= turn.now) {
    End(key, Market::End::kNoWork);  // It asked for what there is now, or is tried late.
  } else {
    Enqueue(standing, Where::kParked);
  }
  return Tried::kNone;
}

}  // namespace tessera::edge
