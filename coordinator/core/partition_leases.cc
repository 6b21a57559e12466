// Who gets what: offers, and the choice of items for a worker who asks.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/errors.h"
#include "coordinator/core/mutation.h"
#include "coordinator/core/partition_impl.h"

namespace tessera::core {
namespace {

using absl::StatusCode;

// A job that was not granted for this long counts double; for twice as long, triple; without end.
// So the longest that a job waits while workers ask is kAgeing x the ratio of the largest index
// without age to its own (docs/decisions/0005).
constexpr absl::Duration kAgeing = absl::Minutes(1);

// Of so many assignments one is taken from the items in progress first.
constexpr uint64_t kReadyFirstEvery = 8;

// From this many resolved items on, the mean of their answers says what the next will need.
constexpr uint64_t kResolvedToLearnFrom = 20;

// Before that, what is admitted is reckoned with people who are worse than they usually are: until
// the first fit the score takes them for such (FitOptions::confusion_diagonal), and an item that
// was begun should come to its end.
constexpr double kRightForAdmission = 0.75;

bool Contains(const std::vector<std::string>& all, absl::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

bool HasAll(const std::vector<std::string>& needed, const std::vector<std::string>& registered,
            const std::vector<std::string>& stated) {
  return std::all_of(needed.begin(), needed.end(), [&](const std::string& one) {
    return Contains(registered, one) || Contains(stated, one);
  });
}

bool HasAny(const std::vector<std::string>& needed, const std::vector<std::string>& registered,
            const std::vector<std::string>& stated) {
  if (needed.empty()) return true;
  return std::any_of(needed.begin(), needed.end(), [&](const std::string& one) {
    return Contains(registered, one) || Contains(stated, one);
  });
}

}  // namespace

// --- What a job has to offer ---------------------------------------------------------------------

bool Partition::Impl::Wants(const JobState& job, const ItemRecord& item) const {
  if (item.state == ItemState::kResolved || item.entries.size() >= kEntriesPerItemMax) return false;
  const QualityPolicy& quality = job.head.policy.quality;
  const uint32_t counted = item.Counted();
  const uint32_t leased = item.Leased();
  if (counted + leased >= quality.answers_max) return Mutated(Mutation::kAboveCap);
  // Up to the minimum all are asked at once; beyond it one at a time, each a decision of its own.
  return counted + leased < quality.answers_min || leased == 0;
}

bool Partition::Impl::Leasable(const JobState& job, absl::Time now) const {
  const JobHead& head = job.head;
  return head.phase == JobPhase::kRunning && now >= head.policy.start_time &&
         now < head.policy.deadline;
}

void Partition::Impl::SeePool(absl::string_view id, const Pool* pool) {
  if (state_.pools().contains(id)) return;  // At home here: the state knows.
  const std::optional<Micros> price =
      pool == nullptr ? std::nullopt : std::optional(pool->price_micros);
  const auto seen = prices_seen_.find(id);
  if (seen != prices_seen_.end() && seen->second == price) return;
  prices_seen_.insert_or_assign(std::string(id), price);
  PricesChanged();
}

std::optional<Micros> Partition::Impl::LeastPrice(const JobPolicy& policy) const {
  std::optional<Micros> least;
  for (const std::string& id : policy.pools) {
    Micros pool_price = 0;
    if (policy.AsksPoolForPrice(id)) {
      if (const auto here = state_.pools().find(id); here != state_.pools().end()) {
        pool_price = here->second.price_micros;
      } else if (const auto seen = prices_seen_.find(id); seen == prices_seen_.end()) {
        return std::nullopt;
      } else if (seen->second.has_value()) {
        pool_price = *seen->second;
      } else {
        continue;  // Nobody can be asked there.
      }
    }
    const Micros price = policy.PriceIn(id, pool_price);
    least = std::min(least.value_or(price), price);
  }
  return least;
}

std::optional<Micros> Partition::Impl::ItemMinimum(const JobState& job) const {
  std::optional<Micros> price = LeastPrice(job.head.policy);
  if (price.has_value() && job.head.counts.in_progress == 0)
    *price *= job.head.policy.quality.answers_min;
  return price;
}

std::optional<double> Partition::Impl::LearntAnswersPerItem(JobIndex index) const {
  const JobHead& head = state_.job(index)->head;
  const uint64_t open_answers = runtimes_[index.value()]->open_answers;
  if (head.counts.resolved < kResolvedToLearnFrom) return std::nullopt;
  const auto closed = static_cast<double>(head.answers - std::min(head.answers, open_answers));
  return std::clamp(closed / static_cast<double>(head.counts.resolved),
                    static_cast<double>(head.policy.quality.answers_min),
                    static_cast<double>(head.policy.quality.answers_max));
}

double Partition::Impl::AnswersToAdmitFor(JobIndex index) const {
  const std::optional<double> learnt = LearntAnswersPerItem(index);
  if (learnt.has_value()) return *learnt;
  double& guess = runtimes_[index.value()]->answers_guess;
  if (guess == 0) {
    const JobHead& head = state_.job(index)->head;
    guess = GuessAnswersPerItem(head.policy.quality,
                                static_cast<uint32_t>(head.identity.classes.size()),
                                kRightForAdmission);
  }
  return guess;
}

const CostModel& Partition::Impl::LearntCost(JobIndex index) const {
  const JobHead& head = state_.job(index)->head;
  const CostModel& guess = head.policy.split.cost;
  if (head.policy.split.strategy != SplitStrategy::kAdaptive) return guess;
  Runtime& r = *runtimes_[index.value()];
  if (r.cost_sittings != head.moments.n) {
    r.cost = LearnCost(head.moments, guess);
    r.cost_sittings = head.moments.n;
  }
  return r.cost;
}

uint32_t Partition::Impl::BundleOf(JobIndex index, double units, uint64_t items) const {
  return BundleItems(state_.job(index)->head.policy.split, LearntCost(index),
                     units / static_cast<double>(items), std::numeric_limits<uint64_t>::max());
}

uint64_t Partition::Impl::ItemsAffordable(JobIndex index, Micros price) const {
  const JobState& job = *state_.job(index);
  if (price == 0) return job.head.counts.waiting;
  const Runtime& r = *runtimes_[index.value()];
  const double per_item = AnswersToAdmitFor(index);
  const auto remaining = static_cast<double>(job.head.ledger.remaining_micros());
  const double open_need =
      std::max(0.0, static_cast<double>(job.head.counts.in_progress) * per_item -
                        static_cast<double>(r.open_answers + r.open_leases));
  const double left = remaining / static_cast<double>(price) - open_need;
  if (left >= per_item) return static_cast<uint64_t>(left / per_item);
  // Nothing is in hand and nothing else wants the money: one more item that it can bring to an end.
  const bool idle = r.open_leases == 0 && r.ready.empty();
  return idle && remaining >= static_cast<double>(price * job.head.policy.quality.answers_min) ? 1
                                                                                               : 0;
}

bool Partition::Impl::HasWork(JobIndex index) const {
  const JobState& job = *state_.job(index);
  const Runtime& r = *runtimes_[index.value()];
  // Where the price is not known it may be nothing: who asks will tell.
  const Micros price = LeastPrice(job.head.policy).value_or(0);
  if (job.head.ledger.remaining_micros() < price) return false;
  return !r.ready.empty() || (job.head.counts.waiting > 0 && ItemsAffordable(index, price) > 0);
}

bool Partition::Impl::TakesRate(JobIndex index, absl::Time now) {
  const double rate = job(index).head.policy.assignments_per_second_max;
  if (rate <= 0) return true;
  Runtime& r = runtime(index);
  if (now > r.rate_at) {
    const double burst = std::max(1.0, rate);
    r.rate_tokens =
        r.rate_at == absl::InfinitePast()
            ? burst
            : std::min(burst, r.rate_tokens + rate * absl::ToDoubleSeconds(now - r.rate_at));
    r.rate_at = now;
  }
  r.rate_waiting = r.rate_tokens < 1;
  if (r.rate_waiting) attention_.insert(index);
  return !r.rate_waiting;
}

double Partition::Impl::Index(JobIndex index, absl::Time now) const {
  const JobState& job = *state_.job(index);
  const JobPolicy& policy = job.head.policy;
  const Runtime& r = *runtimes_[index.value()];
  const double value = policy.value_micros > 0 ? static_cast<double>(policy.value_micros) : 1e6;
  const uint64_t items = std::max(job.head.items, 1u);
  const double bundle = BundleOf(index, r.units, items);
  const double units = bundle * r.units / static_cast<double>(items);
  const double seconds = std::max(1e-3, SittingSeconds(LearntCost(index), units) / bundle);
  const absl::Time since = std::max({r.last_granted, job.head.created_at, policy.start_time});
  const double age = std::max(0.0, absl::FDivDuration(now - since, kAgeing));
  return policy.priority * value / seconds * (1 + age);
}

std::vector<Partition::Offer> Partition::Impl::Offers(absl::string_view pool,
                                                      absl::Time now) const {
  std::vector<Offer> offers;
  for (const auto& [tenant, jobs] : offering_) {
    Offer best{.tenant = tenant, .index = -1, .jobs = jobs.size()};
    for (const uint32_t j : jobs) {
      const JobIndex index(j);
      const JobState& job = *state_.job(index);
      if (!Leasable(job, now) || !Contains(job.head.policy.pools, pool) || !HasWork(index))
        continue;
      const double rank = Index(index, now);
      if (rank <= best.index) continue;
      best.index = rank;
    }
    if (best.index >= 0) offers.push_back(std::move(best));
  }
  return offers;
}

// --- The choice ----------------------------------------------------------------------------------

uint32_t Partition::Impl::Allowance(JobIndex index, const Asker& asker, absl::Time now) const {
  const JobState& job = *state_.job(index);
  const JobPolicy& policy = job.head.policy;
  const LeaseRequest& request = *asker.request;
  if (!Leasable(job, now) || !Contains(policy.pools, request.pool.id)) return 0;
  if (runtimes_[index.value()]->excluded.contains(request.worker)) return 0;
  static const WorkerRecord kUnknown;
  const WorkerRecord& record = asker.worker.has_value() ? state_.worker(*asker.worker) : kUnknown;
  if (!HasAll(policy.required_skills, record.skills, request.skills)) return 0;
  if (!HasAny(policy.languages, record.languages, request.languages)) return 0;
  if (policy.assignments_open_max > 0 && job.head.open_assignments >= policy.assignments_open_max)
    return 0;
  return LeftOfCap(job, asker.worker);
}

uint32_t Partition::Impl::LeftOfCap(const JobState& job, std::optional<WorkerIndex> worker) const {
  const uint32_t cap = job.head.policy.answers_per_worker_max;
  if (cap == 0) return std::numeric_limits<uint32_t>::max();
  const Tally* tally = worker.has_value() ? job.FindTally(*worker) : nullptr;
  const uint32_t granted =
      tally == nullptr ? 0 : tally->granted - std::min(tally->granted, tally->returned);
  return cap - std::min(cap, granted);
}

Partition::Outlook Partition::Impl::OutlookOf(const LeaseRequest& request) const {
  const std::optional<WorkerIndex> worker = state_.FindWorker(request.worker);
  const JobState* job = request.only_job.has_value() ? state_.job(*request.only_job) : nullptr;
  if (!worker.has_value() || job == nullptr) return Outlook::kOpen;
  if (LeftOfCap(*job, worker) == 0) return Outlook::kCapped;
  const auto had = [&](ItemIndex i) {
    return i < job->items.size() && job->items.Get(i).FindWorker(*worker) != nullptr;
  };
  const std::vector<ItemIndex>& items = request.only_items;
  return !items.empty() && std::all_of(items.begin(), items.end(), had) ? Outlook::kHadAllItems
                                                                        : Outlook::kOpen;
}

void Partition::Impl::EnsureOrder(JobIndex index, Micros price) {
  Runtime& r = runtime(index);
  if (r.ordered) return;
  const JobState& j = job(index);
  r.ordered = true;
  r.planned = j.items.size();
  r.cursor = 0;
  r.order.clear();
  // Items that are all alike are offered by their index, whatever the strategy.
  if (j.items.AllTraits().empty() && !j.head.policy.split.random_order) return;
  r.order = PlanJob(index, price, /*with_order=*/true)->order;
}

std::vector<ItemIndex> Partition::Impl::PickWaiting(JobIndex index, uint32_t room, Micros price) {
  const uint64_t affordable = ItemsAffordable(index, price);
  if (affordable == 0) return {};
  EnsureOrder(index, price);
  const JobState& j = job(index);
  Runtime& r = runtime(index);
  const bool by_index = r.order.empty();
  const auto size = by_index ? j.items.size() : static_cast<uint32_t>(r.order.size());
  const auto at = [&](uint32_t place) { return by_index ? place : r.order[place]; };
  while (r.cursor < size && j.items.State(at(r.cursor)) != ItemState::kWaiting) ++r.cursor;
  if (r.cursor == size) return {};
  const SplitPolicy& split = j.head.policy.split;
  const auto stratum_at = [&](uint32_t place) {
    return PlannedStratum(split, j.items.Traits(at(place)));
  };
  const uint16_t stratum = stratum_at(r.cursor);
  const bool apart = split.strategy != SplitStrategy::kUniform;
  const WaitingItems& waiting = (apart ? r.by_stratum[stratum] : r.open).waiting;
  room = static_cast<uint32_t>(std::min<uint64_t>(room, affordable));
  Sitting sitting(split, LearntCost(index), waiting.units / static_cast<double>(waiting.items),
                  std::min(waiting.items, affordable));
  std::vector<ItemIndex> picked;
  for (uint32_t place = r.cursor; place < size && picked.size() < room; ++place) {
    if (j.items.State(at(place)) != ItemState::kWaiting) continue;
    if (stratum_at(place) != stratum || !sitting.Take(j.items.Traits(at(place)).length)) break;
    picked.push_back(at(place));
  }
  return picked;
}

Partition::Impl::Candidate Partition::Impl::Weigh(const JobState& job, const Fit& fit,
                                                  ItemIndex item, WorkerIndex worker) const {
  const Votes votes = CountedVotes(job.items.Get(item).entries);
  const double gain = ExpectedGain(fit, Posterior(fit, votes), worker);
  return {gain * job.items.Traits(item).importance, item};
}

std::vector<ItemIndex> Partition::Impl::BestOf(JobIndex index, std::vector<Candidate> candidates,
                                               uint32_t room, uint64_t waiting_max) const {
  const ItemTable& items = state_.job(index)->items;
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.worth > b.worth; });
  std::vector<ItemIndex> best;
  double units = 0;
  for (const auto& [worth, item] : candidates) {
    // The same item named twice is still one item.
    if (std::find(best.begin(), best.end(), item) != best.end()) continue;
    const bool waits = items.State(item) == ItemState::kWaiting;
    if (waits && waiting_max == 0) continue;
    units += items.Traits(item).length;
    if (best.size() >= std::min(room, BundleOf(index, units, best.size() + 1))) break;
    if (waits) --waiting_max;
    best.push_back(item);
  }
  return best;
}

std::vector<ItemIndex> Partition::Impl::PickReady(JobIndex index, const Asker& asker, uint32_t room,
                                                  bool nearest_first) {
  const JobState& j = job(index);
  const Fit& fit = NewestFit(index);
  const WorkerIndex worker = asker.worker.value_or(WorkerIndex(state_.workers()));
  Runtime& r = runtime(index);
  std::vector<Candidate> found;
  double units = 0;
  uint32_t looks = 0;
  const auto look = [&](ItemIndex i) {
    const ItemRecord item = j.items.Get(i);
    const bool had = item.FindWorker(worker) != nullptr && !Mutated(Mutation::kLeaseTwice);
    // The queue follows a change of the job's quality page by page.
    if (!had && Wants(j, item)) {
      found.push_back(Weigh(j, fit, i, worker));
      units += j.items.Traits(i).length;
    }
    if (++looks >= options_.looks_max) return false;
    return found.size() < options_.candidates_max ||
           found.size() < std::min(room, BundleOf(index, units, found.size()));
  };
  if (nearest_first) {
    r.ready.ForEachFromLeast(look);
  } else {
    r.ready.ForEach(look);
  }
  if (found.empty() && looks >= options_.looks_max) {
    // The worker had all of those. The others are gone through by their place in the queue, a part
    // in each request, so that none of them is out of reach however many there are.
    const uint32_t from = r.look_from[worker];
    looks = 0;
    uint32_t next = r.ready.ForEachFromSlot(from, look);
    // What was found and is not taken is looked at again.
    if (!found.empty()) next = *j.items.OpenSlot(found.front().item);
    if (found.empty() && next != 0) notices_.work_appeared = true;
    if (next == 0) {
      r.look_from.erase(worker);
    } else {
      r.look_from[worker] = next;
    }
  }
  return BestOf(index, std::move(found), room, /*waiting_max=*/0);
}

std::vector<ItemIndex> Partition::Impl::PickAmong(JobIndex index, const Asker& asker, uint32_t room,
                                                  uint64_t waiting_max) {
  const JobState& j = job(index);
  const Fit& fit = NewestFit(index);
  const WorkerIndex worker = asker.worker.value_or(WorkerIndex(state_.workers()));
  std::vector<Candidate> found;
  for (const ItemIndex i : asker.request->only_items) {
    if (i >= j.items.size()) continue;
    const ItemRecord item = j.items.Get(i);
    // Waiting items are admitted as the budget reaches them, like everybody's.
    if (item.state == ItemState::kWaiting && waiting_max == 0) continue;
    if (!Wants(j, item) || item.FindWorker(worker) != nullptr) continue;
    found.push_back(Weigh(j, fit, i, worker));
    if (found.size() >= options_.looks_max) break;
  }
  return BestOf(index, std::move(found), room, waiting_max);
}

std::vector<ItemIndex> Partition::Impl::Pick(JobIndex index, const Asker& asker, uint32_t room,
                                             Micros price) {
  const JobState& j = job(index);
  if (price > 0) {
    room = static_cast<uint32_t>(std::min<Micros>(
        room,
        j.head.ledger.remaining_micros() / price + (Mutated(Mutation::kBudgetOffByOne) ? 1 : 0)));
  }
  if (room == 0) return {};
  if (asker.request->only_job.has_value() && !asker.request->only_items.empty()) {
    return PickAmong(index, asker, room, ItemsAffordable(index, price));
  }
  // The first answer to an item is worth most, so items that wait come before those in progress;
  // but an item that was given back unanswered is as good as new. Now and then it is the other way
  // round, so that items in progress come to their end while new ones are added without end.
  const bool ready_first = runtime(index).grants % kReadyFirstEvery == kReadyFirstEvery - 1;
  std::vector<ItemIndex> picked;
  if (ready_first) picked = PickReady(index, asker, room, /*nearest_first=*/true);
  if (picked.empty()) picked = PickWaiting(index, room, price);
  if (picked.empty() && !ready_first) {
    picked = PickReady(index, asker, room, /*nearest_first=*/false);
  }
  return picked;
}

absl::StatusOr<std::optional<Lease>> Partition::Impl::RequestLease(const LeaseRequest& request,
                                                                   absl::Time now) {
  SeePool(request.pool.id, &request.pool);
  Asker asker{.worker = state_.FindWorker(request.worker), .request = &request};
  if (asker.worker.has_value() && state_.worker(*asker.worker).blocked) {
    return Error(StatusCode::kPermissionDenied, "WORKER_BLOCKED",
                 absl::StrCat(request.worker,
                              " is blocked: ", state_.worker(*asker.worker).blocked_reason))
        .Field("worker", "is blocked");
  }
  static const WorkerRecord kUnknown;
  const WorkerRecord& record = asker.worker.has_value() ? state_.worker(*asker.worker) : kUnknown;
  if (!HasAll(request.pool.skills, record.skills, request.skills) ||
      !HasAll(request.pool.languages, record.languages, request.languages)) {
    return std::nullopt;
  }
  if (due_.size() >= options_.open_assignments_max) {
    return Error(StatusCode::kResourceExhausted, "ASSIGNMENTS_MAX",
                 absl::StrCat("the partition has ", due_.size(), " open assignments"));
  }
  const auto jobs = offering_.find(request.tenant);
  if (jobs == offering_.end()) return std::nullopt;
  struct Ranked {
    double rank = 0;
    JobIndex index;
    uint32_t allowance = 0;
  };
  std::vector<Ranked> ranked;
  const auto rank = [&](JobIndex index) {
    const uint32_t allowance = Allowance(index, asker, now);
    if (allowance == 0) return;
    runtime(index).asked_at = now;
    if (!HasWork(index) || !TakesRate(index, now)) return;
    ranked.push_back({Index(index, now), index, allowance});
  };
  if (!request.only_job.has_value()) {
    for (const uint32_t number : jobs->second) rank(JobIndex(number));
  } else if (jobs->second.contains(request.only_job->value())) {
    rank(*request.only_job);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.rank > b.rank; });
  for (const auto& [rank, index, allowance] : ranked) {
    const JobState& j = job(index);
    const Micros price = j.head.policy.PriceIn(request.pool.id, request.pool.price_micros);
    uint32_t room = std::min(allowance, runtime(index).lease_items_max);
    if (request.items_max > 0) room = std::min(room, request.items_max);
    const std::vector<ItemIndex> items = Pick(index, asker, room, price);
    if (items.empty()) {
      runtime(index).refused_lately = true;
      continue;
    }
    if (!asker.worker.has_value()) {
      if (state_.workers() >= options_.workers_max) {
        return Error(StatusCode::kResourceExhausted, "WORKERS_MAX", "the registry is full");
      }
      asker.worker = WorkerIndex(state_.workers());
      Emit(WorkerSeen{.worker = *asker.worker, .name = request.worker});
      worker_names_.insert(request.worker);
    }
    const LeasePolicy& lease = j.head.policy.lease;
    const absl::Time deadline =
        now + lease.base + lease.per_item * static_cast<int64_t>(items.size());
    Granted granted{.assignment = {index, j.head.next_sequence},
                    .worker = *asker.worker,
                    .pool = request.pool.id,
                    .price_micros = price,
                    .at = now,
                    .deadline = deadline,
                    .late_until = deadline + lease.late_grace,
                    .items = {},
                    .gateway = request.gateway};
    double units = 0;
    for (const ItemIndex i : items) {
      granted.items.push_back({i, j.items.State(i)});
      units += j.items.Traits(i).length;
    }
    Lease reply{.assignment = granted.assignment,
                .worker = granted.worker,
                .price_micros = price,
                .deadline = deadline,
                .late_until = granted.late_until,
                .expected_seconds = SittingSeconds(LearntCost(index), units),
                .items = items};
    Emit(std::move(granted));
    Runtime& r = runtime(index);
    r.last_granted = now;
    r.rate_tokens -= 1;
    ++r.grants;
    r.refused_lately = false;
    return reply;
  }
  return std::nullopt;
}

}  // namespace tessera::core
