// What all coordinators of a deployment agree on, and that it is still the same deployment.
//
// The number of partitions and the key of the digests are in Redis, where the first coordinator
// puts them. A coordinator with a data folder of its own also leaves a mark there, beside the
// append-only file: without it a file that was lost or emptied would look like a new deployment,
// and what was acknowledged would be gone without a word.
//
// Threads: none; blocks its caller.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/hash.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"

namespace tessera {

struct DeploymentTerms {
  uint32_t partitions = 1;
  SipKey fresh_key;       // Random; taken where the deployment has none so far.
  std::string mark_path;  // Optional: the mark's file. Empty: no mark is kept.
};

// Puts the terms into Redis where there are none, and answers with the deployment's key. Runs
// `loop` until Redis has answered, or `give_up` says true, or for half a minute.
// FAILED_PRECONDITION: the data is of another number of partitions. DATA_LOSS: the deployment that
// the mark tells of is not in Redis. UNAVAILABLE, RESOURCE_EXHAUSTED: Redis does not answer or takes
// no writes; trying again may help.
absl::StatusOr<SipKey> AgreeOnDeployment(const DeploymentTerms& terms, store::PollLoop& loop,
                                         store::RedisConnection& connection,
                                         absl::FunctionRef<bool()> give_up);

}  // namespace tessera
