// Room in memory that many share, of which one caller has at most its share.
//
//   Room room(1 << 30, 1 << 28);
//   Room::Holding holding(&room, "platforms/web");
//   if (!holding.Resize(4096)) ...;   // There is none left.
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

  // What one of a caller's calls or streams has taken: nothing at first, and given back when it
  // goes, which is before its room does. Threads: one at a time.
  class Holding {
   public:
    Holding(Room* room, absl::string_view caller) : room_(*room), caller_(caller) {}
    ~Holding() { (void)Resize(0); }
    Holding(const Holding&) = delete;
    Holding& operator=(const Holding&) = delete;

    // Takes what is missing to `bytes`, or gives back what is more. False, and nothing has changed,
    // where there is not enough left.
    [[nodiscard]] bool Resize(int64_t bytes) {
      if (bytes > bytes_ && !room_.Take(caller_, bytes - bytes_)) return false;
      if (bytes < bytes_) room_.GiveBack(caller_, bytes_ - bytes);
      bytes_ = bytes;
      return true;
    }

   private:
    Room& room_;
    const std::string caller_;
    int64_t bytes_ = 0;
  };

  // What the caller could take.
  int64_t Left(absl::string_view caller) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // False, and nothing is taken, where there is not enough left.
  [[nodiscard]] bool Take(absl::string_view caller, int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of what was taken.
  void GiveBack(absl::string_view caller, int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t LeftLocked(absl::string_view caller) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t bytes_max_;
  const int64_t caller_bytes_max_;
  mutable Mutex mutex_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, int64_t> by_caller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::service
