// What people read: statuses, plans, stories and results look as documented, to the letter.
#include "client/cli/words.h"

#include <set>
#include <sstream>

#include "client/cli/survey.h"
#include "client/cli/terminal.h"
#include "client/cli/watching.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::JobStatus MakeStatus() {
  v1::JobStatus status;
  v1::Job& job = *status.mutable_job();
  job.set_name("tenants/default/jobs/0-ab");
  job.set_display_name("pairs");
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_sealed(true);
  v1::JobCounts& counts = *job.mutable_counts();
  counts.set_items(1000);
  counts.set_items_resolved(500);
  counts.set_items_in_progress(250);
  counts.set_items_waiting(250);
  counts.set_answers(2345);
  counts.set_workers(20);
  v1::Ledger& ledger = *job.mutable_ledger();
  ledger.set_currency_code("USD");
  ledger.set_budget_micros(40'000'000);
  ledger.set_approved_micros(23'450'000);
  ledger.set_reserved_micros(2'500'000);
  ledger.set_remaining_micros(14'050'000);
  status.set_answers_per_second(31.4);
  status.set_confidence_mean(0.9314);
  status.mutable_remaining_duration()->set_seconds(75);
  return status;
}

TEST(StatusTest, TheBlockHasABarForEachState) {
  EXPECT_THAT(
      StatusBlock(Terminal{.width = 86}, MakeStatus()),
      ElementsAre("0-ab pairs running",
                  "resolved     ##########..........       500 of 1,000  50.0 %",
                  "in progress  #####...............       250 of 1,000  25.0 %",
                  "waiting      #####...............       250 of 1,000  25.0 %",
                  "money        ############........ 23.45 of 40.00 USD spent, 2.50 reserved, "
                  "14.05 left",
                  "answers      2,345, 2.35 per item, by 20 workers, 31/s now",
                  "confidence   mean 0.931, about 1 min 15 s to go"));
}

TEST(StatusTest, BlocksOfUnicodeShowEighths) {
  const Terminal terminal = {.unicode = true, .width = 80};
  EXPECT_EQ(Bar(terminal, 0.5, 4), "██░░");
  EXPECT_EQ(Bar(terminal, 0.53125, 4), "██▏░");
  EXPECT_EQ(Bar(terminal, 2, 3), "███");
  EXPECT_EQ(Bar(terminal, -1, 3), "░░░");
}

TEST(StatusTest, ColoursAreForTerminalsThatHaveThem) {
  EXPECT_EQ(Styled(Terminal{}, Style::kRed, "x"), "x");
  EXPECT_EQ(Styled(Terminal{.colour = true}, Style::kRed, "x"), "\x1b[31mx\x1b[0m");
  EXPECT_EQ(DisplayWidth("\x1b[31mé█\x1b[0m"), 2);
}

TEST(StatusTest, ThePlainLineSaysTheSame) {
  EXPECT_EQ(StatusLine(MakeStatus()),
            "running: 500 of 1000 items resolved (50.0 %), 250 in progress, 250 waiting; "
            "answers 2,345, 2.35 per item, by 20 workers; "
            "23.45 of 40.00 USD spent, 2.50 reserved, 14.05 left");
}

TEST(StatusTest, WhatACancelledJobDidNotResolveIsNotDone) {
  v1::JobStatus status;
  status.mutable_job()->set_state(v1::JOB_STATE_CANCELLED);
  status.mutable_job()->mutable_counts()->set_items(3);
  status.mutable_job()->mutable_counts()->set_items_resolved(1);
  status.mutable_job()->mutable_counts()->set_items_cancelled(2);
  EXPECT_THAT(StatusLine(status),
              ::testing::StartsWith("cancelled: 1 of 3 items resolved (33.3 %), 0 in progress, "
                                    "0 waiting, 2 cancelled; "));
}

TEST(StatusTest, ALineThatIsCutHasAMarkWhereItEnds) {
  const auto shown = [](Terminal terminal, const std::string& line) {
    std::ostringstream out;
    terminal.live = true;
    LiveDisplay(&out, terminal).Show({line});
    return out.str();
  };
  EXPECT_THAT(shown({.unicode = true, .width = 7}, "abcdef"), HasSubstr("abcdef\n"));
  EXPECT_THAT(shown({.unicode = true, .width = 7}, "abcdefg"), HasSubstr("abcde…\n"));
  EXPECT_THAT(shown({.width = 7}, "abcdefg"), HasSubstr("abc...\n"));
  EXPECT_THAT(shown({.width = 7}, "\x1b[31mabcdefg\x1b[0m"), HasSubstr("abc...\x1b[0m\n"));
}

TEST(PrintableTest, WhatATerminalWouldObeyIsReplaced) {
  const std::pair<absl::string_view, absl::string_view> cases[] = {
      {"pairs of 中文 and 😀, no-break\xc2\xa0", "pairs of 中文 and 😀, no-break\xc2\xa0"},
      {"a\nb\tc\r\n", "a b c  "},
      {"\x1b[2J\x1b]0;t\a", "�[2J�]0;t�"},
      {absl::string_view("\0", 1), "�"},
      {"\x7f", "�"},
      {"\xc2\x9b"
       "2J\xc2\x85",
       "�2J�"},
      {"\xe2\x80\xae"
       "evil\xe2\x80\xac \xe2\x81\xa6x\xe2\x81\xa9",
       "�evil� �x�"},
      {"line\xe2\x80\xa8separator, \xe2\x80\xa6 and \xe2\x82\xac", "line�separator, … and €"},
      {"\xe2\x80", "\xe2\x80"},
  };
  for (const auto& [text, shown] : cases) EXPECT_EQ(Printable(text), shown);
}

TEST(PrintableTest, NoViewShowsWhatOthersWroteAsItIs) {
  const std::string evil = "a\x1b[2J\nb";
  v1::JobStatus status = MakeStatus();
  status.mutable_job()->set_display_name(evil);
  EXPECT_EQ(StatusBlock(Terminal{.width = 86}, status)[0], "0-ab a�[2J b running");

  Table table({evil}, {});
  table.Add({evil});
  EXPECT_EQ(table.Render(Terminal{}), "a�[2J b\na�[2J b\n");

  v1::ItemExplanation explanation;
  v1::Part& part = *explanation.mutable_item()->add_content();
  part.set_name("t");
  part.set_text(evil);
  v1::Result& result = *explanation.mutable_result();
  result.mutable_value()->add_fields()->set_text(evil);
  result.mutable_majority()->add_fields()->set_text(evil);
  explanation.add_posterior()->set_value("yes");
  v1::ExplainedAnswer& answer = *explanation.add_answers();
  answer.mutable_answer()->add_fields()->set_text(evil);
  const std::string text = ExplanationText(Terminal{}, explanation, "USD");
  EXPECT_THAT(text, ::testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("  t: a�[2J b\na�[2J b with confidence"));
  EXPECT_THAT(text, HasSubstr("a plain vote says a�[2J b\n"));

  std::ostringstream out;
  StatusView(&out, Terminal{}, /*json=*/false).Note(evil);
  EXPECT_EQ(out.str(), "a�[2J b\n");
}

TEST(StatusTest, EveryReasonToStandStillIsASentenceOfItsOwn) {
  std::set<std::string> texts;
  for (int reason = 1; reason <= v1::StallReason_MAX; ++reason) {
    const std::string text = StallText(v1::Job(), static_cast<v1::StallReason>(reason));
    EXPECT_THAT(text, HasSubstr(" "));
    EXPECT_TRUE(texts.insert(text).second) << text;
  }
  v1::JobStatus status = MakeStatus();
  status.mutable_job()->set_state(v1::JOB_STATE_PAUSED);
  status.mutable_job()->add_pause_reasons(v1::PAUSE_REASON_OUT_OF_BUDGET);
  status.mutable_job()->add_stall(v1::STALL_REASON_OUT_OF_BUDGET);
  EXPECT_THAT(StatusLine(status), ::testing::StartsWith("paused: out of budget: "));
  EXPECT_THAT(StatusLine(status),
              ::testing::EndsWith("; stands still: the budget pays for no further answer; raise it "
                                  "with `tessera update --budget`"));
}

TEST(StatusTest, WhatEndsAPauseDependsOnItsReasons) {
  const auto text = [](std::initializer_list<v1::PauseReason> reasons) {
    v1::Job job;
    for (const v1::PauseReason reason : reasons) job.add_pause_reasons(reason);
    return StallText(job, v1::STALL_REASON_PAUSED);
  };
  EXPECT_EQ(text({v1::PAUSE_REASON_REQUESTED}), "it is paused; go on with `tessera resume`");
  EXPECT_EQ(text({v1::PAUSE_REASON_PAST_DEADLINE}),
            "it is paused; set a later deadline with `tessera update --deadline`");
  EXPECT_EQ(text({}), text({v1::PAUSE_REASON_PAST_DEADLINE}));
  EXPECT_EQ(text({v1::PAUSE_REASON_REQUESTED, v1::PAUSE_REASON_OUT_OF_BUDGET}),
            "it is paused; go on with `tessera resume`, and raise the budget with `tessera update "
            "--budget`");
}

TEST(StatusTest, ItemsThatAreOpenAgainAreExplained) {
  const auto job = [](int64_t resolved, int64_t unresolved, int64_t fit) {
    v1::Job made;
    made.mutable_counts()->set_items_resolved(resolved);
    made.mutable_counts()->set_items_unresolved(unresolved);
    made.set_fit(fit);
    return made;
  };
  EXPECT_EQ(ReopenedNote(v1::Job(), job(5, 0, 1)), "");
  EXPECT_EQ(ReopenedNote(job(5, 0, 1), job(5, 0, 2)), "");
  EXPECT_EQ(ReopenedNote(job(5, 1, 1), job(6, 0, 2)), "");  // As many as before.
  EXPECT_EQ(ReopenedNote(job(5, 0, 1), job(3, 0, 2)),
            "2 items are open again: by fit 2, learnt from more answers, they are less sure");
  EXPECT_EQ(ReopenedNote(job(5, 1, 2), job(5, 0, 2)),
            "1 item is open again: an answer was rejected, or the job's money or quality changed");
}

// Plain lines leave some statuses out; the note is about those that are seen.
TEST(StatusViewTest, TheNoteStandsBeforeTheLineThatNeedsIt) {
  std::ostringstream out;
  StatusView view(&out, Terminal{}, /*json=*/false, /*line_every=*/absl::ZeroDuration());
  v1::JobStatus status = MakeStatus();
  view.Show(status, false);
  EXPECT_THAT(out.str(), ::testing::Not(HasSubstr("open again")));
  status.mutable_job()->set_fit(7);
  status.mutable_job()->mutable_counts()->set_items_resolved(490);
  view.Show(status, false);
  EXPECT_THAT(out.str(), HasSubstr("\n10 items are open again: by fit 7, learnt from more answers, "
                                   "they are less sure\nrunning: 490 of 1000"));
  std::ostringstream json;
  StatusView(&json, Terminal{}, /*json=*/true).Show(status, false);
  EXPECT_THAT(json.str(), ::testing::StartsWith("{"));
}

// Nothing may come for hours after a job has come to stand still.
TEST(StatusViewTest, WhatAJobDoesIsToldAtOnceAndCountsHaveTime) {
  std::ostringstream out;
  StatusView view(&out, Terminal{}, /*json=*/false, /*line_every=*/absl::InfiniteDuration());
  v1::JobStatus status = MakeStatus();
  const auto shown = [&] {
    out.str("");
    view.Show(status, false);
    return out.str();
  };
  EXPECT_THAT(shown(), HasSubstr("running: 500 of 1000"));
  status.mutable_job()->mutable_counts()->set_items_resolved(501);
  EXPECT_EQ(shown(), "");
  status.mutable_job()->add_stall(v1::STALL_REASON_NO_ELIGIBLE_WORKER);
  EXPECT_THAT(shown(), ::testing::AllOf(HasSubstr("501 of 1000"), HasSubstr("stands still")));
  EXPECT_EQ(shown(), "");
  status.mutable_job()->set_state(v1::JOB_STATE_PAUSED);
  EXPECT_THAT(shown(), HasSubstr("paused: 501"));
  status.mutable_job()->add_pause_reasons(v1::PAUSE_REASON_REQUESTED);
  EXPECT_THAT(shown(), HasSubstr("paused: requested: 501"));
}

TEST(WordTest, AStateOfANewerServerIsItsNumber) {
  EXPECT_EQ(Word(v1::PARTITION_STATE_SERVING), "serving");
  EXPECT_EQ(Word(static_cast<v1::PartitionState>(77)), "77");
  EXPECT_EQ(Word(static_cast<v1::JobState>(77)), "77");
}

TEST(StatusTest, AJobThatClosesSaysWhereItGoes) {
  v1::Job job;
  job.set_state(v1::JOB_STATE_CLOSING);
  job.set_closing_to(v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(StateText(job), "closing: to be cancelled");
}

v1::Result MakeResult() {
  v1::Result result;
  result.set_item_key("a,b");
  result.set_state(v1::ITEM_STATE_RESOLVED);
  result.set_finality(v1::FINALITY_PROVISIONAL);
  result.set_stop_reason(v1::STOP_REASON_TARGET_REACHED);
  result.mutable_value()->add_fields()->set_choice("yes");
  result.mutable_majority()->add_fields()->set_choice("no \"way\"");
  result.set_confidence(0.96875);
  result.set_answers(3);
  result.set_cost_micros(30'000);
  result.set_fit(2);
  result.set_revision(5);
  return result;
}

TEST(ResultTest, CsvIsStable) {
  EXPECT_EQ(ResultCsvHeading(),
            "item_key,value,confidence,state,finality,stop_reason,answers,majority,cost,fit,"
            "revision\n");
  EXPECT_EQ(ResultCsv(MakeResult()),
            "\"a,b\",yes,0.968750,resolved,provisional,target_reached,3,\"no \"\"way\"\"\",0.03,2,"
            "5\n");
  v1::Result open;
  open.set_item_key("k");
  open.set_state(v1::ITEM_STATE_IN_PROGRESS);
  open.set_finality(v1::FINALITY_PROVISIONAL);
  EXPECT_EQ(ResultCsv(open), "k,,0.000000,in_progress,provisional,,0,,0.00,0,0\n");
}

TEST(ResultTest, AnswersOfEveryTypeAreReadable) {
  v1::Answer answer;
  v1::FieldAnswer& field = *answer.add_fields();
  field.set_choice("a");
  EXPECT_EQ(AnswerText(answer), "a");
  field.mutable_choices()->add_values("a");
  field.mutable_choices()->add_values("b");
  EXPECT_EQ(AnswerText(answer), "a|b");
  field.set_scale(-2);
  EXPECT_EQ(AnswerText(answer), "-2");
  field.set_preference(v1::PREFERENCE_TIE);
  EXPECT_EQ(AnswerText(answer), "tie");
  field.set_field("x");
  answer.add_fields()->set_text("hello");
  answer.mutable_fields(1)->set_field("y");
  EXPECT_EQ(AnswerText(answer), "x=tie; y=hello");
  EXPECT_EQ(AnswerText(v1::Answer()), "");
}

TEST(ExplanationTest, TheStoryAddsUpInATable) {
  v1::ItemExplanation explanation;
  *explanation.mutable_result() = MakeResult();
  v1::Part& part = *explanation.mutable_item()->add_content();
  part.set_name("text");
  part.set_text("two\nlines");
  for (const auto& [value, probability] : {std::pair("no", 0.03125), std::pair("yes", 0.96875)}) {
    v1::ClassProbability& posterior = *explanation.add_posterior();
    posterior.set_value(value);
    posterior.set_probability(probability);
    v1::ClassProbability& prior = *explanation.add_prior();
    prior.set_value(value);
    prior.set_probability(0.5);
  }
  v1::ExplainedAnswer& answer = *explanation.add_answers();
  answer.set_worker("platforms/local/workers/ann");
  answer.mutable_answer()->add_fields()->set_choice("yes");
  answer.set_worker_accuracy(0.875);
  answer.add_log_weights(-2.5);
  answer.add_log_weights(-0.25);
  answer.set_price_micros(10'000);
  answer.set_status(v1::ANSWER_STATUS_COUNTED);
  answer.set_payment(v1::PAYMENT_STATUS_APPROVED);
  answer.set_late(true);
  explanation.set_expected_gain(0.01);
  v1::OpenAssignment& open = *explanation.add_open_assignments();
  open.set_worker("platforms/local/workers/bob");
  open.mutable_expire_time()->set_seconds(1'700'000'000);
  open.mutable_late_until_time()->set_seconds(1'700'000'600);
  EXPECT_EQ(ExplanationText(Terminal{}, explanation, "USD"),
            "Item a,b\n"
            "  text: two lines\n"
            "yes with confidence 0.9688, resolved (provisional): target reached\n"
            "from 3 counted answers under fit 2, revision 5, cost 0.03 USD\n"
            "a plain vote says no \"way\"\n"
            "\n"
            "worker     said  accuracy  ln w(no)  ln w(yes)  price  status         payment\n"
            "prior                        0.5000     0.5000\n"
            "ann        yes      0.875    -2.500     -0.250   0.01  counted, late  approved\n"
            "posterior                    0.0312     0.9688\n"
            "posterior = prior x exp(sum of ln w over counted answers), scaled to 1\n"
            "given to bob until " +
                TimeText(absl::FromUnixSeconds(1'700'000'000)) + "; a late answer counts until " +
                TimeText(absl::FromUnixSeconds(1'700'000'600)) +
                "\n"
                "one more answer is expected to add 0.0100 to the chance of being right\n");
}

TEST(PlanTest, APlanSaysWhatItCostsAndWhetherTheMoneySuffices) {
  v1::SplitPlan plan;
  plan.set_strategy(v1::SPLIT_STRATEGY_UNIFORM);
  plan.set_items(800);
  plan.set_items_admitted(600);
  plan.set_expected_answers(2400);
  plan.set_expected_cost_micros(24'000'000);
  plan.set_full_cost_micros(32'000'000);
  plan.set_remaining_micros(24'000'000);
  plan.set_expected_worker_seconds(7200);
  plan.set_expected_microtasks(480);
  plan.set_startup_seconds(5);
  plan.set_unit_seconds(10);
  plan.set_fatigue_seconds(0.05);
  plan.set_currency_code("USD");
  v1::PlannedStratum& stratum = *plan.add_strata();
  stratum.set_stratum("default");
  stratum.set_items(800);
  stratum.set_items_admitted(600);
  stratum.set_items_per_microtask(5);
  stratum.set_expected_microtasks(480);
  stratum.set_expected_answers_per_item(4);
  stratum.set_expected_seconds_per_microtask(56.25);
  stratum.set_price_per_item_micros(10'000);
  stratum.set_expected_cost_micros(24'000'000);
  EXPECT_EQ(PlanText(Terminal{}, plan),
            "uniform plan: 800 items, about 2,400 answers, 2 h 0 min of work in 480 microtasks\n"
            "expected cost 24.00 USD of 24.00 USD left; the budget is expected to pay for 600 of "
            "800 items; all would need 32.00 USD\n"
            "a microtask of length l takes 5 + 10 l + 0.05 l^2 seconds\n"
            "stratum  items  admitted  per task  tasks  answers/item  s/task  price       cost\n"
            "default    800       600         5    480          4.00    56.2   0.01  24.00 USD\n");
  EXPECT_THAT(PlanText(Terminal{}, plan, /*has_budget=*/false),
              HasSubstr("\nno budget is given; 24.00 USD is what it is expected to need\n"));
}

TEST(PlanTest, ThatNobodyIsPaidIsWarnedOfUnlessSomebodySaidSo) {
  v1::SplitPlan plan;
  plan.set_items(1);
  plan.set_items_admitted(1);
  plan.add_strata()->set_items(1);
  v1::Policy policy;
  EXPECT_THAT(PlanWarnings(plan, policy, 2), ElementsAre(HasSubstr("workers are paid nothing")));
  policy.mutable_price()->set_price_per_item_micros(0);
  EXPECT_TRUE(PlanWarnings(plan, policy, 2).empty());
}

TEST(DurationTest, DurationsAreRoundedToWhatMatters) {
  EXPECT_EQ(DurationText(absl::Milliseconds(1234)), "1.2 s");
  EXPECT_EQ(DurationText(absl::Seconds(59)), "59 s");
  EXPECT_EQ(DurationText(absl::Seconds(3599)), "59 min 59 s");
  EXPECT_EQ(DurationText(absl::Minutes(125)), "2 h 5 min");
  EXPECT_EQ(DurationText(absl::Hours(50)), "2 d 2 h");
}

}  // namespace
}  // namespace tessera::client
