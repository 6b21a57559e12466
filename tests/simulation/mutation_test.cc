// The simulation finds bugs: each of these, put in on purpose, within a few histories.
//
// A bug may end the process by a check, so each is hunted in a process of its own.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "coordinator/core/mutation.h"
#include "tests/simulation/simulation_main.h"

namespace tessera::core {

Mutation mutation = Mutation::kNone;

}  // namespace tessera::core

namespace tessera::simulation {
namespace {

using core::Mutation;

constexpr uint64_t kSeedsMax = 100;

struct Bug {
  const char* name;
  Sabotage sabotage = Sabotage::kNone;
  Mutation mutation = Mutation::kNone;
};

void PrintTo(const Bug& bug, std::ostream* out) { *out << bug.name; }

class MutationTest : public ::testing::TestWithParam<Bug> {};

// The child's status: 0, found; 1, not found; a signal, found by a check.
int HuntInChild(const Bug& bug) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    core::mutation = bug.mutation;
    for (uint64_t seed = 0; seed < kSeedsMax; ++seed) {
      const Report report = RunHistory(seed, bug.sabotage);
      if (report.ok()) continue;
      std::printf("%s: found by seed %llu: %s\n", bug.name, static_cast<unsigned long long>(seed),
                  report.broken.substr(0, 300).c_str());
      std::fflush(nullptr);
      _exit(0);
    }
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST_P(MutationTest, IsFound) {
  const int status = HuntInChild(GetParam());
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0)
      << "no history of " << kSeedsMax << " shows the bug";
}

INSTANTIATE_TEST_SUITE_P(
    Bugs, MutationTest,
    ::testing::Values(Bug{"AppendNotAwaited", Sabotage::kAppendNotAwaited},
                      Bug{"FencingOff", Sabotage::kFencingOff},
                      Bug{"TrimTooFar", Sabotage::kTrimTooFar},
                      Bug{"ObjectsNotWritten", Sabotage::kObjectsNotWritten},
                      Bug{"ReplyBeforeCommit", Sabotage::kNone, Mutation::kReplyBeforeCommit},
                      Bug{"DoubleCount", Sabotage::kNone, Mutation::kDoubleCount},
                      Bug{"LeaseTwice", Sabotage::kNone, Mutation::kLeaseTwice},
                      Bug{"BudgetOffByOne", Sabotage::kNone, Mutation::kBudgetOffByOne},
                      Bug{"DraftLost", Sabotage::kNone, Mutation::kDraftLost},
                      Bug{"DeadlineNotShifted", Sabotage::kNone, Mutation::kDeadlineNotShifted},
                      Bug{"AboveCap", Sabotage::kNone, Mutation::kAboveCap},
                      Bug{"GraceNeverEnds", Sabotage::kNone, Mutation::kGraceNeverEnds}),
    [](const auto& info) { return std::string(info.param.name); });

// The same program without a bug finds none, so it is the bugs that are found.
TEST(MutationItselfTest, WithoutABugNothingIsFound) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Report report = RunHistory(seed);
    EXPECT_TRUE(report.ok()) << Explain(seed, report);
  }
}

}  // namespace
}  // namespace tessera::simulation
