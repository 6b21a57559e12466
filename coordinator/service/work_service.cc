#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/edge/message_size.h"
#include "coordinator/service/cutoff.h"
#include "coordinator/service/grpc_status.h"
#include "coordinator/service/merge_responses.h"
#include "coordinator/service/received.h"
#include "coordinator/service/service_context.h"
#include "coordinator/service/services.h"
#include "coordinator/service/validate_work.h"
#include "coordinator/service/violations.h"
#include "tessera/v1/work_service.grpc.pb.h"

namespace tessera::service {
namespace {

// A gateway's stream: one read and one write in flight.
//
// Reads are judged on gRPC's threads and handed to the coordinator's; a few may wait there, and no
// further one is read before one of them was taken. Writes are queued: what comes while a write is
// in flight is merged and leaves as one message.
class WorkStream final
    : public grpc::ServerBidiReactor<Received<v1::WorkRequest>, v1::WorkResponse>,
      public edge::SessionSink,
      public OpenStreams::Stream,
      public std::enable_shared_from_this<WorkStream> {
 public:
  WorkStream(ServiceContext& service, grpc::CallbackServerContext* context, Places::Place place,
             const Principal& principal)
      : service_(service),
        place_(std::move(place)),
        cutoff_(context),
        limits_(service.limits().work),
        backlog_max_(static_cast<size_t>(service.limits().stream_queue_bytes_max) / 4),
        platform_(principal.everywhere ? std::string() : principal.platform),
        caller_(principal.caller()),
        queue_held_(&service.queue_room(), caller_) {}

  void Start() {
    grpc_share_ = shared_from_this();
    Post([this](edge::Coordinator& coordinator) {
      if (over_) return;
      coordinator_ = &coordinator;
      session_ = coordinator.OpenSession(platform_, this);
      service_.streams().Add(this);
    });
    StartRead(&slots_[0]);
  }

  // --- From gRPC, on its threads -----------------------------------------------------------------

  void OnReadDone(bool ok) override {
    if (!ok) {
      Post([this](edge::Coordinator&) {
        reads_ended_ = true;
        EndIfAllIsSaid();
      });
      return;
    }
    v1::WorkRequest& request = slots_[read_slot_].message;
    const absl::Status status = slots_[read_slot_].malformed
                                    ? MalformedMessage()
                                    : ValidateMessage(request, first_, limits_);
    first_ = false;
    if (!status.ok()) {
      Post([this, status](edge::Coordinator&) { End(status); });
      return;  // And nothing more is read.
    }
    v1::WorkResponse rejected;
    TakeMalformed(request, limits_, service_.limits().items, rejected);
    Post([this, &request, rejected = std::move(rejected)](edge::Coordinator&) mutable {
      HandIn(request, std::move(rejected));
    });
    read_slot_ = (read_slot_ + 1) % kSlots;
    {
      const MutexLock lock(&mutex_);
      read_waits_ = ++handed_in_ == kSlots;
      if (read_waits_) return;
    }
    StartRead(&slots_[read_slot_]);
  }

  void OnWriteDone(bool ok) override {
    bool room_again = false;
    {
      const MutexLock lock(&mutex_);
      writing_ = false;
      queue_bytes_ -= queue_.front().bytes;
      queue_.pop_front();
      if (!ok) DropQueue();  // OnCancel() says the rest.
      CountQueue();
      room_again = full_ && !IsFull();
    }
    if (room_again) Post([](edge::Coordinator&) {});  // A turn.
    WriteOrFinish();
  }

  void OnCancel() override {
    Post([this](edge::Coordinator&) { End(absl::CancelledError("the gateway has gone")); });
  }

  void OnDone() override { const auto last = std::move(grpc_share_); }

  // --- From the session, on the coordinator's thread ---------------------------------------------

  void Send(v1::WorkResponse response) override {
    unanswered_ -= AnswersIn(response);
    const bool welcome = response.has_welcome();
    drained_ |= response.has_drain();
    Say(std::move(response));
    if (welcome && !welcomed_) {
      welcomed_ = true;  // Nothing goes before it.
      if (early_rejected_.rejected_size() > 0) Say(std::move(early_rejected_));
    }
    EndIfAllIsSaid();
  }

  bool HasRoom() override {
    const MutexLock lock(&mutex_);
    return !IsFull();
  }

  void SetOnTheWay(size_t bytes) override {
    const MutexLock lock(&mutex_);
    on_the_way_ = bytes;
    CountQueue();
  }

  void Close(absl::Status status) override {
    session_.reset();  // It ended by itself.
    End(std::move(status));
  }

  bool drains() const override { return true; }

  // Ends the session and, once the queue is written, the stream. That is the end that was spoken of
  // where the gateway was told of it.
  void End(absl::Status status) override {
    if (over_) return;
    over_ = true;
    if (drained_ && absl::IsUnavailable(status)) status = absl::OkStatus();
    service_.streams().Remove(this);
    if (session_.has_value()) coordinator_->CloseSession(*std::exchange(session_, std::nullopt));
    {
      const MutexLock lock(&mutex_);
      finish_ = std::move(status);
    }
    cutoff_.Start(service_.limits().end_grace);
    WriteOrFinish();
  }

 private:
  static constexpr size_t kSlots = 4;  // Messages read and not yet taken by the session.
  // Messages are merged up to this size, well below the 4 MiB that clients take unless told
  // otherwise.
  static constexpr size_t kMergedBytesMax = 512 << 10;
  // What waits for a gateway up to here is not counted with what waits for all: a few words always
  // find room, however much others leave unread.
  static constexpr size_t kUncountedMax = 64 << 10;
  // A larger message is not kept in its slot for the next one to fill.
  static constexpr int kKeptBytesMax = 64 << 10;

  struct Outgoing {
    v1::WorkResponse response;
    size_t bytes = 0;
  };

  template <typename F>
  void Post(F task) {
    service_.executor().Post([self = shared_from_this(), task = std::move(task)](
                                 edge::Coordinator& coordinator) mutable { task(coordinator); });
  }

  void HandIn(v1::WorkRequest& request, v1::WorkResponse rejected) {
    if (session_.has_value()) {
      unanswered_ += AnswerableEntries(request);
      if (unanswered_ <= limits_.unanswered_max) {
        coordinator_->OnWork(*session_, request);
      } else {
        End(ErrorWith(
            absl::StatusCode::kResourceExhausted, v1::STREAM_LIMIT,
            absl::StrCat("more than ", limits_.unanswered_max, " entries are not answered yet")));
      }
    }
    if (request.GetCachedSize() > kKeptBytesMax) request = {};  // Its size when it was validated.
    bool read = false;
    {
      const MutexLock lock(&mutex_);
      --handed_in_;
      read = std::exchange(read_waits_, false);
    }
    if (over_) return;
    if (read) StartRead(&slots_[read_slot_]);
    if (rejected.rejected_size() == 0) return;
    if (welcomed_) {
      Say(std::move(rejected));
    } else {
      MergeInto(std::move(rejected), early_rejected_);
    }
  }

  // After the gateway half-closed: the stream is over when everything has been answered.
  void EndIfAllIsSaid() {
    if (reads_ended_ && unanswered_ <= 0 && welcomed_) End(absl::OkStatus());
    // Without a first message there is nothing to answer.
    if (reads_ended_ && !over_ && first_) {
      End(ErrorWith(absl::StatusCode::kFailedPrecondition, v1::HELLO_MISPLACED,
                    "the stream ended before a hello"));
    }
  }

  void Say(v1::WorkResponse response) {
    for (v1::WorkResponse& message : SplitBySize(std::move(response), edge::kMessageBytesMax)) {
      Enqueue(std::move(message));
    }
  }

  void Enqueue(v1::WorkResponse response) {
    const size_t bytes = response.ByteSizeLong();
    bool overflow = false;
    {
      const MutexLock lock(&mutex_);
      if (finish_.has_value()) return;
      // The front may be being written.
      const size_t fixed = writing_ ? 1 : 0;
      if (queue_.size() > fixed && queue_.back().bytes + bytes <= kMergedBytesMax) {
        MergeInto(std::move(response), queue_.back().response);
        queue_.back().bytes += bytes;
      } else {
        queue_.push_back({std::move(response), bytes});
      }
      queue_bytes_ += bytes;
      overflow = queue_bytes_ > static_cast<size_t>(service_.limits().stream_queue_bytes_max) ||
                 !CountQueue();
      if (overflow) {
        DropQueue();
        CountQueue();
      }
    }
    if (overflow) {
      // Not from within the session's own call.
      Post([this](edge::Coordinator&) {
        End(ErrorWith(absl::StatusCode::kResourceExhausted, v1::STREAM_LIMIT,
                      "the gateway reads too slowly"));
      });
      return;
    }
    WriteOrFinish();
  }

  // All but what is being written.
  void DropQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (queue_.size() > (writing_ ? 1 : 0)) {
      queue_bytes_ -= queue_.back().bytes;
      queue_.pop_back();
    }
  }

  // Takes the room that the queue has come to need, or gives back what it needs no longer. False
  // where there is none left; nothing has changed then.
  bool CountQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const size_t bytes = queue_bytes_ + on_the_way_;
    return queue_held_.Resize(static_cast<int64_t>(bytes - std::min(bytes, kUncountedMax)));
  }

  // Whether as much waits as may, far below where the stream is ended: what a turn has to say beside
  // assignments goes on top of it. As the room of all fills, each may leave less unread, and at last
  // nothing, so that nobody is ended because of what others leave. Who is full for their sake alone
  // is not told when they have read: the coordinator's thread looks at least once a second.
  bool IsFull() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto left = static_cast<size_t>(service_.queue_room().Left(caller_));
    full_ = left < 2 * edge::kMessageBytesMax ||
            queue_bytes_ + on_the_way_ >= std::min(backlog_max_, left / 4);
    return full_;
  }

  // gRPC is called outside of the lock, as it may call back at once.
  void WriteOrFinish() {
    const v1::WorkResponse* write = nullptr;
    std::optional<absl::Status> finish;
    {
      const MutexLock lock(&mutex_);
      if (writing_ || finished_) return;
      if (!queue_.empty()) {
        writing_ = true;
        write = &queue_.front().response;
      } else if (finish_.has_value()) {
        finished_ = true;
        finish = finish_;
      }
    }
    if (write != nullptr) StartWrite(write);
    if (finish.has_value()) Finish(ToGrpc(*finish));
  }

  ServiceContext& service_;
  Places::Place place_;
  Cutoff cutoff_;
  const edge::WorkLimits limits_;
  const size_t backlog_max_;  // Waiting to be read; beyond it there is no room for assignments.
  const std::string platform_;
  const std::string caller_;
  std::shared_ptr<WorkStream> grpc_share_;  // From Start() to OnDone().

  // Of the reads, of which there is one at a time. `first_`: no message has come so far.
  std::array<Received<v1::WorkRequest>, kSlots> slots_;
  size_t read_slot_ = 0;
  std::atomic<bool> first_{true};

  // Of the coordinator's thread.
  edge::Coordinator* coordinator_ = nullptr;
  std::optional<edge::Coordinator::SessionId> session_;
  bool over_ = false;
  bool drained_ = false;  // The gateway was told that the coordinator goes.
  bool reads_ended_ = false;
  bool welcomed_ = false;
  int64_t unanswered_ = 0;
  v1::WorkResponse early_rejected_;

  Mutex mutex_;
  size_t handed_in_ ABSL_GUARDED_BY(mutex_) = 0;
  bool read_waits_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Outgoing> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queue_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  Room::Holding queue_held_ ABSL_GUARDED_BY(mutex_);  // Of it, taken from the room of all.
  size_t on_the_way_ ABSL_GUARDED_BY(mutex_) = 0;     // Assignments that are not here so far.
  bool full_ ABSL_GUARDED_BY(mutex_) = false;         // As was said last.
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> finish_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class RefusedStream final
    : public grpc::ServerBidiReactor<Received<v1::WorkRequest>, v1::WorkResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

class WorkService final : public ReceivingService<v1::WorkService> {
 public:
  explicit WorkService(ServiceContext* service) : ReceivingService(service) {
    Take("Work",
         new grpc::internal::CallbackBidiHandler<Received<v1::WorkRequest>, v1::WorkResponse>(
             [this](grpc::CallbackServerContext* context) { return Begin(context); }));
  }

 private:
  grpc::ServerBidiReactor<Received<v1::WorkRequest>, v1::WorkResponse>* Begin(
      grpc::CallbackServerContext* context) {
    const absl::StatusOr<Principal> principal = service_.Admit(*context, {Role::kGateway});
    if (!principal.ok()) return new RefusedStream(principal.status());
    absl::StatusOr<Places::Place> place = service_.TakeWorkStream(*principal);
    if (!place.ok()) return new RefusedStream(place.status());
    const auto stream =
        std::make_shared<WorkStream>(service_, context, *std::move(place), *principal);
    stream->Start();
    return stream.get();
  }
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkService(ServiceContext* context) {
  return std::make_unique<WorkService>(context);
}

}  // namespace tessera::service
