// The coordinator's one thread: epoll, timers, and a mailbox that other threads post closures to.
//
//   PollLoop loop;
//   RedisConnection connection(&loop, {...});     // Lives on this thread.
//   std::thread rpc([&] { loop.Post([&] { partition.Handle(...); }); });
//   while (!ending) loop.RunOnce(absl::Seconds(1));
//
// A round (RunOnce) waits if there is nothing to do, then runs due timers, callbacks of ready
// descriptors, what was posted before the round took the mailbox, and at last what was deferred.
// A post costs one lock and one push; only the first post since the mailbox was last taken wakes
// the thread, and only where it may be waiting.
//
// Threads: Post() from any; all else, the constructor and destructor included, on one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "coordinator/store/event_loop.h"

namespace tessera::store {

class PollLoop final : public EventLoop {
 public:
  PollLoop();
  // Callbacks that have not run by now never do. Posting must have ended.
  ~PollLoop() override;
  PollLoop(const PollLoop&) = delete;
  PollLoop& operator=(const PollLoop&) = delete;

  // One round; waits at most `wait_max` for something to do. Returns how many callbacks ran.
  // Not from inside a callback.
  size_t RunOnce(absl::Duration wait_max);

  // Rounds until `done()` is true, looked at before each round, or `wait_max` has passed. Returns
  // what `done()` said last.
  bool RunUntil(absl::FunctionRef<bool()> done, absl::Duration wait_max);

  void Watch(int fd, ReadyCallback ready) override;
  void SetInterest(int fd, bool read, bool write) override;
  void Unwatch(int fd) override;
  TimerId After(absl::Duration delay, Callback callback) override;
  void Cancel(TimerId timer) override;
  void Defer(Callback callback) override;
  void Post(Callback callback) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Watched {
    uint32_t serial;  // Tells a descriptor's number from its next use.
    uint32_t interest = 0;
    std::shared_ptr<ReadyCallback> ready;  // Shared: it may unwatch itself while it runs.
  };
  using Nanos = int64_t;  // Of the monotonic clock.

  static Nanos Now();
  // How long epoll may wait; from here on a post wakes it.
  int WaitMillis(absl::Duration wait_max) ABSL_LOCKS_EXCLUDED(mutex_);
  size_t RunTimers();
  size_t RunReady(uint64_t tag, uint32_t events);
  size_t RunMailbox() ABSL_LOCKS_EXCLUDED(mutex_);
  size_t RunDeferred();

  int epoll_fd_;
  int wake_fd_;  // An eventfd: readable means posts wait.
  uint32_t serial_ = 0;
  absl::flat_hash_map<int, Watched> watched_;
  // By due time, then by id, which is the order of asking.
  std::map<std::pair<Nanos, TimerId>, Callback> timers_;
  absl::flat_hash_map<TimerId, Nanos> timer_due_;
  TimerId timer_last_ = 0;
  std::vector<Callback> deferred_;
  std::vector<Callback> running_;  // Kept for its capacity.
  bool in_round_ = false;

  Mutex mutex_;
  std::vector<Callback> mailbox_ ABSL_GUARDED_BY(mutex_);
  // The thread waits or is about to: the first post must wake it.
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera::store
