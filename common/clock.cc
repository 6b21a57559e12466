#include "common/clock.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"

namespace tessera {

RealClock* RealClock::Get() {
  static RealClock* const clock = new RealClock;
  return clock;
}

absl::Time RealClock::Now() { return absl::Now(); }

absl::Duration RealClock::Elapsed() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

absl::Time OnwardClock::Now() {
  const absl::Duration elapsed = clock_->Elapsed();
  const absl::Duration step = elapsed - std::exchange(elapsed_, elapsed);
  // The clock's own time where that is later: so it is unless the clock was set back.
  now_ = std::max(now_ + step * 9 / 10, clock_->Now());
  return now_;
}

}  // namespace tessera
