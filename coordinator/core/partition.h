// A partition: a share of the jobs, with everything that is decided about them.
//
// This is the scheduler. It holds jobs, items, leases, money and workers, and decides who is asked
// what, when an item is sure enough, and when a job is done. It does no I/O, keeps no clock and no
// randomness, and runs on one thread at a time: the same calls leave the same state in production,
// in a replay and in a simulation.
//
//   Partition partition(options, std::move(recovered_state));
//   partition.BeginRecord(id);                    // Events from here on go into record `id`.
//   auto lease = partition.RequestLease(request, now);
//   std::string events = partition.TakeEvents();  // Append; release replies after the commit.
//
// Every mutating call takes the time, decides, and applies its events at once; what it returns may
// be shown to anybody only when the events have been committed. A refused call returns a status
// with a reason (common/errors.h) and has changed nothing. Time never runs backwards: a `now`
// before the latest one counts as the latest.
//
// State (fold.h) is what the journal folds to, and nothing else. What Partition keeps beside it
// (ready queues, expiry order, who is known to stall) is derived and rebuilt on a start.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/core/commands.h"
#include "coordinator/core/fold.h"

namespace tessera::core {

struct PartitionOptions {
  uint32_t jobs_max = 100'000;  // Not ended. Beyond: RESOURCE_EXHAUSTED, like all of these.
  uint32_t jobs_per_tenant_max = 25'000;  // Of these, one tenant's: it must not shut out the rest.
  // Of all jobs' documents, ended jobs included: they are in memory until the job is deleted.
  uint64_t document_bytes_max = uint64_t{4} << 30;
  uint64_t document_bytes_per_tenant_max = uint64_t{1} << 30;
  uint32_t items_per_job_max = 100'000'000;
  uint32_t open_assignments_max = 1'000'000;  // Of the partition.
  uint32_t workers_max = 10'000'000;
  // Their ids are in the job's head, which is written whole.
  uint32_t bonuses_per_job_max = 10'000;
  uint32_t candidates_max = 16;  // Ready items compared to find the best for one worker.
  // Ready items looked at to find these, and as many again elsewhere for a worker who had all of
  // them: see RequestLease(). Of the items that a request names, so many are compared.
  uint32_t looks_max = 2048;
  // A new fit is due when the answers have grown by this share and by this many. In a job with many
  // answers it changes little and still writes every item anew (docs/decisions/0002).
  double refit_growth = 0.10;
  double refit_growth_large = 0.25;  // From refit_answers_large on.
  uint64_t refit_answers_large = 10'000;
  uint64_t refit_answers_min = 50;
  uint32_t refit_pages_per_step = 4;  // Pages moved to a new fit in one Tick.
  uint32_t plan_items_max = 20'000;   // Looked at to plan a job for its requester; see PlanJob().
  // One Tick ends leases until its events are so many bytes. After a step of the clock hundreds of
  // thousands may be due, and what one Tick decides is in one record.
  size_t tick_bytes_max = 1 << 20;
  FitOptions fit;
};

class Partition {
 public:
  // Takes over `state`, as recovered from pages and journal; a default one for a new partition.
  Partition(const PartitionOptions& options, PartitionState state);
  ~Partition();
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  // --- Records -----------------------------------------------------------------------------------

  // The id of the record that will carry the events from now on. Ids only grow.
  void BeginRecord(RecordId id);

  // The events since the last call, encoded; empty if nothing was decided.
  std::string TakeEvents();

  // Fits to compute and things to tell, since the last call.
  std::vector<FitWork> TakeFitWork();
  Notices TakeNotices();

  // First call of a new owner: shifts open deadlines and graces by the outage, which runs from the
  // last record's time to `now`. `inherited`: the last record of each owner before, in order, as far
  // as they are known. Called again when an outage of the same owner is over, with none.
  void Start(uint64_t nonce, absl::Time now, std::vector<RecordId> inherited = {});

  // Lets time pass: ends leases at their deadlines (with the drafts they have) and graces, starts
  // and ends jobs, moves a few pages to a newer fit. Where there is more to do than one record
  // should hold, NextWake() is not after `now`. Call it at NextWake() at the latest, and once a
  // second while open_assignments() > 0.
  void Tick(absl::Time now);

  // When Tick has something to do next; InfiniteFuture if nothing is waiting for time to pass.
  absl::Time NextWake() const;

  // --- Requesters --------------------------------------------------------------------------------

  // The job of this name. NOT_FOUND.
  absl::StatusOr<JobIndex> FindJob(absl::string_view tenant, absl::string_view id) const;

  // Idempotent by identity.id: the same request again gives the job that is there.
  // ALREADY_EXISTS (REQUEST_ID_REUSED): the id is taken by another request.
  absl::StatusOr<JobIndex> CreateJob(const core::CreateJob& command, absl::Time now);

  // OUT_OF_RANGE (OFFSET_MISMATCH): not at the committed offset. A batch wholly before it is a
  // repeat: OK, nothing changes. FAILED_PRECONDITION (JOB_SEALED, JOB_CLOSING, JOB_ENDED).
  // Where others are leased already, what is new is offered behind what was planned; when it is a
  // tenth of the job's items, and at the seal, all that waits is planned anew.
  absl::StatusOr<ItemsAddedReply> AddItems(const core::AddItems& command, absl::Time now);

  absl::Status SealJob(JobIndex job, absl::Time now);    // Idempotent.
  absl::Status PauseJob(JobIndex job, absl::Time now);   // Idempotent; open leases go on.
  absl::Status ResumeJob(JobIndex job, absl::Time now);  // Idempotent; other reasons to pause stay.
  absl::Status CancelJob(JobIndex job, absl::Time now);  // Idempotent. CLOSING, then CANCELLED.
  absl::Status FinaliseJob(JobIndex job, absl::Time now);  // Idempotent. CLOSING, then FINALISED.
  absl::Status DeleteJob(JobIndex job, absl::Time now);    // FAILED_PRECONDITION: not ended.
  absl::Status UpdateJob(const core::UpdateJob& command, absl::Time now);

  // NOT_FOUND (ANSWER_NOT_FOUND). FAILED_PRECONDITION (ALREADY_APPROVED, ALREADY_REJECTED).
  // Idempotent.
  absl::Status ReviewAnswer(const core::ReviewAnswer& command, absl::Time now);
  // FAILED_PRECONDITION (OUT_OF_BUDGET). RESOURCE_EXHAUSTED (BONUSES_MAX). Idempotent by request
  // id.
  absl::Status PayBonus(const core::PayBonus& command, absl::Time now);

  // The plan of what is not done, from now on, under what was learnt; or under another policy
  // instead of the job's. It takes as long as it may take everybody's thread: of a job of more than
  // `plan_items_max` items about so many are looked at, for what only they can tell: how lengths and
  // importance are spread within a stratum, and how far the items that were begun are from their
  // end. How many items there are, and how long, is exact, and so is how many the budget reaches but
  // for what it pays for those begun. Such a plan has no order.
  absl::StatusOr<SplitPlan> PlanJob(JobIndex job, const JobPolicy* instead = nullptr) const;

  // --- Gateways ----------------------------------------------------------------------------------

  // Tenants that have something ready for `pool`, with the best index among their jobs (value per
  // cost, aged): hints, in no particular order. What a worker really gets RequestLease says.
  struct Offer {
    std::string tenant;
    double index = 0;
    size_t jobs = 0;  // Looked at for it, as they are for a lease.
  };
  std::vector<Offer> Offers(absl::string_view pool, absl::Time now) const;

  // How the pool stands at its home, which may be another partition; null: it is not there. What
  // jobs cost that are priced by it is known only from here, from lease requests, and from pools
  // whose home is this partition. It is not remembered over a start: until it is known again
  // nothing is decided by it, so that a job is neither paused for want of money nor goes on for
  // having it.
  void SeePool(absl::string_view id, const Pool* pool);

  // From now on no lease of the job holds more items than this, at least 1. For the host, which
  // knows how large they are; not remembered over a start.
  void LimitLeases(JobIndex job, uint32_t items_max);

  // An assignment, or nothing: NONE, uncharged. PERMISSION_DENIED (WORKER_BLOCKED),
  // RESOURCE_EXHAUSTED (ASSIGNMENTS_MAX, WORKERS_MAX).
  //
  // For a worker who had the `looks_max` items in progress that are worth most, the others are gone
  // through a part in each request; while there is more to look at, Notices::work_appeared asks for
  // another one. So an item that the worker may have is found after at most
  // 2 x (items in progress / looks_max + 1) requests.
  absl::StatusOr<std::optional<Lease>> RequestLease(const LeaseRequest& request, absl::Time now);

  // What is left for a worker who was granted nothing of `request.only_job`. A worker is asked
  // about an item once, so one who had all of `only_items` will get none of them again.
  enum class Outlook : uint8_t { kOpen, kHadAllItems, kCapped };
  Outlook OutlookOf(const LeaseRequest& request) const;

  // NOT_FOUND: no such assignment. FAILED_PRECONDITION (ASSIGNMENT_EXPIRED, _REVOKED, _FINISHED,
  // ITEM_NOT_IN_ASSIGNMENT). INVALID_ARGUMENT (ANSWER_DOES_NOT_FIT). A repeat, or an edit that is
  // not higher, is OK and changes nothing. Once the item's answer has been counted, a draft is OK
  // only if it is held (an edit that is not higher, or of an assignment that is over the same
  // answer); else ASSIGNMENT_FINISHED.
  absl::Status Draft(const DraftAnswer& command, absl::Time now);
  absl::StatusOr<Submitted> Submit(const core::Submit& command, absl::Time now);
  absl::Status Return(const ReturnItems& command, absl::Time now);
  // FAILED_PRECONDITION (ASSIGNMENT_EXPIRED, _FINISHED). Idempotent: the deadline asked for is absolute. Cut
  // to what the job allows; the reply holds what is in force.
  absl::StatusOr<LeaseExtended> Extend(const ExtendLease& command, absl::Time now);

  // --- Operators ---------------------------------------------------------------------------------

  absl::Status PutPool(const Pool& pool);
  absl::Status DeletePool(absl::string_view id);  // NOT_FOUND.
  const Pool* FindPool(absl::string_view id) const;
  std::vector<const Pool*> Pools() const;  // By id.

  absl::StatusOr<WorkerView> FindWorker(absl::string_view name) const;  // NOT_FOUND.
  // Sets skills, languages and block; registers the worker if it is new. A block revokes its
  // leases.
  absl::Status UpdateWorker(const WorkerView& worker, absl::Time now);
  // Of each of these workers, known here or not. Looks at about `items_max` of the items of the
  // jobs that they worked in, evenly spread.
  std::vector<Agreement> Agreements(absl::Span<const std::string> workers, size_t items_max) const;
  // Up to `max` workers with names after `after`, by name.
  std::vector<WorkerView> Workers(absl::string_view after, size_t max) const;

  // --- Fusing ------------------------------------------------------------------------------------

  // Brings a fit that was asked for; one that came too late is dropped.
  void FitComputed(JobIndex job, Fit fit, absl::Time now);

  // --- Reads -------------------------------------------------------------------------------------

  // What these show may only be released when the current record has been committed.
  absl::StatusOr<JobView> Job(JobIndex job) const;
  // Jobs of the tenant ("" for all) with an index above `after`, at most `max`.
  std::vector<JobIndex> Jobs(absl::string_view tenant, std::optional<JobIndex> after,
                             size_t max) const;
  ItemView Item(JobIndex job, ItemIndex item) const;
  ItemStory Explain(JobIndex job, ItemIndex item) const;

  // Items whose revision is above `after`, by revision, at most `max`: revisions in commit order,
  // each item with its latest one only.
  std::vector<ItemView> Revisions(JobIndex job, uint32_t after, size_t max) const;

  size_t open_assignments() const;
  const PartitionState& state() const;
  // For the host, which writes dirty objects behind the journal.
  PartitionState& mutable_state();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::core
