// Money beyond adding and taking: prices in few bits, and sums that cannot overflow.
#pragma once

#include <cstdint>
#include <limits>

#include "coordinator/core/types.h"

namespace tessera::core {

// A price of an answer is held in 32 bits, as there are many answers: up to 2,147,483,647 micros to
// the micro, above that, with the highest bit set, in whole thousands. That is fine enough for
// currencies whose unit is worth little, and the only ones in which such prices occur.
inline constexpr Micros kPriceExactMaxMicros = (Micros{1} << 31) - 1;
inline constexpr Micros kPriceMaxMicros = kPriceExactMaxMicros * 1000;

// Whether an answer can have this price. Others are refused where they come in.
constexpr bool IsPrice(Micros micros) {
  return micros >= 0 && micros <= kPriceMaxMicros &&
         (micros <= kPriceExactMaxMicros || micros % 1000 == 0);
}

// Of an IsPrice(); UnpackPrice() gives it back.
constexpr uint32_t PackPrice(Micros micros) {
  constexpr uint32_t kThousands = uint32_t{1} << 31;
  return micros <= kPriceExactMaxMicros ? static_cast<uint32_t>(micros)
                                        : kThousands | static_cast<uint32_t>(micros / 1000);
}
constexpr Micros UnpackPrice(uint32_t packed) {
  const Micros low = packed & kPriceExactMaxMicros;
  return packed > kPriceExactMaxMicros ? low * 1000 : low;
}

// The sum, or the largest amount there is. For sums that no budget bounds.
inline Micros AddSaturated(Micros a, Micros b) {
  Micros sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<Micros>::max() : sum;
}

// Whole micros, rounded down; what does not fit is the largest there is.
inline Micros ToMicros(double amount) {
  constexpr Micros kMost = std::numeric_limits<Micros>::max();
  if (!(amount > 0)) return 0;
  return amount >= static_cast<double>(kMost) ? kMost : static_cast<Micros>(amount);
}

}  // namespace tessera::core
