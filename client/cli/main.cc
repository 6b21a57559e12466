// The program `tessera`.

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "client/cli/command.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // A reader that has seen enough (`tessera results JOB | head`) ends us quietly.
  std::signal(SIGPIPE, SIG_DFL);
  return tessera::client::RunCommand(std::vector<std::string>(argv + 1, argv + argc), std::cout,
                                     std::cerr);
}
