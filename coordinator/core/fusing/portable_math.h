// exp, log with the same bits on every machine.
//
// The C library picks its exp and log by what the processor can do (fused multiply-add or not), so
// their last bit differs between machines; a result's confidence must not. These use nothing but
// IEEE additions, multiplications and divisions in a fixed order. Good to about one unit in the
// last place or two; rely on -ffp-contract=off.
#pragma once

#include <cmath>

namespace tessera::core {

inline constexpr double kLn2High = 0x1.62e42feep-1;  // Few bits: times a small whole number, exact.
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;  // The rest of ln 2.

// e^x for x in [-700, 700]; below, 0.
inline double PortableExp(double x) {
  if (x < -700) return 0;
  const double k = std::floor(x * 0x1.71547652b82fep+0 + 0.5);  // x / ln 2, rounded.
  const double r = (x - k * kLn2High) - k * kLn2Low;            // |r| <= ln 2 / 2.
  double sum = 1;
  for (int n = 13; n > 0; --n) sum = 1 + sum * r / n;  // Taylor; the next term is under 2^-57.
  return std::ldexp(sum, static_cast<int>(k));
}

// ln x for normal x > 0.
inline double PortableLog(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0x1.6a09e667f3bcdp-1) {  // sqrt(1/2), so that |s| <= 0.172.
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);  // ln m = 2 artanh s.
  const double s2 = s * s;
  double sum = 0;
  for (int n = 23; n > 0; n -= 2) sum = sum * s2 + 1.0 / n;
  return exponent * kLn2High + (2 * s * sum + exponent * kLn2Low);
}

}  // namespace tessera::core
