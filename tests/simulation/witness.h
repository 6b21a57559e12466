// Watches one partition's journal from outside, as an auditor would.
//
// After every step a witness reads what the store has got since, keeps a copy that is never
// trimmed, folds it, and checks each event against what was true before it and a model of its own:
// of who writes, of deadlines, of what may be bought from whom and when an answer counts, of what
// an ended job may still do. So the state that it holds is the committed one, and it does not
// depend on any coordinator being right.
//
//   Witness witness;
//   complaints = witness.Observe(disk);   // After each arrival at the disk.
//   complaints = witness.Audit(disk);     // Slower: the stored pages and the scores as well.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "coordinator/core/events.h"
#include "coordinator/core/fold.h"
#include "coordinator/core/record.h"
#include "tests/simulation/promises.h"
#include "tests/support/faulty_store.h"

namespace tessera::simulation {

class Witness {
 public:
  Complaints Observe(const testing::FaultyDisk& disk);
  // Beside Observe(): pages and tail, and the journal from its beginning, fold to the same state;
  // the scores of all items are what their fits say.
  Complaints Audit(testing::FaultyDisk& disk);

  const core::PartitionState& state() const { return state_; }
  // Counts what happened, so that a simulation can show that it was not an idle one.
  const std::map<std::string, uint64_t>& events() const { return events_; }
  // The last events, for people who look for a bug.
  std::string Tail(size_t records) const;

 private:
  struct Lease {
    absl::Time deadline;
    absl::Time late_until;
    bool expired = false;
  };

  void Take(core::RecordId id, const std::string& bytes);
  void CheckWriter(core::RecordId id, const core::Record& record);
  void CheckTime(const core::Event& event);
  void CheckEnded(const core::Event& event);
  void CheckRevisions(const core::Event& event);
  void Check(const core::OwnerStarted& e);
  void Check(const core::Granted& e);
  void Check(const core::ItemsEnded& e);
  void CheckEnd(const core::ItemsEnded& e, const core::ItemEnd& end, Lease& lease,
                core::Label draft);
  void Check(const core::Extended& e);
  void Check(const core::AnswerReviewed& e);
  template <typename Event>
  void Check(const Event& /*event*/) {}
  void CheckDeadlines();

  template <typename... Parts>
  void Complain(const Parts&... parts);

  core::PartitionState state_;
  std::map<core::RecordId, std::string> journal_;  // Never trimmed.
  core::RecordId last_;
  std::map<uint64_t, uint64_t> nonces_;  // By epoch.
  absl::Time time_ = absl::InfinitePast();
  std::map<core::AssignmentId, Lease> leases_;  // The model.
  std::set<uint32_t> touched_;                  // Jobs, by the record at hand.
  std::map<std::string, uint64_t> events_;
  Complaints complaints_;
};

}  // namespace tessera::simulation
