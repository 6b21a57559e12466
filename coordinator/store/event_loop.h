// What a connection needs of the thread it lives on: readiness of descriptors, timers, and "later".
//
// The one in production is PollLoop (poll_loop.h). Everything here is called on the loop's thread,
// except Post().
#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace tessera::store {

class EventLoop {
 public:
  using Callback = absl::AnyInvocable<void()>;
  // Hang-up and error count as readable and writable: the next read or write tells which.
  using ReadyCallback = absl::AnyInvocable<void(bool readable, bool writable)>;
  using TimerId = uint64_t;  // Never 0.

  virtual ~EventLoop() = default;

  // Reports readiness of `fd` to `ready` until Unwatch(fd), for what SetInterest() asks; at first
  // nothing. Level-triggered. `fd` stays the caller's and is not closed before Unwatch().
  virtual void Watch(int fd, ReadyCallback ready) = 0;
  virtual void SetInterest(int fd, bool read, bool write) = 0;
  // No callback for `fd` runs after this, not even in the round that is under way.
  virtual void Unwatch(int fd) = 0;

  // Runs `callback` once, not before `delay` has passed by the monotonic clock.
  virtual TimerId After(absl::Duration delay, Callback callback) = 0;
  // No effect where the timer has fired.
  virtual void Cancel(TimerId timer) = 0;

  // Runs `callback` at the end of this round, before the loop waits again: the place to send what
  // the round has gathered. Deferred callbacks run in order; what they defer runs in the same
  // round.
  virtual void Defer(Callback callback) = 0;

  // Runs `callback` on the loop's thread, in the order of the posts, in a later step of the loop;
  // never inside the call. From any thread.
  virtual void Post(Callback callback) = 0;
};

}  // namespace tessera::store
