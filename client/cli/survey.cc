#include "client/cli/survey.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/job_flags.h"
#include "client/cli/money.h"
#include "client/cli/words.h"
#include "client/item_check.h"
#include "common/status_macros.h"

namespace tessera::client {

absl::StatusOr<Survey> SurveyFile(const Invocation& call, const std::string& file,
                                  const v1::TaskTemplate& task) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> item_bytes_max,
                           call.GetInt("item-bytes-max", 1, std::numeric_limits<int32_t>::max()));
  Survey survey;
  TESSERA_ASSIGN_OR_RETURN(survey.items, OpenItems(file, ColumnsOf(call)));
  ItemCheck check(task, item_bytes_max.value_or(kItemBytesMax));
  v1::Item item;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, survey.items->Next(&item));
    if (!more) break;
    const int64_t repeated = check.repeated();
    TESSERA_RETURN_IF_ERROR(survey.items->At(check.Check(item, survey.items->line())));
    ++survey.count;
    if (check.repeated() > repeated) continue;
    Survey::Stratum& stratum = survey.strata[item.stratum() == "default" ? "" : item.stratum()];
    ++stratum.items;
    stratum.length += item.length() == 0 ? 1 : item.length();
    stratum.importance += item.importance() == 0 ? 1 : item.importance();
  }
  if (survey.count == 0) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": the file holds no items"));
  }
  if (check.repeated() > 0) {
    survey.warnings.push_back(absl::StrCat(Plural(check.repeated(), "item"),
                                           " more than once in the file, and counted once"));
  }
  for (const auto& [column, part] : survey.items->renamed()) {
    survey.warnings.push_back(
        absl::StrCat("the column '", column, "' is shown as '", part,
                     "': of a name only the letters a to z, digits, `_`, `.` and `-` are kept"));
  }
  TESSERA_RETURN_IF_ERROR(survey.items->Seek(0));
  return survey;
}

void AddStrata(const Survey& survey, v1::JobDraft* draft) {
  for (const auto& [name, sums] : survey.strata) {
    const auto count = static_cast<double>(sums.items);
    v1::StratumStatistics& stratum = *draft->add_strata();
    stratum.set_stratum(name);
    stratum.set_items(sums.items);
    stratum.set_length_mean(sums.length / count);
    stratum.set_importance_mean(sums.importance / count);
  }
}

int64_t AnswersLeast(const v1::QualityPolicy& quality) {
  if (quality.answers_min() > 0) return quality.answers_min();
  return quality.answers_max() == 1 ? 1 : 2;  // The defaults of job.proto.
}

std::vector<std::string> PlanWarnings(const v1::SplitPlan& plan, const v1::Policy& policy,
                                      int64_t answers_least) {
  if (plan.items() == 0 || plan.strata().empty()) return {};
  int64_t price = std::numeric_limits<int64_t>::max();
  for (const v1::PlannedStratum& stratum : plan.strata()) {
    price = std::min(price, stratum.price_per_item_micros());
  }
  if (price == 0 && !policy.price().has_price_per_item_micros() &&
      policy.price().pool_prices().empty()) {
    return {"workers are paid nothing: no price is given, and their pool's own is 0; give --price"};
  }
  const std::string& currency = plan.currency_code();
  const std::string left = FormatMoney(plan.remaining_micros(), currency);
  // As a division: a product could be more than 64 bits hold.
  if (price > 0 && plan.remaining_micros() / answers_least < price) {
    return {absl::StrFormat(
        "the budget left, %s, brings no item to its end: one takes at least %s at %s; raise "
        "--budget",
        left, Plural(answers_least, "answer"), FormatMoney(price, currency))};
  }
  if (plan.items_admitted() == 0) {
    return {absl::StrFormat(
        "the budget left, %s, is not expected to bring an item to its end: one is expected to "
        "take %s; raise --budget",
        left, FormatMoney(plan.full_cost_micros() / plan.items(), currency))};
  }
  return {};
}

}  // namespace tessera::client
