// Whatever happens to coordinators, stores, links and clocks, the promises hold: 300 histories.
//
//   simulation_test                 All of them, as a test. ctest runs them in shards.
//   simulation_test --seed=N        One history; on failure, what happened last.
//   simulation_test --minutes=N     Hunts: new seeds for so long, from a start that it prints.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/simulation/simulation_main.h"

namespace tessera::simulation {
namespace {

constexpr int kHistories = 300;

class SimulationTest : public ::testing::TestWithParam<int> {};

TEST_P(SimulationTest, EveryPromiseHoldsAfterEveryStep) {
  const auto seed = static_cast<uint64_t>(GetParam());
  const Report report = RunHistory(seed);
  ASSERT_TRUE(report.ok()) << Explain(seed, report);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest, ::testing::Range(0, kHistories));

// Else the command that repeats a failure would not.
TEST(SimulationItselfTest, TheSameSeedGivesTheSameHistory) {
  for (const uint64_t seed : {1, 2, 3}) {
    const Report once = RunHistory(seed);
    const Report again = RunHistory(seed);
    EXPECT_EQ(once.digest, again.digest) << "seed " << seed;
    EXPECT_EQ(once.steps, again.steps) << "seed " << seed;
    EXPECT_EQ(once.events, again.events) << "seed " << seed;
  }
}

// A simulation in which nothing happens keeps every promise.
TEST(SimulationItselfTest, AllThatCanBeCommittedIs) {
  std::map<std::string, uint64_t> events;
  uint64_t crashes = 0;
  for (uint64_t seed = 1000; seed < 1020; ++seed) {
    const Report report = RunHistory(seed);
    ASSERT_TRUE(report.ok()) << Explain(seed, report);
    for (const auto& [name, count] : report.events) events[name] += count;
    crashes += report.crashes;
  }
  EXPECT_GT(crashes, 20u);
  for (const char* name :
       {"OwnerStarted",    "Ticked",     "WorkerSeen",     "WorkerUpdated", "PoolPut",
        "PoolDeleted",     "JobCreated", "JobUpdated",     "ItemsAdded",    "JobSealed",
        "JobPhaseChanged", "JobEnded",   "JobDeleted",     "Granted",       "Drafted",
        "ItemsEnded",      "Extended",   "AnswerReviewed", "BonusPaid",     "FitApplied",
        "PageRefitted"}) {
    EXPECT_GT(events[name], 0u) << name;
  }
}

int RunOne(uint64_t seed) {
  const Report report = RunHistory(seed);
  if (!report.ok()) {
    std::fputs(Explain(seed, report).c_str(), stdout);
    return 1;
  }
  std::printf("seed %llu: no promise broken in %llu steps, %s, %llu crashes; state %s\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(report.steps),
              absl::FormatDuration(report.passed).c_str(),
              static_cast<unsigned long long>(report.crashes), report.digest.c_str());
  for (const auto& [name, count] : report.events) {
    std::printf("  %8llu %s\n", static_cast<unsigned long long>(count), name.c_str());
  }
  return 0;
}

int Hunt(int minutes) {
  const uint64_t first = std::random_device()();
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(minutes);
  uint64_t seed = first;
  std::printf("hunting from seed %llu\n", static_cast<unsigned long long>(first));
  for (; std::chrono::steady_clock::now() < end; ++seed) {
    const Report report = RunHistory(seed);
    if (report.ok()) continue;
    std::fputs(Explain(seed, report).c_str(), stdout);
    return 1;
  }
  std::printf("no promise broken in %llu histories\n",
              static_cast<unsigned long long>(seed - first));
  return 0;
}

}  // namespace
}  // namespace tessera::simulation

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view flag = argv[i];
    uint64_t number = 0;
    if (absl::ConsumePrefix(&flag, "--seed=") && absl::SimpleAtoi(flag, &number)) {
      return tessera::simulation::RunOne(number);
    }
    if (absl::ConsumePrefix(&flag, "--minutes=") && absl::SimpleAtoi(flag, &number)) {
      return tessera::simulation::Hunt(static_cast<int>(number));
    }
    std::fprintf(stderr, "what is %s? --seed=N or --minutes=N\n", argv[i]);
    return 2;
  }
  return RUN_ALL_TESTS();
}
