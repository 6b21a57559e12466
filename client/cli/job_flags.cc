#include "client/cli/job_flags.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/money.h"
#include "client/files.h"
#include "client/json.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr absl::string_view kPolicyFlags[] = {
    "policy",   "budget",   "currency",    "price",       "pool-price",
    "value",    "target",   "answers-min", "answers-max", "answers-per-worker-max",
    "priority", "deadline", "split",       "bundle-max",  "pool",
    "skill",    "language", "manual"};

// Limits of proto/tessera/v1/job.proto.
constexpr int64_t kAnswersMax = 1'000;
constexpr int64_t kBundleMax = 1'000;

absl::Status ApplyPrices(const Invocation& call, v1::PricePolicy* price) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> micros, call.GetMoney("price"));
  if (micros.has_value()) price->set_price_per_item_micros(*micros);
  std::set<std::string> named;
  for (const std::string& entry : call.GetAll("pool-price")) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) {
      return FlagError("pool-price", entry, "is not POOL=MONEY");
    }
    const absl::StatusOr<int64_t> amount = ParseMoney(entry.substr(equals + 1));
    if (!amount.ok()) return UsageError(absl::StrCat("--pool-price: ", amount.status().message()));
    const std::string pool = PoolName(entry.substr(0, equals));
    if (!named.insert(pool).second) {
      return FlagError("pool-price", entry, "gives that pool a second price");
    }
    // Instead of the policy's price for that pool; other pools keep theirs.
    const auto stated =
        std::find_if(price->mutable_pool_prices()->begin(), price->mutable_pool_prices()->end(),
                     [&pool](const v1::PoolPrice& each) { return PoolName(each.pool()) == pool; });
    v1::PoolPrice& pool_price =
        stated == price->mutable_pool_prices()->end() ? *price->add_pool_prices() : *stated;
    pool_price.set_pool(pool);
    pool_price.set_price_per_item_micros(*amount);
  }
  return absl::OkStatus();
}

absl::Status ApplyQuality(const Invocation& call, v1::QualityPolicy* quality) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<double> target,
                           call.GetDouble("target", std::nextafter(0.5, 1), std::nextafter(1.0, 0),
                                          "must be above 0.5 and below 1, such as 0.95"));
  if (target.has_value()) quality->set_target_confidence(*target);
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> min,
                           call.GetInt("answers-min", 1, kAnswersMax));
  if (min.has_value()) quality->set_answers_min(static_cast<int32_t>(*min));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> max,
                           call.GetInt("answers-max", 1, kAnswersMax));
  if (max.has_value()) quality->set_answers_max(static_cast<int32_t>(*max));
  if (min.has_value() && max.has_value() && *max < *min) {
    return FlagError("answers-max", call.Get("answers-max"), "must not be below --answers-min");
  }
  return absl::OkStatus();
}

absl::Status ApplySplit(const Invocation& call, v1::SplitPolicy* split) {
  const std::string strategy = call.Get("split");
  if (strategy == "uniform") {
    split->set_strategy(v1::SPLIT_STRATEGY_UNIFORM);
  } else if (strategy == "stratified") {
    split->set_strategy(v1::SPLIT_STRATEGY_STRATIFIED);
  } else if (strategy == "adaptive") {
    split->set_strategy(v1::SPLIT_STRATEGY_ADAPTIVE);
  } else if (!strategy.empty()) {
    return UsageError(
        absl::StrCat("--split: '", strategy, "' is none of uniform, stratified, adaptive"));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> max,
                           call.GetInt("bundle-max", 1, kBundleMax));
  if (max.has_value()) split->set_items_max(static_cast<int32_t>(*max));
  return absl::OkStatus();
}

// A list that a flag gives stands instead of the policy's, as a number does.
void ApplyEligibility(const Invocation& call, v1::Policy* policy) {
  if (call.Has("pool")) policy->mutable_eligibility()->clear_pools();
  for (const std::string& pool : call.GetAll("pool")) {
    policy->mutable_eligibility()->add_pools(PoolName(pool));
  }
  if (call.Has("skill")) policy->mutable_eligibility()->clear_required_skills();
  for (const std::string& skill : call.GetAll("skill")) {
    policy->mutable_eligibility()->add_required_skills(skill);
  }
  if (call.Has("language")) policy->mutable_eligibility()->clear_languages();
  for (const std::string& language : call.GetAll("language")) {
    policy->mutable_eligibility()->add_languages(language);
  }
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(std::ifstream in, OpenFile(path));
  std::string content(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) return absl::UnavailableError(absl::StrCat(path, ": reading failed"));
  return content;
}

std::string PoolName(absl::string_view pool) {
  return absl::StartsWith(pool, "pools/") ? std::string(pool) : absl::StrCat("pools/", pool);
}

absl::StatusOr<v1::TaskTemplate> TemplateOf(const Invocation& call, absl::string_view title) {
  const std::vector<std::string> classes = call.GetAll("classes");
  v1::TaskTemplate result;
  if (call.Has("template") == !classes.empty()) {
    return UsageError("say what to ask: either --template FILE or --classes A,B");
  }
  if (call.Has("template")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(call.Get("template")));
    const absl::Status status = FromJson(json, &result);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(call.Get("template"), ": no task template: ", status.message()));
    }
    return result;
  }
  if (classes.size() < 2)
    return UsageError("--classes needs two or more, such as --classes no,yes");
  const std::string question = call.Get("question");
  result.set_title(question.empty() ? std::string(title) : question);
  v1::Field& field = *result.add_fields();
  field.set_name("answer");
  field.set_prompt(question);
  for (const std::string& each : classes) {
    const size_t equals = each.find('=');
    v1::ChoiceClass& choice = *field.mutable_choice()->add_classes();
    choice.set_value(each.substr(0, equals));
    if (equals != std::string::npos) choice.set_label(each.substr(equals + 1));
  }
  return result;
}

bool HasPolicyFlags(const Invocation& call) {
  for (const absl::string_view flag : kPolicyFlags) {
    if (call.Has(flag)) return true;
  }
  return false;
}

absl::StatusOr<absl::Time> ParseTime(absl::string_view flag, absl::string_view text,
                                     absl::Time now) {
  absl::Time time;
  absl::Duration duration;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) return time;
  if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration()) {
    return now + duration;
  }
  return UsageError(absl::StrCat("--", flag, ": '", text,
                                 "' is no instant; write 2030-01-31T18:00:00Z, or 2h for two hours "
                                 "from now"));
}

absl::Status ApplyPolicyFlags(const Invocation& call, absl::Time now, v1::Policy* policy) {
  if (call.Has("policy")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(call.Get("policy")));
    v1::Policy stated;
    const absl::Status status = FromJson(json, &stated);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(call.Get("policy"), ": no policy: ", status.message()));
    }
    *policy = std::move(stated);
  }
  TESSERA_RETURN_IF_ERROR(ApplyUpdatableFlags(call, now, policy));
  if (call.Has("currency")) policy->set_currency_code(call.Get("currency"));
  if (policy->currency_code().empty()) policy->set_currency_code("USD");
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> value, call.GetMoney("value", 1));
  if (value.has_value()) policy->set_value_micros(*value);
  if (call.Has("price") || call.Has("pool-price")) {
    TESSERA_RETURN_IF_ERROR(ApplyPrices(call, policy->mutable_price()));
  }
  TESSERA_ASSIGN_OR_RETURN(
      const std::optional<int64_t> worker_max,
      call.GetInt("answers-per-worker-max", 1, std::numeric_limits<uint32_t>::max()));
  if (worker_max.has_value()) {
    policy->mutable_quality()->set_answers_per_worker_max(*worker_max);
  }
  TESSERA_RETURN_IF_ERROR(ApplySplit(call, policy->mutable_split()));
  ApplyEligibility(call, policy);
  if (call.Has("manual")) policy->set_finalise_mode(v1::FINALISE_MODE_MANUAL);
  return absl::OkStatus();
}

absl::Status ApplyUpdatableFlags(const Invocation& call, absl::Time now, v1::Policy* policy) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> budget, call.GetMoney("budget", 1));
  if (budget.has_value()) policy->set_budget_micros(*budget);
  TESSERA_ASSIGN_OR_RETURN(const std::optional<double> priority,
                           call.GetDouble("priority", std::numeric_limits<double>::min(), 1'000,
                                          "must be above 0, at most 1000"));
  if (priority.has_value()) policy->set_priority(*priority);
  if (call.Get("deadline") == "none") {
    policy->clear_deadline();
  } else if (call.Has("deadline")) {
    TESSERA_ASSIGN_OR_RETURN(const absl::Time deadline,
                             ParseTime("deadline", call.Get("deadline"), now));
    *policy->mutable_deadline() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(deadline));
  }
  return ApplyQuality(call, policy->mutable_quality());
}

ItemColumns ColumnsOf(const Invocation& call) {
  return {.key = call.Get("key-column"),
          .length = call.Get("length-column"),
          .stratum = call.Get("stratum-column"),
          .importance = call.Get("importance-column"),
          .language = call.Get("language-column"),
          .gold = call.Get("gold-column"),
          .content = call.GetAll("content-column"),
          .metadata = call.GetAll("metadata-column"),
          .links = call.GetAll("link-column")};
}

}  // namespace tessera::client
