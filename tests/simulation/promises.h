// The promises that can be checked on a partition's state alone, by looking at every item and lease
// anew: what the heads say must be what a recount finds.
#pragma once

#include <string>
#include <vector>

#include "coordinator/core/fold.h"

namespace tessera::simulation {

// What is broken, for people. Empty where all is well.
using Complaints = std::vector<std::string>;

// Counts, money and leases of a job equal a recount; its budget is not passed; no worker has an
// item twice.
Complaints CheckJob(const core::JobState& job);

// Re-fusing an item's counted answers under the fit that its result names gives the same bits.
Complaints CheckScores(const core::JobState& job);

// CheckJob of every job that there is.
Complaints CheckPromises(const core::PartitionState& state);
// CheckScores of every job that there is.
Complaints CheckAllScores(const core::PartitionState& state);

}  // namespace tessera::simulation
