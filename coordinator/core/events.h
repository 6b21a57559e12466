// What the journal holds: events, each a decision that was taken, with its outcome's bits.
//
// Events, not commands, are stored, so that recovery is a plain fold (fold.h) that decides nothing
// and computes no logarithm. An event is self-contained for every object that it touches (job head,
// page of items, page of leases, worker, fit): each of them can be brought up to date without
// looking at another, because pages are written to Redis one by one and may be of different ages.
//
// To add an event: append it to Event, list its fields, fold it. Numbers (the variant's index) and
// fields are stored; append only.
#pragma once

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/policy.h"
#include "coordinator/core/types.h"

namespace tessera::core {

// How an item stands after an event: the bits of the decision.
struct ItemOutcome {
  ItemIndex item = 0;
  ItemState before = ItemState::kWaiting;  // So that the job head's counts fold without the item.
  ItemState after = ItemState::kWaiting;
  Label value = kNoLabel;
  float confidence = 0;
  uint32_t fit = 0;       // The fit that value and confidence were computed under.
  uint32_t revision = 0;  // 0: nothing that a requester sees has changed. Else the job's next one.
};
inline void Fields(auto& v, ItemOutcome& o) {
  v("item", o.item);
  v("before", o.before);
  v("after", o.after);
  v("value", o.value);
  v("confidence", o.confidence);
  v("fit", o.fit);
  v("revision", o.revision);
}

// What became of one item of an assignment. Stored: append only.
enum class Disposition : uint8_t {
  kAnswered = 0,      // Counts and is earned.
  kReturned = 1,      // Given back without an answer; the worker is not asked again.
  kMissed = 2,        // Deadline passed, no draft. A late answer counts until the grace ends.
  kAnsweredLate = 3,  // Counts and is earned, within the grace.
  kForfeited = 4,     // The grace ended.
  kRevoked = 5,       // Taken back by us: the job was cancelled, or the worker blocked.
};

struct ItemEnd {
  Disposition disposition = Disposition::kAnswered;
  Label label = kNoLabel;
  ItemOutcome outcome;
};
inline void Fields(auto& v, ItemEnd& e) {
  v("disposition", e.disposition);
  v("label", e.label);
  v("outcome", e.outcome);
}

// --- The partition -------------------------------------------------------------------------------

// An owner took the partition over. Open deadlines and graces move by `outage`.
struct OwnerStarted {
  uint64_t nonce = 0;  // Of this owner's run: tells two owners of one epoch apart.
  absl::Time at;
  absl::Duration outage;
  // The last records of the owners before, as far as no earlier start has told of them: more than one
  // where an owner wrote its first record and no start. None where the owner is the same and only an
  // outage is over.
  std::vector<RecordId> inherited;
};
inline void Fields(auto& v, OwnerStarted& e) {
  v("nonce", e.nonce);
  v("at", e.at);
  v("outage", e.outage);
  v("inherited", e.inherited);
}

// Time passed, nothing else did. While leases are open one is written each second, so that the
// length of an outage is known to the second.
struct Ticked {
  absl::Time at;
};
inline void Fields(auto& v, Ticked& e) { v("at", e.at); }

struct WorkerSeen {
  WorkerIndex worker;
  std::string name;  // platforms/{platform}/workers/{worker}
};
inline void Fields(auto& v, WorkerSeen& e) {
  v("worker", e.worker);
  v("name", e.name);
}

struct WorkerUpdated {
  WorkerIndex worker;
  std::vector<std::string> skills;
  std::vector<std::string> languages;
  bool blocked = false;
  std::string blocked_reason;
};
inline void Fields(auto& v, WorkerUpdated& e) {
  v("worker", e.worker);
  v("skills", e.skills);
  v("languages", e.languages);
  v("blocked", e.blocked);
  v("blocked_reason", e.blocked_reason);
}

struct TenantWeight {
  std::string tenant;
  double weight = 1;
};
inline void Fields(auto& v, TenantWeight& w) {
  v("tenant", w.tenant);
  v("weight", w.weight);
}
struct Pool {
  std::string id;  // The last segment of its name.
  std::string display_name;
  std::vector<std::string> skills;  // A worker needs all of them to work in it.
  std::vector<std::string> languages;
  Micros price_micros = 0;  // Quoted per answer where the job names no price of its own.
  std::vector<TenantWeight> tenant_weights;  // By tenant; one that is not here has 1.
  std::string request_id;                    // What created it, if that had one.

  double WeightOf(absl::string_view tenant) const {
    const auto found = std::lower_bound(
        tenant_weights.begin(), tenant_weights.end(), tenant,
        [](const TenantWeight& w, absl::string_view name) { return w.tenant < name; });
    return found != tenant_weights.end() && found->tenant == tenant ? found->weight : 1;
  }
};
inline void Fields(auto& v, Pool& p) {
  v("id", p.id);
  v("display_name", p.display_name);
  v("skills", p.skills);
  v("languages", p.languages);
  v("price_micros", p.price_micros);
  v("tenant_weights", p.tenant_weights);
  v("request_id", p.request_id);
}
struct PoolPut {
  Pool pool;
};
inline void Fields(auto& v, PoolPut& e) { v("pool", e.pool); }
struct PoolDeleted {
  std::string id;
};
inline void Fields(auto& v, PoolDeleted& e) { v("id", e.id); }

// --- A job ---------------------------------------------------------------------------------------

struct JobCreated {
  JobIndex job;
  JobIdentity identity;
  JobPolicy policy;
  absl::Time at;
  uint8_t pause_reasons = 0;
};
inline void Fields(auto& v, JobCreated& e) {
  v("job", e.job);
  v("identity", e.identity);
  v("policy", e.policy);
  v("at", e.at);
  v("pause_reasons", e.pause_reasons);
}

struct JobUpdated {
  JobIndex job;
  std::string document;
  JobPolicy policy;
  absl::Time at;
};
inline void Fields(auto& v, JobUpdated& e) {
  v("job", e.job);
  v("document", e.document);
  v("policy", e.policy);
  v("at", e.at);
}

// What the core knows of an item beyond its index. Defaults cost no memory (see items.h).
struct ItemTraits {
  float length = 1;       // Units of work, for the cost model.
  uint16_t stratum = 0;   // Index into the job's strata names.
  float importance = 1;   // Multiplies the job's value for this item.
  Label gold = kNoLabel;  // A known answer: trains the fit, never shown.
  friend bool operator==(const ItemTraits&, const ItemTraits&) = default;
};
inline void Fields(auto& v, ItemTraits& t) {
  v("length", t.length);
  v("stratum", t.stratum);
  v("importance", t.importance);
  v("gold", t.gold);
}

// One committed batch of intake. Keys and payloads travel beside the events in the same record
// (record.h) and are the store's business.
struct ItemsAdded {
  JobIndex job;
  ItemIndex first = 0;
  uint32_t count = 0;
  uint64_t committed_offset = 0;   // The requester's next batch starts here.
  std::vector<ItemTraits> traits;  // Empty: all defaults. Else `count` of them.
  std::vector<std::string> new_strata;
  absl::Time at;
};
inline void Fields(auto& v, ItemsAdded& e) {
  v("job", e.job);
  v("first", e.first);
  v("count", e.count);
  v("committed_offset", e.committed_offset);
  v("traits", e.traits);
  v("new_strata", e.new_strata);
  v("at", e.at);
}

struct JobSealed {
  JobIndex job;
  absl::Time at;
};
inline void Fields(auto& v, JobSealed& e) {
  v("job", e.job);
  v("at", e.at);
}

struct JobPhaseChanged {
  JobIndex job;
  JobPhase phase = JobPhase::kRunning;
  uint8_t pause_reasons = 0;
  bool cancelling = false;  // In CLOSING: it ends as CANCELLED.
  absl::Time at;
};
inline void Fields(auto& v, JobPhaseChanged& e) {
  v("job", e.job);
  v("phase", e.phase);
  v("pause_reasons", e.pause_reasons);
  v("cancelling", e.cancelling);
  v("at", e.at);
}

// The end: every item gets its final state. RESOLVED items stay as they are, all others become
// UNRESOLVED (or CANCELLED, where the job was cancelled). One event freezes all.
struct JobEnded {
  JobIndex job;
  JobPhase phase = JobPhase::kFinalised;
  absl::Time at;
};
inline void Fields(auto& v, JobEnded& e) {
  v("job", e.job);
  v("phase", e.phase);
  v("at", e.at);
}

struct JobDeleted {
  JobIndex job;
};
inline void Fields(auto& v, JobDeleted& e) { v("job", e.job); }

// --- Leases --------------------------------------------------------------------------------------

struct GrantedItem {
  ItemIndex item = 0;
  ItemState before = ItemState::kWaiting;
};
inline void Fields(auto& v, GrantedItem& i) {
  v("item", i.item);
  v("before", i.before);
}

struct Granted {
  AssignmentId assignment;
  WorkerIndex worker;
  std::string pool;
  Micros price_micros = 0;  // Per item; reserved for each of them.
  absl::Time at;
  absl::Time deadline;
  absl::Time late_until;
  std::vector<GrantedItem> items;
  std::string gateway;  // Whom it is sent to, and sent again if it never arrived.
};
inline void Fields(auto& v, Granted& e) {
  v("assignment", e.assignment);
  v("worker", e.worker);
  v("pool", e.pool);
  v("price_micros", e.price_micros);
  v("at", e.at);
  v("deadline", e.deadline);
  v("late_until", e.late_until);
  v("items", e.items);
  v("gateway", e.gateway);
}

// A draft was kept: durable, amendable, and counted when the assignment ends.
struct Drafted {
  AssignmentId assignment;
  ItemIndex item = 0;
  uint64_t edit = 0;  // The highest edit wins; a lower or equal one never becomes an event.
  Label label = kNoLabel;
};
inline void Fields(auto& v, Drafted& e) {
  v("assignment", e.assignment);
  v("item", e.item);
  v("edit", e.edit);
  v("label", e.label);
}

// Items of an assignment came to an end: submitted, returned, missed, late, forfeited or revoked.
// An assignment whose items have all ended for good is forgotten.
struct ItemsEnded {
  AssignmentId assignment;
  WorkerIndex worker;
  Micros price_micros = 0;  // Per item, as quoted.
  bool approved = false;    // Answers that count are approved with this.
  absl::Time at;
  double active_seconds = 0;  // What the answered items took; teaches the cost model. 0: not known.
  double active_units = 0;    // The answered items' lengths, summed.
  bool over = false;          // Nothing of the assignment is live after this.
  std::vector<ItemEnd> items;
  uint32_t granted = 0;  // Items that the assignment had in all.
};
inline void Fields(auto& v, ItemsEnded& e) {
  v("assignment", e.assignment);
  v("worker", e.worker);
  v("price_micros", e.price_micros);
  v("approved", e.approved);
  v("at", e.at);
  v("active_seconds", e.active_seconds);
  v("active_units", e.active_units);
  v("over", e.over);
  v("items", e.items);
  v("granted", e.granted);
}

struct Extended {
  AssignmentId assignment;
  absl::Time deadline;
  absl::Time late_until;
  absl::Duration extended;  // In all, so far.
};
inline void Fields(auto& v, Extended& e) {
  v("assignment", e.assignment);
  v("deadline", e.deadline);
  v("late_until", e.late_until);
  v("extended", e.extended);
}

// --- Money ---------------------------------------------------------------------------------------

// A requester approved or rejected an answer. A rejected one no longer counts (the outcome says how
// the item stands without it) and its price goes back to the budget.
struct AnswerReviewed {
  AssignmentId assignment;
  WorkerIndex worker;
  bool approved = false;
  Micros price_micros = 0;
  std::string reason;
  bool money_only = false;  // The job had ended: the item stays as it is.
  ItemOutcome outcome;
};
inline void Fields(auto& v, AnswerReviewed& e) {
  v("assignment", e.assignment);
  v("worker", e.worker);
  v("approved", e.approved);
  v("price_micros", e.price_micros);
  v("reason", e.reason);
  v("money_only", e.money_only);
  v("outcome", e.outcome);
}

struct BonusPaid {
  JobIndex job;
  WorkerIndex worker;
  Micros amount_micros = 0;
  std::string request_id;
  std::string reason;
};
// What tells a bonus from another one under the same request id.
inline std::string BonusKey(absl::string_view request_id, WorkerIndex worker,
                            Micros amount_micros) {
  return absl::StrCat(request_id, "\x1f", worker.value(), "\x1f", amount_micros);
}
inline void Fields(auto& v, BonusPaid& e) {
  v("job", e.job);
  v("worker", e.worker);
  v("amount_micros", e.amount_micros);
  v("request_id", e.request_id);
  v("reason", e.reason);
}

// --- Fusing --------------------------------------------------------------------------------------

// Learnt parameters, immutable and numbered from 1; fit 0 is the prior. See fusing/categorical.h.
struct Fit {
  uint32_t number = 0;
  uint16_t classes = 0;
  uint64_t answers = 0;          // How many it was computed from.
  std::vector<float> log_prior;  // [class]
  float crowd_log_right = 0;     // Of workers who are not in `workers`: that they say the truth,
  float crowd_log_wrong = 0;     // and that they say one given other class.
  std::vector<WorkerIndex> workers;  // Whose own confusion it holds. Ascending.
  std::vector<float> log_confusion;  // [worker position][truth][said]
};
inline void Fields(auto& v, Fit& f) {
  v("number", f.number);
  v("classes", f.classes);
  v("answers", f.answers);
  v("log_prior", f.log_prior);
  v("crowd_log_right", f.crowd_log_right);
  v("crowd_log_wrong", f.crowd_log_wrong);
  v("workers", f.workers);
  v("log_confusion", f.log_confusion);
}

struct FitApplied {
  JobIndex job;
  Fit fit;
  uint64_t answers_rejected = 0;  // In the job, when the fit was asked for.
};
inline void Fields(auto& v, FitApplied& e) {
  v("job", e.job);
  v("fit", e.fit);
  v("answers_rejected", e.answers_rejected);
}

// The items of one page moved to a newer fit.
struct PageRefitted {
  JobIndex job;
  uint32_t page = 0;
  std::vector<ItemOutcome> outcomes;
};
inline void Fields(auto& v, PageRefitted& e) {
  v("job", e.job);
  v("page", e.page);
  v("outcomes", e.outcomes);
}

using Event = std::variant<OwnerStarted, Ticked, WorkerSeen, WorkerUpdated, PoolPut, PoolDeleted,
                           JobCreated, JobUpdated, ItemsAdded, JobSealed, JobPhaseChanged, JobEnded,
                           JobDeleted, Granted, Drafted, ItemsEnded, Extended, AnswerReviewed,
                           BonusPaid, FitApplied, PageRefitted>;

// The event's name, for `tessera inspect`.
absl::string_view EventName(const Event& event);

// Appends the event, with its kind and length, to `out`.
void AppendEvent(const Event& event, std::string* out);

// Reads the next event. Nothing if the bytes are malformed or of a kind that this version does not
// know: a journal written by a newer version is refused, not guessed at.
std::optional<Event> ReadEvent(Reader& reader);

// The event as one line of JSON, for people.
std::string EventToJson(const Event& event);

}  // namespace tessera::core
