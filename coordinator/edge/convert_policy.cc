// From the contract to the core: policies, templates, answers, pools.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/core/money.h"
#include "coordinator/edge/convert.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

// What the policy asks for that nothing here would honour.
absl::Status CheckServed(const v1::Policy& policy, absl::string_view path) {
  const auto at = [&](absl::string_view field) { return absl::StrCat(path, ".", field); };
  if (policy.split().has_segments()) {
    return NotServed(at("split.segments"), "cutting long items", "SEGMENTS_NOT_SERVED");
  }
  if (policy.quality().answers_per_worker_and_item_max() > 1) {
    return NotServed(at("quality.answers_per_worker_and_item_max"), "asking a worker twice");
  }
  if (!policy.eligibility().qualifications().empty()) {
    return NotServed(at("eligibility.qualifications"), "a condition on qualifications");
  }
  if (policy.gold().rate() > 0) return NotServed(at("gold.rate"), "asking gold items");
  if (policy.review().mode() != v1::REVIEW_MODE_MANUAL &&
      FromProto(policy.review().auto_approval_delay()) > absl::ZeroDuration()) {
    return NotServed(at("review.auto_approval_delay"), "approval after a delay");
  }
  if (policy.has_retention()) return NotServed(at("retention"), "deleting a job by itself");
  return absl::OkStatus();
}

absl::Status CheckPrice(int64_t micros, absl::string_view field) {
  if (core::IsPrice(micros)) return absl::OkStatus();
  return Error(StatusCode::kInvalidArgument, "FIELD_OUT_OF_LIMITS",
               "an answer cannot have this price")
      .Field(field, micros > core::kPriceMaxMicros
                        ? absl::StrCat("must be at most ", core::kPriceMaxMicros)
                        : absl::StrCat("must be a whole number of thousands, as it is above ",
                                       core::kPriceExactMaxMicros));
}

std::string PoolId(absl::string_view name) {
  return ParseId("pools", name).value_or(std::string(name));
}

absl::Duration OrDefault(bool has, const google::protobuf::Duration& duration,
                         absl::Duration otherwise) {
  return has ? FromProto(duration) : otherwise;
}

core::SplitPolicy SplitFromProto(const v1::SplitPolicy& split, uint64_t seed) {
  core::SplitPolicy out;
  switch (split.strategy()) {
    case v1::SPLIT_STRATEGY_STRATIFIED:
      out.strategy = core::SplitStrategy::kStratified;
      break;
    case v1::SPLIT_STRATEGY_ADAPTIVE:
      out.strategy = core::SplitStrategy::kAdaptive;
      break;
    default:
      out.strategy = core::SplitStrategy::kUniform;
  }
  out.items_min = split.items_min() > 0 ? static_cast<uint32_t>(split.items_min()) : 1;
  out.items_max = split.items_max() > 0 ? static_cast<uint32_t>(split.items_max())
                                        : std::max<uint32_t>(10, out.items_min);
  out.cost.startup_seconds = split.has_startup_seconds() ? split.startup_seconds() : 5;
  out.cost.seconds_per_unit = split.has_unit_seconds() ? split.unit_seconds() : 10;
  out.cost.fatigue_seconds = split.has_fatigue_seconds() ? split.fatigue_seconds() : 0.05;
  out.random_order = split.random_order();
  out.seed = split.has_seed() ? static_cast<uint64_t>(split.seed()) : out.random_order ? seed : 0;
  return out;
}

core::LeasePolicy LeaseFromProto(const v1::LeasePolicy& lease) {
  return {.base = OrDefault(lease.has_base(), lease.base(), absl::Minutes(2)),
          .per_item = OrDefault(lease.has_per_item(), lease.per_item(), absl::Minutes(1)),
          .late_grace = OrDefault(lease.has_late_grace(), lease.late_grace(), absl::Minutes(10)),
          .extension_max =
              OrDefault(lease.has_extension_max(), lease.extension_max(), absl::Minutes(30))};
}

}  // namespace

absl::Status NotServed(absl::string_view field, absl::string_view what, absl::string_view reason) {
  return Error(StatusCode::kUnimplemented, reason, absl::StrCat(what, " is not served yet"))
      .Field(field, "is not served yet; leave it out");
}

core::QualityPolicy QualityFromProto(const v1::QualityPolicy& quality) {
  core::QualityPolicy out;
  out.target_confidence = quality.target_confidence() > 0 ? quality.target_confidence() : 0.95;
  const auto given_min = static_cast<uint32_t>(std::max(0, quality.answers_min()));
  const auto given_max = static_cast<uint32_t>(std::max(0, quality.answers_max()));
  // Two answers and ten, unless what is given leaves no room for that.
  out.answers_min = given_min > 0 ? given_min : given_max == 1 ? 1 : 2;
  out.answers_max = given_max > 0 ? given_max : std::max<uint32_t>(10, out.answers_min);
  return out;
}

absl::StatusOr<core::JobPolicy> PolicyFromProto(const v1::Policy& policy, uint64_t seed,
                                                absl::string_view path) {
  TESSERA_RETURN_IF_ERROR(CheckServed(policy, path));
  core::JobPolicy out;
  out.priority = policy.priority() > 0 ? policy.priority() : 1;
  out.value_micros = policy.value_micros() > 0 ? policy.value_micros() : 1'000'000;
  out.budget_micros = policy.budget_micros();
  out.currency_code = policy.currency_code();
  if (policy.has_start_time()) out.start_time = FromProto(policy.start_time());
  if (policy.has_deadline()) out.deadline = FromProto(policy.deadline());
  out.quality = QualityFromProto(policy.quality());
  out.split = SplitFromProto(policy.split(), seed);
  out.lease = LeaseFromProto(policy.lease());

  for (const std::string& pool : policy.eligibility().pools()) out.pools.push_back(PoolId(pool));
  if (out.pools.empty()) out.pools.push_back("default");
  for (const std::string& tag : policy.eligibility().languages()) out.languages.push_back(tag);
  for (const std::string& skill : policy.eligibility().required_skills()) {
    out.required_skills.push_back(skill);
  }
  for (const std::string& worker : policy.eligibility().excluded_workers()) {
    out.excluded_workers.push_back(worker);
  }

  const v1::PricePolicy& price = policy.price();
  TESSERA_RETURN_IF_ERROR(CheckPrice(price.price_per_item_micros(),
                                     absl::StrCat(path, ".price.price_per_item_micros")));
  out.price_micros = price.price_per_item_micros();
  for (int i = 0; i < price.pool_prices_size(); ++i) {
    const v1::PoolPrice& one = price.pool_prices(i);
    TESSERA_RETURN_IF_ERROR(
        CheckPrice(one.price_per_item_micros(),
                   absl::StrCat(path, ".price.pool_prices[", i, "].price_per_item_micros")));
    out.pool_prices.push_back({PoolId(one.pool()), one.price_per_item_micros()});
  }
  if (price.has_price_per_item_micros() && price.price_per_item_micros() == 0) {
    // To the core a price of 0 means the pool's; here it was said to be nothing.
    for (const std::string& pool : out.pools) {
      const bool named = std::any_of(out.pool_prices.begin(), out.pool_prices.end(),
                                     [&](const core::PoolPrice& p) { return p.pool == pool; });
      if (!named) out.pool_prices.push_back({pool, 0});
    }
  }
  out.answers_per_worker_max = static_cast<uint32_t>(
      std::clamp<int64_t>(policy.quality().answers_per_worker_max(), 0, UINT32_MAX));
  out.finalise = policy.finalise_mode() == v1::FINALISE_MODE_MANUAL
                     ? core::FinaliseMode::kManual
                     : core::FinaliseMode::kAutomatic;
  out.approve_on_acceptance = policy.review().mode() != v1::REVIEW_MODE_MANUAL;
  out.assignments_per_second_max = std::max(0.0, policy.rate().assignments_per_second_max());
  out.assignments_open_max =
      static_cast<uint64_t>(std::max<int64_t>(0, policy.rate().assignments_open_max()));
  return out;
}

void SetInForce(const core::JobPolicy& policy, v1::Policy* out) {
  out->set_priority(policy.priority);
  out->set_value_micros(policy.value_micros);
  out->set_budget_micros(policy.budget_micros);
  out->clear_deadline();
  if (policy.deadline != absl::InfiniteFuture()) {
    *out->mutable_deadline() = TimeToProto(policy.deadline);
  }
  v1::QualityPolicy& quality = *out->mutable_quality();
  quality.set_target_confidence(policy.quality.target_confidence);
  quality.set_answers_min(static_cast<int32_t>(policy.quality.answers_min));
  quality.set_answers_max(static_cast<int32_t>(policy.quality.answers_max));
  quality.set_answers_per_worker_and_item_max(1);
  v1::SplitPolicy& split = *out->mutable_split();
  if (split.strategy() == v1::SPLIT_STRATEGY_UNSPECIFIED) {
    split.set_strategy(v1::SPLIT_STRATEGY_UNIFORM);
  }
  split.set_items_min(static_cast<int32_t>(policy.split.items_min));
  split.set_items_max(static_cast<int32_t>(policy.split.items_max));
  split.set_startup_seconds(policy.split.cost.startup_seconds);
  split.set_unit_seconds(policy.split.cost.seconds_per_unit);
  split.set_fatigue_seconds(policy.split.cost.fatigue_seconds);
  if (policy.split.random_order) split.set_seed(static_cast<int64_t>(policy.split.seed));
  v1::LeasePolicy& lease = *out->mutable_lease();
  *lease.mutable_base() = DurationToProto(policy.lease.base);
  *lease.mutable_per_item() = DurationToProto(policy.lease.per_item);
  *lease.mutable_late_grace() = DurationToProto(policy.lease.late_grace);
  *lease.mutable_extension_max() = DurationToProto(policy.lease.extension_max);
  if (out->eligibility().pools().empty()) out->mutable_eligibility()->add_pools("pools/default");
  if (out->finalise_mode() == v1::FINALISE_MODE_UNSPECIFIED) {
    out->set_finalise_mode(v1::FINALISE_MODE_AUTOMATIC);
  }
  if (out->review().mode() == v1::REVIEW_MODE_UNSPECIFIED) {
    out->mutable_review()->set_mode(v1::REVIEW_MODE_AUTOMATIC);
  }
}

absl::StatusOr<std::vector<std::string>> ClassesOf(const v1::TaskTemplate& task,
                                                   absl::string_view path) {
  if (task.fields_size() != 1 || !task.fields(0).has_choice() || task.fields(0).may_be_empty()) {
    return NotServed(absl::StrCat(path, ".fields"),
                     "a template of anything but one choice that must be made",
                     "ANSWER_TYPE_NOT_SERVED");
  }
  std::vector<std::string> classes;
  for (const v1::ChoiceClass& one : task.fields(0).choice().classes())
    classes.push_back(one.value());
  return classes;
}

absl::StatusOr<std::string> ChoiceOf(const v1::Answer& answer, absl::string_view field,
                                     absl::string_view path) {
  const auto misfit = [&](absl::string_view at, absl::string_view what) -> absl::Status {
    return Error(StatusCode::kInvalidArgument, "ANSWER_DOES_NOT_FIT",
                 "the answer does not fit the template")
        .Field(absl::StrCat(path, ".", at), what);
  };
  if (answer.fields_size() != 1) return misfit("fields", "must have the one field of the template");
  const v1::FieldAnswer& one = answer.fields(0);
  if (!one.field().empty() && one.field() != field) {
    return misfit("fields[0].field", absl::StrCat("must be empty or ", field));
  }
  if (one.value_case() != v1::FieldAnswer::kChoice)
    return misfit("fields[0].choice", "must be set");
  return one.choice();
}

v1::Job DocumentOf(v1::Job job) {
  v1::Job document;
  document.set_display_name(std::move(*job.mutable_display_name()));
  *document.mutable_template_() = std::move(*job.mutable_template_());
  *document.mutable_policy() = std::move(*job.mutable_policy());
  *document.mutable_labels() = std::move(*job.mutable_labels());
  return document;
}

absl::StatusOr<core::Pool> PoolFromProto(absl::string_view id, const v1::Pool& pool) {
  if (!pool.platforms().empty())
    return NotServed("pool.platforms", "a pool for some platforms only");
  TESSERA_RETURN_IF_ERROR(CheckPrice(pool.price_per_item_micros(), "pool.price_per_item_micros"));
  core::Pool out{.id = std::string(id),
                 .display_name = pool.display_name(),
                 .skills = {pool.skills().begin(), pool.skills().end()},
                 .languages = {pool.languages().begin(), pool.languages().end()},
                 .price_micros = pool.price_per_item_micros()};
  for (const auto& [tenant, weight] : pool.tenant_weights()) {
    out.tenant_weights.push_back({ParseId("tenants", tenant).value_or(""), weight});
  }
  std::sort(out.tenant_weights.begin(), out.tenant_weights.end(),
            [](const auto& a, const auto& b) { return a.tenant < b.tenant; });
  return out;
}

}  // namespace tessera::edge
