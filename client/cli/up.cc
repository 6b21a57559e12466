// up: all of Tessera on this machine.

#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/local_coordinator.h"
#include "client/json.h"
#include "common/status_macros.h"

namespace tessera::client {

absl::StatusOr<ExitCode> RunUp(Invocation& call) {
  const Interrupt interrupt;
  const std::string data_dir = call.Get("data-dir", "./tessera-data");
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<LocalCoordinator> coordinator,
                           LocalCoordinator::Start({.data_dir = data_dir,
                                                    .listen = call.Get("listen", "127.0.0.1:7070"),
                                                    .more = call.rest()},
                                                   interrupt.token()));
  if (call.json()) {
    call.out() << ToLine({{"address", coordinator->address()},
                          {"data_dir", data_dir},
                          {"pid", coordinator->pid()}})
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

}  // namespace tessera::client
