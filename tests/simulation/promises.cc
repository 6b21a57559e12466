#include "tests/simulation/promises.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/core/fusing/categorical.h"

namespace tessera::simulation {

using core::Fit;
using core::ItemCounts;
using core::ItemEntry;
using core::ItemIndex;
using core::ItemRecord;
using core::ItemState;
using core::JobHead;
using core::JobIndex;
using core::JobState;
using core::Micros;

namespace {

void Count(ItemState state, ItemCounts& counts) {
  switch (state) {
    case ItemState::kWaiting:
      ++counts.waiting;
      break;
    case ItemState::kInProgress:
      ++counts.in_progress;
      break;
    case ItemState::kResolved:
      ++counts.resolved;
      break;
    case ItemState::kUnresolved:
      ++counts.unresolved;
      break;
    case ItemState::kCancelled:
      ++counts.cancelled;
      break;
  }
}

class Recount {
 public:
  explicit Recount(const JobState& job) : job_(job) {}

  Complaints Take() {
    for (ItemIndex i = 0; i < job_.items.size(); ++i) TakeItem(i);
    const JobHead& head = job_.head;
    Expect("items", job_.items.size(), head.items);
    Expect("waiting items", counts_.waiting, head.counts.waiting);
    Expect("items in progress", counts_.in_progress, head.counts.in_progress);
    Expect("resolved items", counts_.resolved, head.counts.resolved);
    Expect("unresolved items", counts_.unresolved, head.counts.unresolved);
    Expect("cancelled items", counts_.cancelled, head.counts.cancelled);
    Expect("answers", answers_, head.answers);
    Expect("rejected answers", rejected_, head.answers_rejected);
    Expect("late answers", late_, head.answers_late);
    Expect("reserved micros", reserved_, head.ledger.reserved_micros);
    Expect("approved micros", approved_, head.ledger.approved_micros);
    Expect("earned micros", owed_ - approved_, head.ledger.earned_micros);
    uint64_t open = 0;
    for (const auto& [number, page] : job_.leases.pages()) open += page.by_sequence.size();
    Expect("open assignments", open, head.open_assignments);
    if (head.ledger.committed_micros() > head.ledger.budget_micros) {
      Complain("the budget of ", head.ledger.budget_micros,
               " micros is passed: ", head.ledger.committed_micros(), " are committed");
    }
    return std::move(complaints_);
  }

 private:
  void TakeItem(ItemIndex i) {
    const ItemRecord item = job_.items.Get(i);
    Count(job_.EffectiveState(item.state), counts_);
    std::set<uint32_t> workers;
    for (const ItemEntry& e : item.entries) {
      if (!workers.insert(e.worker.value()).second) {
        Complain("item ", i, " was given to worker ", e.worker.value(), " twice");
      }
      const bool paid = e.counted() && !(e.flags & ItemEntry::kUnpaid);
      if (e.counted()) ++answers_;
      if (e.status == ItemEntry::kRejected) ++rejected_;
      if (e.flags & ItemEntry::kLate) ++late_;
      if (paid) owed_ += e.price_micros();
      if (paid && (e.flags & ItemEntry::kApproved)) approved_ += e.price_micros();
      if (e.live()) {
        reserved_ += e.price_micros();
        if (job_.leases.Find(e.sequence) == nullptr) {
          Complain("item ", i, " waits for assignment ", e.sequence, ", which is over");
        }
      }
    }
  }

  template <typename A, typename B>
  void Expect(absl::string_view what, A counted, B said) {
    if (static_cast<int64_t>(counted) == static_cast<int64_t>(said)) return;
    Complain(what, ": the head says ", said, ", a recount finds ", counted);
  }
  template <typename... Parts>
  void Complain(const Parts&... parts) {
    complaints_.push_back(absl::StrCat("job ", job_.head.identity.id, ": ", parts...));
  }

  const JobState& job_;
  ItemCounts counts_;
  uint64_t answers_ = 0;
  uint64_t rejected_ = 0;
  uint64_t late_ = 0;
  Micros reserved_ = 0;
  Micros owed_ = 0;
  Micros approved_ = 0;
  Complaints complaints_;
};

template <typename Check>
Complaints OfEveryJob(const core::PartitionState& state, Check check) {
  Complaints all;
  for (uint32_t j = 0; j < state.jobs(); ++j) {
    const JobState* job = state.job(JobIndex(j));
    if (job == nullptr) continue;
    const Complaints some = check(*job);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace

Complaints CheckJob(const JobState& job) { return Recount(job).Take(); }

Complaints CheckScores(const JobState& job) {
  Complaints complaints;
  const Fit prior = core::PriorFit(static_cast<uint16_t>(job.head.identity.classes.size()));
  for (ItemIndex i = 0; i < job.items.size(); ++i) {
    const ItemRecord item = job.items.Get(i);
    const core::Votes votes = core::CountedVotes(item.entries);
    if (votes.empty()) continue;
    if (item.fit != 0 && !job.fits.contains(item.fit)) {
      complaints.push_back(absl::StrCat("item ", i, " names fit ", item.fit, ", which is gone"));
      continue;
    }
    const core::Score score =
        core::ScoreVotes(item.fit == 0 ? prior : job.fits.at(item.fit).fit, votes);
    if (score.value == item.value && score.confidence == item.confidence) continue;
    complaints.push_back(
        absl::StrCat("item ", i, ": under fit ", item.fit, " its answers give value ", score.value,
                     " at ", score.confidence, ", not ", item.value, " at ", item.confidence));
  }
  return complaints;
}

Complaints CheckPromises(const core::PartitionState& state) { return OfEveryJob(state, CheckJob); }
Complaints CheckAllScores(const core::PartitionState& state) {
  return OfEveryJob(state, CheckScores);
}

}  // namespace tessera::simulation
