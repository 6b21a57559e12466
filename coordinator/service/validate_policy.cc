#include "coordinator/service/validate_policy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "coordinator/service/validate_values.h"

namespace tessera::service {
namespace {

constexpr int32_t kAnswersMax = 1'000;
constexpr int32_t kItemsMax = 1'000;
constexpr double kSecondsMax = 86'400;

void CheckNotNegative(int64_t value, const FieldPath& path, Violations& violations) {
  if (value < 0) violations.OutOfLimits(path, "must not be negative");
}

void CheckQuality(const v1::QualityPolicy& quality, const FieldPath& path, Violations& violations) {
  CheckTargetConfidence(quality.target_confidence(), path.Sub("target_confidence"), violations);
  CheckAnswersBounds(quality, path, violations);
  CheckRange(quality.answers_per_worker_and_item_max(), 0, 100,
             path.Sub("answers_per_worker_and_item_max"), violations);
  CheckRange(quality.answers_per_worker_max(), 0, std::numeric_limits<uint32_t>::max(),
             path.Sub("answers_per_worker_max"), violations);
}

void CheckPrice(const v1::PricePolicy& price, const FieldPath& path, Violations& violations) {
  CheckRange(price.price_per_item_micros(), 0, kPriceMax, path.Sub("price_per_item_micros"),
             violations);
  const FieldPath prices = path.Sub("pool_prices");
  if (price.pool_prices_size() > 100) {
    violations.OutOfLimits(prices, "must have at most 100 entries");
    return;
  }
  absl::flat_hash_set<absl::string_view> pools;
  for (int i = 0; i < price.pool_prices_size(); ++i) {
    const v1::PoolPrice& pool_price = price.pool_prices(i);
    const FieldPath at = prices.At(i);
    if (CheckName("pools", pool_price.pool(), at.Sub("pool"), violations).has_value() &&
        !pools.insert(pool_price.pool()).second) {
      violations.Duplicated(at.Sub("pool"), "is there twice");
    }
    CheckRange(pool_price.price_per_item_micros(), 0, kPriceMax, at.Sub("price_per_item_micros"),
               violations);
  }
}

void CheckSplit(const v1::SplitPolicy& split, const FieldPath& path, Violations& violations) {
  CheckEnum(v1::SplitStrategy_IsValid(split.strategy()), path.Sub("strategy"), violations);
  const bool min_good =
      CheckRange(split.items_min(), 0, kItemsMax, path.Sub("items_min"), violations);
  if (CheckRange(split.items_max(), 0, kItemsMax, path.Sub("items_max"), violations) && min_good &&
      split.items_max() != 0 && split.items_max() < split.items_min()) {
    violations.Conflict(path.Sub("items_max"), "must not be below items_min");
  }
  CheckReal(split.startup_seconds(), 0, kSecondsMax, path.Sub("startup_seconds"), violations);
  CheckReal(split.unit_seconds(), 0, kSecondsMax, path.Sub("unit_seconds"), violations);
  CheckReal(split.fatigue_seconds(), 0, kSecondsMax, path.Sub("fatigue_seconds"), violations);
  if (!split.has_segments()) return;
  const v1::SegmentPolicy& segments = split.segments();
  const FieldPath at = path.Sub("segments");
  if (!std::isfinite(segments.length_max()) || segments.length_max() <= 0) {
    violations.OutOfLimits(at.Sub("length_max"), "must be above 0 and finite");
  } else {
    CheckReal(segments.overlap(), 0, segments.length_max() / 2, at.Sub("overlap"), violations);
  }
}

void CheckLease(const v1::LeasePolicy& lease, const FieldPath& path, Violations& violations) {
  const absl::Duration day = absl::Hours(24);
  const absl::Duration zero = absl::ZeroDuration();
  std::optional<absl::Duration> base = absl::Minutes(2);
  std::optional<absl::Duration> per_item = absl::Minutes(1);
  if (lease.has_base()) {
    base = CheckDuration(lease.base(), zero, 7 * day, path.Sub("base"), violations);
  }
  if (lease.has_per_item()) {
    per_item = CheckDuration(lease.per_item(), zero, day, path.Sub("per_item"), violations);
  }
  if (base.has_value() && per_item.has_value() && *base + *per_item <= zero) {
    violations.Conflict(path.Sub("per_item"), "must be above 0 s together with base");
  }
  if (lease.has_late_grace()) {
    CheckDuration(lease.late_grace(), zero, 7 * day, path.Sub("late_grace"), violations);
  }
  if (lease.has_extension_max()) {
    CheckDuration(lease.extension_max(), zero, 7 * day, path.Sub("extension_max"), violations);
  }
}

// How many values a comparator takes: from, to.
std::pair<int, int> ValuesOf(v1::Comparator comparator) {
  switch (comparator) {
    case v1::COMPARATOR_EXISTS:
    case v1::COMPARATOR_DOES_NOT_EXIST:
      return {0, 0};
    case v1::COMPARATOR_IN:
    case v1::COMPARATOR_NOT_IN:
      return {1, 100};
    default:
      return {1, 1};
  }
}

void CheckEligibility(const v1::EligibilityPolicy& eligibility, const FieldPath& path,
                      Violations& violations) {
  CheckPools(eligibility.pools(), 100, path.Sub("pools"), violations);
  CheckLanguages(eligibility.languages(), 32, path.Sub("languages"), violations);
  CheckIds(eligibility.required_skills(), 32, path.Sub("required_skills"), violations);
  const FieldPath qualifications = path.Sub("qualifications");
  if (eligibility.qualifications_size() > 10) {
    violations.OutOfLimits(qualifications, "must have at most 10 entries");
    return;
  }
  for (int i = 0; i < eligibility.qualifications_size(); ++i) {
    const v1::QualificationRequirement& requirement = eligibility.qualifications(i);
    const FieldPath at = qualifications.At(i);
    CheckId(requirement.qualification(), at.Sub("qualification"), violations);
    if (requirement.comparator() == v1::COMPARATOR_UNSPECIFIED) {
      violations.Required(at.Sub("comparator"));
      continue;
    }
    if (!CheckEnum(v1::Comparator_IsValid(requirement.comparator()), at.Sub("comparator"),
                   violations)) {
      continue;
    }
    const auto [from, to] = ValuesOf(requirement.comparator());
    if (requirement.values_size() < from || requirement.values_size() > to) {
      violations.OutOfLimits(at.Sub("values"), absl::StrCat("must have from ", from, " to ", to,
                                                            " entries with this comparator"));
    }
  }
  const FieldPath excluded = path.Sub("excluded_workers");
  if (eligibility.excluded_workers_size() > 10'000) {
    violations.OutOfLimits(excluded, "must have at most 10000 entries");
    return;
  }
  for (int i = 0; i < eligibility.excluded_workers_size() && !violations.full(); ++i) {
    CheckWorkerName(eligibility.excluded_workers(i), excluded.At(i), violations);
  }
}

}  // namespace

void CheckPriority(double priority, const FieldPath& path, Violations& violations) {
  CheckReal(priority, 0, 1000, path, violations);
}

void CheckBudget(int64_t budget_micros, const FieldPath& path, Violations& violations) {
  if (budget_micros <= 0) violations.OutOfLimits(path, "must be above 0");
}

void CheckDeadline(const v1::Policy& policy, const FieldPath& path, Violations& violations) {
  std::optional<absl::Time> start;
  if (policy.has_start_time()) {
    start = CheckTime(policy.start_time(), path.Sub("start_time"), violations);
  }
  if (!policy.has_deadline()) return;
  const FieldPath at = path.Sub("deadline");
  const std::optional<absl::Time> deadline = CheckTime(policy.deadline(), at, violations);
  if (!deadline.has_value()) return;
  if (start.has_value() && *deadline <= *start) {
    violations.Conflict(at, "must lie after start_time");
  }
}

void CheckTargetConfidence(double target, const FieldPath& path, Violations& violations) {
  if (target == 0 || (target > 0.5 && target < 1)) return;
  violations.OutOfLimits(path, "must be above 0.5 and below 1, or 0 for the default");
}

void CheckAnswersBounds(const v1::QualityPolicy& quality, const FieldPath& path,
                        Violations& violations) {
  const bool min_good =
      CheckRange(quality.answers_min(), 0, kAnswersMax, path.Sub("answers_min"), violations);
  if (CheckRange(quality.answers_max(), 0, kAnswersMax, path.Sub("answers_max"), violations) &&
      min_good && quality.answers_max() != 0 && quality.answers_max() < quality.answers_min()) {
    violations.Conflict(path.Sub("answers_max"), "must not be below answers_min");
  }
}

void CheckPolicy(const v1::Policy& policy, const FieldPath& path, Violations& violations) {
  CheckPriority(policy.priority(), path.Sub("priority"), violations);
  CheckNotNegative(policy.value_micros(), path.Sub("value_micros"), violations);
  CheckBudget(policy.budget_micros(), path.Sub("budget_micros"), violations);
  const std::string& currency = policy.currency_code();
  if (currency.empty()) {
    violations.Required(path.Sub("currency_code"));
  } else if (currency.size() != 3 ||
             !std::all_of(currency.begin(), currency.end(), absl::ascii_isupper)) {
    violations.Malformed(path.Sub("currency_code"), "must be three upper-case letters");
  }
  CheckDeadline(policy, path, violations);
  CheckQuality(policy.quality(), path.Sub("quality"), violations);
  CheckPrice(policy.price(), path.Sub("price"), violations);
  CheckSplit(policy.split(), path.Sub("split"), violations);
  CheckLease(policy.lease(), path.Sub("lease"), violations);
  CheckEligibility(policy.eligibility(), path.Sub("eligibility"), violations);
  const FieldPath gold = path.Sub("gold");
  CheckReal(policy.gold().rate(), 0, 0.5, gold.Sub("rate"), violations);
  const FieldPath review = path.Sub("review");
  CheckEnum(v1::ReviewMode_IsValid(policy.review().mode()), review.Sub("mode"), violations);
  if (policy.review().has_auto_approval_delay()) {
    CheckDuration(policy.review().auto_approval_delay(), absl::ZeroDuration(), 30 * absl::Hours(24),
                  review.Sub("auto_approval_delay"), violations);
  }
  const FieldPath rate = path.Sub("rate");
  CheckReal(policy.rate().assignments_per_second_max(), 0, 1e9,
            rate.Sub("assignments_per_second_max"), violations);
  CheckNotNegative(policy.rate().assignments_open_max(), rate.Sub("assignments_open_max"),
                   violations);
  CheckEnum(v1::FinaliseMode_IsValid(policy.finalise_mode()), path.Sub("finalise_mode"),
            violations);
  if (policy.has_retention()) {
    CheckDuration(policy.retention(), absl::Hours(1), 3653 * absl::Hours(24), path.Sub("retention"),
                  violations);
  }
}

}  // namespace tessera::service
