// Says in the log when the store is lost, refuses or is back, and what it does to partitions.
//
// It looks and compares, so that each change is one line, however often it is asked to.
//
// Threads: none; belongs to a CoordinatorThread.
#pragma once

#include <cstdint>
#include <set>

#include "absl/status/status.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/store/redis_connection.h"

namespace tessera {

class StoreLog {
 public:
  // Whether there is a connection, and why not.
  void Look(const store::RedisConnection& connection);
  // Whether partitions 0 .. `partitions`-1 can commit, and whether anything of them was lost.
  void Look(const edge::Coordinator& coordinator, uint32_t partitions);

  // As was seen last: connected, and no partition's commits are suspended.
  bool available() const { return connection_.ok() && suspended_.empty(); }

 private:
  absl::Status connection_;       // As was said last; at first nothing needs to be.
  bool forgetful_ = false;        // That Redis keeps nothing was told.
  std::set<uint32_t> suspended_;  // Partitions whose commits are.
  std::set<uint32_t> damaged_;    // Partitions whose loss was told.
};

}  // namespace tessera
