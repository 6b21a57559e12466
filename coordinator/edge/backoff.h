// How long to wait before asking a store again: longer each time, up to a second.
#pragma once

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::edge {

class Backoff {
 public:
  absl::Duration Next() { return std::exchange(next_, std::min(2 * next_, kMax)); }
  void Reset() { next_ = kFirst; }

 private:
  static constexpr absl::Duration kFirst = absl::Milliseconds(10);
  static constexpr absl::Duration kMax = absl::Seconds(1);
  absl::Duration next_ = kFirst;
};

// Whether a store that answers this may answer better in a while.
inline bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

}  // namespace tessera::edge
