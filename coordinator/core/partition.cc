#include "coordinator/core/partition.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "common/check.h"
#include "coordinator/core/mutation.h"
#include "coordinator/core/partition_impl.h"

namespace tessera::core {
namespace {

// While leases are open the journal shows at least this often that the owner lives, which bounds
// the error in the length of an outage.
constexpr absl::Duration kTickInterval = absl::Seconds(1);

// The items that an event touches, and the assignment, if there is one.
template <typename Visit>
void ForEachItem(const Event& event, Visit visit) {
  std::visit(
      [&](const auto& e) {
        using E = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<E, Granted>) {
          for (const GrantedItem& i : e.items) visit(e.assignment.job, i.item);
        } else if constexpr (std::is_same_v<E, ItemsEnded>) {
          for (const ItemEnd& i : e.items) visit(e.assignment.job, i.outcome.item);
        } else if constexpr (std::is_same_v<E, AnswerReviewed>) {
          visit(e.assignment.job, e.outcome.item);
        } else if constexpr (std::is_same_v<E, PageRefitted>) {
          for (const ItemOutcome& o : e.outcomes) visit(e.job, o.item);
        }
      },
      event);
}

std::optional<AssignmentId> AssignmentOf(const Event& event) {
  return std::visit(
      [](const auto& e) -> std::optional<AssignmentId> {
        if constexpr (requires { e.assignment; }) return e.assignment;
        return std::nullopt;
      },
      event);
}

std::optional<JobIndex> JobOf(const Event& event) {
  return std::visit(
      [](const auto& e) -> std::optional<JobIndex> {
        if constexpr (requires { e.job; }) return e.job;
        if constexpr (requires { e.assignment; }) return e.assignment.job;
        return std::nullopt;
      },
      event);
}

}  // namespace

// --- Bookkeeping ---------------------------------------------------------------------------------

Partition::Impl::Impl(const PartitionOptions& options, PartitionState state)
    : options_(options), state_(std::move(state)) {
  now_ = state_.time();
  for (uint32_t w = 0; w < state_.workers(); ++w) {
    const std::string& name = state_.worker(WorkerIndex(w)).name;
    if (!name.empty()) worker_names_.insert(name);
  }
  for (uint32_t j = 0; j < state_.jobs(); ++j) RebuildJob(JobIndex(j));
}

void Partition::Impl::RebuildJob(JobIndex index) {
  const JobState* job = state_.job(index);
  if (job == nullptr) return;
  runtime(index);  // Whoever walks through the jobs finds one.
  document_bytes_[job->head.identity.tenant] += job->head.identity.document.size();
  for (const auto& [number, page] : job->leases.pages()) {
    for (const auto& [sequence, assignment] : page.by_sequence) {
      due_.insert({NextMoment(assignment), AssignmentId{index, sequence}});
    }
  }
  if (job->ended()) return;
  jobs_by_tenant_[job->head.identity.tenant].insert(index.value());
  TakeIn(index, 0, job->items.size());
  UpdateOffering(index);
  Watch(index);
  // A crash may have ended a sweep half way; one that finds nothing to move writes nothing.
  Refit(index);
}

Partition::Impl::Runtime& Partition::Impl::runtime(JobIndex index) {
  if (runtimes_.size() <= index.value()) runtimes_.resize(index.value() + 1);
  auto& r = runtimes_[index.value()];
  if (r == nullptr) {
    r = std::make_unique<Runtime>();
    r->asked_at = now_;
    const std::vector<std::string>& excluded = job(index).head.policy.excluded_workers;
    r->excluded.insert(excluded.begin(), excluded.end());
  }
  return *r;
}

JobState& Partition::Impl::job(JobIndex index) {
  JobState* job = state_.mutable_job(index);
  TESSERA_CHECK(job != nullptr);
  return *job;
}

void Partition::Impl::TakeIn(JobIndex index, ItemIndex first, uint32_t count) {
  const ItemTable& items = job(index).items;
  for (ItemIndex i = first; i < first + count; ++i) {
    runtime(index).units += items.Traits(i).length;
    AfterChange(index, i);
  }
}

void Partition::Impl::CountOpen(JobIndex index, ItemIndex item, ItemState state, int by) {
  const ItemTraits traits = job(index).items.Traits(item);
  Runtime& r = runtime(index);
  if (r.by_stratum.size() <= traits.stratum) r.by_stratum.resize(traits.stratum + size_t{1});
  for (StratumItems* open : {&r.open, &r.by_stratum[traits.stratum]}) {
    if (state == ItemState::kInProgress) {
      open->begun += static_cast<uint64_t>(by);
      open->begun_units += by * traits.length;
    } else {
      open->waiting.items += static_cast<uint64_t>(by);
      open->waiting.units += by * traits.length;
      open->waiting.importance += by * traits.importance;
    }
  }
}

void Partition::Impl::Requeue(JobIndex index, ItemIndex item) {
  const JobState& j = job(index);
  const std::optional<uint32_t> slot = j.items.OpenSlot(item);
  if (!slot.has_value() || runtime(index).ready.Holds(*slot) == Wants(j, j.items.Get(item))) return;
  BeforeChange(index, item);
  AfterChange(index, item);
  UpdateOffering(index);
}

void Partition::Impl::BeforeChange(JobIndex index, ItemIndex item) {
  const JobState& j = job(index);
  if (item >= j.items.size() || j.ended()) return;
  if (j.items.State(item) == ItemState::kWaiting) {
    CountOpen(index, item, ItemState::kWaiting, -1);
    return;
  }
  const std::optional<uint32_t> slot = j.items.OpenSlot(item);
  if (!slot.has_value()) return;
  Runtime& r = runtime(index);
  r.ready.Remove(*slot);
  const ItemRecord before = j.items.Get(item);
  if (before.state != ItemState::kInProgress) return;
  CountOpen(index, item, before.state, -1);
  r.open_answers -= before.Counted();
  r.open_leases -= before.Leased();
}

void Partition::Impl::AfterChange(JobIndex index, ItemIndex item) {
  const JobState& j = job(index);
  if (j.ended()) return;  // It offers nothing.
  if (j.items.State(item) == ItemState::kWaiting) {
    CountOpen(index, item, ItemState::kWaiting, 1);
    return;
  }
  const std::optional<uint32_t> slot = j.items.OpenSlot(item);
  if (!slot.has_value()) return;
  const ItemRecord after = j.items.Get(item);
  if (after.state != ItemState::kInProgress) return;
  Runtime& r = runtime(index);
  const uint32_t counted = after.Counted();
  CountOpen(index, item, after.state, 1);
  r.open_answers += counted;
  r.open_leases += after.Leased();
  if (!Wants(j, after)) return;
  const double doubt = counted == 0 ? 1.0 : 1.0 - after.confidence;
  r.ready.Insert(*slot, item,
                 ReadyQueue::BucketOf(doubt * std::min(1.0f, j.items.Traits(item).importance)));
  notices_.work_appeared = true;
}

void Partition::Impl::UpdateOffering(JobIndex index) {
  const JobState* j = state_.job(index);
  if (j == nullptr) return;  // Deleted: it had ended.
  Runtime& r = runtime(index);
  const bool offers =
      j->head.phase == JobPhase::kRunning && (j->head.counts.waiting > 0 || !r.ready.empty());
  if (offers == r.offers) return;
  r.offers = offers;
  const std::string& tenant = j->head.identity.tenant;
  std::set<uint32_t>& jobs = offering_[tenant];
  if (offers) {
    jobs.insert(index.value());
  } else if (jobs.erase(index.value()); jobs.empty()) {
    offering_.erase(tenant);
  }
}

void Partition::Impl::PricesChanged() {
  for (const auto& [tenant, jobs] : jobs_by_tenant_) {
    for (const uint32_t j : jobs) attention_.insert(JobIndex(j));
  }
}

void Partition::Impl::Watch(JobIndex index) {
  const JobPolicy& policy = job(index).head.policy;
  for (const absl::Time t : {policy.start_time, policy.deadline}) {
    if (t > now_ && t < absl::InfiniteFuture()) moments_.insert({t, index});
  }
}

void Partition::Impl::Unwatch(JobIndex index) {
  const JobPolicy& policy = job(index).head.policy;
  for (const absl::Time t : {policy.start_time, policy.deadline}) moments_.erase({t, index});
}

absl::Time Partition::Impl::NextMoment(const LiveAssignment& assignment) {
  if (!assignment.expired) return assignment.deadline;
  return Mutated(Mutation::kGraceNeverEnds) ? absl::InfiniteFuture() : assignment.late_until;
}

void Partition::Impl::Unschedule(AssignmentId id) {
  const JobState* j = state_.job(id.job);
  const LiveAssignment* a = j == nullptr ? nullptr : j->leases.Find(id.sequence);
  if (a != nullptr) due_.erase({NextMoment(*a), id});
}

void Partition::Impl::Schedule(AssignmentId id) {
  const JobState* j = state_.job(id.job);
  const LiveAssignment* a = j == nullptr ? nullptr : j->leases.Find(id.sequence);
  if (a != nullptr) due_.insert({NextMoment(*a), id});
}

void Partition::Impl::Emit(Event event) {
  AppendEvent(event, &events_);
  const std::optional<AssignmentId> assignment = AssignmentOf(event);
  if (assignment.has_value()) Unschedule(*assignment);
  if (const auto* updated = std::get_if<JobUpdated>(&event)) Unwatch(updated->job);
  if (const auto* ended = std::get_if<JobEnded>(&event)) Unwatch(ended->job);
  ForEachItem(event, [&](JobIndex j, ItemIndex i) { BeforeChange(j, i); });
  TESSERA_CHECK_OK(state_.Apply(record_, event));
  ForEachItem(event, [&](JobIndex j, ItemIndex i) { AfterChange(j, i); });
  if (const auto* added = std::get_if<ItemsAdded>(&event)) {
    TakeIn(added->job, added->first, added->count);
  }
  if (assignment.has_value()) Schedule(*assignment);
  if (const auto* created = std::get_if<JobCreated>(&event)) Watch(created->job);
  if (const auto* updated = std::get_if<JobUpdated>(&event)) Watch(updated->job);
  if (std::holds_alternative<PoolPut>(event) || std::holds_alternative<PoolDeleted>(event)) {
    PricesChanged();
  }
  if (const std::optional<JobIndex> changed = JobOf(event)) {
    attention_.insert(*changed);
    UpdateOffering(*changed);
    if (notices_.jobs_changed.empty() || notices_.jobs_changed.back() != *changed) {
      notices_.jobs_changed.push_back(*changed);
    }
  }
}

absl::Time Partition::Impl::Advance(absl::Time now) {
  now_ = std::max(now_, TruncateTime(now));
  return now_;
}

// --- Time ----------------------------------------------------------------------------------------

void Partition::Impl::Start(uint64_t nonce, absl::Time now, std::vector<RecordId> inherited) {
  const absl::Time last = state_.time();
  now = Advance(now);
  const absl::Duration outage = last == absl::InfinitePast() ? absl::ZeroDuration() : now - last;
  std::erase_if(inherited, [&](RecordId end) { return end.epoch <= state_.latest_end().epoch; });
  Emit(
      OwnerStarted{.nonce = nonce, .at = now, .outage = outage, .inherited = std::move(inherited)});
  due_.clear();
  for (uint32_t j = 0; j < state_.jobs(); ++j) {
    const JobState* job = state_.job(JobIndex(j));
    if (job == nullptr) continue;
    runtime(JobIndex(j)).asked_at = now;  // Nobody could ask before.
    for (const auto& [number, page] : job->leases.pages()) {
      for (const auto& [sequence, a] : page.by_sequence) {
        due_.insert({NextMoment(a), AssignmentId{JobIndex(j), sequence}});
      }
    }
  }
}

void Partition::Impl::Tick(absl::Time now) {
  now = Advance(now);
  const size_t events_max = events_.size() + options_.tick_bytes_max;
  while (!due_.empty() && due_.begin()->first <= now && events_.size() < events_max) {
    const AssignmentId id = due_.begin()->second;
    SettleTime(id, now);
    MoveOn(id.job, now);
  }
  for (; !moments_.empty() && moments_.begin()->first <= now; moments_.erase(moments_.begin())) {
    attention_.insert(moments_.begin()->second);
  }
  std::vector<JobIndex> active;
  for (const JobIndex index : std::exchange(attention_, {})) {
    const JobState* j = state_.job(index);
    if (j != nullptr && !j->ended()) active.push_back(index);
  }
  std::sort(active.begin(), active.end());  // Nothing is decided by how a table is laid out.
  MovePages(active);
  for (const JobIndex index : active) {
    const Runtime& r = runtime(index);
    if (r.rate_waiting && TakesRate(index, now)) notices_.work_appeared = true;
    if (r.refit_page.has_value()) attention_.insert(index);
    MoveOn(index, now);
  }
  if (!due_.empty() && now - state_.time() >= kTickInterval) Emit(Ticked{.at = now});
}

absl::Time Partition::Impl::NextWake() const {
  absl::Time wake = absl::InfiniteFuture();
  if (!due_.empty()) wake = std::min(due_.begin()->first, state_.time() + kTickInterval);
  const auto moment = moments_.upper_bound({now_, JobIndex(std::numeric_limits<uint32_t>::max())});
  if (moment != moments_.end()) wake = std::min(wake, moment->first);
  for (const JobIndex index : attention_) {
    const Runtime* r = runtimes_[index.value()].get();
    if (r == nullptr) continue;
    if (r->refit_page.has_value()) return now_;
    if (r->rate_waiting) {
      const double rate = state_.job(index)->head.policy.assignments_per_second_max;
      // A microsecond more than the token takes, so that it is there however that rounds.
      wake = std::min(wake, r->rate_at + absl::Seconds(std::max(0.0, 1 - r->rate_tokens) / rate) +
                                absl::Microseconds(1));
    }
  }
  return wake;
}

// --- The public face -----------------------------------------------------------------------------

Partition::Partition(const PartitionOptions& options, PartitionState state)
    : impl_(std::make_unique<Impl>(options, std::move(state))) {}
Partition::~Partition() = default;

void Partition::BeginRecord(RecordId id) {
  TESSERA_CHECK(id > impl_->record_) << id.ToString() << " after " << impl_->record_.ToString();
  impl_->record_ = id;
  impl_->state_.CloseRecord();
}

std::string Partition::TakeEvents() { return std::exchange(impl_->events_, {}); }
std::vector<FitWork> Partition::TakeFitWork() { return std::exchange(impl_->fit_work_, {}); }
Notices Partition::TakeNotices() { return std::exchange(impl_->notices_, {}); }

void Partition::Start(uint64_t nonce, absl::Time now, std::vector<RecordId> inherited) {
  impl_->Start(nonce, now, std::move(inherited));
}
void Partition::Tick(absl::Time now) { impl_->Tick(now); }
absl::Time Partition::NextWake() const { return impl_->NextWake(); }

absl::StatusOr<JobIndex> Partition::CreateJob(const core::CreateJob& command, absl::Time now) {
  return impl_->CreateJob(command, impl_->Advance(now));
}
absl::StatusOr<ItemsAddedReply> Partition::AddItems(const core::AddItems& command, absl::Time now) {
  return impl_->AddItems(command, impl_->Advance(now));
}
absl::Status Partition::SealJob(JobIndex job, absl::Time now) {
  return impl_->SealJob(job, impl_->Advance(now));
}
absl::Status Partition::PauseJob(JobIndex job, absl::Time now) {
  return impl_->PauseJob(job, impl_->Advance(now));
}
absl::Status Partition::ResumeJob(JobIndex job, absl::Time now) {
  return impl_->ResumeJob(job, impl_->Advance(now));
}
absl::Status Partition::CancelJob(JobIndex job, absl::Time now) {
  return impl_->CloseJob(job, /*cancelling=*/true, impl_->Advance(now));
}
absl::Status Partition::FinaliseJob(JobIndex job, absl::Time now) {
  return impl_->CloseJob(job, /*cancelling=*/false, impl_->Advance(now));
}
absl::Status Partition::DeleteJob(JobIndex job, absl::Time now) {
  impl_->Advance(now);
  return impl_->DeleteJob(job);
}
absl::Status Partition::UpdateJob(const core::UpdateJob& command, absl::Time now) {
  return impl_->UpdateJob(command, impl_->Advance(now));
}
absl::Status Partition::ReviewAnswer(const core::ReviewAnswer& command, absl::Time now) {
  return impl_->ReviewAnswer(command, impl_->Advance(now));
}
absl::Status Partition::PayBonus(const core::PayBonus& command, absl::Time now) {
  impl_->Advance(now);
  return impl_->PayBonus(command);
}
absl::StatusOr<SplitPlan> Partition::PlanJob(JobIndex job, const JobPolicy* instead) const {
  return impl_->PlanJob(job, /*otherwise=*/0, /*with_order=*/false, instead);
}

std::vector<Partition::Offer> Partition::Offers(absl::string_view pool, absl::Time now) const {
  return impl_->Offers(pool, std::max(impl_->now_, now));
}
void Partition::SeePool(absl::string_view id, const Pool* pool) { impl_->SeePool(id, pool); }
void Partition::LimitLeases(JobIndex job, uint32_t items_max) {
  impl_->runtime(job).lease_items_max = std::max(items_max, 1u);
}
Partition::Outlook Partition::OutlookOf(const LeaseRequest& request) const {
  return impl_->OutlookOf(request);
}
absl::StatusOr<std::optional<Lease>> Partition::RequestLease(const LeaseRequest& request,
                                                             absl::Time now) {
  return impl_->RequestLease(request, impl_->Advance(now));
}
absl::Status Partition::Draft(const DraftAnswer& command, absl::Time now) {
  return impl_->Draft(command, impl_->Advance(now));
}
absl::StatusOr<Submitted> Partition::Submit(const core::Submit& command, absl::Time now) {
  return impl_->Submit(command, impl_->Advance(now));
}
absl::Status Partition::Return(const ReturnItems& command, absl::Time now) {
  return impl_->Return(command, impl_->Advance(now));
}
absl::StatusOr<LeaseExtended> Partition::Extend(const ExtendLease& command, absl::Time now) {
  return impl_->Extend(command, impl_->Advance(now));
}
absl::Status Partition::UpdateWorker(const WorkerView& worker, absl::Time now) {
  return impl_->UpdateWorker(worker, impl_->Advance(now));
}
void Partition::FitComputed(JobIndex job, Fit fit, absl::Time now) {
  impl_->FitComputed(job, std::move(fit), impl_->Advance(now));
}

size_t Partition::open_assignments() const { return impl_->due_.size(); }
const PartitionState& Partition::state() const { return impl_->state_; }
PartitionState& Partition::mutable_state() { return impl_->state_; }

}  // namespace tessera::core
