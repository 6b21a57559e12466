// Room in memory that many share, of which one caller has at most its share.
//
//   Room room(1 << 30, 1 << 28);
//   if (!room.Take("platforms/web", 4096)) ...;   // There is none left.
//   room.GiveBack("platforms/web", 4096);
//
// Threads: any.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "common/mutex.h"

namespace tessera::service {

class Room {
 public:
  Room(int64_t bytes_max, int64_t caller_bytes_max)
      : bytes_max_(bytes_max), caller_bytes_max_(caller_bytes_max) {}
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  // False, and nothing is taken, where there is not enough left.
  [[nodiscard]] bool Take(absl::string_view caller, int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // What the caller could take.
  int64_t Left(absl::string_view caller) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of what was taken.
  void GiveBack(absl::string_view caller, int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  int64_t LeftLocked(absl::string_view caller) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t bytes_max_;
  const int64_t caller_bytes_max_;
  mutable Mutex mutex_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, int64_t> by_caller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::service
