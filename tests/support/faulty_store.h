// A store in memory for simulations: it loses, refuses, delays and fences, and it replays from a
// seed. It passes the store contract (tests/coordinator/store) when no fault is asked for.
//
//   FaultyDisk disk({.seed = 7});
//   FaultyStore store(&disk, {.lose_reply_per_mille = 20});
//   store.Append({1, 0}, "record", [](absl::Status s) { ... });
//   while (store.pending() > 0) store.Deliver();   // The simulator says when.
//
// A call is a request on its way to the disk, then a reply on its way back. Arrive() carries out
// the next request; Deliver() does that where it is still to do, and hands over the reply. Nothing
// happens by itself, so a simulator chooses how owners' calls interleave.
//
// Faults are those of one connection. A lost request or reply breaks it: that call and all behind
// it answer UNAVAILABLE, and of the calls behind a lost reply some first ones, by seed, were still
// carried out. Nothing broken off arrives later. The next call finds a new connection, which may
// also come up with nothing in flight, see Reconnect(). A crash is different: what a dead owner had
// sent may still arrive, see Crash().
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/storage.h"
#include "coordinator/core/types.h"

namespace tessera::testing {

// What is stored, shared by the owners that come and go. Applies requests one at a time, as Redis.
class FaultyDisk {
 public:
  struct Options {
    uint64_t seed = 1;
    // Only for tests that show that a test can fail: any owner may write at any time, and records
    // land in the order of their arrival (an id that is there already is replaced).
    bool fencing_off = false;
  };
  explicit FaultyDisk(Options options) : options_(options), random_state_(options.seed) {}
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  // Requests of dead owners that are still on their way; the next arrives, its reply goes nowhere.
  size_t late_pending() const { return late_.size(); }
  bool ArriveLate();

  // A fail-over to a replica that had not seen the last `count` records: they are gone, and the
  // last id goes back. Objects stay as they are.
  void LoseLastRecords(size_t count);

  // For the eyes of tests.
  core::RecordId last_id() const { return last_id_; }
  const std::map<core::RecordId, std::string>& journal() const { return journal_; }
  const std::map<std::string, core::ObjectWrite>& objects() const { return objects_; }
  // For tests that damage what is stored.
  std::map<core::RecordId, std::string>& mutable_journal() { return journal_; }
  std::map<std::string, core::ObjectWrite>& mutable_objects() { return objects_; }
  // How many writes were refused by the fence.
  int64_t fenced() const { return fenced_; }

 private:
  friend class FaultyStore;
  using Request = absl::AnyInvocable<void()>;

  absl::Status Append(core::RecordId id, const std::string& bytes);
  absl::Status WriteObjects(uint64_t epoch, const std::vector<core::ObjectWrite>& writes);
  absl::Status Trim(uint64_t epoch, core::RecordId below);
  absl::Status CheckEpoch(uint64_t epoch, absl::string_view doing);
  uint64_t Random(uint64_t below);  // 0 .. below-1.

  const Options options_;
  uint64_t random_state_;
  core::RecordId last_id_;
  std::map<core::RecordId, std::string> journal_;
  std::map<std::string, core::ObjectWrite> objects_;
  std::deque<Request> late_;
  int64_t fenced_ = 0;
};

// One owner's connection to the disk.
class FaultyStore final : public core::Store {
 public:
  enum class Fault {
    kNone,
    kLoseRequest,  // UNAVAILABLE; not carried out. The connection breaks.
    kLoseReply,    // UNAVAILABLE; carried out. The connection breaks.
    kRefuse,       // RESOURCE_EXHAUSTED; not carried out.
    kDelay,        // Deliver() comes back empty-handed a few times first.
  };
  struct Faults {
    // Of a thousand calls; the rest go well. Reads are lost, refused and delayed as writes are.
    int lose_request_per_mille = 0;
    int lose_reply_per_mille = 0;
    int refuse_per_mille = 0;
    int delay_per_mille = 0;
    int delay_deliveries_max = 8;
  };

  explicit FaultyStore(FaultyDisk* disk) : FaultyStore(disk, Faults()) {}
  FaultyStore(FaultyDisk* disk, Faults faults);
  // As Crash().
  ~FaultyStore() override;

  void Append(core::RecordId id, std::string bytes, Done done) override;
  void LastRecord(DoneWith<core::StoredRecord> done) override;
  void LastId(DoneWith<core::RecordId> done) override;
  void ReadJournal(core::RecordId from, size_t records_max,
                   DoneWith<std::vector<core::StoredRecord>> done) override;
  void WriteObjects(uint64_t epoch, std::vector<core::ObjectWrite> writes, Done done) override;
  void ReadObjects(std::vector<std::string> keys,
                   DoneWith<std::vector<std::optional<std::string>>> done) override;
  void Trim(uint64_t epoch, core::RecordId below, Done done) override;

  // The next call gets this fault, whatever the odds say; asked for twice, the next two, in order.
  void FailNext(Fault fault) { planned_.push_back(fault); }
  void SetFaults(Faults faults) { faults_ = faults; }
  // The connection breaks, and a new one is there at once. Of the calls that have not arrived some
  // first ones, by seed, are carried out; all that are pending answer UNAVAILABLE.
  void Reconnect();

  // Calls whose `done` has not run.
  size_t pending() const { return calls_.size(); }
  // Carries out the next request that has not arrived; its reply waits. False if there is none.
  bool Arrive();
  // Hands over the next reply: runs one `done`. False if none is pending or it is delayed.
  bool Deliver();
  // Until nothing is pending, what the `done`s call included.
  void DeliverAll();

  // The owner is gone. No `done` runs any more. Of the requests that have not arrived, some first
  // ones arrive now, some next ones arrive late (FaultyDisk::ArriveLate) and the rest never, by
  // seed. Later calls go nowhere.
  void Crash();
  bool crashed() const { return crashed_; }

 private:
  struct Call {
    // Carries out the request and keeps the reply.
    absl::AnyInvocable<void()> arrive;
    // Runs `done` with the reply, or with the status given where that is not OK.
    absl::AnyInvocable<void(const absl::Status&)> deliver;
    Fault fault = Fault::kNone;
    int delay_deliveries = 0;
    bool arrived = false;
    absl::Status trouble;  // Not OK: refused, or the connection broke under this call.
  };

  template <typename Reply>
  void Enqueue(std::function<Reply()> request, std::function<void(Reply)> done);
  void ArriveAt(size_t place);
  // The connection breaks under the call at `place` and all behind it, of which the first
  // `carried_out` still are.
  void Break(size_t place, size_t carried_out);

  FaultyDisk* const disk_;
  Faults faults_;
  std::deque<Fault> planned_;
  std::deque<Call> calls_;
  int connection_ = 1;              // Its number: grows with each that breaks.
  std::optional<int> answered_on_;  // As in RedisStore, ...
  bool journal_seen_ = false;       // ... and this, too.
  bool append_in_flight_ = false;
  bool crashed_ = false;
};

}  // namespace tessera::testing
