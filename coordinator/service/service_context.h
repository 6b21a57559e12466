// What the three services share: the door, the limits, and the streams that are open.
//
// The life of a call: Admit() on gRPC's thread (who calls, in which role, on whose resource), then
// Validate() of the request, then a closure posted to the coordinator's thread, whose reply
// finishes the call. Nothing is decided here but whether a call may pass.
//
// Threads: any, except where a comment says that it is the coordinator's.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "coordinator/service/authorize.h"
#include "coordinator/service/credentials.h"
#include "coordinator/service/executor.h"
#include "coordinator/service/validate_jobs.h"
#include "coordinator/service/validate_work.h"

namespace grpc {
class CallbackServerContext;
}

namespace tessera::service {

struct ServiceLimits {
  int64_t message_bytes_max = 8 << 20;        // Of any message that is received.
  int64_t calls_max = 10'000;                 // Unary calls in progress.
  int64_t streams_max = 10'000;               // Streams of all kinds, open.
  int64_t stream_queue_bytes_max = 64 << 20;  // Waiting to be written to one gateway.
  ItemLimits items;
};

// Streams that end with the coordinator and not by themselves. All on the coordinator's thread.
class OpenStreams {
 public:
  class Stream {
   public:
    virtual ~Stream() = default;
    // Ends the stream with `status`.
    virtual void End(absl::Status status) = 0;
    // Whether its client ends it by itself when told of the coordinator's end, and needs time for
    // that.
    virtual bool drains() const { return false; }
  };

  // Once its kind was ended, ends the stream at once. One that was added is removed before it goes.
  void Add(Stream* stream);
  void Remove(Stream* stream);

  void EndThoseThatDoNotDrain(const absl::Status& status) { End(status, false); }
  void EndAll(const absl::Status& status) { End(status, true); }
  size_t size() const { return streams_.size(); }

 private:
  void End(const absl::Status& status, bool all);

  absl::flat_hash_set<Stream*> streams_;
  absl::Status ended_;
  bool all_ended_ = false;
};

class ServiceContext {
 public:
  // All outlive the context.
  ServiceContext(Executor* executor, const Credentials* credentials, Clock* clock,
                 ServiceLimits limits);

  // Who calls, if they have one of the roles. UNAUTHENTICATED, PERMISSION_DENIED (ROLE_DENIED), or
  // UNAVAILABLE (SHUTTING_DOWN).
  absl::StatusOr<Principal> Admit(const grpc::CallbackServerContext& context, Roles any_of) const;
  // The same, and that they may touch `resource`: its error, if it could not be told which it is.
  absl::StatusOr<Principal> Admit(const grpc::CallbackServerContext& context, Roles any_of,
                                  const absl::StatusOr<Resource>& resource) const;

  ValidateContext validate_context() const {
    return {.now = clock_->Now(), .items = limits_.items};
  }
  WorkLimits work_limits() const { return {.items = limits_.items}; }
  const ServiceLimits& limits() const { return limits_; }
  Executor& executor() const { return *executor_; }
  OpenStreams& streams() { return streams_; }  // On the coordinator's thread.

  // From here on calls are refused with UNAVAILABLE (SHUTTING_DOWN).
  void Close() { closed_.store(true, std::memory_order_relaxed); }

  // No call is in progress and no stream is open, but for what is still being written.
  bool idle() const {
    return calls_.load(std::memory_order_relaxed) + streams_open_.load(std::memory_order_relaxed) ==
           0;
  }

  // A place for a call or a stream, given back when the object goes.
  class Place {
   public:
    Place(Place&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(count_, other.count_);
      return *this;
    }
    ~Place() {
      if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_relaxed);
    }

   private:
    friend class ServiceContext;
    explicit Place(std::atomic<int64_t>* count) : count_(count) {}
    std::atomic<int64_t>* count_;
  };
  // RESOURCE_EXHAUSTED: RATE_LIMITED, STREAM_LIMIT.
  absl::StatusOr<Place> TakeCall();
  absl::StatusOr<Place> TakeStream();

 private:
  Executor* const executor_;
  const Credentials* const credentials_;
  Clock* const clock_;
  const ServiceLimits limits_;
  std::atomic<bool> closed_{false};
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> streams_open_{0};
  OpenStreams streams_;
};

// Whose resource a name speaks of. INVALID_ARGUMENT with `field` where it cannot be told.
absl::StatusOr<Resource> TenantResource(absl::string_view name, absl::string_view field);
absl::StatusOr<Resource> JobResource(absl::string_view name, absl::string_view field);
absl::StatusOr<Resource> PlatformResource(absl::string_view name, absl::string_view field);
absl::StatusOr<Resource> WorkerResource(absl::string_view name, absl::string_view field);

}  // namespace tessera::service
