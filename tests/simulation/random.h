// Randomness for simulations: small, and the same on every machine.
//
//   Random random(seed);
//   if (random.Chance(20)) ...;                    // 2 in a hundred.
//   absl::Duration pause = random.Between(absl::Milliseconds(5), absl::Seconds(2));
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace tessera::simulation {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 0x1234567) {}

  // 0 .. below-1.
  uint64_t Below(uint64_t below) { return Next() % below; }
  size_t Place(size_t size) { return static_cast<size_t>(Below(size)); }
  // min .. max.
  int Int(int min, int max) {
    return min + static_cast<int>(Below(static_cast<uint64_t>(max - min + 1)));
  }
  bool Chance(int per_mille) { return Below(1000) < static_cast<uint64_t>(per_mille); }
  absl::Duration Between(absl::Duration min, absl::Duration max) {
    const int64_t width = absl::ToInt64Microseconds(max - min);
    return min + absl::Microseconds(static_cast<int64_t>(Below(static_cast<uint64_t>(width) + 1)));
  }

 private:
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  uint64_t state_;
};

}  // namespace tessera::simulation
