// Keeps one place in a library from filling the log: what a library says of a message anybody can
// bring about who sends one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/mutex.h"

namespace tessera::service {

// Threads: any.
class LineLimit {
 public:
  static constexpr int64_t kLinesMax = 10;  // Of one place, in an interval.
  static constexpr absl::Duration kInterval = absl::Minutes(1);

  // Whether `place` may write a line at `now`: nothing if not, else how many of its lines were left
  // out since the last one that was written.
  std::optional<int64_t> Take(absl::string_view place, absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(&mutex_);
    Place& state = places_[std::string(place)];  // As many as there are in the libraries' code.
    if (now - state.begin >= kInterval || now < state.begin) {
      state.begin = now;
      state.lines = 0;
    }
    if (state.lines == kLinesMax) {
      ++state.left_out;
      return std::nullopt;
    }
    ++state.lines;
    return std::exchange(state.left_out, 0);
  }

 private:
  struct Place {
    absl::Time begin = absl::InfinitePast();
    int64_t lines = 0;
    int64_t left_out = 0;
  };
  Mutex mutex_;
  absl::flat_hash_map<std::string, Place> places_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::service
