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

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/service/authorize.h"
#include "coordinator/service/call_queue.h"
#include "coordinator/service/credentials.h"
#include "coordinator/service/executor.h"
#include "coordinator/service/places.h"
#include "coordinator/service/room.h"
#include "coordinator/service/validate_jobs.h"
#include "coordinator/service/validate_work.h"

namespace grpc {
class CallbackServerContext;
}

namespace tessera::service {

struct ServiceLimits {
  int64_t message_bytes_max = 8 << 20;  // Of any message that is received.
  // Of what gRPC holds for all connections: messages that are coming in and calls. Beyond it reads
  // wait, and then connections and streams are refused.
  int64_t receive_memory_bytes_max = 1 << 30;
  int64_t calls_max = 10'000;    // Unary calls in progress.
  int64_t streams_max = 10'000;  // Streams of all kinds, open.
  // Where callers are told apart, one has at most a quarter of the calls, of the streams and of the
  // memory for queues and for replies; and a quarter of the streams is kept for gateways.
  int64_t share = 4;
  int64_t stream_queue_bytes_max = 64 << 20;  // Waiting to be written to one gateway.
  // To all of them together, where what is small is not counted (work_service.cc).
  int64_t queue_memory_bytes_max = 1 << 30;
  // Replies and streamed messages that wait to be read by requesters and operators, all together.
  int64_t reply_memory_bytes_max = 1 << 30;
  // What a client has to take the end of its stream in, or a reply, before it is cut off; for a
  // reply it has a second more for each so many bytes.
  absl::Duration end_grace = absl::Seconds(5);
  int64_t reply_bytes_per_second_min = 64 << 10;
  // How long a streamed message waits for room, and how long one that takes room may be unread.
  absl::Duration reply_room_wait = absl::Seconds(5);
  absl::Duration unread_max = absl::Hours(1);
  absl::Duration upload_idle_max = absl::Minutes(5);  // Between two batches of AddItems.
  // Between two HTTP/2 pings of a client that sends nothing else; who asks more often is cut off.
  absl::Duration ping_interval_min = absl::Seconds(10);
  // How long a connection may be silent before it is asked whether it is still there, and how long
  // it may take to say so.
  absl::Duration keepalive_interval = absl::Seconds(60);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  edge::WorkLimits work;  // As Welcome tells them.
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
  ServiceContext(Executor* executor, const Credentials* credentials, const ServiceLimits& limits);

  // Who calls, if they have one of the roles. UNAUTHENTICATED, PERMISSION_DENIED (ROLE_DENIED), or
  // UNAVAILABLE (SHUTTING_DOWN).
  absl::StatusOr<Principal> Admit(const grpc::CallbackServerContext& context, Roles any_of) const;
  // The same, and that they may touch `resource`: its error, if it could not be told which it is.
  absl::StatusOr<Principal> Admit(const grpc::CallbackServerContext& context, Roles any_of,
                                  const absl::StatusOr<Resource>& resource) const;

  const ServiceLimits& limits() const { return limits_; }
  Executor& executor() const { return *executor_; }
  OpenStreams& streams() { return streams_; }  // On the coordinator's thread, ...
  CallQueue& calls() { return call_queue_; }   // ... as are these.

  // From here on calls are refused with UNAVAILABLE (SHUTTING_DOWN).
  void Close() { closed_.store(true, std::memory_order_relaxed); }

  // No call is in progress and no stream is open, but for what is still being written.
  bool idle() const { return calls_.taken() - replies_.load() + open_streams_.taken() == 0; }
  // Counts the calls whose reply is being written: before it is, and before their place goes.
  void ReplyBegins() { ++replies_; }
  void ReplyEnds() { --replies_; }

  // A place for a call or a stream of this caller. RESOURCE_EXHAUSTED: RATE_LIMITED, STREAM_LIMIT.
  absl::StatusOr<Places::Place> TakeCall(const Principal& principal) {
    return calls_.Take(principal.caller(), /*from_reserve=*/false);
  }
  absl::StatusOr<Places::Place> TakeStream(const Principal& principal) {
    return open_streams_.Take(principal.caller(), /*from_reserve=*/false);
  }
  absl::StatusOr<Places::Place> TakeWorkStream(const Principal& principal) {
    return open_streams_.Take(principal.caller(), /*from_reserve=*/true);
  }
  // Memory for what waits to be written to gateways.
  Room& queue_room() { return queue_room_; }
  // And to all others: apart, so that nobody leaves so much unread that gateways have to wait.
  Room& reply_room() { return reply_room_; }
  // Calls and streams that one caller can have open, together.
  int64_t caller_max() const { return calls_.caller_max() + open_streams_.caller_max(); }

 private:
  Executor* const executor_;
  const Credentials* const credentials_;
  const ServiceLimits limits_;
  CallQueue call_queue_;
  std::atomic<bool> closed_{false};
  Places calls_;
  Places open_streams_;
  std::atomic<int64_t> replies_{0};
  Room queue_room_;
  Room reply_room_;
  OpenStreams streams_;
};

// Whose resource a name speaks of. INVALID_ARGUMENT with `field` where it cannot be told.
absl::StatusOr<Resource> TenantResource(absl::string_view name, absl::string_view field);
absl::StatusOr<Resource> JobResource(absl::string_view name, absl::string_view field);
absl::StatusOr<Resource> PlatformResource(absl::string_view name, absl::string_view field);
absl::StatusOr<Resource> WorkerResource(absl::string_view name, absl::string_view field);

}  // namespace tessera::service
