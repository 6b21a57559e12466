// A clock that a test turns by hand.
//
//   SimulatedClock clock;                     // Some fixed instant.
//   clock.AdvanceTime(absl::Minutes(5));
//   clock.SetTime(clock.Now() - absl::Seconds(1));  // Real clocks do that too. No time elapses.
//
// Threads: all functions may be called from any thread.
#pragma once

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace tessera::testing {

class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(absl::Time start = absl::FromUnixSeconds(1'700'000'000)) : now_(start) {}

  absl::Time Now() override {
    const MutexLock lock(&mutex_);
    return now_;
  }
  absl::Duration Elapsed() override {
    const MutexLock lock(&mutex_);
    return elapsed_;
  }
  void SetTime(absl::Time now) {
    const MutexLock lock(&mutex_);
    now_ = now;
  }
  void AdvanceTime(absl::Duration by) {
    const MutexLock lock(&mutex_);
    now_ += by;
    elapsed_ += by;
  }

 private:
  Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::Duration elapsed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::testing
