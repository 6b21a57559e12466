// --speed of `replay` and `demo`: a factor, or `max`.
#pragma once

#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace tessera::client {

absl::StatusOr<double> SpeedOf(const Invocation& call, double otherwise);

}  // namespace tessera::client
