// The thread on which a coordinator lives, with its event loop and its connection to Redis.
//
//   CoordinatorThread thread({...});
//   absl::Status started = thread.Start();    // Blocks until every partition serves.
//   thread.Post([](edge::Coordinator& coordinator) { ... });
//
// A round of the loop is one turn: it begins with the first task, and ends, with one commit for all
// of them, after the last. gRPC's threads only post.
//
// Threads: Post() from any, between a Start() that went well and Stop(); the rest from one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/hash.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/service/executor.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"
#include "coordinator/store_log.h"

namespace tessera {

class CoordinatorThread final : public service::Executor {
 public:
  struct Options {
    edge::CoordinatorOptions coordinator;  // Nonce and key are set here.
    store::RedisConnection::Options redis;
    uint32_t partitions = 1;
    std::string mark_path;  // Of the mark beside an append-only file of ours; see deployment.h.
    absl::Duration start_timeout = absl::Minutes(10);
    // Called once, on the thread, when the coordinator can no longer serve: ABORTED if another one
    // took over.
    std::function<void(absl::Status)> on_failure;
  };

  explicit CoordinatorThread(Options options);
  ~CoordinatorThread() override;  // Stops.

  // OK: serving. FAILED_PRECONDITION: the data is of another number of partitions, or the Redis is
  // not set up as it has to be; trying again does not help. ABORTED: another coordinator took a
  // partition over. DATA_LOSS: the store holds less than was acknowledged. Else why the store could
  // not be reached in time.
  absl::Status Start();

  void Post(Task task) override;

  // Runs `listener` on the thread, soon, and whenever it changes: whether everything can be
  // committed, with every partition's store there and taking writes. It must live until Stop().
  void OnAvailable(std::function<void(bool available)> listener);

  // Ends the thread. Calls that are still outstanding are answered with UNAVAILABLE on the way.
  void Stop();

 private:
  void Run(std::function<void(absl::Status)> started);
  absl::StatusOr<SipKey> Agree(store::RedisConnection& connection);
  void TellAvailable();
  void BeginTurn();
  void EndTurn();

  const Options options_;
  std::thread thread_;
  std::atomic<bool> ending_{false};

  // Of the thread.
  OnwardClock clock_{RealClock::Get()};
  store::PollLoop* loop_ = nullptr;
  edge::Coordinator* coordinator_ = nullptr;
  StoreLog store_log_;
  std::function<void(bool available)> listener_;
  std::optional<bool> told_available_;
  bool in_turn_ = false;
  bool turned_ = false;  // There was a turn in this round.
};

}  // namespace tessera
