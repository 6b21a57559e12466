// What comes back: drafts, submissions, returns, extensions; deadlines and graces; reviews and
// bonuses.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/errors.h"
#include "coordinator/core/mutation.h"
#include "coordinator/core/partition_impl.h"

namespace tessera::core {
namespace {

using absl::StatusCode;

absl::Status NoSuchAssignment() {
  return Error(StatusCode::kNotFound, "ASSIGNMENT_NOT_FOUND", "there is no such assignment");
}

absl::Status TooLate(absl::string_view message) {
  return Error(StatusCode::kFailedPrecondition, "ASSIGNMENT_EXPIRED", message);
}

absl::Status Finished(absl::string_view message) {
  return Error(StatusCode::kFailedPrecondition, "ASSIGNMENT_FINISHED", message);
}

// `field`: the path of what names the item, in the entry that was sent.
absl::Status NotInAssignment(absl::string_view field) {
  return Error(StatusCode::kFailedPrecondition, "ITEM_NOT_IN_ASSIGNMENT",
               "the assignment does not hold this item, or no longer")
      .Field(field, "is not one of the assignment's items");
}

std::string AnswerKey(size_t position) { return absl::StrCat("answers[", position, "].item_key"); }

// The class of this value, or kNoLabel.
Label LabelOf(const JobIdentity& identity, absl::string_view choice) {
  for (size_t i = 0; i < identity.classes.size(); ++i) {
    if (identity.classes[i] == choice) return static_cast<Label>(i);
  }
  return kNoLabel;
}

absl::Status UnknownChoice(absl::string_view field, absl::string_view choice) {
  return Error(StatusCode::kInvalidArgument, "ANSWER_DOES_NOT_FIT",
               absl::StrCat("\"", choice, "\" is not one of the template's choices"))
      .Field(absl::StrCat(field, ".fields[0].choice"), "is not one of the template's choices");
}

// The assignment, live or over, as its items' entries remember it.
enum class Fate { kCounted, kUnpaid, kLate, kRevoked, kReturned, kUnknown };
Fate FateOf(const ItemRecord& item, uint32_t sequence) {
  const ItemEntry* e = item.FindAssignment(sequence);
  if (e == nullptr) return Fate::kUnknown;
  switch (e->status) {
    case ItemEntry::kAnswered:
      return Fate::kCounted;
    case ItemEntry::kRejected:
      return Fate::kUnpaid;
    case ItemEntry::kForfeited:
      return Fate::kLate;
    case ItemEntry::kRevoked:
      return Fate::kRevoked;
    case ItemEntry::kReturned:
      return Fate::kReturned;
    default:
      return Fate::kUnknown;
  }
}

// Why an item of this fate takes nothing more under the assignment.
absl::Status Closed(Fate fate, absl::string_view field) {
  switch (fate) {
    case Fate::kCounted:
      return Finished("another answer has been counted");
    case Fate::kUnpaid:
      return Finished("the answer that was counted has been rejected");
    case Fate::kLate:
      return TooLate("the grace after the deadline is over; the answer does not count");
    case Fate::kRevoked:
      return Error(StatusCode::kFailedPrecondition, "ASSIGNMENT_REVOKED",
                   "the assignment was taken back");
    case Fate::kReturned:
      return Finished("the item was given back");
    case Fate::kUnknown:
      break;
  }
  return NotInAssignment(field);
}

// Whether the assignment has nothing live left once these items have ended.
bool OverAfter(const LiveAssignment& a, const std::vector<ItemEnd>& ends) {
  return std::all_of(a.items.begin(), a.items.end(), [&](const LeasedItem& i) {
    if (i.ended) return true;
    return std::any_of(ends.begin(), ends.end(), [&](const ItemEnd& e) {
      return e.outcome.item == i.item && e.disposition != Disposition::kMissed;
    });
  });
}

// A submission to an assignment that is over: the first reply again, or why it is too late.
absl::StatusOr<Submitted> Repeated(const JobState& job, const core::Submit& command) {
  Submitted reply{.repeated = true};
  bool counted = command.answers.empty();
  for (size_t k = 0; k < command.answers.size(); ++k) {
    const ItemIndex i = command.answers[k].item;
    if (i >= job.items.size()) return NotInAssignment(AnswerKey(k));
    const ItemRecord item = job.items.Get(i);
    switch (const Fate fate = FateOf(item, command.assignment.sequence)) {
      case Fate::kCounted: {
        const ItemEntry* e = item.FindAssignment(command.assignment.sequence);
        counted = true;
        ++reply.answers;
        if (!(e->flags & ItemEntry::kUnpaid)) reply.earned_micros += e->price_micros();
        break;
      }
      case Fate::kUnpaid:
        counted = true;
        break;
      case Fate::kReturned:  // Without an answer in the first one, or before it.
        break;
      default:
        return Closed(fate, AnswerKey(k));
    }
  }
  // Where none of it ever counted there was no first one, and this one's answers would be lost.
  if (!counted) return Closed(Fate::kReturned, AnswerKey(0));
  return reply;
}

}  // namespace

ItemsEnded Partition::Impl::EndOf(AssignmentId id, const LiveAssignment& a, absl::Time now) {
  return {.assignment = id,
          .worker = a.worker,
          .price_micros = a.price_micros,
          .approved = job(id.job).head.policy.approve_on_acceptance,
          .at = now,
          .granted = static_cast<uint32_t>(a.items.size())};
}

void Partition::Impl::EmitEnded(ItemsEnded ended) {
  // Each outcome was reckoned by itself; a revision is one item's.
  uint32_t revision = job(ended.assignment.job).head.revision;
  for (ItemEnd& end : ended.items) {
    if (end.outcome.revision != 0) end.outcome.revision = ++revision;
  }
  Emit(std::move(ended));
}

// --- Deadlines -----------------------------------------------------------------------------------

void Partition::Impl::SettleTime(AssignmentId id, absl::Time now) {
  const LiveAssignment* a = job(id.job).leases.Find(id.sequence);
  if (a == nullptr) return;
  if (!a->expired && a->deadline <= now) {
    ItemsEnded ended = EndOf(id, *a, now);
    for (const LeasedItem& i : a->items) {
      if (i.ended) continue;
      const bool answered = i.draft != kNoLabel && !Mutated(Mutation::kDraftLost);
      ended.items.push_back(
          {.disposition = answered ? Disposition::kAnswered : Disposition::kMissed,
           .label = i.draft,
           .outcome = OutcomeWith(id.job, i.item, id.sequence,
                                  answered ? ItemEntry::kAnswered : ItemEntry::kMissed, i.draft)});
    }
    ended.over = OverAfter(*a, ended.items);
    EmitEnded(std::move(ended));
    notices_.leases_ended.push_back({id, LeaseEndReason::kExpired});
    a = job(id.job).leases.Find(id.sequence);
  }
  if (a == nullptr || a->late_until > now || Mutated(Mutation::kGraceNeverEnds)) return;
  ItemsEnded ended = EndOf(id, *a, now);
  for (const LeasedItem& i : a->items) {
    if (i.ended) continue;
    ended.items.push_back(
        {.disposition = Disposition::kForfeited,
         .label = kNoLabel,
         .outcome = OutcomeWith(id.job, i.item, id.sequence, ItemEntry::kForfeited, kNoLabel)});
  }
  ended.over = true;
  EmitEnded(std::move(ended));
  notices_.leases_ended.push_back({id, LeaseEndReason::kForfeited});
}

void Partition::Impl::Revoke(AssignmentId id, LeaseEndReason reason, absl::Time now) {
  const LiveAssignment* a = job(id.job).leases.Find(id.sequence);
  if (a == nullptr) return;
  ItemsEnded ended = EndOf(id, *a, now);
  for (const LeasedItem& i : a->items) {
    if (i.ended) continue;
    // What is drafted was done, and is paid.
    const bool answered = i.draft != kNoLabel;
    ended.items.push_back(
        {.disposition = answered ? Disposition::kAnswered : Disposition::kRevoked,
         .label = i.draft,
         .outcome = OutcomeWith(id.job, i.item, id.sequence,
                                answered ? ItemEntry::kAnswered : ItemEntry::kRevoked, i.draft)});
  }
  ended.over = true;
  EmitEnded(std::move(ended));
  notices_.leases_ended.push_back({id, reason});
}

// --- Gateways ------------------------------------------------------------------------------------

absl::Status Partition::Impl::Draft(const DraftAnswer& command, absl::Time now) {
  const AssignmentId id = command.assignment;
  if (state_.job(id.job) == nullptr) return NoSuchAssignment();
  SettleTime(id, now);
  const JobState& j = job(id.job);
  const LiveAssignment* a = j.leases.Find(id.sequence);
  if (a == nullptr && id.sequence >= j.head.next_sequence) return NoSuchAssignment();
  const LeasedItem* i = a == nullptr ? nullptr : a->Find(command.item);
  if (command.item >= j.items.size() || (a != nullptr && i == nullptr)) {
    return NotInAssignment("item_key");
  }
  const Label label = command.choice.empty() ? kNoLabel : LabelOf(j.head.identity, command.choice);
  if (i == nullptr || i->ended) {
    // A draft that is sent again has done its work; another one would be lost.
    const ItemRecord item = j.items.Get(command.item);
    const Fate fate = FateOf(item, id.sequence);
    const bool held =
        fate == Fate::kCounted &&
        (i != nullptr ? command.edit <= i->edit : label == item.FindAssignment(id.sequence)->label);
    return held ? absl::OkStatus() : Closed(fate, "item_key");
  }
  if (i->missed)
    return TooLate("the deadline has passed; submit the answer instead, within the grace");
  if (label == kNoLabel && !command.choice.empty()) return UnknownChoice("answer", command.choice);
  if (command.edit <= i->edit) return absl::OkStatus();
  Emit(Drafted{.assignment = id, .item = command.item, .edit = command.edit, .label = label});
  return absl::OkStatus();
}

absl::StatusOr<Submitted> Partition::Impl::Submit(const core::Submit& command, absl::Time now) {
  const AssignmentId id = command.assignment;
  if (state_.job(id.job) == nullptr) return NoSuchAssignment();
  SettleTime(id, now);
  const JobState& j = job(id.job);
  const LiveAssignment* a = j.leases.Find(id.sequence);
  if (a == nullptr) {
    if (id.sequence >= j.head.next_sequence) return NoSuchAssignment();
    return Repeated(j, command);
  }
  std::vector<std::pair<ItemIndex, Label>> given;
  for (size_t k = 0; k < command.answers.size(); ++k) {
    const SubmittedAnswer& answer = command.answers[k];
    const LeasedItem* i = a->Find(answer.item);
    if (i == nullptr) return NotInAssignment(AnswerKey(k));
    // An answer that has been counted is the one that was sent first; no other may be dropped.
    const Fate fate = i->ended ? FateOf(j.items.Get(answer.item), id.sequence) : Fate::kCounted;
    if (fate != Fate::kCounted && fate != Fate::kUnpaid) return Closed(fate, AnswerKey(k));
    const Label label = LabelOf(j.head.identity, answer.choice);
    if (label == kNoLabel)
      return UnknownChoice(absl::StrCat("answers[", k, "].answer"), answer.choice);
    given.push_back({answer.item, label});
  }

  ItemsEnded ended = EndOf(id, *a, now);
  Submitted reply;
  const bool late = a->expired;
  for (const LeasedItem& i : a->items) {
    const auto answer =
        std::find_if(given.begin(), given.end(), [&](const auto& g) { return g.first == i.item; });
    if (i.ended && !Mutated(Mutation::kDoubleCount)) {
      // Counted at the deadline by its draft, or in an earlier late submission.
      if (FateOf(j.items.Get(i.item), id.sequence) == Fate::kCounted) {
        ++reply.answers;
        reply.earned_micros += a->price_micros;
      }
      continue;
    }
    const Label label = answer != given.end() ? answer->second : i.draft;
    if (label == kNoLabel && late) continue;  // It may still come, until the grace ends.
    const bool answered = label != kNoLabel;
    if (answered) {
      ++reply.answers;
      reply.earned_micros += a->price_micros;
      ended.active_units += j.items.Traits(i.item).length;
    }
    ended.items.push_back(
        {.disposition = !answered ? Disposition::kReturned
                        : late    ? Disposition::kAnsweredLate
                                  : Disposition::kAnswered,
         .label = label,
         .outcome = OutcomeWith(id.job, i.item, id.sequence,
                                answered ? ItemEntry::kAnswered : ItemEntry::kReturned, label)});
  }
  if (ended.items.empty()) {
    reply.repeated = true;
    return reply;
  }
  if (ended.active_units > 0) {
    ended.active_seconds = command.active_seconds > 0 ? command.active_seconds
                                                      : absl::ToDoubleSeconds(now - a->granted_at);
  }
  ended.over = OverAfter(*a, ended.items);
  EmitEnded(std::move(ended));
  MoveOn(id.job, now);
  return reply;
}

absl::Status Partition::Impl::Return(const ReturnItems& command, absl::Time now) {
  const AssignmentId id = command.assignment;
  if (state_.job(id.job) == nullptr) return NoSuchAssignment();
  SettleTime(id, now);
  const JobState& j = job(id.job);
  const LiveAssignment* a = j.leases.Find(id.sequence);
  if (a == nullptr) {
    return id.sequence >= j.head.next_sequence ? NoSuchAssignment() : absl::OkStatus();
  }
  for (size_t k = 0; k < command.items.size(); ++k) {
    if (a->Find(command.items[k]) == nullptr) {
      return NotInAssignment(absl::StrCat("item_keys[", k, "]"));
    }
  }
  ItemsEnded ended = EndOf(id, *a, now);
  for (const LeasedItem& i : a->items) {
    if (i.ended) continue;
    const bool named =
        std::find(command.items.begin(), command.items.end(), i.item) != command.items.end();
    if (!command.items.empty() && !named) continue;
    // Giving the whole back finishes it: what was drafted counts, unless that is given back too.
    const bool counts = command.items.empty() && i.draft != kNoLabel && !command.drafts_too;
    ended.items.push_back(
        {.disposition = !counts      ? Disposition::kReturned
                        : a->expired ? Disposition::kAnsweredLate
                                     : Disposition::kAnswered,
         .label = counts ? i.draft : kNoLabel,
         .outcome = OutcomeWith(id.job, i.item, id.sequence,
                                counts ? ItemEntry::kAnswered : ItemEntry::kReturned,
                                counts ? i.draft : kNoLabel)});
  }
  if (ended.items.empty()) return absl::OkStatus();
  ended.over = OverAfter(*a, ended.items);
  EmitEnded(std::move(ended));
  MoveOn(id.job, now);
  return absl::OkStatus();
}

absl::StatusOr<LeaseExtended> Partition::Impl::Extend(const ExtendLease& command, absl::Time now) {
  const AssignmentId id = command.assignment;
  if (state_.job(id.job) == nullptr) return NoSuchAssignment();
  const JobState& j = job(id.job);
  if (id.sequence >= j.head.next_sequence) return NoSuchAssignment();
  if (j.leases.Find(id.sequence) == nullptr) return Finished("the assignment is over");
  SettleTime(id, now);
  const LiveAssignment* a = j.leases.Find(id.sequence);
  if (a == nullptr) return TooLate("the deadline has passed");
  if (a->expired)
    return TooLate("the deadline has passed; a late answer still counts, within the grace");
  const LeasePolicy& policy = j.head.policy.lease;
  const absl::Time until =
      std::min(TruncateTime(command.until), a->deadline + policy.extension_max - a->extended);
  if (until <= a->deadline) return LeaseExtended{a->deadline, a->late_until};
  const absl::Duration extended = a->extended + (until - a->deadline);
  Emit(Extended{.assignment = id,
                .deadline = until,
                .late_until = until + policy.late_grace,
                .extended = extended});
  return LeaseExtended{until, until + policy.late_grace};
}

// --- Money ---------------------------------------------------------------------------------------

absl::Status Partition::Impl::ReviewAnswer(const core::ReviewAnswer& command, absl::Time now) {
  const AssignmentId id = command.assignment;
  if (state_.job(id.job) == nullptr) return NoSuchAssignment();
  const JobState& j = job(id.job);
  if (command.item >= j.items.size()) return NotInAssignment("item_key");
  const ItemRecord item = j.items.Get(command.item);
  const ItemEntry* e = item.FindAssignment(id.sequence);
  if (e == nullptr) return NotInAssignment("item_key");
  const bool approved = e->flags & ItemEntry::kApproved;
  const bool rejected = e->status == ItemEntry::kRejected || e->flags & ItemEntry::kUnpaid;
  if (command.approve ? approved : rejected) return absl::OkStatus();
  if (approved || rejected) {
    return Error(StatusCode::kFailedPrecondition,
                 approved ? "ALREADY_APPROVED" : "ALREADY_REJECTED",
                 approved ? "the answer was approved; its price is the worker's"
                          : "the answer was rejected; its price went back to the budget");
  }
  if (!e->counted()) {
    return Error(StatusCode::kNotFound, "ANSWER_NOT_FOUND",
                 "only an answer that counts can be approved or rejected");
  }
  AnswerReviewed reviewed{.assignment = id,
                          .worker = e->worker,
                          .approved = command.approve,
                          .price_micros = e->price_micros(),
                          .reason = command.reason,
                          .money_only = j.ended() && !command.approve};
  if (command.approve || j.ended()) {
    reviewed.outcome = ItemOutcome{.item = command.item, .before = item.state, .after = item.state};
  } else {
    reviewed.outcome =
        OutcomeWith(id.job, command.item, id.sequence, ItemEntry::kRejected, e->label);
  }
  Emit(std::move(reviewed));
  MoveOn(id.job, now);
  return absl::OkStatus();
}

absl::Status Partition::Impl::PayBonus(const core::PayBonus& command) {
  const absl::StatusOr<JobState*> found = Find(command.job);
  if (!found.ok()) return found.status();
  const JobHead& head = (*found)->head;
  const std::optional<WorkerIndex> worker = state_.FindWorker(command.worker);
  if (!worker.has_value() || (*found)->FindTally(*worker) == nullptr) {
    return Error(StatusCode::kNotFound, "WORKER_NOT_FOUND", "this worker has not worked on the job")
        .Field("worker", "has not worked on the job");
  }
  const std::string key = BonusKey(command.request_id, *worker, command.amount_micros);
  for (const std::string& paid : head.bonus_requests) {
    if (paid == key) return absl::OkStatus();
    if (!absl::StartsWith(paid, absl::StrCat(command.request_id, "\x1f"))) continue;
    return Error(StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                 "this request id has paid another bonus; use a new one for a new bonus")
        .Field("request_id", "was used for a different bonus");
  }
  if (head.bonus_requests.size() >= options_.bonuses_per_job_max) {
    return Error(StatusCode::kResourceExhausted, "BONUSES_MAX",
                 absl::StrCat("a job grants at most ", options_.bonuses_per_job_max, " bonuses"));
  }
  if (command.amount_micros > head.ledger.remaining_micros()) {
    return Error(StatusCode::kFailedPrecondition, "OUT_OF_BUDGET",
                 absl::StrCat("the job's budget has ", head.ledger.remaining_micros(),
                              " micros left"))
        .Field("amount_micros", "is more than what is left of the budget");
  }
  Emit(BonusPaid{.job = command.job,
                 .worker = *worker,
                 .amount_micros = command.amount_micros,
                 .request_id = command.request_id,
                 .reason = command.reason});
  return absl::OkStatus();
}

}  // namespace tessera::core
