#include "client/cli/demo.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/local_coordinator.h"
#include "client/cli/money.h"
#include "client/cli/speed.h"
#include "client/cli/watching.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/items.h"
#include "client/json.h"
#include "client/messages.h"
#include "client/replay_gateway.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr absl::string_view kClassLabels[] = {"does not follow", "follows"};
constexpr char kCurrency[] = "USD";
constexpr int64_t kPriceMicros = 10'000;       // A cent for an answer.
constexpr int64_t kBudgetMicros = 40'000'000;  // Half of what all 8,000 answers would cost.
// Recorded time passes so fast that there is something to see, and not for long.
constexpr double kSpeedToSee = 120;

v1::CreateJobRequest MakeJob() {
  v1::CreateJobRequest request;
  v1::Job& job = *request.mutable_job();
  job.set_display_name("rte");
  v1::TaskTemplate& task = *job.mutable_template_();
  task.set_title("Does the hypothesis follow from the text?");
  task.set_language("en");
  v1::Field& field = *task.add_fields();
  field.set_name("answer");
  for (size_t i = 0; i < std::size(kDemoClasses); ++i) {
    v1::ChoiceClass& choice = *field.mutable_choice()->add_classes();
    choice.set_value(std::string(kDemoClasses[i]));
    choice.set_label(std::string(kClassLabels[i]));
  }
  v1::Policy& policy = *job.mutable_policy();
  policy.set_budget_micros(kBudgetMicros);
  policy.set_currency_code(kCurrency);
  policy.mutable_price()->set_price_per_item_micros(kPriceMicros);
  // Surer than the default, so that five answers an item are used and not three.
  policy.mutable_quality()->set_target_confidence(0.98);
  policy.mutable_split()->set_items_max(5);
  return request;
}

// The result of every item.
absl::StatusOr<std::map<std::string, v1::Result>> AllResults(Client* client, const std::string& job,
                                                             std::stop_token stop,
                                                             std::vector<std::string>* broken) {
  std::map<std::string, v1::Result> results;
  v1::ListResultsRequest request;
  request.set_parent(job);
  TESSERA_RETURN_IF_ERROR(
      client->ListResults(request, std::move(stop), [&](const v1::ListResultsResponse& page) {
        for (const v1::Result& result : page.results()) {
          if (!results.emplace(result.item_key(), result).second) {
            broken->push_back(absl::StrCat("item ", result.item_key(), " has two results"));
          }
        }
        return true;
      }));
  return results;
}

// What the product promises about a job that has ended, as far as it can be seen from outside.
void CheckPromises(const DemoData& data, const v1::Job& job,
                   const std::map<std::string, v1::Result>& results, DemoRun* run) {
  const auto expect = [run](bool holds, std::string promise) {
    if (!holds) run->broken_promises.push_back(std::move(promise));
  };
  const v1::Ledger& ledger = job.ledger();
  const int64_t spent = SpentMicros(ledger);
  expect(job.state() == v1::JOB_STATE_FINALISED, "the job is finalised");
  expect(spent <= kBudgetMicros, "no more is spent than the budget");
  expect(ledger.reserved_micros() == 0, "nothing is reserved after the end");
  expect(spent + ledger.reserved_micros() + ledger.remaining_micros() == ledger.budget_micros(),
         "the ledger adds up to the budget");
  expect(results.size() == data.items.size(), "every item has one result");
  int64_t answers = 0;
  int64_t cost = 0;
  for (const auto& [key, result] : results) {
    answers += result.answers();
    cost += result.cost_micros();
    expect(result.finality() == v1::FINALITY_FINAL && (result.state() == v1::ITEM_STATE_RESOLVED ||
                                                       result.state() == v1::ITEM_STATE_UNRESOLVED),
           absl::StrCat("item ", key, " has one final state"));
  }
  expect(answers == job.counts().answers(), "every accepted answer counts once");
  expect(cost == spent, "what the items cost is what was spent");
  expect(job.counts().answers() * kPriceMicros == spent, "every answer is paid its price");
}

struct Mean {
  double answers = 0;
  double answers_per_item = 0;
  double accuracy = 0;
  double cost_micros = 0;
  double seconds = 0;
  bool promises_hold = true;
};

Mean MeanOf(const std::vector<DemoRun>& runs) {
  Mean mean;
  for (const DemoRun& run : runs) {
    const auto share = 1.0 / static_cast<double>(runs.size());
    mean.answers += share * static_cast<double>(run.answers);
    mean.answers_per_item += share * run.answers_per_item;
    mean.accuracy += share * run.accuracy;
    mean.cost_micros += share * static_cast<double>(run.cost_micros);
    mean.seconds += share * run.seconds;
    mean.promises_hold &= run.broken_promises.empty();
  }
  return mean;
}

// A folder of our own that is gone with the object, unless it is kept.
class ScratchFolder {
 public:
  static absl::StatusOr<ScratchFolder> Make(bool keep) {
    const char* base = std::getenv("TMPDIR");
    std::string path =
        absl::StrCat(base == nullptr || *base == '\0' ? "/tmp" : base, "/tessera-demo-XXXXXX");
    if (mkdtemp(path.data()) == nullptr) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot make a folder like ", path));
    }
    return ScratchFolder(std::move(path), keep);
  }
  ScratchFolder(ScratchFolder&& other) noexcept
      : path_(std::exchange(other.path_, "")), keep_(other.keep_) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    if (path_.empty() || keep_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  ScratchFolder(std::string path, bool keep) : path_(std::move(path)), keep_(keep) {}

  std::string path_;
  bool keep_;
};

}  // namespace

absl::StatusOr<DemoRun> RunDemo(const DemoData& data, const DemoRunOptions& options,
                                std::stop_token stop) {
  DemoRun run = {.seed = options.seed, .budget_micros = kBudgetMicros};
  TESSERA_ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalCoordinator> coordinator,
      LocalCoordinator::Start(
          {.data_dir = options.data_dir, .log_file = options.data_dir + "/coordinator.log"}, stop));
  TESSERA_ASSIGN_OR_RETURN(
      const std::unique_ptr<Client> client,
      Client::Connect({.address = coordinator->address(), .retry_for = absl::Seconds(30)}));

  const absl::Time begun = absl::Now();
  TESSERA_ASSIGN_OR_RETURN(const v1::Job created, client->CreateJob(MakeJob()));
  ItemList items(data.items);
  TESSERA_RETURN_IF_ERROR(client->AddItems(created, &items, nullptr, stop).status());
  TESSERA_RETURN_IF_ERROR(
      client->SealJob(created.name(), static_cast<int64_t>(data.items.size())).status());
  if (options.on_plan) {
    v1::PlanJobRequest plan;
    plan.set_job(created.name());
    TESSERA_ASSIGN_OR_RETURN(const v1::SplitPlan planned, client->PlanJob(plan));
    options.on_plan(planned);
  }

  ReplayGatewayOptions gateway_options = {
      .replay = {.job = created.name(),
                 .gateway = "demo",
                 .seed = options.seed,
                 .speed = options.speed},
      .idle_max = absl::Milliseconds(500),
      .on_status = [&options](const v1::JobStatus& status, const ReplayCounts&) {
        if (options.on_status) options.on_status(status);
      }};
  ReplayGateway gateway(client.get(), data.crowd, std::move(gateway_options));
  TESSERA_ASSIGN_OR_RETURN(const ReplayOutcome outcome, gateway.Run(stop));
  if (outcome.end == ReplayEnd::kStopped) return absl::CancelledError("stopped");
  if (outcome.end != ReplayEnd::kJobEnded) {
    // Out of money, or of people: what is known is the result.
    TESSERA_RETURN_IF_ERROR(client->FinaliseJob(created.name()).status());
  }
  v1::Job job;
  TESSERA_RETURN_IF_ERROR(client->WatchJob(created.name(), stop, [&](const v1::JobStatus& status) {
    job = status.job();
    if (options.on_status) options.on_status(status);
    return !HasEnded(job);
  }));
  run.seconds = absl::ToDoubleSeconds(absl::Now() - begun);

  TESSERA_ASSIGN_OR_RETURN(const auto results,
                           AllResults(client.get(), job.name(), stop, &run.broken_promises));
  run.answers = job.counts().answers();
  run.answers_per_item = static_cast<double>(run.answers) / static_cast<double>(data.items.size());
  run.cost_micros = SpentMicros(job.ledger());
  run.resolved = job.counts().items_resolved();
  run.unresolved = job.counts().items_unresolved();
  run.workers = job.counts().workers();
  int64_t right = 0;
  for (const auto& [item, label] : data.gold) {
    const auto found = results.find(item);
    if (found != results.end() && AnswerText(found->second.value()) == label) ++right;
  }
  run.accuracy = static_cast<double>(right) / static_cast<double>(data.gold.size());
  CheckPromises(data, job, results, &run);
  const absl::Status stopped = coordinator->Stop();
  if (!stopped.ok()) {
    run.broken_promises.push_back(
        absl::StrCat("the coordinator ends cleanly: ", std::string(stopped.message())));
  }
  return run;
}

nlohmann::ordered_json DemoJson(const DemoData& data, const std::vector<DemoRun>& runs) {
  const Mean mean = MeanOf(runs);
  nlohmann::ordered_json json;
  json["act"] = 1;
  json["data"] = "rte";
  json["items"] = data.items.size();
  json["workers"] = data.crowd.workers.size();
  json["runs_count"] = runs.size();
  json["answers"] = mean.answers;
  json["answers_per_item"] = mean.answers_per_item;
  json["accuracy"] = mean.accuracy;
  json["cost_micros"] = mean.cost_micros;
  json["budget_micros"] = kBudgetMicros;
  json["currency_code"] = kCurrency;
  json["seconds"] = mean.seconds;
  json["promises_hold"] = mean.promises_hold;
  json["all_answers"] = {{"answers", data.crowd.answers},
                         {"cost_micros", data.crowd.answers * kPriceMicros},
                         {"majority_accuracy", MajorityAccuracy(data)},
                         {"dawid_skene_accuracy", DawidSkeneAccuracy(data)}};
  json["runs"] = nlohmann::ordered_json::array();
  for (const DemoRun& run : runs) {
    json["runs"].push_back({{"seed", run.seed},
                            {"answers", run.answers},
                            {"answers_per_item", run.answers_per_item},
                            {"accuracy", run.accuracy},
                            {"cost_micros", run.cost_micros},
                            {"seconds", run.seconds},
                            {"items_resolved", run.resolved},
                            {"items_unresolved", run.unresolved},
                            {"workers", run.workers},
                            {"broken_promises", run.broken_promises}});
  }
  return json;
}

std::string DemoText(const DemoData& data, const std::vector<DemoRun>& runs) {
  const Mean mean = MeanOf(runs);
  constexpr auto kRight = Table::Align::kRight;
  Table table({"", "answers", "per item", "right", "cost"},
              {Table::Align::kLeft, kRight, kRight, kRight, kRight});
  const auto row = [&](absl::string_view name, double answers, double accuracy, double micros) {
    table.Add({std::string(name), FormatCount(std::llround(answers)),
               absl::StrFormat("%.2f", answers / static_cast<double>(data.items.size())),
               absl::StrFormat("%.2f %%", accuracy * 100),
               FormatMoney(std::llround(micros / 10'000) * 10'000, kCurrency)});
  };
  const auto all = static_cast<double>(data.crowd.answers);
  row("Tessera", mean.answers, mean.accuracy, mean.cost_micros);
  row("Majority of all answers", all, MajorityAccuracy(data), all * kPriceMicros);
  row("Dawid-Skene over all answers", all, DawidSkeneAccuracy(data), all * kPriceMicros);
  std::string text = table.Render(Terminal{});
  if (runs.size() == 1) {
    const DemoRun& run = runs[0];
    absl::StrAppendFormat(
        &text,
        "\n%s of %s people answered, in %.1f s. %s items resolved, %s when the money ran out.\n",
        FormatCount(run.workers), FormatCount(static_cast<int64_t>(data.crowd.workers.size())),
        run.seconds, FormatCount(run.resolved), FormatCount(run.unresolved));
  } else {
    absl::StrAppendFormat(&text, "\nMean of %d runs, %.1f s each.\n", runs.size(), mean.seconds);
  }
  if (mean.promises_hold) {
    absl::StrAppend(&text,
                    "Promises hold: spent within the budget, every item in one final state, "
                    "every answer counted and paid once.\n");
  }
  for (const DemoRun& run : runs) {
    for (const std::string& promise : run.broken_promises) {
      absl::StrAppend(&text, "BROKEN with seed ", run.seed, ": ", promise, "\n");
    }
  }
  return text;
}

absl::StatusOr<ExitCode> RunDemoCommand(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> seed, call.GetInt("seed", 0, kSeedMax));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> seeds, call.GetInt("seeds", 1, 1000));
  TESSERA_ASSIGN_OR_RETURN(const double speed, SpeedOf(call, kSpeedToSee));
  TESSERA_ASSIGN_OR_RETURN(const DemoData data, LoadDemoData());
  const Interrupt interrupt;
  if (!call.json()) {
    call.out() << "Does the hypothesis follow from the text? "
               << FormatCount(static_cast<int64_t>(data.items.size())) << " pairs, "
               << FormatCount(static_cast<int64_t>(data.crowd.workers.size()))
               << " recorded people, who gave " << FormatCount(data.crowd.answers)
               << " answers.\nTessera pays " << FormatMoney(kPriceMicros, kCurrency)
               << " for an answer and may spend " << FormatMoney(kBudgetMicros, kCurrency)
               << ".\n\n"
               << std::flush;
  }
  std::vector<DemoRun> runs;
  for (int64_t i = 0; i < seeds.value_or(1); ++i) {
    TESSERA_ASSIGN_OR_RETURN(const ScratchFolder folder, ScratchFolder::Make(call.Has("keep")));
    DemoRunOptions options = {.seed = static_cast<uint64_t>(seed.value_or(1) + i),
                              .speed = speed,
                              .data_dir = folder.path()};
    if (call.Has("keep")) call.err() << "data in " << folder.path() << std::endl;
    StatusView view(&call.out(), call.terminal(), /*json=*/false);
    if (!call.json()) {
      options.on_status = [&](v1::JobStatus status) {
        // That there is nothing new to lease for a moment is no news while people are at it.
        if (status.job().counts().assignments_open() > 0) status.mutable_job()->clear_stall();
        view.Show(status, HasEnded(status.job()));
      };
      if (i == 0) {
        options.on_plan = [&](const v1::SplitPlan& plan) {
          call.out() << PlanText(call.terminal(), plan) << std::endl;
        };
      }
    }
    TESSERA_ASSIGN_OR_RETURN(DemoRun run, RunDemo(data, options, interrupt.token()));
    if (!call.json()) {
      if (seeds.value_or(1) > 1) {
        call.out() << absl::StrFormat("seed %d: %.2f %% right with %.2f answers per item\n",
                                      run.seed, run.accuracy * 100, run.answers_per_item);
      }
      call.out() << std::endl;
    }
    runs.push_back(std::move(run));
  }
  if (call.json()) {
    call.out() << ToLine(DemoJson(data, runs)) << "\n";
  } else {
    call.out() << DemoText(data, runs);
  }
  return MeanOf(runs).promises_hold ? kExitOk : kExitFailed;
}

}  // namespace tessera::client
