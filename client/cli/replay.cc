// replay: a recorded crowd, brought to a job.

#include <cmath>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/money.h"
#include "client/cli/speed.h"
#include "client/cli/watching.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/json.h"
#include "client/messages.h"
#include "client/replay_gateway.h"
#include "common/errors.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr size_t kNamed = 5;  // Of many bad ones, in a message.

std::string EndName(ReplayEnd end) {
  switch (end) {
    case ReplayEnd::kJobEnded:
      return "job_ended";
    case ReplayEnd::kNothingLeft:
      return "nothing_left";
    case ReplayEnd::kIdle:
      return "idle";
    case ReplayEnd::kStopped:
      return "stopped";
  }
  return "";
}

std::string EndText(ReplayEnd end) {
  switch (end) {
    case ReplayEnd::kJobEnded:
      return "the job has ended";
    case ReplayEnd::kNothingLeft:
      return "nobody has anything left that the job wants";
    case ReplayEnd::kIdle:
      return "the job stands still, and nobody who is left can help it";
    case ReplayEnd::kStopped:
      return "stopped";
  }
  return "";
}

// What was taken out of the recording before anybody came.
struct LeftOut {
  int64_t label = 0;  // Answers whose label is none of the job's classes.
  int64_t item = 0;   // Answers to items that the job does not have.
};

// Replaying takes both ends of the contract, which no other command does.
absl::Status WithRolesHint(const absl::Status& status) {
  if (GetDetails(status).reason != "ROLE_DENIED") return status;
  return WithNextStep(
      status,
      "`replay` reads the job as a requester and brings workers as a gateway: give a token with "
      "both roles (in --tokens-file: `requester,gateway *`) with --token-file FILE or "
      "TESSERA_TOKEN");
}

// Answers that the job would refuse are found before anything is leased for them.
absl::Status CheckLabels(const Invocation& call, const v1::TaskTemplate& task, Crowd* crowd,
                         LeftOut* left_out) {
  if (task.fields_size() != 1 || !task.fields(0).has_choice()) return absl::OkStatus();
  std::set<std::string> classes;
  for (const v1::ChoiceClass& each : task.fields(0).choice().classes()) {
    classes.insert(each.value());
  }
  const int64_t recorded = crowd->answers;
  std::set<std::string> strange;
  left_out->label = DropAnswers(crowd, [&](const RecordedAnswer& answer) {
    if (classes.contains(answer.label)) return true;
    if (strange.size() < kNamed) strange.insert(answer.label);
    return false;
  });
  if (left_out->label == 0) return absl::OkStatus();
  if (call.Has("skip-unfit") && crowd->answers > 0) return absl::OkStatus();
  return WithNextStep(
      absl::InvalidArgumentError(
          absl::StrCat(call.argument(1), ": ", FormatCount(left_out->label), " of ",
                       FormatCount(recorded), " recorded answers fit none of the job's classes (",
                       absl::StrJoin(classes, ", "), "), such as ", absl::StrJoin(strange, ", "))),
      crowd->answers == 0 ? "is it the right recording, and the right job?"
                          : "mend the recording, or leave those answers out with --skip-unfit");
}

// Nobody waits for items that will never come: of a sealed job all items are known.
absl::Status DropUnknownItems(const Invocation& call, const v1::Job& job, Client* client,
                              std::stop_token stop, Crowd* crowd, LeftOut* left_out) {
  absl::flat_hash_set<std::string> unknown;
  for (const RecordedWorker& worker : crowd->workers) {
    for (const RecordedAnswer& answer : worker.answers) unknown.insert(answer.item_key);
  }
  const size_t recorded = unknown.size();
  v1::ListResultsRequest request;
  request.set_parent(job.name());
  TESSERA_RETURN_IF_ERROR(
      client->ListResults(request, stop, [&](const v1::ListResultsResponse& page) {
        for (const v1::Result& result : page.results()) unknown.erase(result.item_key());
        return !unknown.empty();
      }));
  if (unknown.empty()) return absl::OkStatus();
  const std::string of =
      absl::StrCat(FormatCount(static_cast<int64_t>(unknown.size())), " of ",
                   FormatCount(static_cast<int64_t>(recorded)), " recorded items");
  const absl::string_view are = unknown.size() == 1 ? " is" : " are";
  if (!job.sealed()) {
    if (!call.json()) {
      call.err() << of << are << " not in the job so far; it takes more, so that is waited for\n";
    }
    return absl::OkStatus();
  }
  left_out->item = DropAnswers(
      crowd, [&](const RecordedAnswer& answer) { return !unknown.contains(answer.item_key); });
  if (crowd->answers == 0) {
    return WithNextStep(
        absl::NotFoundError(absl::StrCat(
            call.argument(1), ": none of the ", FormatCount(static_cast<int64_t>(recorded)),
            " recorded items, such as '", *unknown.begin(), "', is one of the ",
            FormatCount(job.counts().items()), " items of the job")),
        "is it the right job? The column `item` holds the keys; `tessera results JOB` lists them");
  }
  if (!call.json()) call.err() << of << are << " not in the job, and" << are << " left out\n";
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<double> SpeedOf(const Invocation& call, double otherwise) {
  if (!call.Has("speed")) return otherwise;
  if (call.Get("speed") == "max") return kSpeedMax;
  double speed = 0;
  if (absl::SimpleAtod(call.Get("speed"), &speed) && std::isfinite(speed) && speed > 0) {
    return speed;
  }
  return FlagError("speed", call.Get("speed"), "is neither a number above 0 nor `max`");
}

absl::StatusOr<ExitCode> RunReplay(Invocation& call) {
  ReplayGatewayOptions options;
  TESSERA_ASSIGN_OR_RETURN(options.replay.speed, SpeedOf(call, 1));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> seed, call.GetInt("seed", 0, kSeedMax));
  options.replay.seed = static_cast<uint64_t>(seed.value_or(1));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<double> mean,
                           call.GetDouble("mean-seconds", 0, 86'400));
  if (mean.has_value()) options.replay.mean_answer_time = absl::Seconds(*mean);
  TESSERA_ASSIGN_OR_RETURN(const std::optional<absl::Duration> window,
                           call.GetDuration("arrival-window"));
  if (window.has_value()) options.replay.arrival_window = *window;
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> items_max,
                           call.GetInt("items-max", 1, 1000));
  options.replay.items_max = static_cast<int32_t>(items_max.value_or(0));
  if (call.Has("worker-pool")) options.replay.pool = PoolName(call.Get("worker-pool"));
  options.replay.gateway = call.Get("gateway");
  TESSERA_ASSIGN_OR_RETURN(Crowd crowd, ReadCrowdFile(call.argument(1)));

  const Interrupt interrupt;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  const absl::StatusOr<v1::Job> job = client->GetJob(call.argument(0), interrupt.token());
  if (!job.ok()) return WithRolesHint(job.status());
  options.replay.job = job->name();
  LeftOut left_out;
  TESSERA_RETURN_IF_ERROR(CheckLabels(call, job->template_(), &crowd, &left_out));
  if (!call.json()) {
    call.err() << Plural(static_cast<int64_t>(crowd.workers.size()), "worker") << " with "
               << Plural(crowd.answers, "recorded answer")
               << (crowd.repeated == 0
                       ? ""
                       : absl::StrCat(" (left out: ", FormatCount(crowd.repeated), " repeated)"))
               << std::endl;
    if (left_out.label > 0) {
      call.err() << Plural(left_out.label, "recorded answer")
                 << (left_out.label == 1 ? " fits none of the job's classes, and is"
                                         : " fit none of the job's classes, and are")
                 << " left out" << std::endl;
    }
  }
  if (!HasEnded(*job)) {
    TESSERA_RETURN_IF_ERROR(
        DropUnknownItems(call, *job, client.get(), interrupt.token(), &crowd, &left_out));
  }
  StatusView view(&call.err(), call.err_terminal(), /*json=*/false);
  const bool quiet = call.json();
  std::mutex showing;  // Statuses come on the thread that watches, breaks on this one.
  bool broken = false;
  options.on_status = [&](const v1::JobStatus& status, const ReplayCounts&) {
    const std::lock_guard lock(showing);
    broken = false;
    if (!quiet) view.Show(status, HasEnded(status.job()));
  };
  options.on_break = [&](const absl::Status& status) {
    const std::lock_guard lock(showing);
    if (!std::exchange(broken, true) && !quiet) {
      view.Note(absl::StrCat("waiting for the coordinator: ", std::string(status.message())));
    }
  };
  ReplayGateway gateway(client.get(), std::move(crowd), std::move(options));
  const absl::StatusOr<ReplayOutcome> outcome = gateway.Run(interrupt.token());
  if (!outcome.ok()) return WithRolesHint(outcome.status());
  const ReplayCounts& counts = outcome->counts;
  if (call.json()) {
    nlohmann::ordered_json json{{"job", job->name()},
                                {"end", EndName(outcome->end)},
                                {"assignments", counts.assignments},
                                {"answers_accepted", counts.answers_accepted},
                                {"answers_refused", counts.answers_refused},
                                {"answers_of_other_items", left_out.item},
                                {"answers_of_other_labels", left_out.label},
                                {"earned_micros", counts.earned_micros},
                                {"currency_code", job->policy().currency_code()},
                                {"workers_arrived", counts.workers_arrived},
                                {"workers_done", counts.workers_done},
                                {"assignments_open", counts.open},
                                {"submits_resent", counts.resent},
                                {"reconnects", outcome->reconnects}};
    if (counts.open > 0) {
      json["open_until_time"] =
          absl::FormatTime(absl::RFC3339_full, counts.open_until, absl::UTCTimeZone());
    }
    call.out() << ToLine(json) << "\n";
  } else {
    call.out() << EndText(outcome->end) << ": " << Plural(counts.answers_accepted, "answer")
               << " accepted in " << Plural(counts.assignments, "assignment") << ", earned "
               << FormatMoney(counts.earned_micros, job->policy().currency_code())
               << (outcome->reconnects == 0
                       ? ""
                       : absl::StrCat(", ", Plural(outcome->reconnects, "reconnect")))
               << "\n";
    // Nobody else is asked for these answers meanwhile.
    if (counts.open > 0 && outcome->end == ReplayEnd::kStopped) {
      call.out() << Plural(counts.open, "assignment") << (counts.open == 1 ? " stays" : " stay")
                 << " open until " << TimeText(counts.open_until)
                 << " at the latest; the same command goes on with "
                 << (counts.open == 1 ? "it" : "them") << "\n";
    }
  }
  return outcome->end == ReplayEnd::kStopped ? kExitInterrupted : kExitOk;
}

}  // namespace tessera::client
