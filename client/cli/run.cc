// up and replay.

#include <atomic>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/local_coordinator.h"
#include "client/cli/money.h"
#include "client/cli/speed.h"
#include "client/cli/watching.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/messages.h"
#include "client/replay_gateway.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

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
      return "the job wants more than those who are left can give";
    case ReplayEnd::kStopped:
      return "stopped";
  }
  return "";
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

absl::StatusOr<ExitCode> RunUp(Invocation& call) {
  const Interrupt interrupt;
  const std::string data_dir = call.Get("data-dir", "./tessera-data");
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<LocalCoordinator> coordinator,
                           LocalCoordinator::Start({.data_dir = data_dir,
                                                    .listen = call.Get("listen", "127.0.0.1:7070"),
                                                    .more = call.rest()},
                                                   interrupt.token()));
  if (call.json()) {
    call.out() << nlohmann::ordered_json{{"address", coordinator->address()},
                                         {"data_dir", data_dir},
                                         {"pid", coordinator->pid()}}
                      .dump()
               << std::endl;
  } else {
    call.out() << "Tessera is serving on " << coordinator->address() << ", data in " << data_dir
               << "; Ctrl-C ends it" << std::endl;
  }
  TESSERA_RETURN_IF_ERROR(coordinator->Wait(interrupt.token()));
  if (!call.json()) call.err() << "stopping: what is under way is committed first" << std::endl;
  TESSERA_RETURN_IF_ERROR(coordinator->Stop());
  return kExitOk;
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
  TESSERA_ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(call.argument(0)));
  options.replay.job = job.name();
  if (!call.json()) {
    call.err() << FormatCount(static_cast<int64_t>(crowd.workers.size())) << " workers with "
               << FormatCount(crowd.answers) << " recorded answers"
               << (crowd.repeated == 0
                       ? ""
                       : absl::StrCat(" (", crowd.repeated, " repeated ones are left out)"))
               << std::endl;
  }
  StatusView view(&call.err(), call.err_terminal(), /*json=*/false);
  const bool quiet = call.json();
  std::atomic<bool> broken = false;
  options.on_status = [&](const v1::JobStatus& status, const ReplayCounts&) {
    broken = false;
    if (!quiet) view.Show(status, HasEnded(status.job()));
  };
  options.on_break = [&](const absl::Status& status) {
    if (!broken.exchange(true) && !quiet) {
      // The display belongs to the thread that watches; a plain line may come between.
      if (!call.err_terminal().live) {
        view.Note(absl::StrCat("waiting for the coordinator: ", std::string(status.message())));
      }
    }
  };
  ReplayGateway gateway(client.get(), std::move(crowd), std::move(options));
  TESSERA_ASSIGN_OR_RETURN(const ReplayOutcome outcome, gateway.Run(interrupt.token()));
  const ReplayCounts& counts = outcome.counts;
  if (call.json()) {
    call.out() << nlohmann::ordered_json{{"job", job.name()},
                                         {"end", EndName(outcome.end)},
                                         {"assignments", counts.assignments},
                                         {"answers_accepted", counts.answers_accepted},
                                         {"answers_refused", counts.answers_refused},
                                         {"earned_micros", counts.earned_micros},
                                         {"currency_code", job.policy().currency_code()},
                                         {"workers_arrived", counts.workers_arrived},
                                         {"workers_done", counts.workers_done},
                                         {"submits_resent", counts.resent},
                                         {"reconnects", outcome.reconnects}}
                      .dump()
               << "\n";
  } else {
    call.out() << EndText(outcome.end) << ": " << FormatCount(counts.answers_accepted)
               << " answers accepted in " << FormatCount(counts.assignments)
               << " assignments, earned "
               << FormatMoney(counts.earned_micros, job.policy().currency_code())
               << (outcome.reconnects == 0 ? ""
                                           : absl::StrCat(", ", outcome.reconnects, " reconnects"))
               << "\n";
  }
  return outcome.end == ReplayEnd::kStopped ? kExitInterrupted : kExitOk;
}

}  // namespace tessera::client
