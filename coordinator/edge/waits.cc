#include "coordinator/edge/waits.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "coordinator/edge/message_size.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

}  // namespace

// --- Waiting -------------------------------------------------------------------------------------

uint64_t Waits::Add(Wait wait) {
  const uint64_t id = next_id_++;
  Watched& watched = watched_[wait.job];
  if (watched.version == 0) watched.version = next_version_++;
  watched.waits.insert(id);
  waits_[id] = std::move(wait);
  due_.insert(id);
  return id;
}

std::shared_ptr<const Waits::Wait> Waits::Take(uint64_t id) {
  const auto found = waits_.find(id);
  const auto wait = std::make_shared<const Wait>(std::move(found->second));
  waits_.erase(found);
  timers_.erase({wait->not_before, id});
  Watched& watched = watched_.at(wait->job);
  watched.waits.erase(id);
  watched.left_at = partitions_->now();
  if (watched.waits.empty() && !std::exchange(watched.leaving, true)) {
    leaving_.push_back(wait->job);
  }
  answering_[id] = wait;
  return wait;
}

uint64_t Waits::Refuse(const std::function<void(const absl::Status&)>& reply, absl::Status status,
                       std::optional<uint32_t> partition) {
  const uint64_t id = next_id_++;
  answering_[id] = nullptr;
  partitions_->Refuse<bool>(
      [this, id, reply](const absl::StatusOr<bool>& refused) {
        if (Answering(id)) reply(refused.status());
      },
      std::move(status), partition);
  return id;
}

uint64_t Waits::WaitJob(absl::string_view name, uint64_t seen, JobReply reply) {
  const absl::StatusOr<JobRef> job = partitions_->FindJob(name);
  if (!job.ok()) {
    return Refuse([reply](const absl::Status& s) { reply(s, 0); }, job.status(),
                  partitions_->PartitionOf(name));
  }
  Wait wait{.job = *job, .job_reply = std::move(reply), .seen = seen};
  if (seen != 0) wait.not_before = partitions_->now() + watch_interval_;
  return Add(std::move(wait));
}

uint64_t Waits::WaitResults(const v1::StreamResultsRequest& request, bool told_end,
                            ResultsReply reply) {
  const absl::StatusOr<JobRef> job = partitions_->FindJob(request.job());
  absl::Status status = job.status();
  ResultsCursor cursor;
  if (status.ok() && !request.resume_token().empty()) {
    const auto decoded = DecodeToken<ResultsCursor>(
        partitions_->ids(), "results", partitions_->TokenScope(*job), request.resume_token());
    if (!decoded.has_value()) {
      status = Error(StatusCode::kInvalidArgument, "RESUME_TOKEN_INVALID",
                     "the token is not of this job")
                   .Field("resume_token", "must be one that this job's stream has given");
    } else if (!partitions_->Remembers(job->partition, decoded->seen)) {
      status = Error(StatusCode::kDataLoss, "HISTORY_LOST",
                     "the store has lost what the token has seen; start without a token");
    } else {
      cursor = *decoded;
    }
  }
  if (!status.ok()) {
    return Refuse([reply](const absl::Status& s) { reply(s, false); }, status,
                  partitions_->PartitionOf(request.job()));
  }
  return Add({.job = *job,
              .results_reply = std::move(reply),
              .cursor = cursor,
              .follow = request.follow(),
              .told_end = told_end});
}

void Waits::Cancel(uint64_t id) {
  due_.erase(id);
  if (waits_.contains(id)) Take(id);
  answering_.erase(id);
}

void Waits::OnJobChanged(JobRef job) {
  const auto found = watched_.find(job);
  if (found == watched_.end()) return;
  found->second.version = next_version_++;
  due_.insert(found->second.waits.begin(), found->second.waits.end());
}

absl::Time Waits::NextWake() const {
  if (!due_.empty()) return absl::InfinitePast();
  const bool waiting = !waits_.empty() || !answering_.empty();
  return std::min(timers_.empty() ? absl::InfiniteFuture() : timers_.begin()->first,
                  waiting ? next_look_ : absl::InfiniteFuture());
}

void Waits::EndTurn() {
  const absl::Time now = partitions_->now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    due_.insert(timers_.begin()->second);
    timers_.erase(timers_.begin());
  }
  if (now >= next_look_) {
    next_look_ = now + kLookInterval;
    Look();
  }
  for (const uint64_t id : std::exchange(due_, {})) Try(id);
  ForgetWatched(now);
}

void Waits::Look() {
  std::vector<std::shared_ptr<const Wait>> refused;
  for (auto& [job, watched] : watched_) {
    if (!partitions_->Serving(job.partition)) continue;  // Those who wait are told when tried.
    if (!partitions_->Accepting(job.partition).ok()) {
      for (const uint64_t id : std::set<uint64_t>(watched.waits)) Take(id);
    } else if (!watched.waits.empty()) {
      const absl::StatusOr<core::JobView> view = partitions_->partition(job.partition).Job(job.job);
      if (view.ok() && view->stall != watched.stall) OnJobChanged(job);
    }
  }
  for (auto at = answering_.begin(); at != answering_.end();) {
    const std::shared_ptr<const Wait>& wait = at->second;
    const bool stuck = wait != nullptr && partitions_->Serving(wait->job.partition) &&
                       !partitions_->Accepting(wait->job.partition).ok();
    if (stuck) refused.push_back(wait);
    at = stuck ? answering_.erase(at) : std::next(at);
  }
  for (const auto& wait : refused) wait->Refuse(partitions_->Accepting(wait->job.partition));
}

void Waits::ForgetWatched(absl::Time now) {
  // Whoever reads a stream comes again when the last message is written, and finds the speed as it
  // was measured so far.
  for (size_t left = leaving_.size(); left > 0; --left) {
    const JobRef job = leaving_.front();
    Watched& watched = watched_.at(job);
    leaving_.pop_front();
    if (watched.waits.empty() && now - watched.left_at < kSpeedWindow) {
      leaving_.push_back(job);  // Behind the others, so that it is in nobody's way.
      break;
    }
    watched.leaving = false;
    if (watched.waits.empty()) watched_.erase(job);
  }
}

void Waits::CloseAll(const absl::Status& status) {
  while (!waits_.empty()) {
    const uint64_t id = waits_.begin()->first;
    const std::shared_ptr<const Wait> wait = Take(id);
    answering_.erase(id);
    wait->Refuse(status);
  }
  due_.clear();
}

void Waits::Try(uint64_t id) {
  const auto found = waits_.find(id);
  if (found == waits_.end()) return;
  const Wait& wait = found->second;
  if (!partitions_->Serving(wait.job.partition)) {
    const absl::Status status = partitions_->Accepting(wait.job.partition);
    const std::shared_ptr<const Wait> taken = Take(id);
    answering_.erase(id);
    return taken->Refuse(status);
  }
  if (partitions_->state(wait.job.partition).job(wait.job.job) == nullptr) return AnswerGone(id);
  if (wait.results_reply) {
    std::optional<Batch> batch = Next(wait);
    if (batch.has_value()) AnswerResults(id, *std::move(batch));
    return;
  }
  if (watched_.at(wait.job).version == wait.seen) return;
  if (partitions_->now() < wait.not_before) {
    timers_.insert({wait.not_before, id});
    return;
  }
  AnswerJob(id);
}

void Waits::AnswerGone(uint64_t id) {
  const std::shared_ptr<const Wait> wait = Take(id);
  partitions_->host(wait->job.partition).WhenCommitted([this, id, wait](const absl::Status& s) {
    if (Answering(id)) wait->Refuse(s.ok() ? Partitions::Gone() : Partitions::Unknown(s));
  });
}

// --- Statuses ------------------------------------------------------------------------------------

v1::JobStatus Waits::StatusOf(JobRef job, Watched& watched) {
  const core::JobView view = *partitions_->partition(job.partition).Job(job.job);
  const core::JobState& state = partitions_->job(job);
  const absl::Time now = partitions_->now();
  v1::JobStatus out;
  *out.mutable_job() = JobToProto(view, state);
  watched.stall = view.stall;
  *out.mutable_status_time() = TimeToProto(now);

  std::deque<Sample>& samples = watched.samples;
  // Those that were rejected since were accepted too: a rate of those that count could fall below 0.
  samples.push_back({now, view.answers + view.answers_rejected, view.counts.resolved});
  while (samples.size() > 2 && now - samples[1].at >= kSpeedWindow) samples.pop_front();
  const double seconds = absl::ToDoubleSeconds(now - samples.front().at);
  if (seconds > 0) {
    out.set_answers_per_second(
        static_cast<double>(samples.back().answers - samples.front().answers) / seconds);
    const auto open = static_cast<double>(view.counts.waiting + view.counts.in_progress);
    if (view.counts.resolved > samples.front().done && !state.ended()) {
      const double speed =
          static_cast<double>(view.counts.resolved - samples.front().done) / seconds;
      *out.mutable_remaining_duration() = DurationToProto(absl::Seconds(open / speed));
    }
  }

  const uint32_t items = state.items.size();
  const uint32_t step = std::max<uint32_t>(1, items / kConfidenceSample);
  double sum = 0;
  uint32_t answered = 0;
  for (uint32_t i = 0; i < items; i += step) {
    const auto item = state.items.Get(i);
    if (item.value == core::kNoLabel) continue;
    sum += item.confidence;
    ++answered;
  }
  if (answered > 0) out.set_confidence_mean(sum / answered);
  return out;
}

void Waits::AnswerJob(uint64_t id) {
  const std::shared_ptr<const Wait> wait = Take(id);
  Watched& watched = watched_.at(wait->job);
  partitions_->host(wait->job.partition)
      .WhenCommitted(
          [this, id, wait, version = watched.version,
           status = StatusOf(wait->job, watched)](const absl::Status& committed) mutable {
            if (!Answering(id)) return;
            if (!committed.ok()) return wait->Refuse(Partitions::Unknown(committed));
            wait->job_reply(std::move(status), version);
          });
}

// --- Results -------------------------------------------------------------------------------------

std::optional<Waits::Batch> Waits::Next(const Wait& wait) {
  core::Partition& partition = partitions_->partition(wait.job.partition);
  const core::JobState& job = partitions_->job(wait.job);
  const JobWords& words = partitions_->words(wait.job);
  Batch batch{.cursor = wait.cursor};
  size_t bytes = 0;
  const auto add = [&](const core::ItemView& item) {
    v1::Result& result = *batch.response.add_results() = ResultToProto(item, job.head, words);
    bytes += result.ByteSizeLong() + kItemKeyBytesMax;
    batch.items.push_back(item.item);
  };
  const auto full = [&] { return batch.items.size() >= kResultsMax || bytes >= kMessageBytesMax; };

  const bool over = job.ended();
  if (!batch.cursor.ended) {
    for (const core::ItemView& item :
         partition.Revisions(wait.job.job, batch.cursor.revision, kResultsMax)) {
      if (full()) break;
      add(item);
      batch.cursor.revision = item.revision;
    }
    // What was sent so far was sent as it stood before the end.
    if (!over) batch.cursor.open_revision = batch.cursor.revision;
    batch.cursor.ended = over && !full();
  }
  if (batch.cursor.ended) {
    // Items that the end has changed: those that were not resolved, unless they were sent since.
    const core::ItemTable& items = job.items;
    const uint32_t size = items.size();
    uint32_t& next = batch.cursor.next_item;
    for (; next < size && !full(); ++next) {
      if (items.State(next) == core::ItemState::kResolved) continue;
      const core::ItemView item = partition.Item(wait.job.job, next);
      if (item.revision > batch.cursor.open_revision) continue;
      add(item);
    }
    batch.ended = next >= size;
  }
  const bool at_end = batch.ended || (!over && !full());
  batch.response.set_at_end(at_end);
  if (at_end && !wait.follow) batch.ended = true;
  // Without results it is the end, which is said once.
  if (batch.items.empty() && !batch.ended && wait.told_end) return std::nullopt;
  batch.cursor.seen = partitions_->host(wait.job.partition).RecordNow();
  batch.response.set_resume_token(
      EncodeToken(partitions_->ids(), "results", partitions_->TokenScope(wait.job), batch.cursor));
  return batch;
}

void Waits::AnswerResults(uint64_t id, Batch batch) {
  const std::shared_ptr<const Wait> wait = Take(id);
  auto answer = [this, id, wait, ended = batch.ended, response = std::move(batch.response)](
                    const absl::StatusOr<std::vector<core::Payload>>& payloads) mutable {
    if (!Answering(id)) return;
    if (!payloads.ok()) return wait->Refuse(Partitions::Unread(payloads.status()));
    for (size_t i = 0; i < payloads->size(); ++i) {
      response.mutable_results(static_cast<int>(i))->set_item_key((*payloads)[i].key);
    }
    wait->results_reply(std::move(response), ended);
  };
  // The read comes back after the commit of what was seen.
  partitions_->host(wait->job.partition)
      .ReadPayloads(wait->job.job, std::move(batch.items), std::move(answer));
}

}  // namespace tessera::edge
