// Stores that lie, so that tests can show that the simulation would notice.
#pragma once

#include <cstdint>
#include <memory>

#include "coordinator/core/storage.h"
#include "tests/simulation/world.h"

namespace tessera::simulation {

// The store with this bug in front of it; nothing if the bug is not a store's.
std::unique_ptr<core::Store> MakeSabotagedStore(Sabotage sabotage, core::Store* store,
                                                uint64_t seed);

}  // namespace tessera::simulation
