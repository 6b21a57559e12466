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
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/hash.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"

namespace tessera {

// The mark in a data folder. Without a path there is none, and it agrees with everything.
class DeploymentMark {
 public:
  explicit DeploymentMark(std::string path) : path_(std::move(path)) {}

  // Reads it, if it is there. DATA_LOSS: something else is there.
  absl::Status Read();
  // Whether it was there: then there is a deployment, or was.
  bool present() const { return !mark_.empty(); }
  const std::string& path() const { return path_; }
  // Leaves it for the deployment of this key, durable when it returns; or DATA_LOSS, if the one that
  // was read is another deployment's. RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Keep(const SipKey& key);

 private:
  const std::string path_;
  std::string mark_;
};

struct DeploymentTerms {
  uint32_t partitions = 1;
  SipKey fresh_key;          // Random; taken where the deployment has none so far ...
  bool may_be_fresh = true;  // ... unless there was one.
};

// Puts the terms into Redis where there are none, and answers with the deployment's key. Runs
// `loop` until Redis has answered, or `give_up` says true, or for half a minute.
// FAILED_PRECONDITION: the data is of another number of partitions. DATA_LOSS: there is no
// deployment, and there must be one. UNAVAILABLE, RESOURCE_EXHAUSTED: Redis does not answer or takes
// no writes; trying again may help.
absl::StatusOr<SipKey> AgreeOnDeployment(const DeploymentTerms& terms, store::PollLoop& loop,
                                         store::RedisConnection& connection,
                                         absl::FunctionRef<bool()> give_up);

}  // namespace tessera
