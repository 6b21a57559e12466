#include "coordinator/service/room.h"

namespace tessera::service {

bool Room::Take(absl::string_view caller, int64_t bytes) {
  const MutexLock lock(&mutex_);
  const auto found = by_caller_.find(caller);
  const int64_t taken = found == by_caller_.end() ? 0 : found->second;
  if (bytes > bytes_max_ - taken_ || bytes > caller_bytes_max_ - taken) return false;
  taken_ += bytes;
  by_caller_[caller] = taken + bytes;
  return true;
}

void Room::GiveBack(absl::string_view caller, int64_t bytes) {
  const MutexLock lock(&mutex_);
  taken_ -= bytes;
  const auto found = by_caller_.find(caller);
  found->second -= bytes;
  if (found->second == 0) by_caller_.erase(found);
}

}  // namespace tessera::service
