// --speed and --seed, which `replay` and `demo` share.
#pragma once

#include <cstdint>
#include <limits>

#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace tessera::client {

inline constexpr int64_t kSeedMax = std::numeric_limits<int64_t>::max() - 1000;

// A factor above 0, or kSpeedMax for `max`.
absl::StatusOr<double> SpeedOf(const Invocation& call, double otherwise);

}  // namespace tessera::client
