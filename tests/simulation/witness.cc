#include "tests/simulation/witness.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/edge/host.h"

namespace tessera::simulation {

using core::AssignmentId;
using core::Disposition;
using core::Event;
using core::ItemEnd;
using core::ItemEntry;
using core::ItemIndex;
using core::JobIndex;
using core::JobPhase;
using core::JobState;
using core::RecordId;

namespace {

std::optional<JobIndex> JobOf(const Event& event) {
  return std::visit(
      [](const auto& e) -> std::optional<JobIndex> {
        if constexpr (requires { e.job; }) return e.job;
        if constexpr (requires { e.assignment; }) return e.assignment.job;
        return std::nullopt;
      },
      event);
}

std::vector<core::ItemOutcome> OutcomesOf(const Event& event) {
  std::vector<core::ItemOutcome> outcomes;
  if (const auto* ended = std::get_if<core::ItemsEnded>(&event)) {
    for (const ItemEnd& end : ended->items) outcomes.push_back(end.outcome);
  } else if (const auto* reviewed = std::get_if<core::AnswerReviewed>(&event)) {
    outcomes.push_back(reviewed->outcome);
  } else if (const auto* page = std::get_if<core::PageRefitted>(&event)) {
    outcomes = page->outcomes;
  }
  return outcomes;
}

absl::StatusOr<core::PartitionState> Load(testing::FaultyDisk& disk, bool objects) {
  testing::FaultyStore store(&disk);
  absl::StatusOr<core::PartitionState> loaded = absl::UnknownError("LoadState never answered");
  edge::LoadState(&store, objects, [&loaded](absl::StatusOr<core::PartitionState> state) {
    loaded = std::move(state);
  });
  store.DeliverAll();
  return loaded;
}

}  // namespace

template <typename... Parts>
void Witness::Complain(const Parts&... parts) {
  complaints_.push_back(absl::StrCat(parts...));
}

Complaints Witness::Observe(const testing::FaultyDisk& disk) {
  // What was seen stays as it was: nothing is put in front of it or over it.
  for (const auto& [id, bytes] : disk.journal()) {
    if (id > last_) break;
    const auto seen = journal_.find(id);
    if (seen == journal_.end()) {
      Complain("two writers: record ", id.ToString(), " came after ", last_.ToString());
      return std::exchange(complaints_, {});
    }
    if (seen->second != bytes) {
      Complain("two writers: record ", id.ToString(), " was written over");
      return std::exchange(complaints_, {});
    }
  }
  for (auto next = disk.journal().upper_bound(last_); next != disk.journal().end(); ++next) {
    Take(next->first, next->second);
    if (!complaints_.empty()) break;
  }
  if (complaints_.empty() && disk.last_id() != last_) {
    Complain("the disk's last record is ", disk.last_id().ToString(), ", but it was never seen");
  }
  return std::exchange(complaints_, {});
}

void Witness::Take(RecordId id, const std::string& bytes) {
  const absl::StatusOr<core::Record> record = core::DecodeRecord(bytes);
  if (!record.ok()) return Complain("record ", id.ToString(), ": ", record.status().ToString());
  CheckWriter(id, *record);
  journal_[id] = bytes;
  last_ = id;
  const absl::StatusOr<std::vector<Event>> events = core::DecodeEvents(*record);
  if (!events.ok()) return Complain("record ", id.ToString(), ": ", events.status().ToString());
  touched_.clear();
  for (const Event& event : *events) {
    ++events_[std::string(core::EventName(event))];
    if (const auto job = JobOf(event)) touched_.insert(job->value());
    CheckTime(event);
    CheckEnded(event);
    CheckRevisions(event);
    std::visit([this](const auto& e) { Check(e); }, event);
    if (const absl::Status status = state_.Apply(id, event); !status.ok()) {
      Complain("event does not fold: ", core::EventToJson(event), ": ", status.ToString());
    }
    if (!complaints_.empty()) {
      Complain("in record ", id.ToString(), ", at event ", core::EventToJson(event));
      return;
    }
    if (std::holds_alternative<core::OwnerStarted>(event)) CheckDeadlines();
  }
  state_.CloseRecord();
  for (const uint32_t j : touched_) {
    const JobState* job = state_.job(JobIndex(j));
    if (job == nullptr) continue;
    for (std::string& complaint : CheckJob(*job)) complaints_.push_back(std::move(complaint));
  }
  if (!complaints_.empty()) Complain("after record ", id.ToString());
}

// --- Who writes ----------------------------------------------------------------------------------

void Witness::CheckWriter(RecordId id, const core::Record& record) {
  // A fence names what its owner knew; the owner before may have added to it until the fence stood.
  const bool fence = id.sequence == 0;
  if (fence ? record.follows > last_ : record.follows != last_) {
    Complain("record ", id.ToString(), " says that it follows ", record.follows.ToString(),
             ", but the one before it is ", last_.ToString());
  }
  const auto [nonce, first] = nonces_.emplace(id.epoch, record.nonce);
  if (nonce->second != record.nonce) Complain("two writers in epoch ", id.epoch);
  if (first != fence) Complain("epoch ", id.epoch, " begins at ", id.ToString());
}

// --- Time ----------------------------------------------------------------------------------------

void Witness::CheckTime(const Event& event) {
  std::visit(
      [this](const auto& e) {
        if constexpr (requires { e.at; }) {
          if (e.at < time_) Complain("time ran backwards, from ", absl::FormatTime(time_));
          if constexpr (!std::is_same_v<std::decay_t<decltype(e)>, core::OwnerStarted>)
            time_ = e.at;
        }
      },
      event);
}

void Witness::Check(const core::OwnerStarted& e) {
  const absl::Duration outage = time_ == absl::InfinitePast() ? absl::ZeroDuration() : e.at - time_;
  if (e.outage != outage) {
    Complain("an outage of ", absl::FormatDuration(outage), " is written down as ",
             absl::FormatDuration(e.outage));
  }
  for (auto& [id, lease] : leases_) {
    if (!lease.expired) lease.deadline += outage;
    lease.late_until += outage;
  }
  time_ = e.at;
}

void Witness::CheckDeadlines() {
  for (const auto& [id, lease] : leases_) {
    const JobState* job = state_.job(id.job);
    const core::LiveAssignment* live = job == nullptr ? nullptr : job->leases.Find(id.sequence);
    if (live == nullptr) continue;
    if ((live->expired || live->deadline >= lease.deadline) &&
        live->late_until >= lease.late_until) {
      continue;
    }
    Complain("assignment ", id.job.value(), "/", id.sequence,
             ": its deadline was not moved by the outage");
  }
}

void Witness::Check(const core::Extended& e) {
  const auto found = leases_.find(e.assignment);
  if (found == leases_.end()) return Complain("an extension of an assignment that is over");
  if (e.deadline < found->second.deadline || e.late_until < found->second.late_until) {
    Complain("an extension shortens assignment ", e.assignment.sequence);
  }
  found->second.deadline = e.deadline;
  found->second.late_until = e.late_until;
}

// --- Leases and answers --------------------------------------------------------------------------

void Witness::Check(const core::Granted& e) {
  const JobState* job = state_.job(e.assignment.job);
  if (job == nullptr) return Complain("a lease of a job that is not there");
  const core::JobPolicy& policy = job->head.policy;
  if (job->head.phase != JobPhase::kRunning) Complain("a lease of a job that does not run");
  if (e.at < policy.start_time) Complain("a lease before the job's start");
  if (e.at >= policy.deadline) Complain("a lease after the job's deadline");
  if (state_.worker(e.worker).blocked) Complain("a lease to a worker who is blocked");
  for (const core::GrantedItem& granted : e.items) {
    if (granted.item >= job->items.size()) {
      Complain("a lease of an item that is not there");
      continue;
    }
    const core::ItemRecord item = job->items.Get(granted.item);
    if (item.FindWorker(e.worker) != nullptr) {
      Complain("item ", granted.item, " is given to worker ", e.worker.value(), " a second time");
    }
    if (item.state != core::ItemState::kWaiting && item.state != core::ItemState::kInProgress) {
      Complain("item ", granted.item, " is given out though it is done");
    }
    const uint32_t bought = item.Counted() + item.Leased();
    if (bought >= policy.quality.answers_max) {
      Complain("item ", granted.item, " is given out above its cap of ", policy.quality.answers_max,
               " answers: it has ", item.Counted(), " and ", item.Leased(), " are leased");
    }
    if (bought >= policy.quality.answers_min && item.Leased() > 0) {
      Complain("item ", granted.item, " is given out while an answer beyond its least is awaited");
    }
  }
  leases_[e.assignment] = {.deadline = e.deadline, .late_until = e.late_until};
}

void Witness::Check(const core::ItemsEnded& e) {
  const JobState* job = state_.job(e.assignment.job);
  if (job == nullptr) return Complain("an answer to a job that is not there");
  const auto lease = leases_.find(e.assignment);
  if (lease == leases_.end()) return Complain("something ended of an assignment that was over");
  const core::LiveAssignment* live = job->leases.Find(e.assignment.sequence);
  for (const ItemEnd& end : e.items) {
    const core::ItemRecord item = job->items.Get(end.outcome.item);
    const ItemEntry* entry = item.FindAssignment(e.assignment.sequence);
    if (entry == nullptr || !entry->live()) {
      Complain("item ", end.outcome.item, " of assignment ", e.assignment.sequence, " ends twice");
      continue;
    }
    const core::LeasedItem* leased = live == nullptr ? nullptr : live->Find(end.outcome.item);
    CheckEnd(e, end, lease->second, leased == nullptr ? core::kNoLabel : leased->draft);
  }
  if (e.over) leases_.erase(lease);
}

// What becomes of an item depends on when: before the deadline, within the grace, or after it.
void Witness::CheckEnd(const core::ItemsEnded& e, const ItemEnd& end, Lease& lease,
                       core::Label draft) {
  const auto complain = [&](absl::string_view what, absl::Time than) {
    Complain("item ", end.outcome.item, " of assignment ", e.assignment.sequence, " ", what, ", ",
             absl::FormatDuration(e.at - than), " after it");
  };
  switch (end.disposition) {
    case Disposition::kAnswered:
      // A draft counts at the deadline, however late that is carried out.
      if (e.at >= lease.deadline && (draft == core::kNoLabel || draft != end.label)) {
        complain("is answered as if its deadline had not passed", lease.deadline);
      }
      break;
    case Disposition::kAnsweredLate:
      if (e.at < lease.deadline) complain("is late though its deadline is to come", lease.deadline);
      if (e.at >= lease.late_until) complain("counts though its grace has ended", lease.late_until);
      break;
    case Disposition::kReturned:
      if (e.at >= lease.late_until) {
        complain("is given back though its grace has ended", lease.late_until);
      }
      break;
    case Disposition::kMissed:
      if (e.at < lease.deadline) complain("is missed before its deadline", lease.deadline);
      if (draft != core::kNoLabel) complain("is missed though it has a draft", lease.deadline);
      lease.expired = true;
      break;
    case Disposition::kForfeited:
      if (e.at < lease.late_until) {
        complain("is forfeited before its grace ends", lease.late_until);
      }
      break;
    case Disposition::kRevoked:
      if (!state_.worker(e.worker).blocked) {
        Complain("item ", end.outcome.item, " is taken from a worker who is not blocked");
      }
      break;
  }
}

void Witness::Check(const core::AnswerReviewed& e) {
  const JobState* job = state_.job(e.assignment.job);
  if (job != nullptr && job->ended() && !e.approved && !e.money_only) {
    Complain("a rejection changes an item of a job that has ended");
  }
}

// --- Ends and revisions --------------------------------------------------------------------------

void Witness::CheckEnded(const Event& event) {
  const std::optional<JobIndex> index = JobOf(event);
  const JobState* job = index.has_value() ? state_.job(*index) : nullptr;
  if (job == nullptr || !job->ended()) return;
  const bool allowed = std::holds_alternative<core::JobDeleted>(event) ||
                       std::holds_alternative<core::AnswerReviewed>(event) ||
                       std::holds_alternative<core::BonusPaid>(event);
  if (!allowed) Complain("something happens in a job that has ended");
}

void Witness::CheckRevisions(const Event& event) {
  const std::optional<JobIndex> index = JobOf(event);
  const JobState* job = index.has_value() ? state_.job(*index) : nullptr;
  if (job == nullptr) return;
  uint32_t last = job->head.revision;
  for (const core::ItemOutcome& outcome : OutcomesOf(event)) {
    if (outcome.revision == 0) continue;
    // One after another: a revision is one item's.
    if (outcome.revision != last + 1) Complain("revision ", outcome.revision, " after ", last);
    last = outcome.revision;
  }
}

// --- Everything ----------------------------------------------------------------------------------

Complaints Witness::Audit(testing::FaultyDisk& disk) {
  Complaints complaints = Observe(disk);
  if (!complaints.empty()) return complaints;
  for (std::string& complaint : CheckPromises(state_)) complaints.push_back(std::move(complaint));
  for (std::string& complaint : CheckAllScores(state_)) complaints.push_back(std::move(complaint));
  const std::string digest = edge::StateDigest(state_);

  const absl::StatusOr<core::PartitionState> stored = Load(disk, /*objects=*/true);
  if (!stored.ok()) {
    complaints.push_back(absl::StrCat("pages and tail: ", stored.status().ToString()));
  } else if (edge::StateDigest(*stored) != digest) {
    complaints.push_back("pages and tail fold to another state than the journal");
  }

  testing::FaultyDisk whole({});
  whole.mutable_journal() = journal_;
  whole.LoseLastRecords(0);  // Sets its last id.
  const absl::StatusOr<core::PartitionState> folded = Load(whole, /*objects=*/false);
  if (!folded.ok()) {
    complaints.push_back(absl::StrCat("untrimmed journal: ", folded.status().ToString()));
  } else if (edge::StateDigest(*folded) != digest) {
    complaints.push_back("the untrimmed journal folds to another state when it is read at once");
  }
  return complaints;
}

std::string Witness::Tail(size_t records) const {
  std::string text;
  auto at = journal_.end();
  for (; records > 0 && at != journal_.begin(); --records) --at;
  for (; at != journal_.end(); ++at) {
    const absl::StatusOr<core::Record> record = core::DecodeRecord(at->second);
    if (!record.ok()) continue;
    const absl::StatusOr<std::vector<Event>> events = core::DecodeEvents(*record);
    if (!events.ok()) continue;
    absl::StrAppend(&text, "  ", at->first.ToString(), " at ", absl::FormatTime(record->at), "\n");
    for (const Event& event : *events) {
      absl::StrAppend(&text, "    ", core::EventToJson(event).substr(0, 300), "\n");
    }
  }
  return text;
}

}  // namespace tessera::simulation
