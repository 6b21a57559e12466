// What a partition can be asked, and what it answers: the arguments and results of Partition's
// calls.
//
// Names of jobs and item keys have been resolved to indexes on the way in (the store knows keys,
// the core does not); indexes are resolved back to keys and payloads on the way out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/events.h"
#include "coordinator/core/fusing/categorical.h"
#include "coordinator/core/policy.h"
#include "coordinator/core/split.h"
#include "coordinator/core/types.h"

namespace tessera::core {

// --- Requesters ----------------------------------------------------------------------------------

struct CreateJob {
  JobIdentity identity;
  JobPolicy policy;
  bool paused = false;  // It is born PAUSED (REQUESTED); ResumeJob starts it.
};

// One batch of intake, keys already looked up.
struct AddItems {
  JobIndex job;
  uint64_t offset = 0;                  // Of the batch's first item in the requester's list.
  uint32_t size = 0;                    // Items in the batch, those already present among them.
  uint32_t fresh = 0;                   // Items that are new.
  std::vector<ItemTraits> traits;       // Of the new ones. Empty: all defaults.
  std::vector<std::string> new_strata;  // Names that the job did not have; appended to its list.
};
struct ItemsAddedReply {
  ItemIndex first = 0;  // Index of the first new item.
  uint64_t committed_offset = 0;
};

// Replaces what UpdateJob may change: priority, budget, deadline, quality (and the requester's
// document, which shows them).
struct UpdateJob {
  JobIndex job;
  std::string document;
  double priority = 1;
  Micros budget_micros = 0;
  absl::Time deadline;
  QualityPolicy quality;
};

struct ReviewAnswer {
  AssignmentId assignment;
  ItemIndex item = 0;
  bool approve = false;
  std::string reason;  // Needed to reject.
};

struct PayBonus {
  JobIndex job;
  std::string worker;  // Full name.
  Micros amount_micros = 0;
  std::string request_id;
  std::string reason;
};

// --- Gateways ------------------------------------------------------------------------------------

// One worker asks for one assignment of one tenant's work.
struct LeaseRequest {
  std::string worker;  // platforms/{platform}/workers/{worker}; registered when first seen.
  std::vector<std::string> skills;  // As the gateway states them, beside the registered ones.
  std::vector<std::string> languages;
  std::string tenant;
  Pool pool;               // As its home partition has it.
  uint32_t items_max = 0;  // 0: as the job's plan says.
  // Only this job, and of it only these items: for a gateway that knows what its worker can answer.
  std::optional<JobIndex> only_job;
  std::vector<ItemIndex> only_items;
  std::string gateway;  // Whom the assignment is sent to; remembered with it.
};
struct Lease {
  AssignmentId assignment;
  WorkerIndex worker;
  Micros price_micros = 0;  // Per item.
  absl::Time deadline;
  absl::Time late_until;
  // What the tenant is charged in fair queueing; corrected at the end.
  double expected_seconds = 0;
  std::vector<ItemIndex> items;
};

struct DraftAnswer {
  AssignmentId assignment;
  ItemIndex item = 0;
  uint64_t edit = 0;
  std::string choice;  // Empty: the draft is withdrawn.
};

struct SubmittedAnswer {
  ItemIndex item = 0;
  std::string choice;
};
struct Submit {
  AssignmentId assignment;
  std::vector<SubmittedAnswer> answers;  // Beside the drafts; an answer here replaces its draft.
  double active_seconds = 0;             // As the gateway measured; 0: from grant to now.
};
struct Submitted {
  Micros earned_micros = 0;  // For all of the assignment's counted answers, so far.
  uint32_t answers = 0;      // Counted.
  bool repeated = false;     // It had been counted before; nothing changed now.
};

struct ReturnItems {
  AssignmentId assignment;
  std::vector<ItemIndex> items;  // Empty: all, which finishes the assignment: drafts count then,
  bool drafts_too = false;       // unless they are given back as well.
};

struct ExtendLease {
  AssignmentId assignment;
  absl::Time until;  // The deadline that is asked for; an earlier one than it has changes nothing.
};
struct LeaseExtended {
  absl::Time deadline;
  absl::Time late_until;
};

// --- Reads ---------------------------------------------------------------------------------------

struct Ledger {
  Micros budget_micros = 0;
  Micros reserved_micros = 0;  // Quoted for answers that may still come.
  Micros earned_micros = 0;    // For counted answers, not reviewed so far.
  Micros approved_micros = 0;  // Earned and approved.
  Micros rejected_micros = 0;  // Once earned, then rejected: back in the budget. For information.
  Micros bonus_micros = 0;

  // Reserved, earned or paid. Promise: never more than the budget.
  Micros committed_micros() const {
    return reserved_micros + earned_micros + approved_micros + bonus_micros;
  }
  Micros remaining_micros() const { return budget_micros - committed_micros(); }
};
inline void Fields(auto& v, Ledger& l) {
  v("budget_micros", l.budget_micros);
  v("reserved_micros", l.reserved_micros);
  v("earned_micros", l.earned_micros);
  v("approved_micros", l.approved_micros);
  v("rejected_micros", l.rejected_micros);
  v("bonus_micros", l.bonus_micros);
}

struct ItemCounts {
  uint64_t waiting = 0;
  uint64_t in_progress = 0;
  uint64_t resolved = 0;
  uint64_t unresolved = 0;
  uint64_t cancelled = 0;

  uint64_t total() const { return waiting + in_progress + resolved + unresolved + cancelled; }
  uint64_t& of(ItemState state) {
    switch (state) {
      case ItemState::kWaiting:
        return waiting;
      case ItemState::kInProgress:
        return in_progress;
      case ItemState::kResolved:
        return resolved;
      case ItemState::kUnresolved:
        return unresolved;
      case ItemState::kCancelled:
        break;
    }
    return cancelled;
  }

  friend bool operator==(const ItemCounts&, const ItemCounts&) = default;
};
inline void Fields(auto& v, ItemCounts& c) {
  v("waiting", c.waiting);
  v("in_progress", c.in_progress);
  v("resolved", c.resolved);
  v("unresolved", c.unresolved);
  v("cancelled", c.cancelled);
}

// A job as it stands. References live as long as the job does; copy before the next call.
struct JobView {
  JobIndex job;
  const JobIdentity& identity;
  const JobPolicy& policy;
  JobPhase phase;
  uint8_t pause_reasons;
  bool cancelling;  // In CLOSING: on the way to CANCELLED.
  StallReason stall;
  bool sealed;
  absl::Time created_at, updated_at, sealed_at, ended_at;  // InfinitePast: not so far.
  uint64_t committed_offset;
  ItemCounts counts;
  uint64_t answers;           // That count.
  uint64_t answers_rejected;  // That counted until they were rejected.
  uint64_t answers_late;      // Of both, those that came within the grace.
  uint64_t open_assignments;
  Ledger ledger;
  uint32_t revision;  // The highest in the job so far.
  uint32_t fit;       // The newest.
  const std::vector<std::string>& strata_names;
  CostModel cost;  // As learnt.
};

struct ItemView {
  ItemIndex item = 0;
  ItemState state = ItemState::kWaiting;
  Label value = kNoLabel;
  float confidence = 0;
  uint32_t fit = 0;
  uint32_t revision = 0;
  uint32_t answers = 0;  // Counted.
  Label majority = kNoLabel;
  Micros cost_micros = 0;  // Of its counted answers.
  ItemTraits traits;
};

// One lease or answer in an item's story.
struct ItemEntryView {
  AssignmentId assignment;
  std::string worker;
  Micros price_micros = 0;
  Label label = kNoLabel;
  bool pending = false;  // Leased, no answer so far.
  bool counted = false;
  bool late = false;
  bool approved = false;
  bool rejected = false;
  double accuracy = 0;                 // Of the worker, under the item's fit.
  std::vector<double> log_likelihood;  // What this answer adds to each class's log posterior.
};
struct ItemStory {
  ItemView item;
  std::vector<double> log_prior;
  std::vector<double> posterior;
  std::vector<ItemEntryView> entries;
};

struct WorkerView {
  WorkerIndex worker;
  std::string name;
  std::vector<std::string> skills, languages;
  bool blocked = false;
  std::string blocked_reason;
  uint64_t answers = 0;
  double active_seconds = 0;
};

// How far a worker's answers to items that others answered, too, agree with what the items have
// come to. Whole numbers, unless only some of the items were looked at.
struct Agreement {
  double compared = 0;
  double agreed = 0;
};

// --- What a call leaves for others to do or to know ----------------------------------------------

// Compute a fit beside the partition, then call Partition::FitComputed with it.
struct FitWork {
  JobIndex job;
  uint32_t number = 0;
  VoteTable votes;
};

enum class LeaseEndReason : uint8_t { kExpired, kForfeited, kWorkerBlocked };

// To be told to the gateway that holds it, once committed.
struct LeaseEnded {
  AssignmentId assignment;
  LeaseEndReason reason = LeaseEndReason::kExpired;
};

struct Notices {
  std::vector<JobIndex> jobs_changed;    // For watchers and result streams; may repeat.
  std::vector<LeaseEnded> leases_ended;  // That the gateway did not end itself.
  bool work_appeared = false;            // Somebody who was told NONE may now get something.
};

}  // namespace tessera::core
