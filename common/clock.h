// The time, handed in.
//
// What decides takes an absl::Time as an argument; what drives it holds a Clock. Only RealClock
// reads the machine's clock. Tests use SimulatedClock (tests/support/simulated_clock.h).
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace tessera {

// Threads: Now() may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;

  // May run backwards, as machines' clocks do.
  virtual absl::Time Now() = 0;
  // Since some moment. It goes on whatever is done to the clock, but for a while that the machine
  // sleeps.
  virtual absl::Duration Elapsed() = 0;
};

// The machine's clock.
class RealClock final : public Clock {
 public:
  // One for everybody; never destroyed.
  static RealClock* Get();

  absl::Time Now() override;
  absl::Duration Elapsed() override;
};

// A clock's time made to go on: where the clock is set back, this one neither runs backwards nor
// stands still, but runs slower by a tenth until the clock has caught up. What paces itself by the
// time goes on as if next to nothing had happened, and some day the two agree again.
//
// Threads: none.
class OnwardClock {
 public:
  // `clock` outlives it.
  explicit OnwardClock(Clock* clock)
      : clock_(clock), now_(clock->Now()), elapsed_(clock->Elapsed()) {}

  absl::Time Now();
  // From here on as if the clock had been set back from `time`, if it is not that late yet.
  void GoOnFrom(absl::Time time) { now_ = std::max(now_, time); }

 private:
  Clock* const clock_;
  absl::Time now_;  // As it was when `elapsed_` had elapsed.
  absl::Duration elapsed_;
};

}  // namespace tessera
