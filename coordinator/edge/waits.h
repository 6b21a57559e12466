// Readers who wait for something to happen: watchers of a job, readers of its results.
//
// A wait is answered once, when there is something to say, and the reader comes again with what it
// has seen. What is committed meanwhile is in the next answer, so a slow reader misses intermediate
// states and never holds anything up. A job that nobody waits for costs nothing when it changes.
//
// Keys of results are the host's, so a batch of results costs a read of its items' payload pages:
// in memory while there is room, else one read of the store for up to 64 neighbouring items.
//
// Some things change with nobody doing anything: why a job stands still, and that its store takes no
// writes, when there is nothing that may be said and those who wait are told so. They are looked at
// every second while somebody waits.
//
// Threads: none; belongs to a Coordinator.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/edge/partitions.h"
#include "coordinator/edge/tokens.h"
#include "tessera/v1/job_service.pb.h"

namespace tessera::edge {

class Waits {
 public:
  static constexpr size_t kResultsMax = 1000;  // In one message.

  using JobReply = std::function<void(absl::StatusOr<v1::JobStatus>, uint64_t version)>;
  using ResultsReply = std::function<void(absl::StatusOr<v1::StreamResultsResponse>, bool ended)>;

  // Two statuses of one wait's stream are at least `watch_interval` apart.
  Waits(Partitions* partitions, absl::Duration watch_interval)
      : partitions_(partitions), watch_interval_(watch_interval) {}

  uint64_t WaitJob(absl::string_view name, uint64_t seen, JobReply reply);
  uint64_t WaitResults(const v1::StreamResultsRequest& request, bool told_end, ResultsReply reply);
  void Cancel(uint64_t wait);

  // The job changed, or is gone. Call it before the hosts are flushed.
  void OnJobChanged(JobRef job);
  // Answers what is due. Call it after all OnJobChanged of the turn.
  void EndTurn();
  absl::Time NextWake() const;

  // Answers all that wait with this.
  void CloseAll(const absl::Status& status);

 private:
  // Speed is measured over about this long.
  static constexpr absl::Duration kSpeedWindow = absl::Minutes(1);
  static constexpr absl::Duration kLookInterval = absl::Seconds(1);
  // Items looked at, evenly spread, for the mean of the confidences.
  static constexpr uint32_t kConfidenceSample = 1000;

  struct Sample {
    absl::Time at;
    uint64_t answers = 0;
    uint64_t done = 0;
  };
  // A job that is waited for, or was a moment ago.
  struct Watched {
    uint64_t version = 0;
    core::StallReason stall = core::StallReason::kNone;  // As it was told last.
    std::set<uint64_t> waits;
    absl::Time left_at;          // When the last one was taken from `waits`.
    bool leaving = false;        // It is in `leaving_`.
    std::deque<Sample> samples;  // The oldest first.
  };
  struct Wait {
    JobRef job;
    // Of a watcher:
    JobReply job_reply;
    uint64_t seen = 0;
    absl::Time not_before = absl::InfinitePast();
    // Of a reader of results:
    ResultsReply results_reply;
    ResultsCursor cursor;
    bool follow = false;
    bool told_end = false;  // The reader knows that it has come to the end.

    void Refuse(const absl::Status& status) const {
      if (job_reply) job_reply(status, 0);
      if (results_reply) results_reply(status, false);
    }
  };
  struct Batch {
    v1::StreamResultsResponse response;
    std::vector<core::ItemIndex> items;
    ResultsCursor cursor;
    bool ended = false;
  };

  uint64_t Add(Wait wait);
  // Takes the wait away, to be answered. Answering(id) then says once that it still is to be.
  std::shared_ptr<const Wait> Take(uint64_t id);
  bool Answering(uint64_t id) { return answering_.erase(id) > 0; }
  // Answers with an error; with a partition, as Partitions::Answer(): it may rest on what that saw.
  uint64_t Refuse(const std::function<void(const absl::Status&)>& reply, absl::Status status,
                  std::optional<uint32_t> partition);
  // Finds what changed by itself.
  void Look();
  // Forgets jobs that nobody has waited for since a while.
  void ForgetWatched(absl::Time now);
  // Answers it if there is something to say.
  void Try(uint64_t id);
  void AnswerGone(uint64_t id);
  void AnswerJob(uint64_t id);
  void AnswerResults(uint64_t id, Batch batch);
  // What there is after the cursor; nothing where the reader has to wait.
  std::optional<Batch> Next(const Wait& wait);
  v1::JobStatus StatusOf(JobRef job, Watched& watched);

  Partitions* const partitions_;
  const absl::Duration watch_interval_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Wait> waits_;
  std::map<JobRef, Watched> watched_;
  uint64_t next_version_ = 1;   // Of all: one that a reader saw long ago is never given again.
  std::deque<JobRef> leaving_;  // Watched by nobody since a while; looked at when that is over.
  std::set<uint64_t> due_;      // To be tried at the end of the turn.
  std::set<std::pair<absl::Time, uint64_t>> timers_;  // Of watchers that came too early.
  absl::Time next_look_ = absl::InfinitePast();
  // Taken; what they are told waits for its commit. Null: a refusal from the first.
  std::map<uint64_t, std::shared_ptr<const Wait>> answering_;
};

}  // namespace tessera::edge
