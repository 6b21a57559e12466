#include "coordinator/service/room.h"

#include <algorithm>

namespace tessera::service {

bool Room::Take(absl::string_view caller, int64_t bytes) {
  const MutexLock lock(&mutex_);
  if (bytes > LeftLocked(caller)) return false;
  taken_ += bytes;
  by_caller_[caller] += bytes;
  return true;
}

int64_t Room::Left(absl::string_view caller) const {
  const MutexLock lock(&mutex_);
  return LeftLocked(caller);
}

int64_t Room::LeftLocked(absl::string_view caller) const {
  const auto found = by_caller_.find(caller);
  const int64_t taken = found == by_caller_.end() ? 0 : found->second;
  return std::min(bytes_max_ - taken_, caller_bytes_max_ - taken);
}

void Room::GiveBack(absl::string_view caller, int64_t bytes) {
  const MutexLock lock(&mutex_);
  taken_ -= bytes;
  const auto found = by_caller_.find(caller);
  found->second -= bytes;
  if (found->second == 0) by_caller_.erase(found);
}

}  // namespace tessera::service
