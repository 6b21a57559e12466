// Bugs that are put in on purpose, to show that the tests would find them.
//
//   const bool allowed = remaining >= price || Mutated(Mutation::kBudgetOffByOne);
//
// In every program that runs, Mutated() is the constant false and leaves no trace. Only the test of
// the simulation (tests/simulation/mutation_test.cc) compiles the files that ask for it a second
// time, with TESSERA_MUTATIONS, and chooses a bug.
#pragma once

#include <cstdint>

namespace tessera::core {

enum class Mutation : uint8_t {
  kNone,
  kReplyBeforeCommit,   // A reply does not wait for the commit of what it says.
  kDoubleCount,         // A late submission counts what was counted at the deadline once more.
  kLeaseTwice,          // A worker may be given an item again.
  kBudgetOffByOne,      // One answer more than the money pays is leased.
  kDraftLost,           // Drafts do not count at the deadline.
  kDeadlineNotShifted,  // An outage moves no deadline.
  kAboveCap,            // An item is leased to more than its cap of answers.
  kGraceNeverEnds,      // An answer counts however late it is.
};

#ifdef TESSERA_MUTATIONS
extern Mutation mutation;
inline bool Mutated(Mutation which) { return which == mutation; }
#else
constexpr bool Mutated(Mutation /*which*/) { return false; }
#endif

}  // namespace tessera::core
