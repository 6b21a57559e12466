#include "coordinator/service/job_streams.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/service/cutoff.h"
#include "coordinator/service/grpc_status.h"
#include "coordinator/service/unread.h"
#include "coordinator/service/validate_jobs.h"
#include "coordinator/service/violations.h"

namespace tessera::service {
namespace {

// --- What is written -----------------------------------------------------------------------------

// A stream that asks the coordinator for its next message, writes it, and asks again. Its state
// belongs to the coordinator's thread; gRPC's threads only post.
template <typename Response>
class PulledStream : public grpc::ServerWriteReactor<Response>,
                     public OpenStreams::Stream,
                     public std::enable_shared_from_this<PulledStream<Response>> {
 public:
  // What a stream is made from.
  struct Opened {
    ServiceContext& service;
    grpc::CallbackServerContext* context;
    Places::Place place;
    std::string caller;
  };
  explicit PulledStream(Opened opened)
      : service_(opened.service),
        place_(std::move(opened.place)),
        cutoff_(opened.context),
        held_(&service_.reply_room(), opened.caller) {}

  void Start() {
    grpc_share_ = this->shared_from_this();
    Post([this](edge::Coordinator& coordinator) {
      coordinator_ = &coordinator;
      service_.streams().Add(this);
      Pull();
    });
  }

  void OnWriteDone(bool ok) override {
    Post([this, ok](edge::Coordinator&) {
      alarm_.reset();
      response_ = {};  // The next one may be long in coming.
      (void)held_.Resize(0);
      if (!ok) {
        End(absl::CancelledError("the reader has gone"));
      } else if (last_) {
        End(absl::OkStatus());
      } else {
        Pull();
      }
    });
  }
  void OnCancel() override {
    Post([this](edge::Coordinator&) { End(absl::CancelledError("cancelled")); });
  }
  void OnDone() override { const auto last = std::move(grpc_share_); }

  void End(absl::Status status) override {
    if (ended_) return;
    ended_ = true;
    alarm_.reset();
    service_.streams().Remove(this);
    if (wait_.has_value()) coordinator_->CancelWait(*std::exchange(wait_, std::nullopt));
    cutoff_.Start(service_.limits().end_grace);
    this->Finish(ToGrpc(status));
  }

 protected:
  // Asks for the next message; Answer() later.
  virtual edge::Coordinator::WaitId Ask(edge::Coordinator& coordinator) = 0;

  // `last`: the stream is over after this message.
  void Answer(absl::StatusOr<Response> response, bool last) {
    wait_.reset();
    if (ended_) return;
    if (!response.ok()) {
      End(response.status());
      return;
    }
    response_ = *std::move(response);
    last_ = last;
    Write(service_.limits().reply_room_wait);
  }

 private:
  static constexpr absl::Duration kLookForRoom = absl::Milliseconds(50);

  template <typename F>
  void Post(F task) {
    service_.executor().Post([self = this->shared_from_this(), task = std::move(task)](
                                 edge::Coordinator& coordinator) mutable { task(coordinator); });
  }

  void Pull() {
    if (!ended_) wait_ = Ask(*coordinator_);
  }

  // Waits for room so long: many who read are told at once, and take theirs only when it is written.
  void Write(absl::Duration patience) {
    if (ended_) return;
    const size_t bytes = response_.ByteSizeLong();
    if (held_.Resize(UnreadBytes(bytes))) {
      if (UnreadBytes(bytes) > 0) After(service_.limits().unread_max, [this] { EndUnread(); });
      this->StartWrite(&response_);
    } else if (patience > absl::ZeroDuration()) {
      After(kLookForRoom, [this, patience] { Write(patience - kLookForRoom); });
    } else {
      EndUnread();
    }
  }

  // It is to come again, and goes on where it was.
  void EndUnread() {
    End(ErrorWith(absl::StatusCode::kResourceExhausted, v1::RATE_LIMITED,
                  "too much of what is streamed is not read"));
  }

  // Runs `task` on the coordinator's thread, unless the alarm was reset meanwhile.
  template <typename F>
  void After(absl::Duration delay, F task) {
    const int64_t number = ++alarms_;
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(delay),
                [weak = this->weak_from_this(), number, task](bool due) {
                  const std::shared_ptr<PulledStream> self = due ? weak.lock() : nullptr;
                  if (self == nullptr) return;
                  self->Post([stream = self.get(), number, task](edge::Coordinator&) {
                    if (stream->alarm_ != nullptr && stream->alarms_ == number) task();
                  });
                });
  }

  ServiceContext& service_;
  Places::Place place_;
  Cutoff cutoff_;
  Room::Holding held_;                        // While `response_` is being written.
  std::unique_ptr<grpc::Alarm> alarm_;        // Looks for room, or ends what is not read.
  int64_t alarms_ = 0;                        // Set so far.
  std::shared_ptr<PulledStream> grpc_share_;  // From Start() to OnDone().

  edge::Coordinator* coordinator_ = nullptr;
  std::optional<edge::Coordinator::WaitId> wait_;
  Response response_;
  bool last_ = false;
  bool ended_ = false;
};

class WatchStream final : public PulledStream<v1::JobStatus> {
 public:
  WatchStream(Opened opened, std::string name)
      : PulledStream(std::move(opened)), name_(std::move(name)) {}

 private:
  edge::Coordinator::WaitId Ask(edge::Coordinator& coordinator) override {
    return coordinator.WaitJob(
        name_, seen_,
        [this, self = shared_from_this()](absl::StatusOr<v1::JobStatus> status, uint64_t version) {
          seen_ = version;
          const v1::JobState state =
              status.ok() ? status->job().state() : v1::JOB_STATE_UNSPECIFIED;
          Answer(std::move(status),
                 state == v1::JOB_STATE_FINALISED || state == v1::JOB_STATE_CANCELLED);
        });
  }

  const std::string name_;
  uint64_t seen_ = 0;
};

class ResultsStream final : public PulledStream<v1::StreamResultsResponse> {
 public:
  ResultsStream(Opened opened, const v1::StreamResultsRequest& request)
      : PulledStream(std::move(opened)), request_(request) {}

 private:
  edge::Coordinator::WaitId Ask(edge::Coordinator& coordinator) override {
    return coordinator.WaitResults(
        request_, told_end_,
        [this, self = shared_from_this()](absl::StatusOr<v1::StreamResultsResponse> response,
                                          bool ended) {
          if (response.ok()) {
            request_.set_resume_token(response->resume_token());
            told_end_ = response->at_end();
          }
          Answer(std::move(response), ended);
        });
  }

  v1::StreamResultsRequest request_;  // Its token moves on with what was sent.
  bool told_end_ = false;             // As the last message said.
};

// A stream that was refused.
template <typename Response>
class RefusedWriter final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedWriter(const absl::Status& status) { this->Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

template <typename Response, typename Request, typename Make>
grpc::ServerWriteReactor<Response>* StartPulled(ServiceContext& service,
                                                grpc::CallbackServerContext* context,
                                                const Received<Request>& request,
                                                absl::string_view job, absl::string_view field,
                                                Roles any_of, Make make) {
  if (request.malformed) {
    return new RefusedWriter<Response>(RefuseMalformed(service, *context, any_of));
  }
  Principal principal;
  const auto admit = [&]() -> absl::StatusOr<Places::Place> {
    TESSERA_ASSIGN_OR_RETURN(principal, service.Admit(*context, any_of, JobResource(job, field)));
    TESSERA_RETURN_IF_ERROR(Validate(request.message, service.limits().items));
    return service.TakeStream(principal);
  };
  absl::StatusOr<Places::Place> place = admit();
  if (!place.ok()) return new RefusedWriter<Response>(place.status());
  const std::shared_ptr<PulledStream<Response>> stream =
      make({service, context, *std::move(place), principal.caller()});
  stream->Start();
  return stream.get();
}

// --- What is read --------------------------------------------------------------------------------

// The state belongs to the coordinator's thread, except for what only the reads touch, of which
// there is one at a time.
class AddItemsStream final : public grpc::ServerReadReactor<Received<v1::AddItemsRequest>>,
                             public OpenStreams::Stream,
                             public std::enable_shared_from_this<AddItemsStream> {
 public:
  AddItemsStream(ServiceContext& service, grpc::CallbackServerContext* context, Places::Place place,
                 Principal principal, Roles any_of, v1::AddItemsResponse* response)
      : service_(service),
        place_(std::move(place)),
        cutoff_(context),
        principal_(std::move(principal)),
        any_of_(any_of),
        response_(*response) {}

  void Start() {
    grpc_share_ = shared_from_this();
    Post([this](edge::Coordinator& coordinator) {
      coordinator_ = &coordinator;
      service_.streams().Add(this);
      Read();
    });
  }

  void OnReadDone(bool ok) override {
    absl::Status status;
    if (ok) {
      status = Judge(slots_[reading_slot_].request);
    } else if (read_job_.empty()) {
      Violations violations;
      violations.Required(FieldPath("job"));
      status = violations.ToStatus();
    }
    Post([this, ok, status = std::move(status), job = read_job_](edge::Coordinator&) {
      reading_ = false;
      job_ = job;
      idle_.reset();
      if (!status.ok()) {
        Fail(batches_, status);
      } else if (ok) {
        HandIn(reading_slot_);
      } else {
        read_all_ = true;
      }
      Read();
      FinishIfDone();
    });
  }
  void OnCancel() override {
    Post([this](edge::Coordinator&) { End(absl::CancelledError("cancelled")); });
  }
  void OnDone() override { const auto last = std::move(grpc_share_); }

  void End(absl::Status status) override {
    if (ended_) return;
    ended_ = true;
    service_.streams().Remove(this);
    response_.set_committed_offset(committed_offset_);
    response_.set_added(added_);
    response_.set_present(present_);
    idle_.reset();
    cutoff_.Start(service_.limits().end_grace);
    Finish(ToGrpc(status));
  }

 private:
  static constexpr char kOffsetKey[] = "committed_offset";
  // Batches on their way at once: enough that one is read and judged while another is committed.
  static constexpr size_t kSlots = 4;
  struct Slot {
    Received<v1::AddItemsRequest> request;
    bool used = false;
  };

  template <typename F>
  void Post(F task) {
    service_.executor().Post([self = shared_from_this(), task = std::move(task)](
                                 edge::Coordinator& coordinator) mutable { task(coordinator); });
  }

  // On gRPC's thread, while nothing else reads.
  absl::Status Judge(Received<v1::AddItemsRequest>& received) {
    if (received.malformed) return MalformedMessage();
    v1::AddItemsRequest& request = received.message;
    if (read_job_.empty()) {
      TESSERA_ASSIGN_OR_RETURN(const Resource resource, JobResource(request.job(), "job"));
      TESSERA_RETURN_IF_ERROR(Authorize(principal_, any_of_, resource));
      read_job_ = request.job();
    } else if (request.job().empty()) {
      request.set_job(read_job_);
    }
    return ValidateBatch(request, read_job_, service_.limits().items);
  }

  void Read() {
    if (reading_ || read_all_ || failed_ || refused_ || ended_) return;
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (slots_[slot].used) continue;
      slots_[slot].used = true;
      reading_ = true;
      reading_slot_ = slot;
      EndIfIdle(++reads_);
      StartRead(&slots_[slot].request);
      return;
    }
  }

  // Ends the stream if this read brings nothing for long: it holds a place that others may need.
  void EndIfIdle(int64_t read) {
    const absl::Duration limit = service_.limits().upload_idle_max;
    idle_ = std::make_unique<grpc::Alarm>();
    idle_->Set(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(limit),
               [weak = weak_from_this(), read, limit](bool due) {
                 const std::shared_ptr<AddItemsStream> self = due ? weak.lock() : nullptr;
                 if (self == nullptr) return;
                 self->Post([stream = self.get(), read, limit](edge::Coordinator&) {
                   if (!stream->reading_ || stream->reads_ != read) return;
                   stream->Fail(
                       stream->batches_,
                       ErrorWith(absl::StatusCode::kDeadlineExceeded, v1::STREAM_IDLE,
                                 absl::StrCat("no batch came for ", absl::FormatDuration(limit))));
                   stream->FinishIfDone();
                 });
               });
  }

  void HandIn(size_t slot) {
    if (failed_ || refused_ || ended_) return;
    ++outstanding_;
    coordinator_->WhenUploadRoom(
        job_, [this, self = shared_from_this(), slot, batch = batches_++] { Add(slot, batch); });
  }

  void Add(size_t slot, int64_t batch) {
    // What stands before a batch that failed is added all the same.
    if (ended_ || refused_ || (failed_ && batch > failed_batch_)) {
      --outstanding_;
      slots_[slot] = {};
      return FinishIfDone();
    }
    refused_ = !coordinator_->AddItems(
        slots_[slot].request.message,
        [this, self = shared_from_this(), slot, batch](absl::StatusOr<v1::AddItemsResponse> reply) {
          --outstanding_;
          slots_[slot] = {};  // A stream may be open for long, and batches are large.
          if (reply.ok()) {
            committed_offset_ = std::max(committed_offset_, reply->committed_offset());
            added_ += reply->added();
            present_ += reply->present();
          } else {
            Fail(batch, reply.status());
          }
          Read();
          FinishIfDone();
        });
  }

  // The earliest failure is the one that is told: later ones follow from it.
  void Fail(int64_t batch, const absl::Status& status) {
    if (failed_ && batch >= failed_batch_) return;
    failed_ = true;
    failed_batch_ = batch;
    failure_ = status;
  }

  void FinishIfDone() {
    if (ended_ || finishing_ || outstanding_ > 0 || !(failed_ || (read_all_ && !reading_))) return;
    finishing_ = true;
    if (!failed_) {
      End(absl::OkStatus());
      return;
    }
    ErrorDetails details = GetDetails(failure_);
    const bool told =
        std::any_of(details.metadata.begin(), details.metadata.end(),
                    [](const auto& entry) { return entry.first == absl::string_view(kOffsetKey); });
    if (told || job_.empty()) {
      End(failure_);
      return;
    }
    // The client goes on from the committed offset, and so is told what it is.
    v1::GetJobRequest get;
    get.set_name(job_);
    coordinator_->GetJob(
        get, [this, self = shared_from_this(), details](absl::StatusOr<v1::Job> job) mutable {
          if (job.ok()) {
            details.metadata.emplace_back(kOffsetKey, absl::StrCat(job->committed_offset()));
            failure_ = WithDetails(failure_, details);
          }
          End(failure_);
        });
  }

  ServiceContext& service_;
  Places::Place place_;
  Cutoff cutoff_;
  const Principal principal_;
  const Roles any_of_;
  v1::AddItemsResponse& response_;
  std::shared_ptr<AddItemsStream> grpc_share_;  // From Start() to OnDone().
  std::string read_job_;                        // As the first message named it; of the reads.
  std::string job_;                             // The same, when it has been read.
  std::array<Slot, kSlots> slots_;

  edge::Coordinator* coordinator_ = nullptr;
  bool reading_ = false;
  size_t reading_slot_ = 0;
  int64_t reads_ = 0;                  // Begun.
  std::unique_ptr<grpc::Alarm> idle_;  // While a read waits.
  bool read_all_ = false;
  int64_t batches_ = 0;  // Handed in.
  int outstanding_ = 0;  // Of these, not answered.
  int64_t committed_offset_ = 0;
  int64_t added_ = 0;
  int64_t present_ = 0;
  bool refused_ = false;  // A batch is, and why is still to be told: nothing behind it counts.
  bool failed_ = false;
  int64_t failed_batch_ = 0;
  absl::Status failure_;
  bool finishing_ = false;
  bool ended_ = false;
};

class RefusedReader final : public grpc::ServerReadReactor<Received<v1::AddItemsRequest>> {
 public:
  explicit RefusedReader(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerReadReactor<Received<v1::AddItemsRequest>>* StartAddItems(
    ServiceContext& service, grpc::CallbackServerContext* context, v1::AddItemsResponse* response,
    Roles any_of) {
  absl::StatusOr<Principal> principal = service.Admit(*context, any_of);
  if (!principal.ok()) return new RefusedReader(principal.status());
  absl::StatusOr<Places::Place> place = service.TakeStream(*principal);
  if (!place.ok()) return new RefusedReader(place.status());
  const auto stream = std::make_shared<AddItemsStream>(service, context, *std::move(place),
                                                       *std::move(principal), any_of, response);
  stream->Start();
  return stream.get();
}

grpc::ServerWriteReactor<v1::JobStatus>* StartWatchJob(ServiceContext& service,
                                                       grpc::CallbackServerContext* context,
                                                       const Received<v1::WatchJobRequest>& request,
                                                       Roles any_of) {
  return StartPulled<v1::JobStatus>(service, context, request, request.message.name(), "name",
                                    any_of, [&](WatchStream::Opened opened) {
                                      return std::make_shared<WatchStream>(std::move(opened),
                                                                           request.message.name());
                                    });
}

grpc::ServerWriteReactor<v1::StreamResultsResponse>* StartStreamResults(
    ServiceContext& service, grpc::CallbackServerContext* context,
    const Received<v1::StreamResultsRequest>& request, Roles any_of) {
  return StartPulled<v1::StreamResultsResponse>(service, context, request, request.message.job(),
                                                "job", any_of, [&](ResultsStream::Opened opened) {
                                                  return std::make_shared<ResultsStream>(
                                                      std::move(opened), request.message);
                                                });
}

}  // namespace tessera::service
