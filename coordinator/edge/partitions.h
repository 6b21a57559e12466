// The partitions that a coordinator hosts: where a name lives, whether it can be asked, what time
// it is.
//
//   partitions.Call(name, reply, [&](JobRef job) -> absl::StatusOr<v1::Job> { ... });
//
// A call is handled at once on its partition; its reply runs when what it saw and did has been
// committed, and always: with UNAVAILABLE where that will never be known. Errors that no partition
// takes part in wait in a list of their own until the end of the turn.
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
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "coordinator/core/partition.h"
#include "coordinator/edge/convert.h"
#include "coordinator/edge/host.h"
#include "coordinator/edge/names.h"

namespace tessera::edge {

// A job, wherever it is.
struct JobRef {
  uint32_t partition = 0;
  core::JobIndex job;

  friend bool operator==(const JobRef&, const JobRef&) = default;
  friend auto operator<=>(const JobRef&, const JobRef&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const JobRef& ref) {
    return H::combine(std::move(h), ref.partition, ref.job);
  }
};

class Partitions {
 public:
  // `options`: what is bounded in bytes is so for all partitions together; see ShareOf().
  Partitions(const HostOptions& options, std::vector<core::Store*> stores);
  Partitions(const Partitions&) = delete;
  Partitions& operator=(const Partitions&) = delete;

  // The options of one of `count` hosts. Of what is not flushed each may hold four records, however
  // many there are: so much an upload has under way.
  static HostOptions ShareOf(HostOptions options, uint32_t count);

  uint32_t size() const { return count_; }
  const IdMaker& ids() const { return ids_; }
  PartitionHost& host(uint32_t partition) { return *hosts_[partition]; }
  core::Partition& partition(uint32_t partition) { return hosts_[partition]->partition(); }
  const core::PartitionState& state(uint32_t partition) {
    return this->partition(partition).state();
  }

  absl::Time now() const { return now_; }
  void set_now(absl::Time now) { now_ = std::max(now_, now); }

  // OK, or UNAVAILABLE with the reason why the partition cannot be asked right now.
  absl::Status Accepting(uint32_t partition) const;
  // It can be read, even if it takes nothing new.
  bool Serving(uint32_t partition) const;

  // Whether the record is in the partition's history, as far as that is committed. Only while it
  // serves.
  bool Remembers(uint32_t partition, core::RecordId record) {
    return state(partition).Remembers(record, hosts_[partition]->status().head);
  }

  // NOT_FOUND (JOB_NOT_FOUND), or as Accepting().
  absl::StatusOr<JobRef> FindJob(absl::string_view name);
  const core::JobState& job(JobRef ref);
  // The job's words, read from its document once.
  const JobWords& words(JobRef ref);
  void ForgetJob(JobRef ref) { words_.erase(ref); }
  // The scope of a token (tokens.h) that goes on within this job. A job that is made when one of the
  // same name has been deleted is another one.
  std::string TokenScope(JobRef ref);

  // --- Pools -------------------------------------------------------------------------------------

  // The partition that the pool's name leads to.
  uint32_t PoolHome(absl::string_view id) const;
  // Shows the partition how the pool stands at its home, as far as both can be asked: its jobs may
  // be priced by it.
  void ShowPool(absl::string_view id, uint32_t partition);
  void ShowPoolToAll(absl::string_view id);
  // Shows the partition each pool that one of its jobs names.
  void ShowPoolsOfJobs(uint32_t partition);

  // --- Replies -----------------------------------------------------------------------------------

  template <typename T>
  using Reply = std::function<void(absl::StatusOr<T>)>;

  // Runs `reply` with `answer` once all that the partition decided so far has been committed. An
  // error ends what its caller is at, and so waits until it is known as well that the partition is
  // still ours: to an owner that was replaced and has not noticed, what came since was never there.
  template <typename T>
  void Answer(uint32_t partition, Reply<T> reply, absl::StatusOr<T> answer) {
    if (!Serving(partition)) return Later([reply, s = Accepting(partition)] { reply(s); });
    if (!answer.ok()) answer = ToContract(answer.status());
    const bool refused = !answer.ok();
    auto done = [reply, answer = std::move(answer)](absl::Status committed) mutable {
      if (!committed.ok()) return reply(Unknown(committed));
      reply(std::move(answer));
    };
    PartitionHost& host = *hosts_[partition];
    refused ? host.WhenOwned(std::move(done)) : host.WhenCommitted(std::move(done));
  }

  // Calls `handle(JobRef)`, which gives a StatusOr<T>, and answers with that.
  template <typename T, typename Handle>
  void Call(absl::string_view name, Reply<T> reply, Handle handle) {
    const absl::StatusOr<JobRef> job = FindJob(name);
    if (!job.ok()) return Refuse(std::move(reply), job.status(), PartitionOf(name));
    absl::StatusOr<T> answer = handle(*job);
    Answer(job->partition, std::move(reply), std::move(answer));
  }

  // Answers with an error; with a partition, as Answer() does: the error may rest on what it saw.
  template <typename T>
  void Refuse(Reply<T> reply, absl::Status status,
              std::optional<uint32_t> partition = std::nullopt) {
    TESSERA_CHECK(!status.ok());
    if (partition.has_value() && Serving(*partition) && !absl::IsUnavailable(status)) {
      return Answer(*partition, std::move(reply), absl::StatusOr<T>(std::move(status)));
    }
    Later([reply, s = ToContract(status)] { reply(s); });
  }

  // Answers when all partitions have committed what they decided so far: for what several know of.
  template <typename T>
  void AnswerAll(Reply<T> reply, std::type_identity_t<absl::StatusOr<T>> answer) {
    if (!answer.ok()) answer = ToContract(answer.status());
    WhenAllCommitted([reply, answer = std::move(answer)](const absl::Status& committed) mutable {
      if (!committed.ok()) return reply(committed);
      reply(std::move(answer));
    });
  }

  // Runs `done` when these partitions, as far as they serve, have committed what they decided so
  // far.
  void WhenCommitted(const std::set<uint32_t>& partitions, std::function<void(absl::Status)> done);
  void WhenAllCommitted(std::function<void(absl::Status)> done);

  // Runs `add` when the partition has room for one more batch of an upload: at once, if it has and
  // nobody waits; else in the order of the calls. Also where it takes nothing, so that the batch is
  // refused.
  void WhenUploadRoom(uint32_t partition, std::function<void()> add);
  // Those for whom there is room by now.
  void RunUploads();
  bool UploadsAreDue() const;

  // Runs at the end of the turn, or of the next one.
  void Later(std::function<void()> action) { later_.push_back(std::move(action)); }
  bool has_later() const { return !later_.empty(); }
  void RunLater();

  // The hosts go: what waits for a commit gets UNAVAILABLE.
  void Close();

  // What a caller is told whose commit is not known to have been done.
  static absl::Status Unknown(const absl::Status& committed);
  // What a caller is told whose items could not be read, by PartitionHost::ReadPayloads.
  static absl::Status Unread(const absl::Status& read);
  // That a job was deleted while something waited for it.
  static absl::Status Gone();
  // The partition that a job's name leads to, if it is one of ours.
  std::optional<uint32_t> PartitionOf(absl::string_view job_name) const;

 private:
  bool HasUploadRoom(uint32_t partition) const {
    return !Serving(partition) || hosts_[partition]->has_upload_room();
  }

  const uint32_t count_;
  const IdMaker ids_;
  absl::Time now_ = absl::InfinitePast();
  absl::flat_hash_map<JobRef, std::unique_ptr<JobWords>> words_;
  std::vector<std::function<void()>> later_;
  std::map<uint32_t, std::deque<std::function<void()>>> uploads_;  // By partition.
  std::vector<std::unique_ptr<PartitionHost>> hosts_;  // Last: their replies use what is above.
};

}  // namespace tessera::edge
