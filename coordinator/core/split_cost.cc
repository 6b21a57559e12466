// The cost model of sittings, learnt: see split.h.
#include <algorithm>
#include <array>
#include <cmath>

#include "coordinator/core/split.h"

namespace tessera::core {
namespace {

using Vector3 = std::array<double, 3>;
using Matrix3 = std::array<Vector3, 3>;

// Sittings before Add() trusts its own idea of what is usual, and how far beyond it is odd.
constexpr double kUsualSittings = 8;
constexpr double kOddFactor = 4;

// How firmly what the lengths seen cannot tell apart (all sittings of one length: start-up from
// pace) is kept at the guess.
constexpr double kUndetermined = 0.001;

// The x with x[j] = 0 where `free` lacks bit j, and which otherwise solves h x = g; by elimination.
// `h` is symmetric and positive definite.
Vector3 SolveFree(Matrix3 h, Vector3 g, unsigned free) {
  for (size_t j = 0; j < 3; ++j) {
    if (free >> j & 1) continue;
    for (size_t i = 0; i < 3; ++i) h[i][j] = h[j][i] = i == j;
    g[j] = 0;
  }
  for (size_t pivot = 0; pivot < 3; ++pivot) {
    for (size_t row = pivot + 1; row < 3; ++row) {
      const double factor = h[row][pivot] / h[pivot][pivot];
      for (size_t column = pivot; column < 3; ++column) h[row][column] -= factor * h[pivot][column];
      g[row] -= factor * g[pivot];
    }
  }
  Vector3 x = {};
  for (size_t row = 3; row-- > 0;) {
    double rest = g[row];
    for (size_t column = row + 1; column < 3; ++column) rest -= h[row][column] * x[column];
    x[row] = rest / h[row][row];
  }
  return x;
}

// The least of x h x / 2 - g x over x >= 0: of the eight sets of free coordinates, one is it.
Vector3 MinimizeNonNegative(const Matrix3& h, const Vector3& g) {
  Vector3 best = {};
  double least = 0;
  for (unsigned free = 1; free < 8; ++free) {
    const Vector3 x = SolveFree(h, g, free);
    if (std::any_of(x.begin(), x.end(), [](double v) { return !(v >= 0); })) continue;
    double value = 0;
    for (size_t i = 0; i < 3; ++i) {
      value -= g[i] * x[i];
      for (size_t j = 0; j < 3; ++j) value += x[i] * h[i][j] * x[j] / 2;
    }
    if (value < least) {
      least = value;
      best = x;
    }
  }
  return best;
}

}  // namespace

// Someone who goes for a coffee takes fifty times as long as usual. Least squares would believe
// them, so a time counts as at most some multiple of the usual one: the longer of the mean sitting
// and the mean pace.
void CostMoments::Add(double units, double seconds) {
  if (!(units > 0) || !(seconds >= 0)) return;
  if (n >= kUsualSittings) {
    seconds = std::min(seconds, kOddFactor * std::max(t / n, t / l * units));
  }
  const double units2 = units * units;
  n += 1;
  l += units;
  l2 += units2;
  l3 += units2 * units;
  l4 += units2 * units2;
  t += seconds;
  tl += seconds * units;
  tl2 += seconds * units2;
}

// The guess takes part as `guess_weight` more sittings, of the lengths that were seen and of the
// seconds that it says they take.
CostModel LearnCost(const CostMoments& moments, const CostModel& guess, double guess_weight) {
  if (moments.n <= 0) return guess;
  // In units of the mean length, so that the three terms are of one size.
  const double scale = moments.l / moments.n;
  const double l = moments.l / scale;
  const double l2 = moments.l2 / (scale * scale);
  const double l3 = moments.l3 / (scale * scale * scale);
  const double l4 = moments.l4 / (scale * scale * scale * scale);
  const Matrix3 seen = {{{moments.n, l, l2}, {l, l2, l3}, {l2, l3, l4}}};
  const Vector3 times = {moments.t, moments.tl / scale, moments.tl2 / (scale * scale)};
  const Vector3 guessed = {guess.startup_seconds, guess.seconds_per_unit * scale,
                           guess.fatigue_seconds * scale * scale};
  const double weight = std::max(guess_weight, 1e-6) / moments.n;

  Matrix3 h = {};
  Vector3 g = times;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      const double pull = weight * seen[i][j] * (i == j ? 1 + kUndetermined : 1);
      h[i][j] = seen[i][j] + pull;
      g[i] += pull * guessed[j];
    }
  }
  const Vector3 learnt = MinimizeNonNegative(h, g);
  return {.startup_seconds = learnt[0],
          .seconds_per_unit = learnt[1] / scale,
          .fatigue_seconds = learnt[2] / (scale * scale)};
}

}  // namespace tessera::core
