// The state of a partition, as a fold of its journal.
//
// PartitionState is everything that is remembered, and Apply() the only way to change it. Applying
// decides nothing: an event carries its outcome's bits. Two processes that apply the same records
// hold the same state, bit for bit; Digest material comes from ForEachObject().
//
// The state is made of objects (objects.h), each current to a record id of its own. An event
// changes only the objects that are older than its record, so a mixture of pages of different ages,
// read back from the store, becomes one consistent state once the records after the oldest have
// been applied:
//
//   PartitionState state;
//   for (auto keys = state.ObjectsToLoad(); !keys.empty(); keys = state.ObjectsToLoad()) {
//     for (key : keys) state.LoadObject(key, stored bytes or nothing);
//   }
//   for (record : journal) for (event : record) state.Apply(record.id, event);
//
// Threads: none; belongs to its Partition, used on its thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/commands.h"
#include "coordinator/core/events.h"
#include "coordinator/core/items.h"
#include "coordinator/core/leases.h"
#include "coordinator/core/objects.h"

namespace tessera::core {

// What one worker did in one job.
struct Tally {
  uint32_t granted = 0;   // Items, ever.
  uint32_t answered = 0;  // Counted.
  uint32_t returned = 0;
  uint32_t missed = 0;
  uint32_t rejected = 0;
  double active_seconds = 0;
  Micros earned_micros = 0;

  friend bool operator==(const Tally&, const Tally&) = default;
};
inline void Fields(auto& v, Tally& t) {
  v("granted", t.granted);
  v("answered", t.answered);
  v("returned", t.returned);
  v("missed", t.missed);
  v("rejected", t.rejected);
  v("active_seconds", t.active_seconds);
  v("earned_micros", t.earned_micros);
}

struct PageUse {
  uint32_t page = 0;
  uint32_t live = 0;
};
inline void Fields(auto& v, PageUse& u) {
  v("page", u.page);
  v("live", u.live);
}

// A job's head: all of it but its items, leases, tallies and fits.
struct JobHead {
  JobIdentity identity;
  JobPolicy policy;
  JobPhase phase = JobPhase::kRunning;
  uint8_t pause_reasons = 0;
  uint8_t closed_paused = 0;  // Why it was paused when it began to close.
  bool cancelling = false;
  bool sealed = false;
  bool deleted = false;  // Then nothing holds but items, next_sequence, fit and tally_pages.
  absl::Time created_at = absl::InfinitePast();
  absl::Time updated_at = absl::InfinitePast();
  absl::Time sealed_at = absl::InfinitePast();
  absl::Time ended_at = absl::InfinitePast();
  uint64_t committed_offset = 0;
  std::vector<std::string> strata_names;
  uint32_t items = 0;
  ItemCounts counts;
  uint64_t answers = 0;           // That count.
  uint64_t answers_rejected = 0;  // That counted until they were rejected.
  uint64_t answers_late = 0;      // Of both, those that came within the grace.
  uint64_t open_assignments = 0;
  uint32_t next_sequence = 0;  // Of assignments.
  uint32_t revision = 0;
  uint32_t fit = 0;           // The newest.
  uint64_t fit_answers = 0;   // What the newest was computed from ...
  uint64_t fit_rejected = 0;  // ... and `answers_rejected` then: one may be bought for another.
  Ledger ledger;
  CostMoments moments;
  std::vector<std::string> bonus_requests;  // BonusKey() of each bonus that was paid.
  // Which of the job's pages of leases and tallies there are, so that recovery reads no others.
  std::vector<PageUse> lease_pages;   // With their live assignments; ascending, none at 0.
  std::vector<uint32_t> tally_pages;  // Ascending.
};
inline void Fields(auto& v, JobHead& h) {
  v("identity", h.identity);
  v("policy", h.policy);
  v("phase", h.phase);
  v("pause_reasons", h.pause_reasons);
  v("closed_paused", h.closed_paused);
  v("cancelling", h.cancelling);
  v("sealed", h.sealed);
  v("deleted", h.deleted);
  v("created_at", h.created_at);
  v("updated_at", h.updated_at);
  v("sealed_at", h.sealed_at);
  v("ended_at", h.ended_at);
  v("committed_offset", h.committed_offset);
  v("strata_names", h.strata_names);
  v("items", h.items);
  v("counts", h.counts);
  v("answers", h.answers);
  v("answers_rejected", h.answers_rejected);
  v("answers_late", h.answers_late);
  v("open_assignments", h.open_assignments);
  v("next_sequence", h.next_sequence);
  v("revision", h.revision);
  v("fit", h.fit);
  v("fit_answers", h.fit_answers);
  v("fit_rejected", h.fit_rejected);
  v("ledger", h.ledger);
  v("moments", h.moments);
  v("bonus_requests", h.bonus_requests);
  v("lease_pages", h.lease_pages);
  v("tally_pages", h.tally_pages);
}

struct WorkerRecord {
  std::string name;  // Empty: not seen so far.
  std::vector<std::string> skills;
  std::vector<std::string> languages;
  bool blocked = false;
  std::string blocked_reason;
};
inline void Fields(auto& v, WorkerRecord& w) {
  v("name", w.name);
  v("skills", w.skills);
  v("languages", w.languages);
  v("blocked", w.blocked);
  v("blocked_reason", w.blocked_reason);
}

// One job with all that belongs to it.
struct JobState {
  JobHead head;
  Version head_version;
  ItemTable items;
  LeaseTable leases;

  struct TallyPage {
    Version version;
    // By place within the page; ordered, so that its bytes are canonical.
    std::map<uint32_t, Tally> by_worker;
  };
  std::map<uint32_t, TallyPage> tallies;  // By page of workers.

  struct FitObject {
    Version version;
    Fit fit;
  };
  std::map<uint32_t, FitObject> fits;  // By number; the newest, and those that items still name.

  // Nothing where the worker did nothing here.
  const Tally* FindTally(WorkerIndex worker) const;
  // Each tally of one of `workers`, with what is beside it there. Goes through either only as far
  // as the other has them, so that many of both do not cost their product.
  void ForEachTally(const std::map<WorkerIndex, size_t>& workers,
                    absl::FunctionRef<void(size_t, const Tally&)> visit) const;
  bool ended() const { return Ended(head.phase); }
  // An item as the job's end left it: RESOLVED stays, the rest is UNRESOLVED or CANCELLED.
  ItemState EffectiveState(ItemState stored) const;
};

// An object whose stored copy is behind.
struct DirtyObject {
  ObjectKey key;
  // The first record that the stored copy lacks: the journal must reach back to it.
  RecordId since;
};

class PartitionState {
 public:
  PartitionState();
  PartitionState(PartitionState&&) noexcept;
  PartitionState& operator=(PartitionState&&) noexcept;
  ~PartitionState();

  // Applies one event of record `id`, to the objects that are older than it. Events of a record are
  // applied in order, all of them, before those of the next. DATA_LOSS if the event cannot follow
  // from this state: it names a job, worker, item or assignment that there cannot be, skips one, or
  // takes more than there is (a journal with a hole, or one of another partition). The state is of
  // no use then. Events of a job that was deleted later are OK and change nothing.
  absl::Status Apply(RecordId id, const Event& event);

  // --- Objects: write-behind and recovery --------------------------------------------------------

  // The next objects to read back, given those loaded so far; empty when all that can be are.
  std::vector<ObjectKey> ObjectsToLoad();
  // Loads one of them, and says to which record it is current; nothing for an object that the store
  // does not have, which is 0-0. DATA_LOSS: it is not what was stored.
  absl::StatusOr<RecordId> LoadObject(const ObjectKey& key, std::optional<absl::string_view> bytes);

  // Whether what was loaded and folded agrees with itself, as each state that was ever decided on
  // does: every job and worker is there, and a job's counts are those of its items and leases. Looks
  // at every item. DATA_LOSS: something that was stored is gone, and no record tells of it.
  absl::Status Check() const;

  // The object as it is to be stored, with the id to which it is current; nothing: it is to be
  // erased.
  std::optional<std::string> EncodeObject(const ObjectKey& key) const;
  // Fields beside it for people with redis-cli; job heads have some.
  std::vector<std::pair<std::string, std::string>> ReadableFields(const ObjectKey& key) const;

  // Says that a record was closed: events from now on belong to a later one.
  void CloseRecord();
  // Objects changed since they were last taken, longest waiting first, at most `max`. The caller
  // encodes each at once, writes it when the last closed record has been committed, and says
  // Stored() or NotStored(). Only between CloseRecord() and the next Apply(): an object half way
  // through a record's events would claim to be current to it.
  std::vector<DirtyObject> TakeDirty(size_t max);
  size_t dirty_objects() const;
  void Stored(const DirtyObject& object);
  void NotStored(const DirtyObject& object);
  // Records below this one are in the stored objects: the journal may be trimmed below it. Nothing:
  // all objects are stored, so it may be trimmed whole. Objects that were taken count until
  // Stored().
  std::optional<RecordId> OldestUnstored() const;

  // Every object without the id to which it is current, in the order of its key: what a digest of
  // the state is computed from.
  void ForEachObject(const std::function<void(const ObjectKey&, absl::string_view)>& visit) const;

  // --- Reads -------------------------------------------------------------------------------------

  absl::Time time() const;  // The latest event's.
  // Whether what is here grew out of a journal in which this record was: it is no later than the end
  // of the owner whose epoch it is of. `last`: the last record so far, of the owner at work. Owners
  // whose ends are forgotten are taken at their word.
  bool Remembers(RecordId record, RecordId last) const;
  // Where the latest owner ended that a start has told of; 0-0 if none has.
  RecordId latest_end() const;
  uint32_t jobs() const;                      // Ever created; indexes are below it.
  const JobState* job(JobIndex index) const;  // Nothing: never was, or was deleted.
  JobState* mutable_job(JobIndex index);      // For derived data that rides along (see items.h).
  std::optional<JobIndex> FindJob(absl::string_view tenant, absl::string_view id) const;
  uint32_t workers() const;  // Ever seen; indexes are below it.
  const WorkerRecord& worker(WorkerIndex index) const;
  std::optional<WorkerIndex> FindWorker(absl::string_view name) const;
  const std::map<std::string, Pool, std::less<>>& pools() const;

 private:
  class Folder;
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace tessera::core
