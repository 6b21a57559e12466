// Reads: a job, an item, an item's story, a worker.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/errors.h"
#include "coordinator/core/partition_impl.h"

namespace tessera::core {
namespace {

// Who waits for work is asked for at least every five seconds (Broker::kRetryInterval).
constexpr absl::Duration kNobodyAsksAfter = absl::Seconds(12);

}  // namespace

StallReason Partition::Impl::Stall(JobIndex index) const {
  const JobState& j = *state_.job(index);
  const JobHead& head = j.head;
  if (head.pause_reasons & kPauseBudget) return StallReason::kOutOfBudget;
  if (head.pause_reasons & kPauseDeadline) return StallReason::kPastDeadline;
  if (head.phase == JobPhase::kPaused) return StallReason::kPaused;
  if (head.phase != JobPhase::kRunning) return StallReason::kNone;
  if (now_ < head.policy.start_time) return StallReason::kNotStarted;
  if (head.items == 0) return StallReason::kNoItems;
  const Runtime& r = *runtimes_[index.value()];
  if (head.counts.waiting + head.counts.in_progress == 0) {
    return head.sealed ? head.policy.finalise == FinaliseMode::kManual
                             ? StallReason::kWaitingForFinalise
                             : StallReason::kNone
                       : StallReason::kNoItems;
  }
  const JobPolicy& policy = head.policy;
  const bool at_open_max =
      policy.assignments_open_max > 0 && head.open_assignments >= policy.assignments_open_max;
  const bool at_rate =
      policy.assignments_per_second_max > 0 && r.rate_at != absl::InfinitePast() &&
      r.rate_tokens + policy.assignments_per_second_max * absl::ToDoubleSeconds(now_ - r.rate_at) <
          1;
  if (at_open_max || at_rate) return StallReason::kRateLimited;
  if (!HasWork(index)) {
    if (head.open_assignments > 0) return StallReason::kWaitingForAnswers;
    // Where it is not the money, every item in progress has been through so many hands that nobody
    // is asked any more.
    const bool spent = head.ledger.remaining_micros() < ItemMinimum(j).value_or(0);
    return spent || r.refit_page.has_value() ? StallReason::kNone : StallReason::kNoEligibleWorker;
  }
  // While somebody is at work answers are being bought, even where the next one who asked may not;
  // and with nobody who asks for more, these are all that is to be expected.
  const bool asked = now_ - r.asked_at < kNobodyAsksAfter;
  if (head.open_assignments > 0)
    return asked ? StallReason::kNone : StallReason::kWaitingForAnswers;
  return r.refused_lately || !asked ? StallReason::kNoEligibleWorker : StallReason::kNone;
}

JobView Partition::Impl::View(JobIndex index) const {
  const JobState& j = *state_.job(index);
  const JobHead& head = j.head;
  return JobView{.job = index,
                 .identity = head.identity,
                 .policy = head.policy,
                 .phase = head.phase,
                 .pause_reasons = head.pause_reasons,
                 .cancelling = head.cancelling,
                 .stall = Stall(index),
                 .sealed = head.sealed,
                 .created_at = head.created_at,
                 .updated_at = head.updated_at,
                 .sealed_at = head.sealed_at,
                 .ended_at = head.ended_at,
                 .committed_offset = head.committed_offset,
                 .counts = head.counts,
                 .answers = head.answers,
                 .answers_rejected = head.answers_rejected,
                 .answers_late = head.answers_late,
                 .open_assignments = head.open_assignments,
                 .ledger = head.ledger,
                 .revision = head.revision,
                 .fit = head.fit,
                 .strata_names = head.strata_names,
                 .cost = LearntCost(index)};
}

ItemView Partition::Impl::ViewItem(JobIndex index, ItemIndex i) const {
  const JobState& j = *state_.job(index);
  const ItemRecord item = j.items.Get(i);
  ItemView view{.item = i,
                .state = j.EffectiveState(item.state),
                .value = item.value,
                .confidence = item.confidence,
                .fit = item.fit,
                .revision = item.revision,
                .answers = 0,
                .majority = kNoLabel,
                .cost_micros = 0,
                .traits = j.items.Traits(i)};
  const Votes votes = CountedVotes(item.entries);
  for (const ItemEntry& e : item.entries) {
    if (e.counted() && !(e.flags & ItemEntry::kUnpaid)) view.cost_micros += e.price_micros();
  }
  view.answers = static_cast<uint32_t>(votes.size());
  view.majority = Majority(static_cast<uint16_t>(j.head.identity.classes.size()), votes);
  return view;
}

ItemStory Partition::Impl::Explain(JobIndex index, ItemIndex i) const {
  const JobState& j = *state_.job(index);
  ItemStory story{.item = ViewItem(index, i), .log_prior = {}, .posterior = {}, .entries = {}};
  const ItemRecord item = j.items.Get(i);
  const Fit& fit = FitOf(j, item.fit);
  const auto classes = static_cast<uint16_t>(j.head.identity.classes.size());
  for (const float p : fit.log_prior) story.log_prior.push_back(p);
  for (const ItemEntry& e : item.entries) {
    ItemEntryView view{
        .assignment = {index, e.sequence},
        .worker = state_.worker(e.worker).name,
        .price_micros = e.price_micros(),
        .label = e.label,
        .pending = e.status == ItemEntry::kLeased,
        .counted = e.counted(),
        .late = (e.flags & ItemEntry::kLate) != 0,
        .approved = (e.flags & ItemEntry::kApproved) != 0,
        .rejected = e.status == ItemEntry::kRejected || (e.flags & ItemEntry::kUnpaid) != 0,
        .accuracy = Accuracy(fit, e.worker),
        .log_likelihood = {}};
    if (e.label != kNoLabel) {
      for (Label truth = 0; truth < classes; ++truth) {
        view.log_likelihood.push_back(LogConfusion(fit, e.worker, truth, e.label));
      }
    }
    story.entries.push_back(std::move(view));
  }
  story.posterior = Posterior(fit, CountedVotes(item.entries));
  return story;
}

std::vector<WorkerView> Partition::Impl::ViewWorkers(absl::Span<const WorkerIndex> workers) const {
  std::vector<WorkerView> views;
  std::map<WorkerIndex, size_t> places;
  for (const WorkerIndex worker : workers) {
    const WorkerRecord& record = state_.worker(worker);
    places[worker] = views.size();
    views.push_back({.worker = worker,
                     .name = record.name,
                     .skills = record.skills,
                     .languages = record.languages,
                     .blocked = record.blocked,
                     .blocked_reason = record.blocked_reason});
  }
  for (uint32_t j = 0; j < state_.jobs(); ++j) {
    const JobState* job = state_.job(JobIndex(j));
    if (job == nullptr) continue;
    job->ForEachTally(places, [&](size_t place, const Tally& tally) {
      views[place].answers += tally.answered;
      views[place].active_seconds += tally.active_seconds;
    });
  }
  return views;
}

std::vector<Agreement> Partition::Impl::Agreements(absl::Span<const std::string> workers,
                                                   size_t items_max) const {
  std::vector<Agreement> agreements(workers.size());
  absl::flat_hash_map<uint32_t, Agreement*> by_index;
  for (size_t i = 0; i < workers.size(); ++i) {
    if (const auto index = state_.FindWorker(workers[i])) by_index[index->value()] = &agreements[i];
  }
  std::vector<const JobState*> jobs;
  uint64_t items = 0;
  for (uint32_t j = 0; j < state_.jobs(); ++j) {
    const JobState* job = state_.job(JobIndex(j));
    if (job == nullptr || std::none_of(by_index.begin(), by_index.end(), [&](const auto& worker) {
          const Tally* tally = job->FindTally(WorkerIndex(worker.first));
          return tally != nullptr && tally->answered > 0;
        })) {
      continue;
    }
    jobs.push_back(job);
    items += job->items.size();
  }
  const uint64_t step = std::max<uint64_t>(1, items / std::max<size_t>(1, items_max));
  uint64_t next = 0;  // Item to be looked at, counted over all jobs.
  uint64_t before = 0;
  for (const JobState* job : jobs) {
    for (; next < before + job->items.size(); next += step) {
      const ItemRecord item = job->items.Get(static_cast<ItemIndex>(next - before));
      if (item.Counted() < 2) continue;
      for (const ItemEntry& e : item.entries) {
        if (!e.counted()) continue;
        const auto found = by_index.find(e.worker.value());
        if (found == by_index.end()) continue;
        found->second->compared += static_cast<double>(step);
        if (e.label == item.value) found->second->agreed += static_cast<double>(step);
      }
    }
    before += job->items.size();
  }
  return agreements;
}

// --- The public face -----------------------------------------------------------------------------

absl::StatusOr<JobIndex> Partition::FindJob(absl::string_view tenant, absl::string_view id) const {
  const std::optional<JobIndex> found = impl_->state_.FindJob(tenant, id);
  if (found.has_value()) return *found;
  return Error(absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
               absl::StrCat("there is no job tenants/", tenant, "/jobs/", id));
}

absl::StatusOr<WorkerView> Partition::FindWorker(absl::string_view name) const {
  const std::optional<WorkerIndex> found = impl_->state_.FindWorker(name);
  if (found.has_value()) return impl_->ViewWorkers({*found}).front();
  return Error(absl::StatusCode::kNotFound, "WORKER_NOT_FOUND",
               absl::StrCat("nobody has seen ", name));
}

std::vector<Agreement> Partition::Agreements(absl::Span<const std::string> workers,
                                             size_t items_max) const {
  return impl_->Agreements(workers, items_max);
}

std::vector<WorkerView> Partition::Workers(absl::string_view after, size_t max) const {
  std::vector<WorkerIndex> workers;
  for (auto at = impl_->worker_names_.upper_bound(std::string(after));
       at != impl_->worker_names_.end() && workers.size() < max; ++at) {
    workers.push_back(*impl_->state_.FindWorker(*at));
  }
  return impl_->ViewWorkers(workers);
}

absl::StatusOr<JobView> Partition::Job(JobIndex job) const {
  if (impl_->state_.job(job) == nullptr) {
    return Error(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", "there is no such job");
  }
  return impl_->View(job);
}

std::vector<JobIndex> Partition::Jobs(absl::string_view tenant, std::optional<JobIndex> after,
                                      size_t max) const {
  std::vector<JobIndex> jobs;
  for (uint32_t j = after.has_value() ? after->value() + 1 : 0; j < impl_->state_.jobs(); ++j) {
    if (jobs.size() >= max) break;
    const JobState* job = impl_->state_.job(JobIndex(j));
    if (job == nullptr) continue;
    if (tenant.empty() || job->head.identity.tenant == tenant) jobs.push_back(JobIndex(j));
  }
  return jobs;
}

ItemView Partition::Item(JobIndex job, ItemIndex item) const { return impl_->ViewItem(job, item); }
ItemStory Partition::Explain(JobIndex job, ItemIndex item) const {
  return impl_->Explain(job, item);
}

std::vector<ItemView> Partition::Revisions(JobIndex job, uint32_t after, size_t max) const {
  std::vector<ItemView> views;
  for (const ItemIndex item : impl_->state_.job(job)->items.RevisedAfter(after, max)) {
    views.push_back(impl_->ViewItem(job, item));
  }
  return views;
}

}  // namespace tessera::core
