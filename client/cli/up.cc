// up: all of Tessera on this machine.

#include <sys/types.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/local_coordinator.h"
#include "client/json.h"
#include "common/status_macros.h"

namespace tessera::client {

namespace {

// Why the coordinator ended is told by its own exit status, and so by ours.
absl::Status AsItEnded(const absl::Status& status) {
  const std::optional<int> code = LocalCoordinator::ExitStatus(status);
  return code.has_value() ? WithExitCode(status, *code) : status;
}

}  // namespace

absl::StatusOr<ExitCode> RunUp(Invocation& call) {
  // The coordinator reads its tokens again on SIGHUP, once it serves; what comes before that is kept.
  std::atomic<bool> hung_up = false;
  std::atomic<pid_t> serving = -1;
  const auto pass_on = [&hung_up, &serving] {
    const pid_t pid = serving;
    if (pid > 0 && hung_up.exchange(false)) kill(pid, SIGHUP);
  };
  const Interrupt interrupt([&hung_up, &pass_on] {
    hung_up = true;
    pass_on();
  });
  const std::string data_dir = call.Get("data-dir", "./tessera-data");
  const absl::StatusOr<std::unique_ptr<LocalCoordinator>> started = LocalCoordinator::Start(
      {.data_dir = data_dir, .listen = call.Get("listen", "127.0.0.1:7070"), .more = call.rest()},
      interrupt.token());
  if (!started.ok()) return AsItEnded(started.status());
  LocalCoordinator* const coordinator = started->get();
  serving = coordinator->pid();
  pass_on();
  if (call.json()) {
    call.out() << ToLine({{"address", coordinator->address()},
                          {"data_dir", data_dir},
                          {"pid", coordinator->pid()}})
               << std::endl;
  } else {
    call.out() << "Tessera is serving on " << coordinator->address() << ", data in " << data_dir
               << "; Ctrl-C ends it" << std::endl;
  }
  const absl::Status waited = coordinator->Wait(interrupt.token());
  serving = -1;
  TESSERA_RETURN_IF_ERROR(AsItEnded(waited));
  if (!call.json()) call.err() << "stopping: what is under way is committed first" << std::endl;
  TESSERA_RETURN_IF_ERROR(AsItEnded(coordinator->Stop()));
  return kExitOk;
}

}  // namespace tessera::client
