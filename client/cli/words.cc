#include "client/cli/words.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/money.h"
#include "client/csv.h"
#include "client/json.h"
#include "client/messages.h"

namespace tessera::client {
namespace {

// `JOB_STATE_PAUSED` without `JOB_STATE_`, for people. A value of a newer server is its number.
std::string Ending(absl::string_view name, absl::string_view prefix, int number) {
  if (name.size() <= prefix.size()) return absl::StrCat(number);
  std::string word = absl::AsciiStrToLower(name.substr(prefix.size()));
  return absl::StrReplaceAll(word, {{"_", " "}});
}

std::string Percent(double share) { return absl::StrFormat("%.1f %%", share * 100); }

double Share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string AnswersText(const v1::JobStatus& status) {
  const v1::JobCounts& counts = status.job().counts();
  // Answers per item that has any is not known here; per item of the job is.
  const int64_t items = counts.items() - counts.items_gold();
  return absl::StrFormat("%s, %.2f per item, by %s%s", FormatCount(counts.answers()),
                         Share(counts.answers(), items), Plural(counts.workers(), "worker"),
                         counts.answers_late() == 0
                             ? ""
                             : absl::StrCat(", ", FormatCount(counts.answers_late()), " late"));
}

std::string MoneyText(const v1::Ledger& ledger) {
  std::string text =
      absl::StrCat(FormatMoney(SpentMicros(ledger)), " of ",
                   FormatMoney(ledger.budget_micros(), ledger.currency_code()), " spent");
  if (ledger.reserved_micros() > 0) {
    absl::StrAppend(&text, ", ", FormatMoney(ledger.reserved_micros()), " reserved");
  }
  return absl::StrCat(text, ", ", FormatMoney(ledger.remaining_micros()), " left");
}

}  // namespace

std::string Word(v1::JobState state) {
  return Ending(v1::JobState_Name(state), "JOB_STATE_", state);
}
std::string Word(v1::ItemState state) {
  return Ending(v1::ItemState_Name(state), "ITEM_STATE_", state);
}
std::string Word(v1::Finality finality) {
  return Ending(v1::Finality_Name(finality), "FINALITY_", finality);
}
std::string Word(v1::StopReason reason) {
  if (reason == v1::STOP_REASON_UNSPECIFIED) return "";
  return Ending(v1::StopReason_Name(reason), "STOP_REASON_", reason);
}
std::string Word(v1::AnswerStatus status) {
  return Ending(v1::AnswerStatus_Name(status), "ANSWER_STATUS_", status);
}
std::string Word(v1::PaymentStatus status) {
  return Ending(v1::PaymentStatus_Name(status), "PAYMENT_STATUS_", status);
}
std::string Word(v1::SplitStrategy strategy) {
  return Ending(v1::SplitStrategy_Name(strategy), "SPLIT_STRATEGY_", strategy);
}

std::string Word(v1::PartitionState state) {
  return Ending(v1::PartitionState_Name(state), "PARTITION_STATE_", state);
}

std::string PauseRemedy(const v1::Job& job) {
  std::vector<std::string> steps;
  for (const int reason : job.pause_reasons()) {
    switch (reason) {
      case v1::PAUSE_REASON_REQUESTED:
        steps.emplace_back("go on with `tessera resume`");
        break;
      case v1::PAUSE_REASON_OUT_OF_BUDGET:
        steps.emplace_back("raise the budget with `tessera update --budget`");
        break;
      default:
        break;
    }
  }
  // One whose deadline has only just passed names no reason so far.
  const auto& reasons = job.pause_reasons();
  if (reasons.empty() ||
      std::find(reasons.begin(), reasons.end(), v1::PAUSE_REASON_PAST_DEADLINE) != reasons.end()) {
    steps.emplace_back("set a later deadline with `tessera update --deadline`");
  }
  return absl::StrJoin(steps, ", and ");
}

std::string StallText(const v1::Job& job, v1::StallReason reason) {
  switch (reason) {
    case v1::STALL_REASON_NO_ELIGIBLE_WORKER:
      return "nobody who asks for work may answer what is left; bring more workers";
    case v1::STALL_REASON_OUT_OF_BUDGET:
      return "the budget pays for no further answer; raise it with `tessera update --budget`";
    case v1::STALL_REASON_PAUSED:
      return absl::StrCat("it is paused; ", PauseRemedy(job));
    case v1::STALL_REASON_RATE_LIMITED:
      return "its own limit of speed is reached; it goes on by itself";
    case v1::STALL_REASON_NOT_STARTED:
      return "its start time lies ahead";
    case v1::STALL_REASON_WAITING_FOR_ANSWERS:
      return "all that may be leased is leased; workers are at it";
    case v1::STALL_REASON_NO_ITEMS:
      return "there is nothing to do, and the job is not sealed";
    case v1::STALL_REASON_WAITING_FOR_FINALISE:
      return "all is done; end it with `tessera finalise`";
    case v1::STALL_REASON_STORE_UNAVAILABLE:
      return "the store takes no writes at the moment; the coordinator keeps trying";
    default:
      return Ending(v1::StallReason_Name(reason), "STALL_REASON_", reason);
  }
}

std::string StallLine(const v1::Job& job, v1::StallReason reason) {
  return absl::StrCat(job.counts().assignments_open() > 0 ? "no new leases: " : "stands still: ",
                      StallText(job, reason));
}

std::string StateText(const v1::Job& job) {
  std::vector<std::string> reasons;
  for (int i = 0; i < job.pause_reasons_size(); ++i) {
    const v1::PauseReason reason = job.pause_reasons(i);
    reasons.push_back(Ending(v1::PauseReason_Name(reason), "PAUSE_REASON_", reason));
  }
  if (job.state() == v1::JOB_STATE_CLOSING && job.closing_to() != v1::JOB_STATE_UNSPECIFIED) {
    reasons.push_back(absl::StrCat("to be ", Word(job.closing_to())));
  }
  return absl::StrCat(Word(job.state()), reasons.empty() ? "" : ": ", absl::StrJoin(reasons, ", "));
}

std::string ReopenedNote(const v1::Job& before, const v1::Job& now) {
  const int64_t reopened = ItemsDone(before.counts()) - ItemsDone(now.counts());
  if (reopened <= 0) return "";
  return absl::StrCat(
      Plural(reopened, "item"), reopened == 1 ? " is" : " are", " open again: ",
      now.fit() > before.fit()
          ? absl::StrCat("by fit ", now.fit(), ", learnt from more answers, they are less sure")
          : "an answer was rejected, or the job's money or quality changed");
}

std::string AnswerText(const v1::Answer& answer) {
  const auto value = [](const v1::FieldAnswer& field) -> std::string {
    switch (field.value_case()) {
      case v1::FieldAnswer::kChoice:
        return field.choice();
      case v1::FieldAnswer::kChoices:
        return absl::StrJoin(field.choices().values(), "|");
      case v1::FieldAnswer::kScale:
        return absl::StrCat(field.scale());
      case v1::FieldAnswer::kNumber:
        return absl::StrCat(field.number());
      case v1::FieldAnswer::kText:
        return field.text();
      case v1::FieldAnswer::kPreference:
        return Ending(v1::Preference_Name(field.preference()), "PREFERENCE_", field.preference());
      case v1::FieldAnswer::kSpans:
        return ToJsonLine(field.spans());
      case v1::FieldAnswer::kBoxes:
        return ToJsonLine(field.boxes());
      case v1::FieldAnswer::VALUE_NOT_SET:
        break;
    }
    return "";
  };
  if (answer.fields_size() == 1) return value(answer.fields(0));
  std::vector<std::string> fields;
  for (const v1::FieldAnswer& field : answer.fields()) {
    fields.push_back(absl::StrCat(field.field(), "=", value(field)));
  }
  return absl::StrJoin(fields, "; ");
}

std::string Plural(int64_t count, absl::string_view noun) {
  return absl::StrCat(FormatCount(count), " ", noun, count == 1 ? "" : "s");
}

std::string ShortName(absl::string_view name) {
  return std::string(name.substr(name.rfind('/') + 1));
}

std::string DurationText(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 10) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrCat(whole / 60, " min ", whole % 60, " s");
  if (whole < 48 * 3600) return absl::StrCat(whole / 3600, " h ", whole / 60 % 60, " min");
  return absl::StrCat(whole / 86400, " d ", whole / 3600 % 24, " h");
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::LocalTimeZone());
}

int64_t SpentMicros(const v1::Ledger& ledger) {
  return ledger.earned_micros() + ledger.approved_micros() + ledger.settled_micros() +
         ledger.bonus_micros() + ledger.fee_micros();
}

std::vector<std::string> StatusBlock(const Terminal& terminal, const v1::JobStatus& status) {
  const v1::Job& job = status.job();
  const v1::JobCounts& counts = job.counts();
  const int64_t items = counts.items() - counts.items_gold();
  const int cells = std::clamp(terminal.width - 66, 10, 40);
  std::vector<std::string> lines;

  const Style style = job.state() == v1::JOB_STATE_FINALISED ? Style::kGreen
                      : job.state() == v1::JOB_STATE_RUNNING ? Style::kCyan
                                                             : Style::kYellow;
  lines.push_back(absl::StrCat(Styled(terminal, Style::kBold, ShortName(job.name())), " ",
                               Printable(job.display_name()), job.display_name().empty() ? "" : " ",
                               Styled(terminal, style, StateText(job)),
                               job.sealed() ? "" : " (takes more items)"));
  const auto bar = [&](absl::string_view name, int64_t count, Style colour) {
    lines.push_back(absl::StrFormat(
        "%-13s%s %9s of %s  %s", name, Bar(terminal, Share(count, items), cells, colour),
        FormatCount(count), FormatCount(items), Percent(Share(count, items))));
  };
  bar("resolved", counts.items_resolved(), Style::kGreen);
  bar("in progress", counts.items_in_progress(), Style::kCyan);
  bar("waiting", counts.items_waiting(), Style::kYellow);
  if (counts.items_unresolved() > 0) bar("unresolved", counts.items_unresolved(), Style::kRed);
  if (counts.items_cancelled() > 0) bar("cancelled", counts.items_cancelled(), Style::kRed);
  const v1::Ledger& ledger = job.ledger();
  lines.push_back(absl::StrFormat(
      "%-13s%s %s", "money",
      Bar(terminal, Share(SpentMicros(ledger) + ledger.reserved_micros(), ledger.budget_micros()),
          cells, Style::kPlain),
      MoneyText(ledger)));
  lines.push_back(absl::StrFormat(
      "%-13s%s%s", "answers", AnswersText(status),
      HasEnded(job) ? "" : absl::StrFormat(", %.0f/s now", status.answers_per_second())));
  std::string last = absl::StrFormat("%-13smean %.3f", "confidence", status.confidence_mean());
  if (status.has_remaining_duration() && !HasEnded(job)) {
    absl::StrAppend(&last, ", about ", DurationText(ToDuration(status.remaining_duration())),
                    " to go");
  }
  lines.push_back(std::move(last));
  for (int i = 0; i < job.stall_size(); ++i) {
    lines.push_back(Styled(terminal, Style::kYellow, StallLine(job, job.stall(i))));
  }
  return lines;
}

std::string StatusLine(const v1::JobStatus& status) {
  const v1::Job& job = status.job();
  const v1::JobCounts& counts = job.counts();
  const int64_t items = counts.items() - counts.items_gold();
  std::string line = absl::StrFormat("%s: %d of %d items resolved (%s), %d in progress, %d waiting",
                                     StateText(job), counts.items_resolved(), items,
                                     Percent(Share(counts.items_resolved(), items)),
                                     counts.items_in_progress(), counts.items_waiting());
  if (counts.items_unresolved() > 0) {
    absl::StrAppend(&line, ", ", counts.items_unresolved(), " unresolved");
  }
  if (counts.items_cancelled() > 0) {
    absl::StrAppend(&line, ", ", counts.items_cancelled(), " cancelled");
  }
  absl::StrAppend(&line, "; answers ", AnswersText(status), "; ", MoneyText(job.ledger()));
  for (int i = 0; i < job.stall_size(); ++i) {
    absl::StrAppend(&line, "; ", StallLine(job, job.stall(i)));
  }
  return line;
}

namespace {

// An estimate of money: to the cent, where it is more than that.
int64_t Estimate(int64_t micros) {
  constexpr int64_t kCent = 10'000;
  return micros < kCent ? micros : (micros + kCent / 2) / kCent * kCent;
}

}  // namespace

std::string PlanText(const Terminal& terminal, const v1::SplitPlan& plan, bool has_budget) {
  const std::string& currency = plan.currency_code();
  std::string text = absl::StrFormat("%s plan: %s, about %s, %s of work in %s\n",
                                     Word(plan.strategy()), Plural(plan.items(), "item"),
                                     Plural(std::llround(plan.expected_answers()), "answer"),
                                     DurationText(absl::Seconds(plan.expected_worker_seconds())),
                                     Plural(plan.expected_microtasks(), "microtask"));
  const std::string cost = FormatMoney(Estimate(plan.expected_cost_micros()), currency);
  if (!has_budget) {
    absl::StrAppend(&text, "no budget is given; ", cost, " is what it is expected to need\n");
  } else if (plan.budget_suffices()) {
    absl::StrAppend(&text, "expected cost ", cost, " of ",
                    FormatMoney(plan.remaining_micros(), currency),
                    " left; the budget is expected to suffice\n");
  } else {
    absl::StrAppend(&text, "expected cost ", cost, " of ",
                    FormatMoney(plan.remaining_micros(), currency), " left; ",
                    Styled(terminal, Style::kYellow,
                           absl::StrCat("the budget is expected to pay for ",
                                        FormatCount(plan.items_admitted()), " of ",
                                        Plural(plan.items(), "item"), "; all would need ",
                                        FormatMoney(Estimate(plan.full_cost_micros()), currency))),
                    "\n");
  }
  absl::StrAppendFormat(&text, "a microtask of length l takes %.3g + %.3g l + %.3g l^2 seconds\n",
                        plan.startup_seconds(), plan.unit_seconds(), plan.fatigue_seconds());
  constexpr auto kRight = Table::Align::kRight;
  Table table(
      {"stratum", "items", "admitted", "per task", "tasks", "answers/item", "s/task", "price",
       "cost"},
      {Table::Align::kLeft, kRight, kRight, kRight, kRight, kRight, kRight, kRight, kRight});
  for (const v1::PlannedStratum& stratum : plan.strata()) {
    table.Add({stratum.stratum(), FormatCount(stratum.items()),
               FormatCount(stratum.items_admitted()), absl::StrCat(stratum.items_per_microtask()),
               FormatCount(stratum.expected_microtasks()),
               absl::StrFormat("%.2f", stratum.expected_answers_per_item()),
               absl::StrFormat("%.1f", stratum.expected_seconds_per_microtask()),
               FormatMoney(stratum.price_per_item_micros()),
               FormatMoney(Estimate(stratum.expected_cost_micros()), currency)});
  }
  if (!table.empty()) absl::StrAppend(&text, table.Render(terminal));
  return text;
}

std::string ExplanationText(const Terminal& terminal, const v1::ItemExplanation& explanation,
                            absl::string_view currency) {
  const v1::Result& result = explanation.result();
  std::string text = absl::StrCat(
      Styled(terminal, Style::kBold, absl::StrCat("Item ", Printable(result.item_key()))), "\n");
  for (const v1::Part& part : explanation.item().content()) {
    const std::string content = part.has_text() ? part.text()
                                : part.has_link()
                                    ? part.link().uri()
                                    : absl::StrCat("(", part.inline_().media_type(), ")");
    absl::StrAppend(&text, "  ", part.name(), ": ", Printable(content), "\n");
  }
  const std::string value =
      result.has_value() ? Printable(AnswerText(result.value())) : "no answer yet";
  absl::StrAppend(&text, Styled(terminal, Style::kBold, value));
  if (result.has_value()) {
    absl::StrAppendFormat(&text, " with confidence %.4f", result.confidence());
  }
  absl::StrAppend(&text, ", ", Word(result.state()), " (", Word(result.finality()), ")");
  const std::string stop = Word(result.stop_reason());
  if (!stop.empty()) absl::StrAppend(&text, ": ", stop);
  absl::StrAppendFormat(&text, "\nfrom %s under fit %d, revision %d, cost %s\n",
                        Plural(result.answers(), "counted answer"), result.fit(), result.revision(),
                        FormatMoney(result.cost_micros(), currency));
  if (result.has_majority()) {
    absl::StrAppend(&text, "a plain vote says ", Printable(AnswerText(result.majority())), "\n");
  }

  if (explanation.posterior_size() > 0) {
    absl::StrAppend(&text, "\n");
    constexpr auto kRight = Table::Align::kRight;
    std::vector<std::string> headings = {"worker", "said", "accuracy"};
    std::vector<Table::Align> alignment = {Table::Align::kLeft, Table::Align::kLeft, kRight};
    for (const v1::ClassProbability& each : explanation.posterior()) {
      headings.push_back(absl::StrCat("ln w(", each.value(), ")"));
      alignment.push_back(kRight);
    }
    for (const absl::string_view heading : {"price", "status", "payment"}) {
      headings.emplace_back(heading);
      alignment.push_back(heading == "price" ? kRight : Table::Align::kLeft);
    }
    Table table(std::move(headings), std::move(alignment));
    const auto row_of = [&](absl::string_view name,
                            const google::protobuf::RepeatedPtrField<v1::ClassProbability>& list) {
      std::vector<std::string> row = {std::string(name), "", ""};
      for (const v1::ClassProbability& each : list) {
        row.push_back(absl::StrFormat("%.4f", each.probability()));
      }
      return row;
    };
    if (explanation.prior_size() > 0) table.Add(row_of("prior", explanation.prior()));
    for (const v1::ExplainedAnswer& answer : explanation.answers()) {
      std::vector<std::string> row = {ShortName(answer.worker()), AnswerText(answer.answer()),
                                      absl::StrFormat("%.3f", answer.worker_accuracy())};
      for (int i = 0; i < explanation.posterior_size(); ++i) {
        row.push_back(i < answer.log_weights_size() ? absl::StrFormat("%.3f", answer.log_weights(i))
                                                    : "");
      }
      row.push_back(FormatMoney(answer.price_micros()));
      row.push_back(absl::StrCat(Word(answer.status()), answer.late() ? ", late" : ""));
      row.push_back(std::string(Word(answer.payment())));
      table.Add(std::move(row));
    }
    table.Add(row_of("posterior", explanation.posterior()));
    absl::StrAppend(&text, table.Render(terminal),
                    "posterior = prior x exp(sum of ln w over counted answers), scaled to 1\n");
  }
  for (const v1::OpenAssignment& open : explanation.open_assignments()) {
    absl::StrAppend(&text, "given to ", ShortName(open.worker()), " until ",
                    TimeText(ToTime(open.expire_time())), open.has_draft() ? ", has a draft" : "");
    if (open.has_late_until_time()) {
      absl::StrAppend(&text, "; a late answer counts until ",
                      TimeText(ToTime(open.late_until_time())));
    }
    absl::StrAppend(&text, "\n");
  }
  if (explanation.expected_gain() > 0) {
    absl::StrAppendFormat(&text,
                          "one more answer is expected to add %.4f to the chance of being right\n",
                          explanation.expected_gain());
  }
  return text;
}

std::string ResultCsvHeading() {
  return "item_key,value,confidence,state,finality,stop_reason,answers,majority,cost,fit,"
         "revision\n";
}

std::string ResultCsv(const v1::Result& result) {
  const auto underscored = [](std::string word) { return absl::StrReplaceAll(word, {{" ", "_"}}); };
  return absl::StrCat(
      CsvField(result.item_key()), ",", CsvField(AnswerText(result.value())), ",",
      absl::StrFormat("%.6f", result.confidence()), ",", underscored(Word(result.state())), ",",
      underscored(Word(result.finality())), ",", underscored(Word(result.stop_reason())), ",",
      result.answers(), ",", CsvField(AnswerText(result.majority())), ",",
      FormatMoney(result.cost_micros()), ",", result.fit(), ",", result.revision(), "\n");
}

}  // namespace tessera::client
