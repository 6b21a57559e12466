// The program `tessera`.

#include <grpc/support/log.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "client/cli/command.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // A reader that has seen enough (`tessera results JOB | head`) ends us quietly.
  std::signal(SIGPIPE, SIG_DFL);
  // A shell that runs a script has its background jobs ignore Ctrl-C. Ours ends those, too, whatever
  // they are doing: they would go on to spend money for somebody who believes them ended.
  std::signal(SIGINT, SIG_DFL);
  // What gRPC has to say comes with the error; its own lines are for those who look for them.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  return tessera::client::RunCommand(std::vector<std::string>(argv + 1, argv + argc), std::cout,
                                     std::cerr);
}
