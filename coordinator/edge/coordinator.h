// A coordinator without its wires: everything that it does for the calls and streams that it
// accepts.
//
// Coordinator routes calls to the partitions it hosts, turns messages of the public contract into
// commands of the core and back, keeps gateways' sessions, and runs the broker that decides which
// tenant's work a worker is offered next (fair_queue.h). It is deterministic: stores, time and
// randomness are handed in, so that a simulation runs whole coordinators in one thread. The service
// (coordinator/service) adds gRPC, authorisation and validation: every message that arrives here is
// well-formed and its sender may send it.
//
//   coordinator.BeginTurn(now);
//   coordinator.CreateJob(request, [](absl::StatusOr<v1::Job> job) { ... });
//   coordinator.EndTurn();      // commits what the turn decided; replies run when it is durable
//
// Replies run later or inside a call to EndTurn or of a store's reply, never inside the call that
// asked, and always: with UNAVAILABLE if the coordinator ends first. Calls are made within a turn,
// or from a reply. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/core/storage.h"
#include "coordinator/edge/host.h"
#include "coordinator/edge/work_limits.h"
#include "google/protobuf/empty.pb.h"
#include "tessera/v1/item.pb.h"
#include "tessera/v1/job.pb.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/operator.pb.h"
#include "tessera/v1/operator_service.pb.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::edge {

namespace v1 = ::tessera::v1;

// Computes fits beside the partitions. The real one has a thread; a simulation's runs them when it
// likes. `done` runs on the coordinator's thread.
class FitExecutor {
 public:
  virtual ~FitExecutor() = default;
  virtual void Compute(core::FitWork work, core::FitOptions options,
                       std::function<void(core::Fit)> done) = 0;
};

struct CoordinatorOptions {
  std::string name;  // For operators: who owns the partitions.
  HostOptions host;  // Its bounds in bytes are those of all partitions together.
  WorkLimits work;
  absl::Duration heartbeat = absl::Seconds(15);             // Named in Welcome.
  absl::Duration watch_interval = absl::Milliseconds(250);  // Least time between two job statuses.
};

// Where a session's messages go. Owned by the service; lives until CloseSession or Close.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  // Queues one message.
  virtual void Send(v1::WorkResponse response) = 0;
  // Whether more may wait for the gateway to read it. Answers are sent all the same, but assignments
  // only while there is room. When there is some again a turn is due, which the sink sees to.
  virtual bool HasRoom() = 0;
  // So many bytes of assignments are on their way here; they take room like what waits here.
  virtual void SetOnTheWay(size_t bytes) = 0;
  // Ends the stream; nothing follows.
  virtual void Close(absl::Status status) = 0;
};

class Coordinator {
 public:
  template <typename T>
  using Reply = std::function<void(absl::StatusOr<T>)>;
  using Empty = google::protobuf::Empty;

  // One store per partition, in the order of their numbers; how many is fixed at deployment.
  Coordinator(CoordinatorOptions options, std::vector<core::Store*> stores, FitExecutor* fits);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Takes over every partition. `done` once, when all serve or one has failed.
  void Start(absl::Time now, std::function<void(absl::Status)> done);
  // Tells sessions that they end after `timeout`, which is the caller's to see to, then commits what
  // is outstanding. No new leases from here on.
  void Drain(absl::Duration timeout, std::function<void()> done);

  bool serving() const;
  // Why a partition failed; OK otherwise.
  absl::Status failure() const;
  // For logs. Why the partition's store takes no records at the moment; OK while it does.
  absl::Status trouble(uint32_t partition) const;
  // The first payload that the partition's store was found to have lost; OK while none was. What
  // needs it ends with DATA_LOSS and all else goes on, but the next start will be refused.
  absl::Status damage(uint32_t partition) const;
  // For logs. What it took to take the partition over; known once it serves.
  const PartitionHost::Takeover& takeover(uint32_t partition) const;
  // What the partition holds, decided but perhaps not committed; nothing while it is not served
  // here. For audits and tests, between turns or within one.
  const core::PartitionState* state(uint32_t partition) const;

  // The latest time in what is served here. After a restart it may be ahead of the machine's clock,
  // if that was set back; turns are to go on from here, for until then time stands still.
  absl::Time latest_time() const;
  void BeginTurn(absl::Time now);
  void EndTurn();
  absl::Time NextWake() const;  // When a turn is due even if nothing arrives.

  // --- JobService: see proto/tessera/v1/job_service.proto ----------------------------------------

  void CreateJob(const v1::CreateJobRequest& request, Reply<v1::Job> reply);
  void GetJob(const v1::GetJobRequest& request, Reply<v1::Job> reply);
  void ListJobs(const v1::ListJobsRequest& request, Reply<v1::ListJobsResponse> reply);
  void UpdateJob(const v1::UpdateJobRequest& request, Reply<v1::Job> reply);
  void DeleteJob(const v1::DeleteJobRequest& request, Reply<Empty> reply);
  // One batch of the stream. False if it is refused, at once: the reply comes when what it rests on is
  // committed, and the batch behind it must not be added meanwhile.
  bool AddItems(const v1::AddItemsRequest& request, Reply<v1::AddItemsResponse> reply);
  // Runs `add` when the job's partition has room for one more batch, at once if it has: uploads wait
  // for one another, so that they leave room for everybody else.
  void WhenUploadRoom(absl::string_view job, std::function<void()> add);
  void SealJob(const v1::SealJobRequest& request, Reply<v1::Job> reply);
  void PauseJob(const v1::PauseJobRequest& request, Reply<v1::Job> reply);
  void ResumeJob(const v1::ResumeJobRequest& request, Reply<v1::Job> reply);
  void CancelJob(const v1::CancelJobRequest& request, Reply<v1::Job> reply);
  void FinaliseJob(const v1::FinaliseJobRequest& request, Reply<v1::Job> reply);
  void PlanJob(const v1::PlanJobRequest& request, Reply<v1::SplitPlan> reply);
  void ListResults(const v1::ListResultsRequest& request, Reply<v1::ListResultsResponse> reply);
  void ExplainItem(const v1::ExplainItemRequest& request, Reply<v1::ItemExplanation> reply);
  void ReviewAnswers(const v1::ReviewAnswersRequest& request,
                     Reply<v1::ReviewAnswersResponse> reply);
  void PayBonus(const v1::PayBonusRequest& request, Reply<v1::PayBonusResponse> reply);

  // The streams are pulled, so that a slow reader holds nothing up: the service asks for the next
  // message when it has written the last. A wait ends when there is something to say.
  using WaitId = uint64_t;
  // The next status after the one that came with version `seen` (0: at once). The stream is over
  // when the job in it has ended.
  WaitId WaitJob(absl::string_view name, uint64_t seen,
                 std::function<void(absl::StatusOr<v1::JobStatus>, uint64_t version)> reply);
  // The next results after request.resume_token(). `told_end`: the stream's last message said
  // at_end (false before the first), so that a message without results has nothing to say. `ended`:
  // the stream is over after these.
  WaitId WaitResults(
      const v1::StreamResultsRequest& request, bool told_end,
      std::function<void(absl::StatusOr<v1::StreamResultsResponse>, bool ended)> reply);
  void CancelWait(WaitId wait);  // Its reply will not run. A wait that is over is fine.

  // --- WorkService -------------------------------------------------------------------------------

  using SessionId = uint64_t;
  // `platform`: id of the platform whose workers the stream may bring; "" for any (no
  // authentication configured): a worker without a full name is then of `platforms/default`.
  SessionId OpenSession(absl::string_view platform, SessionSink* sink);
  void OnWork(SessionId session, const v1::WorkRequest& request);
  // The gateway went away. Its leases live on until their deadlines.
  void CloseSession(SessionId session);

  // --- OperatorService ---------------------------------------------------------------------------

  void CreatePool(const v1::CreatePoolRequest& request, Reply<v1::Pool> reply);
  void GetPool(const v1::GetPoolRequest& request, Reply<v1::Pool> reply);
  void ListPools(const v1::ListPoolsRequest& request, Reply<v1::ListPoolsResponse> reply);
  void UpdatePool(const v1::UpdatePoolRequest& request, Reply<v1::Pool> reply);
  void DeletePool(const v1::DeletePoolRequest& request, Reply<Empty> reply);
  void GetWorker(const v1::GetWorkerRequest& request, Reply<v1::Worker> reply);
  void ListWorkers(const v1::ListWorkersRequest& request, Reply<v1::ListWorkersResponse> reply);
  void UpdateWorker(const v1::UpdateWorkerRequest& request, Reply<v1::Worker> reply);
  void GetPartition(const v1::GetPartitionRequest& request, Reply<v1::Partition> reply);
  void ListPartitions(const v1::ListPartitionsRequest& request,
                      Reply<v1::ListPartitionsResponse> reply);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::edge
