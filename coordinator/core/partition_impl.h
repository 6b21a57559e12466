// The inside of Partition: what is kept beside the state, and the steps that decisions share.
//
// Implemented in partition.cc (time, events, bookkeeping), partition_jobs.cc (requesters and
// operators), partition_leases.cc (who gets what), partition_answers.cc (what comes back),
// partition_fusing.cc (scores and fits) and partition_reads.cc.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "coordinator/core/partition.h"
#include "coordinator/core/ready_queue.h"

namespace tessera::core {

class Partition::Impl {
 public:
  Impl(const PartitionOptions& options, PartitionState state);

  // The items of a stratum, or of all, that are not done.
  struct StratumItems {
    WaitingItems waiting;
    uint64_t begun = 0;
    double begun_units = 0;
  };

  // Derived data of one job; rebuilt on a start.
  struct Runtime {
    ReadyQueue ready;
    std::vector<StratumItems> by_stratum;  // Their own, whatever the plan makes of strata.
    StratumItems open;                     // In all.
    double units = 0;                      // Of all items.
    std::vector<ItemIndex> order;          // Of offering; empty: by index.
    bool ordered = false;                  // `order` reflects the items there are ...
    uint32_t planned = 0;                  // ... as far as this one; see AddItems().
    uint32_t cursor = 0;                   // Place in the order before which no item waits.
    uint64_t open_answers = 0;             // Counted answers of items in progress.
    uint64_t open_leases = 0;              // Leased entries of items in progress.
    std::optional<uint32_t> fit_asked;     // The number of a fit that is being computed ...
    uint64_t fit_rejected = 0;  // ... and the job's rejected answers when it was asked for.
    std::optional<uint32_t> refit_page;  // The next page to move to the newest fit.
    uint64_t refit_turn = 0;             // When it last moved one; see MovePages().
    absl::Time last_granted = absl::InfinitePast();
    double rate_tokens = 0;  // Of the job's limit of assignments a second; see TakesRate.
    absl::Time rate_at = absl::InfinitePast();
    bool rate_waiting = false;  // Somebody was refused for want of a token.
    uint64_t grants = 0;        // Since the start.
    uint32_t lease_items_max = std::numeric_limits<uint32_t>::max();  // See LimitLeases().
    double answers_guess = 0;   // See AnswersToAdmitFor(); 0: not asked for so far.
    CostModel cost;             // See LearntCost() ...
    double cost_sittings = -1;  // ... and the number of sittings that it was learnt from.
    absl::flat_hash_set<std::string> excluded;  // Workers, as in the policy.
    // By worker: the slot of `ready` at which to look on; see PickReady().
    absl::flat_hash_map<WorkerIndex, uint32_t> look_from;
    bool offers = false;          // It is in `offering_`.
    bool refused_lately = false;  // Somebody asked since the last grant and could not have any.
    absl::Time asked_at;          // By a worker who may have its items; at first its own beginning.
  };

  // --- partition.cc ------------------------------------------------------------------------------

  // Applies the event, and keeps everything derived in step with it. All changes pass here.
  void Emit(Event event);
  // What an answer costs may have changed, and with it whether jobs can go on.
  void PricesChanged();
  absl::Time Advance(absl::Time now);  // The time that counts: never backwards, to the microsecond.
  void Start(uint64_t nonce, absl::Time now, std::vector<RecordId> inherited);
  void Tick(absl::Time now);
  absl::Time NextWake() const;
  void RebuildJob(JobIndex index);

  Runtime& runtime(JobIndex job);
  JobState& job(JobIndex index);

  // --- partition_jobs.cc -------------------------------------------------------------------------

  absl::StatusOr<JobState*> Find(JobIndex index);  // NOT_FOUND.
  absl::StatusOr<JobIndex> CreateJob(const core::CreateJob& command, absl::Time now);
  absl::StatusOr<ItemsAddedReply> AddItems(const core::AddItems& command, absl::Time now);
  absl::Status SealJob(JobIndex job, absl::Time now);
  absl::Status PauseJob(JobIndex job, absl::Time now);
  absl::Status ResumeJob(JobIndex job, absl::Time now);
  absl::Status CloseJob(JobIndex job, bool cancelling, absl::Time now);
  absl::Status DeleteJob(JobIndex job);
  absl::Status UpdateJob(const core::UpdateJob& command, absl::Time now);
  absl::Status UpdateWorker(const WorkerView& worker, absl::Time now);
  // JOB_ENDED. `otherwise` is the price where LeastPrice() does not know. Looks at each item where
  // the order of offering is needed, else at `plan_items_max` at most.
  absl::StatusOr<SplitPlan> PlanJob(JobIndex job, Micros otherwise, bool with_order,
                                    const JobPolicy* instead = nullptr) const;
  // What a plan is made of; see SplitInput.
  struct ItemsToPlan {
    std::vector<ItemIndex> waiting;
    std::vector<ItemTraits> traits;  // Of these; empty: all defaults.
    std::vector<BegunItems> begun;
    std::vector<WaitingItems> sampled_from;
  };
  // Lets a sample stand for all items of the job that are not done.
  void StandForAll(JobIndex job, const SplitPolicy& split, ItemsToPlan& items) const;
  // Moves a job on when something it waited for has happened: pauses one that is out of money or
  // time, asks for a last fit, ends one that is done.
  void MoveOn(JobIndex job, absl::Time now);
  void SetPause(JobIndex job, uint8_t reasons, absl::Time now);

  // --- partition_leases.cc -----------------------------------------------------------------------

  std::vector<Offer> Offers(absl::string_view pool, absl::Time now) const;
  absl::StatusOr<std::optional<Lease>> RequestLease(const LeaseRequest& request, absl::Time now);
  Outlook OutlookOf(const LeaseRequest& request) const;

  struct Asker {
    std::optional<WorkerIndex> worker;  // Nothing: not seen so far.
    const LeaseRequest* request = nullptr;
  };
  // Whether this worker may have any of the job's items at all; how many more at most.
  uint32_t Allowance(JobIndex index, const Asker& asker, absl::Time now) const;
  // Items that the worker may still be granted under `answers_per_worker_max`.
  uint32_t LeftOfCap(const JobState& job, std::optional<WorkerIndex> worker) const;
  // The items for this worker, best first; at most `room`. Empty: none.
  std::vector<ItemIndex> Pick(JobIndex index, const Asker& asker, uint32_t room, Micros price);
  // Of the items that the request names; at most `waiting_max` of those that wait for a first
  // answer.
  std::vector<ItemIndex> PickAmong(JobIndex index, const Asker& asker, uint32_t room,
                                   uint64_t waiting_max);
  struct Candidate {
    double worth = 0;  // Of this worker's answer.
    ItemIndex item = 0;
  };
  Candidate Weigh(const JobState& job, const Fit& fit, ItemIndex item, WorkerIndex worker) const;
  // Of these as many as make one sitting, best first; at most `waiting_max` of those that wait.
  std::vector<ItemIndex> BestOf(JobIndex index, std::vector<Candidate> candidates, uint32_t room,
                                uint64_t waiting_max) const;
  // Items in progress; with `nearest_first` those that are nearest to their end.
  std::vector<ItemIndex> PickReady(JobIndex index, const Asker& asker, uint32_t room,
                                   bool nearest_first);
  // The next waiting items in the plan's order: one stratum's, as many as the plan bundles.
  std::vector<ItemIndex> PickWaiting(JobIndex index, uint32_t room, Micros price);

  // Whether the item wants an answer beyond those that were given and leased.
  bool Wants(const JobState& job, const ItemRecord& item) const;
  bool Leasable(const JobState& job,
                absl::Time now) const;  // Running, started, before its deadline.
  bool HasWork(JobIndex index) const;
  void SeePool(absl::string_view id, const Pool* pool);
  // The least that an answer may cost. Nothing while a pool may be cheaper whose price is not
  // known, or where none of the job's pools is there any more.
  std::optional<Micros> LeastPrice(const JobPolicy& policy) const;
  // The least money with which buying may go on: one answer where an item in progress wants it, and
  // where none is in progress the fewest answers that can resolve one. Nothing, as LeastPrice.
  std::optional<Micros> ItemMinimum(const JobState& job) const;
  // How many more waiting items the budget reaches, given what those in progress still need.
  uint64_t ItemsAffordable(JobIndex index, Micros price) const;
  // Answers that an item takes, in the mean of those that are resolved; nothing before there are
  // enough.
  std::optional<double> LearntAnswersPerItem(JobIndex index) const;
  // The same or, before that, a cautious guess.
  double AnswersToAdmitFor(JobIndex index) const;
  const CostModel& LearntCost(JobIndex index) const;
  // Items to a microtask of such as these `items`, of `units` in all.
  uint32_t BundleOf(JobIndex index, double units, uint64_t items) const;
  void EnsureOrder(JobIndex index, Micros price);
  // Whether the job's limit of rate lets another assignment be granted now.
  bool TakesRate(JobIndex index, absl::Time now);
  // Priority x value per second, growing with the time since the job was last granted; no cap.
  double Index(JobIndex index, absl::Time now) const;

  // --- partition_answers.cc ----------------------------------------------------------------------

  absl::Status Draft(const DraftAnswer& command, absl::Time now);
  absl::StatusOr<Submitted> Submit(const core::Submit& command, absl::Time now);
  absl::Status Return(const ReturnItems& command, absl::Time now);
  absl::StatusOr<LeaseExtended> Extend(const ExtendLease& command, absl::Time now);
  absl::Status ReviewAnswer(const core::ReviewAnswer& command, absl::Time now);
  absl::Status PayBonus(const core::PayBonus& command);
  // Carries out an assignment's deadline and the end of its grace, where they have come.
  void SettleTime(AssignmentId id, absl::Time now);
  void Revoke(AssignmentId id, LeaseEndReason reason, absl::Time now);
  // The end of the assignment's items that the caller adds.
  ItemsEnded EndOf(AssignmentId id, const LiveAssignment& a, absl::Time now);
  // Gives each outcome a revision of its own, and emits.
  void EmitEnded(ItemsEnded ended);

  // --- partition_fusing.cc -----------------------------------------------------------------------

  // The job's fit of this number; the prior where there is none, as for fit 0. Lives until the job
  // changes.
  const Fit& FitOf(const JobState& job, uint32_t number) const;
  const Fit& NewestFit(JobIndex index);
  // How the item stands if its entry of `sequence` had this disposition and label.
  ItemOutcome OutcomeWith(JobIndex index, ItemIndex item, uint32_t sequence,
                          ItemEntry::Status status, Label label);
  ItemOutcome Score(JobIndex index, ItemIndex item, absl::Span<const ItemEntry> entries,
                    const ItemRecord& before);
  // Whether workers' confusions can be told from the answers: not where each item gets only one.
  static bool LearnsFromAnswers(const JobState& job);
  void MaybeFit(JobIndex index);
  void AskForFit(JobIndex index);
  // Whether the newest fit was computed from other answers than count now.
  static bool FitIsBehind(const JobHead& head);
  void FitComputed(JobIndex index, Fit fit, absl::Time now);
  void Refit(JobIndex index);      // Lets Tick move all pages to the newest fit and policy.
  void RefitPage(JobIndex index);  // Moves one page on; ends the sweep after the last.
  // Moves on as many pages as one step may, of those of these jobs that are in a sweep: tenants in
  // turn, and of each the job that has waited longest. Somebody who begins sweep after sweep holds
  // up nobody else's.
  void MovePages(absl::Span<const JobIndex> jobs);

  // --- partition_reads.cc ------------------------------------------------------------------------

  JobView View(JobIndex index) const;
  ItemView ViewItem(JobIndex index, ItemIndex item) const;
  ItemStory Explain(JobIndex index, ItemIndex item) const;
  std::vector<WorkerView> ViewWorkers(absl::Span<const WorkerIndex> workers) const;
  std::vector<Agreement> Agreements(absl::Span<const std::string> workers, size_t items_max) const;
  StallReason Stall(JobIndex index) const;

  const PartitionOptions options_;
  PartitionState state_;
  RecordId record_;
  std::string events_;
  absl::Time now_ = absl::InfinitePast();
  std::vector<FitWork> fit_work_;
  Notices notices_;

  std::vector<std::unique_ptr<Runtime>> runtimes_;            // By job.
  std::map<std::string, std::set<uint32_t>> jobs_by_tenant_;  // Those that have not ended.
  std::map<std::string, uint64_t> document_bytes_;            // By tenant, of all jobs.
  // Of these, the ones that run and have an item that waits or is ready.
  std::map<std::string, std::set<uint32_t>> offering_;
  std::set<std::pair<absl::Time, AssignmentId>> due_;  // Each live assignment's next moment.
  // Jobs that Tick has to look at: changed since it last did, in a sweep, or short of a token of
  // their rate. The others are where they were, and it does not matter how many they are.
  absl::flat_hash_set<JobIndex> attention_;
  std::set<std::pair<absl::Time, JobIndex>> moments_;  // Start times and deadlines to come.
  std::string refit_tenant_;                           // Whose page was moved last ...
  uint64_t refit_turn_ = 0;                            // ... and how many were, since the start.
  std::set<std::string, std::less<>> worker_names_;    // For listing by name.
  mutable std::map<uint16_t, Fit> priors_;  // Fit 0 of jobs with so many classes; made when needed.
  // Prices of pools whose home is another partition, as they were last seen; nothing where there is
  // no such pool any more.
  std::map<std::string, std::optional<Micros>, std::less<>> prices_seen_;

 private:
  // Counts items that have been added, or are there on a start.
  void TakeIn(JobIndex index, ItemIndex first, uint32_t count);
  // Counts it, by 1 or -1, to the open items of its stratum and of all.
  void CountOpen(JobIndex index, ItemIndex item, ItemState state, int by);
  // Puts an item in progress into the ready queue, or takes it out, where the job's policy was
  // changed since it was last touched.
  void Requeue(JobIndex index, ItemIndex item);
  void BeforeChange(JobIndex index, ItemIndex item);
  void AfterChange(JobIndex index, ItemIndex item);
  void UpdateOffering(JobIndex index);
  void Watch(JobIndex index);  // Its start time and deadline.
  void Unwatch(JobIndex index);
  void Unschedule(AssignmentId id);
  void Schedule(AssignmentId id);
  static absl::Time NextMoment(const LiveAssignment& assignment);
};

}  // namespace tessera::core
