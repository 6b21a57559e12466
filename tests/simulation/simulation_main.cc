#include "tests/simulation/simulation_main.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace tessera::simulation {
namespace {

volatile uint64_t running_seed = 0;

void OnAbort(int signal) {
  char line[160];
  const int size = std::snprintf(line, sizeof(line),
                                 "in the history of seed %llu; to repeat it:\n"
                                 "  build/release/bin/tests/simulation_test --seed=%llu\n",
                                 static_cast<unsigned long long>(running_seed),
                                 static_cast<unsigned long long>(running_seed));
  std::fwrite(line, 1, static_cast<size_t>(size), stderr);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

Report RunHistory(uint64_t seed, Sabotage sabotage) {
  running_seed = seed;
  std::signal(SIGABRT, OnAbort);
  std::signal(SIGSEGV, OnAbort);
  return World({.seed = seed, .sabotage = sabotage}).Run();
}

std::string Explain(uint64_t seed, const Report& report) {
  return absl::StrCat(
      "seed ", seed, ", after ", report.steps, " steps: ", report.broken, "\n", report.trace,
      "to repeat it:\n  build/release/bin/tests/simulation_test --seed=", seed, "\n");
}

}  // namespace tessera::simulation
