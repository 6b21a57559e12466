// What programs that run histories have in common: how a failure is shown.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulation/world.h"

namespace tessera::simulation {

// Runs the history of this seed. Where the process ends by a check in the middle of it, the command
// that repeats it is printed as well.
Report RunHistory(uint64_t seed, Sabotage sabotage = Sabotage::kNone);

// The broken promise, what happened last, and the one command that repeats it.
std::string Explain(uint64_t seed, const Report& report);

}  // namespace tessera::simulation
