#include "common/clock.h"

#include "absl/time/clock.h"

namespace tessera {

RealClock* RealClock::Get() {
  static RealClock* const clock = new RealClock;
  return clock;
}

absl::Time RealClock::Now() { return absl::Now(); }

}  // namespace tessera
