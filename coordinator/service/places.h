// Places for calls and for streams: how many there are in all, and how many one caller may have.
//
//   Places places({.max = 10'000, .caller_max = 2'500, .reserve = 2'500, .what = "streams"});
//   absl::StatusOr<Places::Place> place = places.Take("tenants/acme", /*from_reserve=*/false);
//
// Without a share of its own for each caller, the first that opens all of them shuts out the rest;
// and without a reserve, many requesters together shut out the gateways, whose workers then wait.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/mutex.h"
#include "tessera/v1/errors.pb.h"

namespace tessera::service {

class Places {
 public:
  struct Options {
    int64_t max = 0;         // Of all callers together.
    int64_t caller_max = 0;  // Of one.
    int64_t reserve = 0;     // Of `max`, those for the calls that may take from the reserve.
    v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;  // Of a refusal.
    absl::string_view what;                                 // In the plural; lives for ever.
  };
  explicit Places(const Options& options) : options_(options) {}
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

  // Given back when the object goes, which is before its Places do.
  class Place {
   public:
    Place(Place&& other) noexcept
        : places_(std::exchange(other.places_, nullptr)), caller_(std::move(other.caller_)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(places_, other.places_);
      std::swap(caller_, other.caller_);
      return *this;
    }
    ~Place() {
      if (places_ != nullptr) places_->GiveBack(caller_);
    }

   private:
    friend class Places;
    Place(Places* places, absl::string_view caller) : places_(places), caller_(caller) {}
    Places* places_;
    std::string caller_;
  };
  // RESOURCE_EXHAUSTED with the reason.
  absl::StatusOr<Place> Take(absl::string_view caller, bool from_reserve)
      ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t caller_max() const { return options_.caller_max; }
  int64_t taken() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void GiveBack(const std::string& caller) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, int64_t> by_caller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::service
