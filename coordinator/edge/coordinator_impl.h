// The inside of Coordinator: its parts, and the order in which they take their turns.
//
// Implemented in coordinator.cc (life, turns), coordinator_jobs.cc (jobs), coordinator_items.cc
// (items, results, money), coordinator_plan.cc (plans) and coordinator_operator.cc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/edge/partitions.h"
#include "coordinator/edge/waits.h"
#include "coordinator/edge/work_desk.h"

namespace tessera::edge {

class Coordinator::Impl {
 public:
  Impl(CoordinatorOptions options, std::vector<core::Store*> stores, FitExecutor* fits);
  ~Impl();

  void Start(absl::Time now, std::function<void(absl::Status)> done);
  void Drain(absl::Duration timeout, std::function<void()> done);
  void EndTurn();
  absl::Time NextWake();

  // --- coordinator_jobs.cc -----------------------------------------------------------------------

  v1::Job ReadJob(JobRef ref);
  // Changes a job by a call of the core that gives a Status, and answers with the job as it is
  // then.
  void Change(absl::string_view name, Reply<v1::Job> reply,
              const std::function<absl::Status(core::Partition&, core::JobIndex)>& change);
  absl::StatusOr<JobRef> CreateJob(const v1::CreateJobRequest& request, uint32_t partition);
  absl::StatusOr<v1::Job> UpdateJob(JobRef ref, const v1::UpdateJobRequest& request);
  // FAILED_PRECONDITION (POOL_NOT_FOUND): a pool of the policy does not exist.
  absl::Status CheckPools(const core::JobPolicy& policy, absl::string_view path);

  // --- coordinator_items.cc ----------------------------------------------------------------------

  absl::StatusOr<v1::AddItemsResponse> AddItems(JobRef ref, const v1::AddItemsRequest& request);

  // --- coordinator_operator.cc -------------------------------------------------------------------

  // The worker as all partitions together know it; nothing where none does.
  std::optional<core::WorkerView> FindWorker(absl::string_view name);
  // What was learnt of the worker in each job.
  void FillReports(v1::Worker* worker);
  // What all jobs together say: earnings, open assignments, agreement.
  void FillFigures(absl::Span<v1::Worker* const> workers);
  void FillAgreements(absl::Span<v1::Worker* const> workers);

  const CoordinatorOptions options_;
  FitExecutor* const fits_;
  // Alive while the coordinator is: a fit may come back later.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Partitions partitions_;
  Waits waits_;
  WorkDesk desk_;
  bool turn_due_ = false;  // Something happened outside of a turn.

 private:
  void TakeNotices();
  void TakeFitWork();
};

// How many a page holds: 0 means 100, and more than 1,000 means 1,000.
inline size_t PageSize(int32_t asked) {
  return asked <= 0 ? 100 : static_cast<size_t>(std::min(asked, 1000));
}

absl::Status BadPageToken();

}  // namespace tessera::edge
