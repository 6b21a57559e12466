#include "coordinator/edge/coordinator.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/errors.h"
#include "coordinator/edge/coordinator_impl.h"

namespace tessera::edge {
namespace {

absl::Status ShuttingDown() {
  return Error(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the coordinator is shutting down");
}

}  // namespace

absl::Status BadPageToken() {
  return Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
               "the token is not of this list")
      .Field("page_token", "must be the next_page_token of the same list");
}

Coordinator::Impl::Impl(CoordinatorOptions options, std::vector<core::Store*> stores,
                        FitExecutor* fits)
    : options_(std::move(options)),
      fits_(fits),
      partitions_(options_.host, std::move(stores)),
      waits_(&partitions_, options_.watch_interval),
      desk_(options_, &partitions_) {}

Coordinator::Impl::~Impl() {
  *alive_ = false;
  desk_.CloseAll(ShuttingDown());
  waits_.CloseAll(ShuttingDown());
  partitions_.Close();  // What waits for a commit is answered while all of this still stands.
  desk_.CloseAll(ShuttingDown());  // Opened by those replies.
}

// --- Life ----------------------------------------------------------------------------------------

void Coordinator::Impl::Start(absl::Time now, std::function<void(absl::Status)> done) {
  partitions_.set_now(now);
  struct Starting {
    uint32_t left = 0;
    absl::Status status;
    std::function<void(absl::Status)> done;
  };
  auto starting = std::make_shared<Starting>();
  starting->left = partitions_.size();
  starting->done = std::move(done);
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    partitions_.host(p).Start(now, [this, p, starting](const absl::Status& status) {
      starting->status.Update(status);
      if (status.ok() && partitions_.PoolHome("default") == p &&
          partitions_.partition(p).FindPool("default") == nullptr) {
        TESSERA_CHECK_OK(partitions_.partition(p).PutPool({.id = "default"}));
        turn_due_ = true;
      }
      if (--starting->left > 0) return;
      // What each pool costs now that all can be asked.
      for (uint32_t all = 0; all < partitions_.size(); ++all) partitions_.ShowPoolsOfJobs(all);
      starting->done(starting->status);
    });
  }
}

void Coordinator::Impl::Drain(absl::Duration timeout, std::function<void()> done) {
  desk_.Drain(timeout);
  partitions_.WhenAllCommitted([done = std::move(done)](const absl::Status&) { done(); });
}

// --- Turns ---------------------------------------------------------------------------------------

void Coordinator::Impl::TakeNotices() {
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    if (!partitions_.Serving(p)) continue;
    core::Notices notices = partitions_.partition(p).TakeNotices();
    std::sort(notices.jobs_changed.begin(), notices.jobs_changed.end());
    const auto end = std::unique(notices.jobs_changed.begin(), notices.jobs_changed.end());
    for (auto job = notices.jobs_changed.begin(); job != end; ++job) {
      waits_.OnJobChanged({p, *job});
      desk_.OnJobChanged({p, *job});
    }
    for (const core::LeaseEnded& ended : notices.leases_ended) desk_.OnLeaseEnded(p, ended);
    if (notices.work_appeared) desk_.OnWorkAppeared();
  }
}

void Coordinator::Impl::TakeFitWork() {
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    if (!partitions_.Serving(p)) continue;
    for (core::FitWork& work : partitions_.partition(p).TakeFitWork()) {
      const core::JobIndex job = work.job;
      fits_->Compute(std::move(work), options_.host.partition.fit,
                     [this, alive = alive_, p, job](core::Fit fit) {
                       if (!*alive || !partitions_.Serving(p)) return;
                       partitions_.partition(p).FitComputed(job, std::move(fit), partitions_.now());
                       partitions_.host(p).EndCommand();
                       turn_due_ = true;
                     });
    }
  }
}

void Coordinator::Impl::EndTurn() {
  turn_due_ = false;
  partitions_.RunUploads();
  TakeNotices();  // First: work that appeared may be leased in this turn ...
  desk_.EndTurn();
  TakeNotices();  // ... and what the leases changed is seen by those who wait.
  waits_.EndTurn();
  TakeFitWork();
  for (uint32_t p = 0; p < partitions_.size(); ++p) partitions_.host(p).Flush(partitions_.now());
  partitions_.RunLater();
}

absl::Time Coordinator::Impl::NextWake() {
  if (turn_due_ || partitions_.has_later() || partitions_.UploadsAreDue()) {
    return partitions_.now();
  }
  absl::Time wake = std::min(desk_.NextWake(), waits_.NextWake());
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    wake = std::min(wake, partitions_.host(p).NextWake());
  }
  return std::max(wake, partitions_.now());
}

// --- The public face -----------------------------------------------------------------------------

Coordinator::Coordinator(CoordinatorOptions options, std::vector<core::Store*> stores,
                         FitExecutor* fits)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(stores), fits)) {}
Coordinator::~Coordinator() = default;

void Coordinator::Start(absl::Time now, std::function<void(absl::Status)> done) {
  impl_->Start(now, std::move(done));
}
void Coordinator::Drain(absl::Duration timeout, std::function<void()> done) {
  impl_->Drain(timeout, std::move(done));
}

bool Coordinator::serving() const {
  for (uint32_t p = 0; p < impl_->partitions_.size(); ++p) {
    if (!impl_->partitions_.Serving(p)) return false;
  }
  return true;
}

absl::Status Coordinator::failure() const {
  for (uint32_t p = 0; p < impl_->partitions_.size(); ++p) {
    absl::Status failure = impl_->partitions_.host(p).failure();
    if (!failure.ok()) return failure;
  }
  return absl::OkStatus();
}

absl::Status Coordinator::trouble(uint32_t partition) const {
  return impl_->partitions_.host(partition).trouble();
}

absl::Status Coordinator::damage(uint32_t partition) const {
  return impl_->partitions_.host(partition).damage();
}

const PartitionHost::Takeover& Coordinator::takeover(uint32_t partition) const {
  return impl_->partitions_.host(partition).takeover();
}

const core::PartitionState* Coordinator::state(uint32_t partition) const {
  return impl_->partitions_.Serving(partition) ? &impl_->partitions_.state(partition) : nullptr;
}

absl::Time Coordinator::latest_time() const {
  absl::Time latest = absl::InfinitePast();
  for (uint32_t p = 0; p < impl_->partitions_.size(); ++p) {
    if (const core::PartitionState* state = this->state(p)) {
      latest = std::max(latest, state->time());
    }
  }
  return latest;
}

void Coordinator::BeginTurn(absl::Time now) {
  Partitions& partitions = impl_->partitions_;
  partitions.set_now(now);
  for (uint32_t p = 0; p < partitions.size(); ++p) partitions.host(p).Tick(partitions.now());
}
void Coordinator::EndTurn() { impl_->EndTurn(); }
absl::Time Coordinator::NextWake() const { return impl_->NextWake(); }

Coordinator::WaitId Coordinator::WaitJob(
    absl::string_view name, uint64_t seen,
    std::function<void(absl::StatusOr<v1::JobStatus>, uint64_t version)> reply) {
  return impl_->waits_.WaitJob(name, seen, std::move(reply));
}
Coordinator::WaitId Coordinator::WaitResults(
    const v1::StreamResultsRequest& request, bool told_end,
    std::function<void(absl::StatusOr<v1::StreamResultsResponse>, bool ended)> reply) {
  return impl_->waits_.WaitResults(request, told_end, std::move(reply));
}
void Coordinator::CancelWait(WaitId wait) { impl_->waits_.Cancel(wait); }

Coordinator::SessionId Coordinator::OpenSession(absl::string_view platform, SessionSink* sink) {
  return impl_->desk_.Open(platform, sink);
}
void Coordinator::OnWork(SessionId session, const v1::WorkRequest& request) {
  impl_->desk_.OnWork(session, request);
}
void Coordinator::CloseSession(SessionId session) { impl_->desk_.Close(session); }

}  // namespace tessera::edge
