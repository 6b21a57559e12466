// The time, handed in.
//
// What decides takes an absl::Time as an argument; what drives it holds a Clock. Only RealClock
// reads the machine's clock. Tests use SimulatedClock (tests/support/simulated_clock.h).
#pragma once

#include "absl/time/time.h"

namespace tessera {

// Threads: Now() may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;

  // May run backwards, as machines' clocks do. A partition guards itself against that.
  virtual absl::Time Now() = 0;
};

// The machine's clock.
class RealClock final : public Clock {
 public:
  // One for everybody; never destroyed.
  static RealClock* Get();

  absl::Time Now() override;
};

}  // namespace tessera
