#include "coordinator/service/validate_jobs.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/service/validate_policy.h"
#include "coordinator/service/validate_template.h"
#include "coordinator/service/validate_values.h"

namespace tessera::service {
namespace {

// For requests that hold a job's name and nothing else that could be wrong.
absl::Status ValidateJobName(absl::string_view name, absl::string_view field) {
  Violations violations;
  CheckJobName(name, FieldPath(field), violations);
  return violations.ToStatus();
}

void CheckStrata(const v1::JobDraft& draft, const FieldPath& path, Violations& violations) {
  const FieldPath strata = path.Sub("strata");
  if (draft.strata().empty()) violations.Required(strata);
  if (draft.strata_size() > 256) {
    violations.OutOfLimits(strata, "must have at most 256 entries");
    return;
  }
  absl::flat_hash_set<absl::string_view> seen;
  for (int i = 0; i < draft.strata_size(); ++i) {
    const v1::StratumStatistics& stratum = draft.strata(i);
    const FieldPath at = strata.At(i);
    if (!stratum.stratum().empty()) CheckId(stratum.stratum(), at.Sub("stratum"), violations);
    const absl::string_view name =
        stratum.stratum().empty() ? absl::string_view("default") : stratum.stratum();
    if (!seen.insert(name).second) violations.Duplicated(at.Sub("stratum"), "is there twice");
    CheckRange(stratum.items(), 1, 10'000'000, at.Sub("items"), violations);
    CheckReal(stratum.length_mean(), 0, 1e6, at.Sub("length_mean"), violations);
    if (stratum.importance_mean() != 0) {
      CheckReal(stratum.importance_mean(), 0.001, 1000, at.Sub("importance_mean"), violations);
    }
  }
}

}  // namespace

absl::Status Validate(const v1::CreateJobRequest& request, const ItemLimits& limits) {
  Violations violations;
  CheckName("tenants", request.parent(), FieldPath("parent"), violations);
  CheckRequestId(request.request_id(), FieldPath("request_id"), violations);
  const FieldPath job("job");
  const FieldPath task = job.Sub("template");
  const FieldPath policy = job.Sub("policy");
  if (!request.has_job()) {
    violations.Required(job);
    return violations.ToStatus();
  }
  CheckLine(request.job().display_name(), 200, job.Sub("display_name"), violations);
  CheckNotes(request.job().labels(), job.Sub("labels"), violations);
  if (request.job().has_template_()) {
    CheckTemplate(request.job().template_(), limits, task, violations);
  } else {
    violations.Required(task);
  }
  if (request.job().has_policy()) {
    CheckPolicy(request.job().policy(), policy, violations);
  } else {
    violations.Required(policy);
  }
  return violations.ToStatus();
}

absl::Status Validate(const v1::GetJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::ListJobsRequest& request, const ItemLimits&) {
  Violations violations;
  CheckName("tenants", request.parent(), FieldPath("parent"), violations);
  CheckPage(request.page_size(), request.page_token(), violations);
  CheckStates(request.states(), v1::JobState_IsValid, violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::UpdateJobRequest& request, const ItemLimits&) {
  static const auto* const updatable =
      new absl::flat_hash_set<absl::string_view>{"display_name",
                                                 "policy.priority",
                                                 "policy.budget_micros",
                                                 "policy.deadline",
                                                 "policy.quality",
                                                 "policy.quality.target_confidence",
                                                 "policy.quality.answers_min",
                                                 "policy.quality.answers_max"};
  Violations violations;
  const FieldPath job("job");
  const FieldPath policy = job.Sub("policy");
  const FieldPath quality = policy.Sub("quality");
  if (!request.has_job()) {
    violations.Required(job);
  } else {
    CheckJobName(request.job().name(), job.Sub("name"), violations);
  }
  const auto& mask = request.update_mask();
  CheckMask(mask, *updatable, violations);
  const v1::Policy& wanted = request.job().policy();
  if (MaskHas(mask, "display_name")) {
    CheckLine(request.job().display_name(), 200, job.Sub("display_name"), violations);
  }
  if (MaskHas(mask, "policy.priority")) {
    CheckPriority(wanted.priority(), policy.Sub("priority"), violations);
  }
  if (MaskHas(mask, "policy.budget_micros")) {
    CheckBudget(wanted.budget_micros(), policy.Sub("budget_micros"), violations);
  }
  if (MaskHas(mask, "policy.deadline")) {
    v1::Policy deadline;  // Without start_time, which is the job's own.
    if (wanted.has_deadline()) *deadline.mutable_deadline() = wanted.deadline();
    CheckDeadline(deadline, policy, violations);
  }
  const bool whole = MaskHas(mask, "policy.quality");
  if (whole || MaskHas(mask, "policy.quality.target_confidence")) {
    CheckTargetConfidence(wanted.quality().target_confidence(), quality.Sub("target_confidence"),
                          violations);
  }
  // One of the two alone is compared with the job's other where the job is.
  v1::QualityPolicy bounds;
  if (whole || MaskHas(mask, "policy.quality.answers_min")) {
    bounds.set_answers_min(wanted.quality().answers_min());
  }
  if (whole || MaskHas(mask, "policy.quality.answers_max")) {
    bounds.set_answers_max(wanted.quality().answers_max());
  }
  CheckAnswersBounds(bounds, quality, violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::DeleteJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::SealJobRequest& request, const ItemLimits&) {
  Violations violations;
  CheckJobName(request.name(), FieldPath("name"), violations);
  if (request.expected_offset() < 0) {
    violations.OutOfLimits(FieldPath("expected_offset"), "must not be negative");
  }
  return violations.ToStatus();
}

absl::Status Validate(const v1::PauseJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::ResumeJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::CancelJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::FinaliseJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::PlanJobRequest& request, const ItemLimits& limits) {
  Violations violations;
  const auto tenant = CheckName("tenants", request.parent(), FieldPath("parent"), violations);
  const FieldPath override_path("policy_override");
  const FieldPath draft("draft");
  const FieldPath task = draft.Sub("template");
  const FieldPath policy = draft.Sub("policy");
  if (request.has_policy_override()) {
    CheckPolicy(request.policy_override(), override_path, violations);
    if (!request.has_job()) violations.Conflict(override_path, "goes with job only");
  }
  switch (request.subject_case()) {
    case v1::PlanJobRequest::kJob: {
      const auto job = CheckJobName(request.job(), FieldPath("job"), violations);
      if (job.has_value() && tenant.has_value() && job->tenant != *tenant) {
        violations.Conflict(FieldPath("job"), "must be one of parent");
      }
      break;
    }
    case v1::PlanJobRequest::kDraft:
      if (request.draft().has_template_()) {
        CheckTemplate(request.draft().template_(), limits, task, violations);
      } else {
        violations.Required(task);
      }
      if (request.draft().has_policy()) {
        CheckPolicy(request.draft().policy(), policy, violations);
      } else {
        violations.Required(policy);
      }
      CheckStrata(request.draft(), draft, violations);
      break;
    case v1::PlanJobRequest::SUBJECT_NOT_SET:
      violations.Required(FieldPath("subject"));
      break;
  }
  return violations.ToStatus();
}

absl::Status Validate(const v1::WatchJobRequest& request, const ItemLimits&) {
  return ValidateJobName(request.name(), "name");
}

absl::Status Validate(const v1::StreamResultsRequest& request, const ItemLimits&) {
  Violations violations;
  CheckJobName(request.job(), FieldPath("job"), violations);
  if (request.resume_token().size() > 256) {
    violations.Add(v1::RESUME_TOKEN_INVALID, FieldPath("resume_token"), "is not of this job");
  }
  return violations.ToStatus();
}

absl::Status Validate(const v1::ListResultsRequest& request, const ItemLimits&) {
  Violations violations;
  CheckJobName(request.parent(), FieldPath("parent"), violations);
  CheckPage(request.page_size(), request.page_token(), violations);
  CheckStates(request.states(), v1::ItemState_IsValid, violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::ExplainItemRequest& request, const ItemLimits&) {
  Violations violations;
  CheckJobName(request.job(), FieldPath("job"), violations);
  CheckItemKey(request.item_key(), FieldPath("item_key"), violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::ReviewAnswersRequest& request, const ItemLimits&) {
  Violations violations;
  CheckJobName(request.job(), FieldPath("job"), violations);
  const FieldPath reviews("reviews");
  if (request.reviews().empty()) violations.Required(reviews);
  if (request.reviews_size() > 1000) {
    violations.OutOfLimits(reviews, "must have at most 1000 entries");
    return violations.ToStatus();
  }
  absl::flat_hash_set<std::pair<absl::string_view, absl::string_view>> seen;
  for (int i = 0; i < request.reviews_size(); ++i) {
    const v1::Review& review = request.reviews(i);
    const FieldPath at = reviews.At(i);
    CheckAssignment(review.assignment(), at.Sub("assignment"), violations);
    if (!review.item_key().empty()) CheckItemKey(review.item_key(), at.Sub("item_key"), violations);
    if (!seen.emplace(review.assignment(), review.item_key()).second) {
      violations.Duplicated(at, "reviews an answer that another entry reviews");
    }
    CheckLine(review.reason(), 1000, at.Sub("reason"), violations);
    if (review.decision() == v1::REVIEW_DECISION_UNSPECIFIED) {
      violations.Required(at.Sub("decision"));
    } else if (CheckEnum(v1::ReviewDecision_IsValid(review.decision()), at.Sub("decision"),
                         violations) &&
               review.decision() == v1::REVIEW_DECISION_REJECT && review.reason().empty()) {
      violations.Required(at.Sub("reason"));
    }
  }
  return violations.ToStatus();
}

absl::Status Validate(const v1::PayBonusRequest& request, const ItemLimits&) {
  Violations violations;
  CheckJobName(request.job(), FieldPath("job"), violations);
  CheckWorkerName(request.worker(), FieldPath("worker"), violations);
  if (request.amount_micros() <= 0) {
    violations.OutOfLimits(FieldPath("amount_micros"), "must be above 0");
  }
  CheckRequiredLine(request.reason(), 1000, FieldPath("reason"), violations);
  CheckRequestId(request.request_id(), FieldPath("request_id"), violations);
  if (!request.assignment().empty()) {
    CheckAssignment(request.assignment(), FieldPath("assignment"), violations);
  }
  return violations.ToStatus();
}

absl::Status ValidateBatch(const v1::AddItemsRequest& request, absl::string_view stream_job,
                           const ItemLimits& limits) {
  Violations violations;
  if (request.job() != stream_job) {
    violations.Conflict(FieldPath("job"), "must be that of the first message, or empty");
  }
  if (request.offset() < 0) violations.OutOfLimits(FieldPath("offset"), "must not be negative");
  const FieldPath items("items");
  if (request.items().empty()) violations.Required(items);
  if (request.items_size() > limits.items_per_batch_max) {
    violations.OutOfLimits(
        items, absl::StrCat("must have at most ", limits.items_per_batch_max, " entries"));
    return violations.ToStatus();
  }
  for (int i = 0; i < request.items_size() && !violations.full(); ++i) {
    CheckItem(request.items(i), limits, items.At(i), violations);
  }
  TESSERA_RETURN_IF_ERROR(violations.ToStatus());
  if (static_cast<int64_t>(request.ByteSizeLong()) <= limits.batch_bytes_max) {
    return absl::OkStatus();
  }
  const std::string why = absl::StrCat("must have at most ", limits.batch_bytes_max, " bytes");
  return ErrorWith(absl::StatusCode::kResourceExhausted, v1::MESSAGE_TOO_LARGE,
                   absl::StrCat("the batch ", why))
      .Field("items", why);
}

}  // namespace tessera::service
