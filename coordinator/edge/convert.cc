// From the core to the contract: jobs, results, stories, plans, pools, workers.
#include "coordinator/edge/convert.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "coordinator/core/money.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

// Unspecified: no reason to name.
v1::StallReason StallToProto(core::StallReason stall) {
  switch (stall) {
    case core::StallReason::kNone:
      return v1::STALL_REASON_UNSPECIFIED;
    case core::StallReason::kPaused:
    case core::StallReason::kPastDeadline:
      return v1::STALL_REASON_PAUSED;
    case core::StallReason::kOutOfBudget:
      return v1::STALL_REASON_OUT_OF_BUDGET;
    case core::StallReason::kNotStarted:
      return v1::STALL_REASON_NOT_STARTED;
    case core::StallReason::kNoItems:
      return v1::STALL_REASON_NO_ITEMS;
    case core::StallReason::kWaitingForAnswers:
      return v1::STALL_REASON_WAITING_FOR_ANSWERS;
    case core::StallReason::kNoEligibleWorker:
      return v1::STALL_REASON_NO_ELIGIBLE_WORKER;
    case core::StallReason::kRateLimited:
      return v1::STALL_REASON_RATE_LIMITED;
    case core::StallReason::kWaitingForFinalise:
      return v1::STALL_REASON_WAITING_FOR_FINALISE;
  }
  return v1::STALL_REASON_UNSPECIFIED;
}

v1::SplitStrategy StrategyToProto(core::SplitStrategy strategy) {
  switch (strategy) {
    case core::SplitStrategy::kUniform:
      return v1::SPLIT_STRATEGY_UNIFORM;
    case core::SplitStrategy::kStratified:
      return v1::SPLIT_STRATEGY_STRATIFIED;
    case core::SplitStrategy::kAdaptive:
      return v1::SPLIT_STRATEGY_ADAPTIVE;
  }
  return v1::SPLIT_STRATEGY_UNSPECIFIED;
}

v1::StopReason StopReasonOf(const core::ItemView& item, const core::JobHead& job) {
  const core::QualityPolicy& quality = job.policy.quality;
  switch (item.state) {
    case core::ItemState::kWaiting:
    case core::ItemState::kInProgress:
      return v1::STOP_REASON_UNSPECIFIED;
    case core::ItemState::kResolved:
      // With a fixed number of answers it is the number that stops the buying.
      return item.answers >= quality.answers_max && (quality.answers_min == quality.answers_max ||
                                                     item.confidence < quality.target_confidence)
                 ? v1::STOP_REASON_ANSWERS_MAX
                 : v1::STOP_REASON_TARGET_REACHED;
    case core::ItemState::kUnresolved:
      if (job.closed_paused & core::kPauseBudget) return v1::STOP_REASON_OUT_OF_BUDGET;
      if (job.closed_paused & core::kPauseDeadline) return v1::STOP_REASON_PAST_DEADLINE;
      return v1::STOP_REASON_FINALISED;
    case core::ItemState::kCancelled:
      return v1::STOP_REASON_CANCELLED;
  }
  return v1::STOP_REASON_UNSPECIFIED;
}

template <typename Owner>
void SetTime(absl::Time time, Owner* owner, google::protobuf::Timestamp* (Owner::*field)()) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return;
  *(owner->*field)() = TimeToProto(time);
}

void AddProbabilities(const JobWords& words, const std::vector<double>& values,
                      google::protobuf::RepeatedPtrField<v1::ClassProbability>* out) {
  for (size_t c = 0; c < values.size() && c < words.classes.size(); ++c) {
    v1::ClassProbability& one = *out->Add();
    one.set_value(words.classes[c]);
    one.set_probability(values[c]);
  }
}

v1::JobCounts CountsToProto(const core::JobView& view, const core::JobState& state) {
  v1::JobCounts counts;
  counts.set_items(static_cast<int64_t>(view.counts.total()));
  counts.set_items_waiting(static_cast<int64_t>(view.counts.waiting));
  counts.set_items_in_progress(static_cast<int64_t>(view.counts.in_progress));
  counts.set_items_resolved(static_cast<int64_t>(view.counts.resolved));
  counts.set_items_unresolved(static_cast<int64_t>(view.counts.unresolved));
  counts.set_items_cancelled(static_cast<int64_t>(view.counts.cancelled));
  counts.set_answers(static_cast<int64_t>(view.answers + view.answers_rejected));
  counts.set_answers_late(static_cast<int64_t>(view.answers_late));
  counts.set_assignments_open(static_cast<int64_t>(view.open_assignments));
  counts.set_assignments(state.head.next_sequence);
  int64_t workers = 0;
  for (const auto& [page, tallies] : state.tallies) {
    for (const auto& [worker, tally] : tallies.by_worker) workers += tally.answered > 0 ? 1 : 0;
  }
  counts.set_workers(workers);
  return counts;
}

}  // namespace

absl::Status ToContract(const absl::Status& status) {
  if (status.ok()) return status;
  const std::string reason = GetDetails(status).reason;
  const auto as = [&](StatusCode code) {
    return WithDetails(absl::Status(code, status.message()), GetDetails(status));
  };
  if (reason == "WORKER_BLOCKED") return as(StatusCode::kFailedPrecondition);
  if (reason == "ITEM_NOT_IN_ASSIGNMENT") return as(StatusCode::kNotFound);
  return status;
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Timestamp TimeToProto(absl::Time time) {
  google::protobuf::Timestamp out;
  const int64_t seconds = absl::ToUnixSeconds(time);
  out.set_seconds(seconds);
  out.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return out;
}

google::protobuf::Duration DurationToProto(absl::Duration duration) {
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return out;
}

std::string SerialiseCanonical(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

JobWords WordsOf(const core::JobIdentity& identity) {
  JobWords words{.name = JobName{identity.tenant, identity.id}.ToString(),
                 .classes = identity.classes};
  v1::Job document;
  if (!document.ParseFromString(identity.document)) return words;
  if (document.template_().fields_size() > 0) words.field = document.template_().fields(0).name();
  words.template_version = document.template_().version();
  words.currency_code = document.policy().currency_code();
  return words;
}

v1::Answer ChoiceAnswer(const JobWords& words, core::Label label) {
  v1::Answer answer;
  if (label >= words.classes.size()) return answer;
  v1::FieldAnswer& field = *answer.add_fields();
  field.set_field(words.field);
  field.set_choice(words.classes[label]);
  return answer;
}

v1::JobState StateToProto(core::JobPhase phase) {
  switch (phase) {
    case core::JobPhase::kRunning:
      return v1::JOB_STATE_RUNNING;
    case core::JobPhase::kPaused:
      return v1::JOB_STATE_PAUSED;
    case core::JobPhase::kClosing:
      return v1::JOB_STATE_CLOSING;
    case core::JobPhase::kFinalised:
      return v1::JOB_STATE_FINALISED;
    case core::JobPhase::kCancelled:
      return v1::JOB_STATE_CANCELLED;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

v1::ItemState StateToProto(core::ItemState state) {
  switch (state) {
    case core::ItemState::kWaiting:
      return v1::ITEM_STATE_WAITING;
    case core::ItemState::kInProgress:
      return v1::ITEM_STATE_IN_PROGRESS;
    case core::ItemState::kResolved:
      return v1::ITEM_STATE_RESOLVED;
    case core::ItemState::kUnresolved:
      return v1::ITEM_STATE_UNRESOLVED;
    case core::ItemState::kCancelled:
      return v1::ITEM_STATE_CANCELLED;
  }
  return v1::ITEM_STATE_UNSPECIFIED;
}

v1::Ledger LedgerToProto(const core::Ledger& ledger, absl::string_view currency_code) {
  v1::Ledger out;
  out.set_currency_code(std::string(currency_code));
  out.set_budget_micros(ledger.budget_micros);
  out.set_reserved_micros(ledger.reserved_micros);
  out.set_earned_micros(ledger.earned_micros);
  out.set_approved_micros(ledger.approved_micros);
  out.set_rejected_micros(ledger.rejected_micros);
  out.set_bonus_micros(ledger.bonus_micros);
  out.set_remaining_micros(ledger.remaining_micros());
  return out;
}

v1::Job JobToProto(const core::JobView& view, const core::JobState& state) {
  v1::Job job;
  job.ParseFromString(view.identity.document);  // Ours: written by DocumentOf.
  job.set_name(JobName{view.identity.tenant, view.identity.id}.ToString());
  job.set_state(StateToProto(view.phase));
  if (view.phase == core::JobPhase::kPaused) {
    const auto reasons = view.pause_reasons;
    if (reasons & core::kPauseRequested) job.add_pause_reasons(v1::PAUSE_REASON_REQUESTED);
    if (reasons & core::kPauseBudget) job.add_pause_reasons(v1::PAUSE_REASON_OUT_OF_BUDGET);
    if (reasons & core::kPauseDeadline) job.add_pause_reasons(v1::PAUSE_REASON_PAST_DEADLINE);
  }
  if (view.phase == core::JobPhase::kClosing) {
    job.set_closing_to(view.cancelling ? v1::JOB_STATE_CANCELLED : v1::JOB_STATE_FINALISED);
  }
  job.set_sealed(view.sealed);
  SetTime(view.created_at, &job, &v1::Job::mutable_create_time);
  SetTime(view.updated_at, &job, &v1::Job::mutable_update_time);
  SetTime(view.sealed_at, &job, &v1::Job::mutable_seal_time);
  SetTime(view.ended_at, &job, &v1::Job::mutable_end_time);
  *job.mutable_counts() = CountsToProto(view, state);
  *job.mutable_ledger() = LedgerToProto(view.ledger, view.policy.currency_code);
  job.set_committed_offset(static_cast<int64_t>(view.committed_offset));
  const v1::StallReason stall = StallToProto(view.stall);
  if (stall != v1::STALL_REASON_UNSPECIFIED && !core::Ended(view.phase)) job.add_stall(stall);
  job.set_fit(view.fit);
  return job;
}

v1::JobTemplate TemplateToProto(const core::JobIdentity& identity) {
  v1::Job document;
  document.ParseFromString(identity.document);
  v1::JobTemplate out;
  out.set_job(JobName{identity.tenant, identity.id}.ToString());
  out.set_template_version(document.template_().version());
  *out.mutable_template_() = std::move(*document.mutable_template_());
  out.set_currency_code(document.policy().currency_code());
  out.set_display_name(document.display_name());
  return out;
}

v1::Result ResultToProto(const core::ItemView& item, const core::JobHead& job,
                         const JobWords& words) {
  v1::Result out;
  out.set_state(StateToProto(item.state));
  out.set_finality(core::Ended(job.phase) ? v1::FINALITY_FINAL : v1::FINALITY_PROVISIONAL);
  out.set_stop_reason(StopReasonOf(item, job));
  if (item.value != core::kNoLabel) *out.mutable_value() = ChoiceAnswer(words, item.value);
  out.set_confidence(item.confidence);
  out.set_revision(item.revision);
  out.set_fit(item.fit);
  out.set_answers(static_cast<int32_t>(item.answers));
  if (item.majority != core::kNoLabel) *out.mutable_majority() = ChoiceAnswer(words, item.majority);
  out.set_cost_micros(item.cost_micros);
  out.set_is_gold(item.traits.gold != core::kNoLabel);
  return out;
}

v1::SplitPlan PlanToProto(const core::SplitPlan& plan, const core::JobPolicy& policy,
                          const core::CostModel& cost, core::Micros price_micros,
                          core::Micros remaining_micros) {
  v1::SplitPlan out;
  out.set_strategy(StrategyToProto(policy.split.strategy));
  double full_cost = 0;
  int64_t items = 0;
  int64_t microtasks = 0;
  for (const core::Stratum& stratum : plan.strata) {
    v1::PlannedStratum& one = *out.add_strata();
    const uint64_t all = stratum.items + stratum.items_begun;
    const uint64_t admitted = stratum.items_admitted + stratum.items_begun;
    const auto tasks = static_cast<int64_t>(std::ceil(stratum.sittings));
    one.set_stratum(stratum.name.empty() ? "default" : stratum.name);
    one.set_items(static_cast<int64_t>(all));
    one.set_items_admitted(static_cast<int64_t>(admitted));
    one.set_items_per_microtask(static_cast<int32_t>(stratum.bundle_items));
    one.set_expected_microtasks(tasks);
    one.set_expected_answers_per_item(
        admitted > 0 ? stratum.answers_expected / static_cast<double>(admitted) : 0);
    one.set_expected_cost_micros(stratum.cost_micros);
    one.set_expected_seconds_per_microtask(
        stratum.sittings > 0 ? stratum.worker_seconds / stratum.sittings : 0);
    one.set_price_per_item_micros(price_micros);
    items += static_cast<int64_t>(all);
    microtasks += tasks;
    // What is not admitted is expected to need as many answers as what is.
    full_cost +=
        (stratum.answers_expected + static_cast<double>(all - admitted) * plan.answers_per_item) *
        static_cast<double>(price_micros);
  }
  out.set_items(items);
  out.set_items_admitted(static_cast<int64_t>(plan.items_admitted + plan.items_begun));
  out.set_expected_answers(plan.answers_expected);
  out.set_expected_cost_micros(plan.cost_micros);
  out.set_full_cost_micros(core::ToMicros(std::round(full_cost)));
  out.set_remaining_micros(remaining_micros);
  out.set_budget_suffices(plan.budget_suffices);
  out.set_expected_worker_seconds(plan.worker_seconds);
  out.set_expected_microtasks(microtasks);
  out.set_startup_seconds(cost.startup_seconds);
  out.set_unit_seconds(cost.seconds_per_unit);
  out.set_fatigue_seconds(cost.fatigue_seconds);
  if (policy.split.random_order) out.set_seed(static_cast<int64_t>(policy.split.seed));
  out.set_currency_code(policy.currency_code);
  return out;
}

v1::ItemExplanation ExplanationToProto(const core::ItemStory& story, const core::JobState& job,
                                       const JobWords& words, const IdMaker& ids,
                                       uint32_t partition) {
  v1::ItemExplanation out;
  *out.mutable_result() = ResultToProto(story.item, job.head, words);
  for (const core::ItemEntryView& entry : story.entries) {
    const std::string assignment = ids.Assignment(partition, entry.assignment);
    const core::LiveAssignment* live = job.leases.Find(entry.assignment.sequence);
    if (entry.pending) {
      v1::OpenAssignment& open = *out.add_open_assignments();
      open.set_assignment(assignment);
      open.set_worker(entry.worker);
      open.set_price_micros(entry.price_micros);
      if (live == nullptr) continue;
      open.set_pool(absl::StrCat("pools/", live->pool()));
      *open.mutable_lease_time() = TimeToProto(live->granted_at);
      *open.mutable_expire_time() = TimeToProto(live->deadline);
      *open.mutable_late_until_time() = TimeToProto(live->late_until);
      const core::LeasedItem* leased = live->Find(story.item.item);
      open.set_has_draft(leased != nullptr && leased->draft != core::kNoLabel);
      continue;
    }
    if (entry.label == core::kNoLabel) continue;  // Given back, or missed.
    v1::ExplainedAnswer& answer = *out.add_answers();
    answer.set_assignment(assignment);
    answer.set_worker(entry.worker);
    if (live != nullptr) answer.set_pool(absl::StrCat("pools/", live->pool()));
    *answer.mutable_answer() = ChoiceAnswer(words, entry.label);
    // One that was rejected after the job's end counts: the results are final.
    answer.set_status(entry.counted    ? v1::ANSWER_STATUS_COUNTED
                      : entry.rejected ? v1::ANSWER_STATUS_REJECTED
                                       : v1::ANSWER_STATUS_AFTER_END);
    answer.mutable_log_weights()->Add(entry.log_likelihood.begin(), entry.log_likelihood.end());
    answer.set_worker_accuracy(entry.accuracy);
    answer.set_price_micros(entry.price_micros);
    answer.set_payment(entry.rejected   ? v1::PAYMENT_STATUS_REJECTED
                       : entry.approved ? v1::PAYMENT_STATUS_APPROVED
                                        : v1::PAYMENT_STATUS_EARNED);
    answer.set_late(entry.late);
    answer.set_template_version(words.template_version);
  }
  std::vector<double> prior;
  for (const double log : story.log_prior) prior.push_back(std::exp(log));
  AddProbabilities(words, prior, out.mutable_prior());
  AddProbabilities(words, story.posterior, out.mutable_posterior());
  return out;
}

v1::Pool PoolToProto(const core::Pool& pool) {
  v1::Pool out;
  out.set_name(absl::StrCat("pools/", pool.id));
  out.set_display_name(pool.display_name);
  out.mutable_skills()->Add(pool.skills.begin(), pool.skills.end());
  out.mutable_languages()->Add(pool.languages.begin(), pool.languages.end());
  out.set_price_per_item_micros(pool.price_micros);
  for (const core::TenantWeight& w : pool.tenant_weights) {
    (*out.mutable_tenant_weights())[absl::StrCat("tenants/", w.tenant)] = w.weight;
  }
  return out;
}

v1::Worker WorkerToProto(const core::WorkerView& worker) {
  v1::Worker out;
  out.set_name(worker.name);
  out.mutable_skills()->Add(worker.skills.begin(), worker.skills.end());
  out.mutable_languages()->Add(worker.languages.begin(), worker.languages.end());
  out.set_blocked(worker.blocked);
  out.set_blocked_reason(worker.blocked_reason);
  out.set_answers(static_cast<int64_t>(worker.answers));
  if (worker.answers > 0 && worker.active_seconds > 0) {
    *out.mutable_duration_per_item() =
        DurationToProto(absl::Seconds(worker.active_seconds / static_cast<double>(worker.answers)));
  }
  return out;
}

v1::Partition PartitionToProto(uint32_t partition, const PartitionHost::Status& status,
                               bool accepting) {
  v1::Partition out;
  out.set_name(absl::StrCat("partitions/", PartitionId(partition)));
  switch (status.state) {
    case HostState::kRecovering:
      out.set_state(v1::PARTITION_STATE_RECOVERING);
      break;
    case HostState::kServing:
      out.set_state(accepting ? v1::PARTITION_STATE_SERVING : v1::PARTITION_STATE_WRITES_SUSPENDED);
      break;
    case HostState::kFailed:
      out.set_state(v1::PARTITION_STATE_UNOWNED);
      break;
  }
  SetTime(status.committed_at, &out, &v1::Partition::mutable_commit_time);
  out.set_epoch(status.head.epoch);
  out.set_head_position(status.head.ToString());
  out.set_journal_records(static_cast<int64_t>(status.records));
  out.set_journal_bytes(static_cast<int64_t>(status.bytes));
  out.set_page_bytes(static_cast<int64_t>(status.stored_bytes));
  out.set_recovery_position(status.trimmed_below.ToString());
  return out;
}

}  // namespace tessera::edge
