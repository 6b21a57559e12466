#include "coordinator/service/places.h"

#include "absl/strings/str_cat.h"
#include "coordinator/service/violations.h"

namespace tessera::service {

absl::StatusOr<Places::Place> Places::Take(absl::string_view caller, bool from_reserve) {
  const auto refuse = [this](absl::string_view who) {
    return absl::Status(ErrorWith(absl::StatusCode::kResourceExhausted, options_.reason,
                                  absl::StrCat("too many ", options_.what, " are open", who)));
  };
  const MutexLock lock(&mutex_);
  if (taken_ >= options_.max - (from_reserve ? 0 : options_.reserve)) return refuse("");
  int64_t& taken = by_caller_[caller];
  if (taken >= options_.caller_max) return refuse(" for this caller");
  ++taken;
  ++taken_;
  return Place(this, caller);
}

void Places::GiveBack(const std::string& caller) {
  const MutexLock lock(&mutex_);
  --taken_;
  const auto found = by_caller_.find(caller);
  if (--found->second == 0) by_caller_.erase(found);
}

int64_t Places::taken() const {
  const MutexLock lock(&mutex_);
  return taken_;
}

}  // namespace tessera::service
