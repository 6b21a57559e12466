#include "client/replay_gateway.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/messages.h"
#include "client/retry.h"
#include "client/status.h"
#include "tessera/v1/work_service.grpc.pb.h"

namespace tessera::client {
namespace {

// A gateway's name is its memory on the coordinator's side: one for each job, so that two replays
// do not replace each other.
std::string GatewayName(absl::string_view job) {
  std::string name = "replay-";
  for (const char c : job.substr(job.rfind('/') + 1)) {
    const char lower = absl::ascii_tolower(c);
    name.push_back(absl::ascii_isalnum(lower) || c == '.' || c == '_' || c == '-' ? lower : '-');
  }
  if (name.size() > 63) name.resize(63);
  return name;
}

ReplayOptions WithName(ReplayOptions options) {
  if (options.gateway.empty()) options.gateway = GatewayName(options.job);
  return options;
}

// For how long a crowd that waits for work of this job should go on waiting.
absl::Duration PatienceWith(const v1::Job& job, const ReplayGatewayOptions& options) {
  for (const int reason : job.stall()) {
    switch (reason) {
      case v1::STALL_REASON_NO_ELIGIBLE_WORKER:
      case v1::STALL_REASON_OUT_OF_BUDGET:
      case v1::STALL_REASON_WAITING_FOR_FINALISE:
        return options.idle_max;
      case v1::STALL_REASON_NO_ITEMS:
        break;
      default:
        return absl::InfiniteDuration();  // It goes on by itself, or somebody makes it.
    }
  }
  // An end that is near will be told; what others answer may open items again.
  const bool moves = job.state() == v1::JOB_STATE_CLOSING || job.counts().assignments_open() > 0;
  return moves ? absl::InfiniteDuration() : options.quiet_max;
}

}  // namespace

struct ReplayGateway::State {
  State(Crowd crowd, const ReplayOptions& options)
      : replay(std::move(crowd), WithName(options), absl::Now()) {}

  void Wake() {  // Under `mutex`.
    woken = true;
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable_any changed;
  // All below under `mutex`.
  bool woken = false;  // Something changed since the main loop looked last.
  Replay replay;
  bool stream_ended = false;  // The reader saw the end of the stream.
  bool job_ended = false;
  absl::Duration patience = absl::InfiniteDuration();  // With the job as it is.
  bool job_gone = false;                               // Watching it failed for good.
  absl::Status watch_error;
  std::optional<absl::Time> idle_since;
  std::optional<ReplayEnd> end;
  int64_t reconnects = 0;
};

ReplayGateway::ReplayGateway(Client* client, Crowd crowd, ReplayGatewayOptions options)
    : client_(client),
      options_(std::move(options)),
      state_(std::make_unique<State>(std::move(crowd), options_.replay)) {}

ReplayGateway::~ReplayGateway() = default;

// Follows the job beside the stream: whether it has ended, and why it stands still.
void ReplayGateway::Watch(std::stop_token stop) {
  const auto on_status = [this](const v1::JobStatus& status) {
    ReplayCounts counts;
    {
      const std::lock_guard lock(state_->mutex);
      state_->job_ended = HasEnded(status.job());
      state_->patience = PatienceWith(status.job(), options_);
      counts = state_->replay.counts();
      state_->Wake();
    }
    if (options_.on_status) options_.on_status(status, counts);
    return true;
  };
  while (!stop.stop_requested()) {
    const absl::Status status = client_->WatchJob(options_.replay.job, stop, on_status);
    if (status.ok() || stop.stop_requested()) return;
    if (MayRetry(status)) continue;  // How long an outage may take is for the stream to say.
    const std::lock_guard lock(state_->mutex);
    state_->watch_error = status;
    state_->job_gone = true;
    state_->Wake();
    return;
  }
}

// One stream, until it ends or there is nothing left to do (then `end` is set).
absl::Status ReplayGateway::RunStream(std::stop_token stop) {
  const auto stub = v1::WorkService::NewStub(client_->channel());
  grpc::ClientContext context;  // No deadline: heartbeats in both directions find dead peers.
  client_->Authorize(&context);
  const auto stream = stub->Work(&context);
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });

  std::unique_lock lock(state_->mutex);
  state_->stream_ended = false;
  v1::WorkRequest request = state_->replay.Connect(absl::Now());
  lock.unlock();
  std::jthread reader([this, &stream] {
    v1::WorkResponse response;
    while (stream->Read(&response)) {
      const std::lock_guard guard(state_->mutex);
      state_->replay.Handle(response, absl::Now());
      state_->Wake();
    }
    const std::lock_guard guard(state_->mutex);
    state_->stream_ended = true;
    state_->Wake();
  });
  bool writable = stream->Write(request);
  bool silent = false;
  lock.lock();
  while (writable && !state_->stream_ended && !stop.stop_requested()) {
    Replay& replay = state_->replay;
    const absl::Time now = absl::Now();
    if (!replay.failure().ok() || replay.draining()) break;
    if (replay.done()) {
      state_->end = state_->job_ended ? ReplayEnd::kJobEnded : ReplayEnd::kNothingLeft;
      break;
    }
    if (state_->job_ended) {
      state_->end = ReplayEnd::kJobEnded;
      break;
    }
    if (state_->job_gone) break;
    if (!replay.idle() || state_->patience == absl::InfiniteDuration()) {
      state_->idle_since.reset();
    } else if (!state_->idle_since.has_value()) {
      state_->idle_since = now;
    } else if (now - *state_->idle_since >= state_->patience) {
      state_->end = ReplayEnd::kIdle;
      break;
    }
    silent = replay.peer_is_silent(now);
    if (silent) break;
    if (replay.Next(now, &request)) {
      lock.unlock();
      writable = stream->Write(request);
      lock.lock();
      continue;
    }
    absl::Time wake = replay.wake_time();
    if (state_->idle_since.has_value()) {
      wake = std::min(wake, *state_->idle_since + state_->patience);
    }
    if (wake <= now) continue;
    state_->changed.wait_until(lock, stop, absl::ToChronoTime(wake),
                               [this] { return state_->woken; });
    state_->woken = false;
  }
  const bool drained = state_->replay.draining();
  const absl::Status failure = state_->replay.failure();
  const bool over = state_->end.has_value();
  const bool gone = state_->job_gone;
  lock.unlock();
  if (writable && (over || drained)) {
    stream->WritesDone();  // What is under way is still answered.
    // A coordinator that does not end its side is not waited for.
    lock.lock();
    state_->changed.wait_for(lock, stop, std::chrono::seconds(over ? 2 : 15),
                             [this] { return state_->stream_ended; });
    lock.unlock();
  }
  // The stream's own end, where it has one, wins over this.
  if (writable && (silent || !failure.ok() || over || drained || gone || stop.stop_requested())) {
    context.TryCancel();
  }
  reader.join();
  const absl::Status end = FromGrpc(stream->Finish());
  if (!failure.ok()) return failure;
  if (over || stop.stop_requested()) return absl::OkStatus();
  if (silent) return absl::UnavailableError("the coordinator fell silent");
  if (drained || end.ok()) return absl::UnavailableError("the coordinator is going away");
  return end;
}

absl::StatusOr<ReplayOutcome> ReplayGateway::Run(std::stop_token stop) {
  std::stop_source stop_watch;
  std::jthread watcher([this, token = stop_watch.get_token()] { Watch(token); });
  const auto finish = [&](absl::Status status) -> absl::StatusOr<ReplayOutcome> {
    stop_watch.request_stop();
    watcher.join();
    if (!status.ok()) return status;
    if (state_->end == ReplayEnd::kNothingLeft) {
      // Demands end a moment before the job does: what its state says now is the reason.
      const absl::StatusOr<v1::Job> job = client_->GetJob(options_.replay.job);
      if (job.ok() && (HasEnded(*job) || job->state() == v1::JOB_STATE_CLOSING)) {
        state_->end = ReplayEnd::kJobEnded;
      }
    }
    return ReplayOutcome{.end = state_->end.value_or(ReplayEnd::kStopped),
                         .counts = state_->replay.counts(),
                         .reconnects = state_->reconnects};
  };
  absl::Time last_stream = absl::Now();
  int attempt = 0;
  while (true) {
    const absl::Time begun = absl::Now();
    const absl::Status status = RunStream(stop);
    bool gone = false;
    bool welcomed = false;
    {
      const std::lock_guard lock(state_->mutex);
      gone = state_->job_gone;
      welcomed = state_->replay.welcomed();
    }
    if (gone) return finish(state_->watch_error);  // Which nobody writes any more.
    if (status.ok()) return finish(status);
    if (!MayRetry(status)) return finish(status);
    // It had worked for a while. To connect in vain may take long, too.
    if (welcomed && absl::Now() - begun > absl::Seconds(1)) {
      last_stream = absl::Now();
      attempt = 0;
    }
    if (absl::Now() - last_stream > options_.reconnect_for) return finish(status);
    if (options_.on_break) options_.on_break(status);
    {
      const std::lock_guard lock(state_->mutex);
      ++state_->reconnects;
    }
    const RetryOptions retry = client_->retry();
    if (!retry.wait(Backoff(retry, attempt++, RandomUniform()), stop)) {
      return finish(absl::OkStatus());
    }
  }
}

}  // namespace tessera::client
