// What a multi-step read does when the store says "not now": the caller decides, as it has the
// time.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace tessera::edge {

// Called with the trouble and what to call to try that step again: later, never inside this call.
// Whoever does not want to go on drops `again`.
using RetryLater = std::function<void(absl::Status trouble, std::function<void()> again)>;

}  // namespace tessera::edge
