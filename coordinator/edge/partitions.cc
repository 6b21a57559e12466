#include "coordinator/edge/partitions.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/errors.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

absl::Status NoSuchJob(absl::string_view name) {
  return Error(StatusCode::kNotFound, "JOB_NOT_FOUND", absl::StrCat("there is no job ", name));
}

}  // namespace

Partitions::Partitions(const HostOptions& options, std::vector<core::Store*> stores)
    : count_(static_cast<uint32_t>(stores.size())),
      ids_({.low = options.key_seed[0], .high = options.key_seed[1]}, count_) {
  const HostOptions share = ShareOf(options, count_);
  for (core::Store* store : stores) hosts_.push_back(std::make_unique<PartitionHost>(share, store));
}

HostOptions Partitions::ShareOf(HostOptions options, uint32_t count) {
  options.payload_cache_bytes /= count;
  options.unflushed_bytes_max =
      std::max(options.unflushed_bytes_max / count,
               std::min<size_t>(options.unflushed_bytes_max, 4 * options.record_bytes_max));
  return options;
}

bool Partitions::Serving(uint32_t partition) const {
  return partition < hosts_.size() && hosts_[partition]->state() == HostState::kServing;
}

absl::Status Partitions::Accepting(uint32_t partition) const {
  if (partition >= hosts_.size()) {
    return Error(StatusCode::kUnavailable, "SHUTTING_DOWN", "the coordinator is shutting down");
  }
  const PartitionHost& host = *hosts_[partition];
  if (host.accepting()) return absl::OkStatus();
  switch (host.state()) {
    case HostState::kRecovering:
      return Error(StatusCode::kUnavailable, "PARTITION_RECOVERING",
                   absl::StrCat("partition ", PartitionId(partition), " is being read in"));
    case HostState::kServing:
      return Error(StatusCode::kUnavailable, "STORE_UNAVAILABLE",
                   absl::StrCat("the store of partition ", PartitionId(partition),
                                " takes no writes at the moment"));
    case HostState::kFailed:
      break;
  }
  return Error(StatusCode::kUnavailable, "PARTITION_UNOWNED",
               absl::StrCat("partition ", PartitionId(partition), " is not served here any more"));
}

absl::Status Partitions::Unknown(const absl::Status& committed) {
  if (!GetDetails(committed).reason.empty()) return committed;
  return Error(StatusCode::kUnavailable, "PARTITION_UNOWNED", committed.message());
}

absl::Status Partitions::Unread(const absl::Status& read) {
  if (absl::IsNotFound(read)) return Gone();
  // Trying again would not bring it back.
  if (absl::IsDataLoss(read)) return Error(StatusCode::kDataLoss, "HISTORY_LOST", read.message());
  return Unknown(read);
}

absl::Status Partitions::Gone() {
  return Error(StatusCode::kNotFound, "JOB_NOT_FOUND", "the job was deleted meanwhile");
}

std::optional<uint32_t> Partitions::PartitionOf(absl::string_view job_name) const {
  const std::optional<JobName> name = JobName::Parse(job_name);
  const std::optional<uint32_t> partition = name ? PartitionOfJob(name->job) : std::nullopt;
  return partition.has_value() && *partition < count_ ? partition : std::nullopt;
}

absl::StatusOr<JobRef> Partitions::FindJob(absl::string_view name) {
  const std::optional<uint32_t> partition = PartitionOf(name);
  if (!partition.has_value()) return NoSuchJob(name);
  if (absl::Status status = Accepting(*partition); !status.ok()) return status;
  const JobName parsed = *JobName::Parse(name);
  const std::optional<core::JobIndex> job = state(*partition).FindJob(parsed.tenant, parsed.job);
  if (!job.has_value()) return NoSuchJob(name);
  return JobRef{*partition, *job};
}

const core::JobState& Partitions::job(JobRef ref) {
  const core::JobState* job = state(ref.partition).job(ref.job);
  TESSERA_CHECK(job != nullptr) << "job " << ref.job << " of partition " << ref.partition;
  return *job;
}

const JobWords& Partitions::words(JobRef ref) {
  std::unique_ptr<JobWords>& words = words_[ref];
  if (words == nullptr) words = std::make_unique<JobWords>(WordsOf(job(ref).head.identity));
  return *words;
}

std::string Partitions::TokenScope(JobRef ref) {
  return absl::StrCat(words(ref).name, " ", ref.job.value());
}

// --- Pools ---------------------------------------------------------------------------------------

uint32_t Partitions::PoolHome(absl::string_view id) const {
  return ids_.HomeOf(absl::StrCat("pools/", id));
}

void Partitions::ShowPool(absl::string_view id, uint32_t partition) {
  const uint32_t home = PoolHome(id);
  if (home == partition || !Serving(home) || !Serving(partition)) return;
  this->partition(partition).SeePool(id, this->partition(home).FindPool(id));
}

void Partitions::ShowPoolToAll(absl::string_view id) {
  for (uint32_t p = 0; p < size(); ++p) ShowPool(id, p);
}

void Partitions::ShowPoolsOfJobs(uint32_t partition) {
  if (!Serving(partition)) return;
  const core::PartitionState& state = this->state(partition);
  std::set<std::string> pools;
  for (uint32_t j = 0; j < state.jobs(); ++j) {
    const core::JobState* job = state.job(core::JobIndex(j));
    if (job == nullptr || job->ended()) continue;
    pools.insert(job->head.policy.pools.begin(), job->head.policy.pools.end());
  }
  for (const std::string& pool : pools) ShowPool(pool, partition);
}

// --- Replies -------------------------------------------------------------------------------------

void Partitions::WhenCommitted(const std::set<uint32_t>& partitions,
                               std::function<void(absl::Status)> done) {
  struct Pending {
    size_t partitions = 0;
    absl::Status status;
    std::function<void(absl::Status)> done;
  };
  auto pending = std::make_shared<Pending>();
  pending->done = std::move(done);
  for (const uint32_t p : partitions) pending->partitions += Serving(p) ? 1 : 0;
  if (pending->partitions == 0) {
    return Later([pending] { pending->done(absl::OkStatus()); });
  }
  for (const uint32_t p : partitions) {
    if (!Serving(p)) continue;
    hosts_[p]->WhenCommitted([pending](const absl::Status& committed) {
      if (!committed.ok()) pending->status = Unknown(committed);
      if (--pending->partitions == 0) pending->done(pending->status);
    });
  }
}

void Partitions::WhenAllCommitted(std::function<void(absl::Status)> done) {
  std::set<uint32_t> all;
  for (uint32_t p = 0; p < hosts_.size(); ++p) all.insert(p);
  WhenCommitted(all, std::move(done));
}

void Partitions::WhenUploadRoom(uint32_t partition, std::function<void()> add) {
  const auto waiting = uploads_.find(partition);
  if (waiting == uploads_.end() && HasUploadRoom(partition)) return add();
  uploads_[partition].push_back(std::move(add));
}

void Partitions::RunUploads() {
  for (auto at = uploads_.begin(); at != uploads_.end();) {
    auto& [partition, waiting] = *at;
    while (!waiting.empty() && HasUploadRoom(partition)) {
      const std::function<void()> add = std::move(waiting.front());
      waiting.pop_front();
      add();
    }
    at = waiting.empty() ? uploads_.erase(at) : std::next(at);
  }
}

bool Partitions::UploadsAreDue() const {
  return std::any_of(uploads_.begin(), uploads_.end(),
                     [&](const auto& of_one) { return HasUploadRoom(of_one.first); });
}

void Partitions::RunLater() {
  // Those that were there when it began: an action may ask for another one.
  std::vector<std::function<void()>> actions = std::exchange(later_, {});
  for (const auto& action : actions) action();
}

void Partitions::Close() {
  // Replies that run meanwhile may call again, and find no host.
  std::vector<std::unique_ptr<PartitionHost>> hosts = std::exchange(hosts_, {});
  hosts.clear();
  RunUploads();
  while (has_later()) RunLater();
}

}  // namespace tessera::edge
