// Requesters and operators: the life of a job.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/errors.h"
#include "coordinator/core/partition_impl.h"

namespace tessera::core {
namespace {

using absl::StatusCode;

// Indexes are never used again.
constexpr uint32_t kJobsEverMax = std::numeric_limits<uint32_t>::max() - 1;

// Items that come while others are being answered are offered behind these, in the order of intake,
// until they are this share of all: planning a million anew for each batch would take hours.
constexpr double kUnplannedShareMax = 0.1;

// Which of `count` items in a row stands for them all: spread, by the golden ratio, so that no
// pattern in the order of intake is met.
ItemIndex OneOf(uint32_t row, uint32_t count) {
  const uint64_t fraction = row * 0x9e3779b97f4a7c15 >> 32;
  return static_cast<ItemIndex>(fraction * count >> 32);
}

absl::Status JobEndedError() {
  return Error(StatusCode::kFailedPrecondition, "JOB_ENDED", "the job has ended");
}

absl::Status JobClosingError() {
  return Error(StatusCode::kFailedPrecondition, "JOB_CLOSING",
               "the job is closing: it waits for its last leases and takes nothing new");
}

}  // namespace

absl::StatusOr<JobState*> Partition::Impl::Find(JobIndex index) {
  JobState* job = state_.mutable_job(index);
  if (job == nullptr) return Error(StatusCode::kNotFound, "JOB_NOT_FOUND", "there is no such job");
  return job;
}

absl::StatusOr<JobIndex> Partition::Impl::CreateJob(const core::CreateJob& command,
                                                    absl::Time now) {
  if (const auto there = state_.FindJob(command.identity.tenant, command.identity.id)) {
    if (job(*there).head.identity.request_digest == command.identity.request_digest) return *there;
    return Error(StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                 "this request id has created another job; use a new one for a new job")
        .Field("request_id", "was used for a different request");
  }
  const auto own = jobs_by_tenant_.find(command.identity.tenant);
  if (own != jobs_by_tenant_.end() && own->second.size() >= options_.jobs_per_tenant_max) {
    return Error(StatusCode::kResourceExhausted, "JOBS_MAX",
                 absl::StrCat("the tenant has ", own->second.size(),
                              " jobs in the partition that have not ended"));
  }
  size_t running = 0;
  for (const auto& [tenant, jobs] : jobs_by_tenant_) running += jobs.size();
  if (running >= options_.jobs_max || state_.jobs() >= kJobsEverMax) {
    return Error(StatusCode::kResourceExhausted, "JOBS_MAX",
                 absl::StrCat("the partition has ", running, " jobs that have not ended"));
  }
  const size_t bytes = command.identity.document.size();
  uint64_t all_bytes = 0;
  for (const auto& [tenant, documents] : document_bytes_) all_bytes += documents;
  const auto own_documents = document_bytes_.find(command.identity.tenant);
  const uint64_t own_bytes = own_documents == document_bytes_.end() ? 0 : own_documents->second;
  if (own_bytes + bytes > options_.document_bytes_per_tenant_max ||
      all_bytes + bytes > options_.document_bytes_max) {
    return Error(StatusCode::kResourceExhausted, "JOBS_MAX",
                 absl::StrCat("templates and policies of the tenant's jobs in the partition take ",
                              own_bytes, " bytes, and those of all jobs ", all_bytes,
                              "; delete jobs that have ended"));
  }
  document_bytes_[command.identity.tenant] += bytes;
  const JobIndex index(state_.jobs());
  Emit(JobCreated{.job = index,
                  .identity = command.identity,
                  .policy = command.policy,
                  .at = now,
                  .pause_reasons = static_cast<uint8_t>(command.paused ? kPauseRequested : 0)});
  jobs_by_tenant_[command.identity.tenant].insert(index.value());
  runtime(index);  // Whoever walks through the tenant's jobs finds one.
  return index;
}

absl::StatusOr<ItemsAddedReply> Partition::Impl::AddItems(const core::AddItems& command,
                                                          absl::Time now) {
  const absl::StatusOr<JobState*> found = Find(command.job);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  const uint64_t committed = head.committed_offset;
  if (command.offset + command.size <= committed) return ItemsAddedReply{head.items, committed};
  if (command.offset != committed) {
    return Error(StatusCode::kOutOfRange, "OFFSET_MISMATCH",
                 absl::StrCat("the batch starts at ", command.offset, "; the next item is ",
                              committed))
        .Field("offset", "must be the job's committed_offset")
        .Meta("committed_offset", absl::StrCat(committed));
  }
  if (Ended(head.phase)) return JobEndedError();
  if (head.phase == JobPhase::kClosing) return JobClosingError();
  if (head.sealed) {
    return Error(StatusCode::kFailedPrecondition, "JOB_SEALED",
                 "the job is sealed: it takes no items");
  }
  if (head.items + static_cast<uint64_t>(command.fresh) > options_.items_per_job_max) {
    return Error(StatusCode::kResourceExhausted, "ITEMS_MAX",
                 absl::StrCat("a job holds at most ", options_.items_per_job_max, " items"));
  }
  const ItemIndex first = head.items;
  Emit(ItemsAdded{.job = command.job,
                  .first = first,
                  .count = command.fresh,
                  .committed_offset = committed + command.size,
                  .traits = command.traits,
                  .new_strata = command.new_strata,
                  .at = now});
  Runtime& r = runtime(command.job);
  if (!r.order.empty()) {
    for (ItemIndex i = first; i < head.items; ++i) r.order.push_back(i);
  }
  if (head.items - r.planned > head.items * kUnplannedShareMax) r.ordered = false;
  r.refused_lately = false;
  notices_.work_appeared = true;
  return ItemsAddedReply{first, committed + command.size};
}

absl::Status Partition::Impl::SealJob(JobIndex index, absl::Time now) {
  const absl::StatusOr<JobState*> found = Find(index);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  if (head.sealed) return absl::OkStatus();
  if (Ended(head.phase)) return JobEndedError();
  if (head.phase == JobPhase::kClosing) return JobClosingError();
  Emit(JobSealed{.job = index, .at = now});
  if (runtime(index).planned < head.items) runtime(index).ordered = false;
  MoveOn(index, now);
  return absl::OkStatus();
}

void Partition::Impl::SetPause(JobIndex index, uint8_t reasons, absl::Time now) {
  const JobHead& head = job(index).head;
  if (head.pause_reasons == reasons) return;
  Emit(JobPhaseChanged{.job = index,
                       .phase = reasons == 0 ? JobPhase::kRunning : JobPhase::kPaused,
                       .pause_reasons = reasons,
                       .at = now});
  if (reasons == 0) notices_.work_appeared = true;
}

absl::Status Partition::Impl::PauseJob(JobIndex index, absl::Time now) {
  const absl::StatusOr<JobState*> found = Find(index);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  if (Ended(head.phase)) return JobEndedError();
  if (head.phase == JobPhase::kClosing) return JobClosingError();
  SetPause(index, head.pause_reasons | kPauseRequested, now);
  return absl::OkStatus();
}

absl::Status Partition::Impl::ResumeJob(JobIndex index, absl::Time now) {
  const absl::StatusOr<JobState*> found = Find(index);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  if (Ended(head.phase)) return JobEndedError();
  if (head.phase == JobPhase::kClosing) return JobClosingError();
  // What else holds it stays: more money or time ends that by itself.
  SetPause(index, head.pause_reasons & ~kPauseRequested, now);
  MoveOn(index, now);
  return absl::OkStatus();
}

absl::Status Partition::Impl::CloseJob(JobIndex index, bool cancelling, absl::Time now) {
  const absl::StatusOr<JobState*> found = Find(index);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  const JobPhase wanted = cancelling ? JobPhase::kCancelled : JobPhase::kFinalised;
  if (head.phase == wanted) return absl::OkStatus();
  if (Ended(head.phase)) return JobEndedError();
  if (head.phase == JobPhase::kClosing) {
    if (head.cancelling == cancelling) return absl::OkStatus();
    // A job on its way to FINALISED may still be cancelled; what is cancelled stays cancelled.
    if (head.cancelling) return JobClosingError();
  }
  Emit(JobPhaseChanged{
      .job = index, .phase = JobPhase::kClosing, .cancelling = cancelling, .at = now});
  MoveOn(index, now);
  return absl::OkStatus();
}

absl::Status Partition::Impl::DeleteJob(JobIndex index) {
  const absl::StatusOr<JobState*> found = Find(index);
  if (!found.ok()) return found.status();
  if (!(*found)->ended()) {
    return Error(StatusCode::kFailedPrecondition, "JOB_NOT_ENDED",
                 "only a job that is FINALISED or CANCELLED can be deleted");
  }
  const JobIdentity& identity = (*found)->head.identity;
  uint64_t& documents = document_bytes_[identity.tenant];
  documents -= identity.document.size();
  if (documents == 0) document_bytes_.erase(identity.tenant);
  Emit(JobDeleted{.job = index});
  runtimes_[index.value()] = nullptr;
  return absl::OkStatus();
}

absl::Status Partition::Impl::UpdateJob(const core::UpdateJob& command, absl::Time now) {
  const absl::StatusOr<JobState*> found = Find(command.job);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  if (Ended(head.phase)) return JobEndedError();
  if (head.phase == JobPhase::kClosing) return JobClosingError();
  const Micros committed = head.ledger.committed_micros();
  if (command.budget_micros < committed) {
    return Error(StatusCode::kFailedPrecondition, "BUDGET_BELOW_COMMITTED",
                 absl::StrCat("micros reserved, earned or paid already: ", committed))
        .Field("job.policy.budget_micros", "must not be below what is committed already")
        .Meta("committed_micros", absl::StrCat(committed));
  }
  JobPolicy policy = head.policy;
  policy.priority = command.priority;
  policy.budget_micros = command.budget_micros;
  policy.deadline = TruncateTime(command.deadline);
  policy.quality = command.quality;
  const uint8_t reasons = head.pause_reasons;
  uint64_t& documents = document_bytes_[head.identity.tenant];
  documents = documents - head.identity.document.size() + command.document.size();
  const bool judged_anew = policy.quality != head.policy.quality;
  const bool planned_anew = judged_anew || policy.budget_micros != head.policy.budget_micros;
  Emit(JobUpdated{.job = command.job, .document = command.document, .policy = policy, .at = now});
  // Whether they still hold MoveOn finds out.
  SetPause(command.job, reasons & kPauseRequested, now);
  // Items are judged anew by a new target; the sweep under the fit that is there does it.
  if (judged_anew) Refit(command.job);
  if (planned_anew) {  // Budget and quality say how far the money reaches.
    Runtime& r = runtime(command.job);
    r.answers_guess = 0;
    r.ordered = false;
  }
  notices_.work_appeared = true;
  MoveOn(command.job, now);
  return absl::OkStatus();
}

void Partition::Impl::MoveOn(JobIndex index, absl::Time now) {
  JobState* j = state_.mutable_job(index);
  if (j == nullptr || j->ended()) return;
  JobHead& head = j->head;
  Runtime& r = runtime(index);
  if (head.phase != JobPhase::kClosing) {
    if (now >= head.policy.deadline && !(head.pause_reasons & kPauseDeadline)) {
      SetPause(index, head.pause_reasons | kPauseDeadline, now);
    }
    // A rejection, or a fit that opens an item again, frees money or work.
    const std::optional<Micros> minimum = ItemMinimum(*j);
    if ((head.pause_reasons & kPauseBudget) && minimum.has_value() && HasWork(index) &&
        head.ledger.remaining_micros() >= *minimum) {
      SetPause(index, head.pause_reasons & ~kPauseBudget, now);
    }
    MaybeFit(index);
    const bool all_done = head.sealed && head.counts.waiting == 0 && head.counts.in_progress == 0;
    const bool idle =
        head.open_assignments == 0 && !r.fit_asked.has_value() && !r.refit_page.has_value();
    if (all_done && idle) {
      if (LearnsFromAnswers(*j) && FitIsBehind(head)) {
        AskForFit(index);  // The last word: under it some items may turn out not to be done.
      } else if (head.policy.finalise == FinaliseMode::kAutomatic) {
        Emit(JobPhaseChanged{.job = index, .phase = JobPhase::kClosing, .at = now});
      }
    } else if (idle && !all_done && head.phase == JobPhase::kRunning && head.items > 0 &&
               head.counts.waiting + head.counts.in_progress > 0 && !HasWork(index) &&
               minimum.has_value() && head.ledger.remaining_micros() < *minimum) {
      SetPause(index, kPauseBudget, now);
    }
  }
  if (head.phase != JobPhase::kClosing || head.open_assignments > 0 || r.refit_page.has_value())
    return;
  Emit(JobEnded{.job = index,
                .phase = head.cancelling ? JobPhase::kCancelled : JobPhase::kFinalised,
                .at = now});
  r = Runtime();  // Nothing is offered any more: what was derived for that goes.
  auto& jobs = jobs_by_tenant_[head.identity.tenant];
  jobs.erase(index.value());
  if (jobs.empty()) jobs_by_tenant_.erase(head.identity.tenant);
}

absl::Status Partition::Impl::UpdateWorker(const WorkerView& worker, absl::Time now) {
  std::optional<WorkerIndex> index = state_.FindWorker(worker.name);
  if (!index.has_value()) {
    if (state_.workers() >= options_.workers_max) {
      return Error(StatusCode::kResourceExhausted, "WORKERS_MAX", "the registry is full");
    }
    index = WorkerIndex(state_.workers());
    Emit(WorkerSeen{.worker = *index, .name = worker.name});
    worker_names_.insert(worker.name);
  }
  const bool blocked_now = worker.blocked && !state_.worker(*index).blocked;
  Emit(WorkerUpdated{.worker = *index,
                     .skills = worker.skills,
                     .languages = worker.languages,
                     .blocked = worker.blocked,
                     .blocked_reason = worker.blocked_reason});
  notices_.work_appeared = true;
  if (!blocked_now) return absl::OkStatus();
  std::vector<AssignmentId> held;
  for (const auto& [time, id] : due_) {
    const LiveAssignment* a = job(id.job).leases.Find(id.sequence);
    if (a != nullptr && a->worker == *index) held.push_back(id);
  }
  for (const AssignmentId& id : held) {
    Revoke(id, LeaseEndReason::kWorkerBlocked, now);
    MoveOn(id.job, now);
  }
  return absl::OkStatus();
}

void Partition::Impl::StandForAll(JobIndex index, const SplitPolicy& split,
                                  ItemsToPlan& items) const {
  const std::vector<StratumItems>& open = runtimes_[index.value()]->by_stratum;
  const std::vector<BegunItems> seen = std::exchange(items.begun, {});
  for (size_t own = 0; own < open.size(); ++own) {
    const uint16_t stratum = PlannedStratum(split, {.stratum = static_cast<uint16_t>(own)});
    if (items.sampled_from.size() <= stratum) items.sampled_from.resize(stratum + size_t{1});
    WaitingItems& waiting = items.sampled_from[stratum];
    waiting.items += open[own].waiting.items;
    waiting.units += open[own].waiting.units;
    waiting.importance += open[own].waiting.importance;
    if (items.begun.size() <= stratum) items.begun.resize(stratum + size_t{1});
    items.begun[stratum].items += open[own].begun;
    items.begun[stratum].units += open[own].begun_units;
  }
  for (size_t stratum = 0; stratum < items.begun.size(); ++stratum) {
    // Where none was seen there are few; each wants an answer.
    const BegunItems sample = stratum < seen.size() && seen[stratum].items > 0
                                  ? seen[stratum]
                                  : BegunItems{.items = 1, .answers = 1};
    BegunItems& all = items.begun[stratum];
    all.answers =
        static_cast<double>(all.items) * sample.answers / static_cast<double>(sample.items);
  }
  const bool plain = state_.job(index)->items.AllTraits().empty();
  std::vector<bool> met(items.sampled_from.size());
  if (plain && !items.waiting.empty()) met[0] = true;
  for (const ItemTraits& t : items.traits) met[PlannedStratum(split, t)] = true;
  for (size_t stratum = 0; stratum < met.size(); ++stratum) {
    const WaitingItems& all = items.sampled_from[stratum];
    if (all.items == 0 || met[stratum]) continue;
    // One like their mean stands for the few of a stratum none of which was seen.
    items.waiting.push_back(0);
    const auto count = static_cast<double>(all.items);
    if (plain) continue;
    items.traits.push_back({.length = static_cast<float>(all.units / count),
                            .stratum = static_cast<uint16_t>(stratum),
                            .importance = static_cast<float>(all.importance / count)});
  }
}

absl::StatusOr<SplitPlan> Partition::Impl::PlanJob(JobIndex index, Micros otherwise,
                                                   bool with_order,
                                                   const JobPolicy* instead) const {
  const JobState* job = state_.job(index);
  if (job == nullptr) return Error(StatusCode::kNotFound, "JOB_NOT_FOUND", "there is no such job");
  if (job->ended()) return JobEndedError();
  const JobPolicy& policy = instead != nullptr ? *instead : job->head.policy;
  const auto classes = static_cast<uint32_t>(job->head.identity.classes.size());
  double per_item = GuessAnswersPerItem(policy.quality, classes);
  if (instead == nullptr) per_item = LearntAnswersPerItem(index).value_or(per_item);
  // What waits, under its own indexes, is put into an order; what was begun is finished.
  ItemsToPlan items;
  const bool plain = job->items.AllTraits().empty();
  const uint32_t size = job->items.size();
  const uint32_t max = std::max(1u, options_.plan_items_max);
  const uint32_t step = with_order ? 1 : std::max(1u, (size + max - 1) / max);
  for (ItemIndex first = 0; first < size; first += step) {
    const ItemIndex i = first + OneOf(first / step, std::min(step, size - first));
    const ItemState state = job->items.State(i);
    if (state == ItemState::kWaiting) {
      items.waiting.push_back(i);
      if (!plain) items.traits.push_back(job->items.Traits(i));
    } else if (state == ItemState::kInProgress) {
      const ItemRecord item = job->items.Get(i);
      const uint16_t stratum = PlannedStratum(policy.split, job->items.Traits(i));
      if (items.begun.size() <= stratum) items.begun.resize(stratum + size_t{1});
      BegunItems& begun = items.begun[stratum];
      ++begun.items;
      begun.units += job->items.Traits(i).length;
      // One that nobody works on wants another answer, however many it has.
      begun.answers +=
          std::max(item.Leased() == 0 ? 1.0 : 0.0, per_item - item.Counted() - item.Leased());
    }
  }
  if (step > 1) StandForAll(index, policy.split, items);
  const bool learns = policy.split.strategy == SplitStrategy::kAdaptive;
  SplitPlan plan = PlanSplit(policy.split, policy.quality,
                             {.items = items.waiting.size(),
                              .traits = items.traits,
                              .strata_names = job->head.strata_names,
                              .price_micros = LeastPrice(policy).value_or(otherwise),
                              .answers_per_item = per_item,
                              .budget_micros = std::max<Micros>(
                                  0, policy.budget_micros - job->head.ledger.committed_micros()),
                              .cost = learns ? LearntCost(index) : policy.split.cost,
                              .begun = items.begun,
                              .sampled_from = items.sampled_from});
  if (step > 1 || (plan.order.empty() && items.waiting.size() == size)) return plan;
  if (plan.order.empty()) {
    plan.order = std::move(items.waiting);
  } else {
    for (ItemIndex& i : plan.order) i = items.waiting[i];
  }
  return plan;
}

// --- The public face -----------------------------------------------------------------------------

absl::Status Partition::PutPool(const Pool& pool) {
  impl_->Emit(PoolPut{.pool = pool});
  impl_->prices_seen_.erase(pool.id);
  impl_->notices_.work_appeared = true;
  return absl::OkStatus();
}

absl::Status Partition::DeletePool(absl::string_view id) {
  if (FindPool(id) == nullptr) {
    return Error(StatusCode::kNotFound, "POOL_NOT_FOUND", absl::StrCat("there is no pool ", id));
  }
  impl_->Emit(PoolDeleted{.id = std::string(id)});
  impl_->SeePool(id, nullptr);
  return absl::OkStatus();
}

const Pool* Partition::FindPool(absl::string_view id) const {
  const auto& pools = impl_->state_.pools();
  const auto found = pools.find(std::string(id));
  return found == pools.end() ? nullptr : &found->second;
}

std::vector<const Pool*> Partition::Pools() const {
  std::vector<const Pool*> pools;
  for (const auto& [id, pool] : impl_->state_.pools()) pools.push_back(&pool);
  return pools;
}

}  // namespace tessera::core
