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
  now_ += elapsed - std::exchange(elapsed_, elapsed);
  now_ = std::max(now_, clock_->Now());
  return now_;
}

}  // namespace tessera
