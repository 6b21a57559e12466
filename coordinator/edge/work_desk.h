// Where gateways' streams meet the partitions: what they send becomes commands, what was decided
// becomes messages.
//
// A WorkDesk keeps the sessions, knows which gateway holds which assignment, and is the market that
// the broker buys from. A gateway is known by its name on its platform for as long as it holds
// something, so a stream that breaks and comes back goes on where it was: what ended meanwhile
// Hello asks about, and what ends later is told to the new stream.
//
// Nothing here is remembered over a restart: what a gateway was given stands in the partitions'
// leases, and what it holds it names in Hello. Threads: none; belongs to a Coordinator.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/edge/broker.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/edge/outbox.h"
#include "coordinator/edge/partitions.h"
#include "coordinator/edge/session.h"

namespace tessera::edge {

class WorkDesk : private Market {
 public:
  WorkDesk(const CoordinatorOptions& options, Partitions* partitions);
  ~WorkDesk() override = default;

  uint64_t Open(absl::string_view platform, SessionSink* sink);
  void OnWork(uint64_t session, const v1::WorkRequest& request);
  void Close(uint64_t session);

  void OnLeaseEnded(uint32_t partition, const core::LeaseEnded& ended);
  void OnJobChanged(JobRef job);
  void OnWorkAppeared() { broker_.WorkAppeared(); }

  // Serves demands and sends what the turn has to say. Call it before the hosts are flushed.
  void EndTurn();
  absl::Time NextWake();

  // No new leases; every session is told that it ends after `timeout`.
  void Drain(absl::Duration timeout);
  void CloseAll(const absl::Status& status);

 private:
  using AssignmentRef = IdMaker::AssignmentRef;
  using AssignmentKey = std::pair<uint32_t, core::AssignmentId>;

  struct Gateway {
    uint64_t session = 0;  // 0: it is away.
    std::set<AssignmentKey> holds;
  };
  // An assignment that a gateway holds.
  struct Holding {
    std::string gateway;
    std::string tenant;
    std::string pool;
    double charged_seconds = 0;  // 0: not known, it was granted before this coordinator began.
    std::vector<core::ItemIndex> items;
  };
  // What came of an assignment: the reply to a repeat.
  struct Account {
    // Off: only of items that somebody named, and there may be more. Then its sums say nothing.
    bool whole = true;
    std::optional<core::WorkerIndex> worker;  // None where none of its items is known.
    int64_t earned_micros = 0;
    uint32_t accepted = 0;
    uint32_t returned = 0;
    bool late = false;
    bool revoked = false;  // Some of it was taken away.
  };

  Session* FindSession(uint64_t id);
  void EndSession(uint64_t id, const absl::Status& status);

  // --- work_hello.cc -----------------------------------------------------------------------------
  void OnHello(Session& session, const v1::Hello& hello);
  // `rests_on` becomes the partition that the error is of.
  absl::Status CheckPositions(const v1::Hello& hello, std::optional<uint32_t>* rests_on);
  absl::StatusOr<v1::HeldState> StateOf(Session& session, const v1::Held& held);
  // Ends the session because of a Hello. That its history is lost is said when it is known that the
  // partition is still ours: to an owner that was replaced and does not know it, what the next one
  // committed looks the same.
  void Refuse(Session& session, std::optional<uint32_t> partition, const absl::Status& status);
  bool ResendsAreDue();
  // Sends assignments again, as far as their gateways have room.
  void ResendSome();
  void Resend(Session& session, const AssignmentRef& ref);

  // --- work_entries.cc ---------------------------------------------------------------------------
  void OnLease(Session& session, const v1::Lease& lease);
  void OnDraft(Session& session, const v1::Draft& draft);
  void OnSubmit(Session& session, const v1::Submit& submit);
  void OnReturn(Session& session, const v1::Return& giving_back);
  void OnExtend(Session& session, const v1::Extend& extend);
  // `rests_on` becomes the partition that an error is of, where it is one's.
  absl::StatusOr<Demand> DemandFrom(Session& session, const v1::Lease& lease,
                                    std::optional<uint32_t>* rests_on);
  // OK, or RESOURCE_EXHAUSTED (STREAM_LIMIT).
  absl::Status RoomFor(const Demand& demand) const;
  // The assignment, if this session may speak about it and its partition can be asked.
  absl::StatusOr<AssignmentRef> Resolve(const Session& session, absl::string_view assignment);
  // The item of this key, unless it is known to be of another platform's assignment.
  absl::StatusOr<core::ItemIndex> ItemOf(const Session& session, const AssignmentRef& ref,
                                         absl::string_view key, absl::string_view path);
  absl::StatusOr<Account> Submit(Session& session, const AssignmentRef& ref,
                                 const v1::Submit& submit);
  absl::StatusOr<Account> Return(Session& session, const AssignmentRef& ref,
                                 const v1::Return& giving_back);
  // An entry about this assignment has been handled: a record may be closed behind it.
  void EndEntry(absl::string_view assignment);
  // Said when `partition` has committed what it decided so far, if there is one.
  v1::Rejected& Reject(Session& session, v1::WorkKind kind, std::optional<uint32_t> partition,
                       const absl::Status& status);
  // Of an entry about an assignment: said after the commit of the partition that it names.
  v1::Rejected& Reject(Session& session, v1::WorkKind kind, absl::string_view assignment,
                       uint64_t tag, const absl::Status& status);

  // --- work_desk.cc ------------------------------------------------------------------------------
  const core::LiveAssignment* Live(const AssignmentRef& ref);
  // Whether the id comes from a history that goes further than what is known here. An id is sent
  // when its grant is committed: so there is a newer owner, or the store has lost something.
  bool IsBeyond(const AssignmentRef& ref);
  // False if the assignment is another platform's, as its lease says, its account, or these of its
  // items. Of one that is over and named without items nobody may know whose it was; then there is
  // nothing to be told about it either.
  bool MaySpeakOf(const Session& session, const AssignmentRef& ref,
                  const std::vector<core::ItemIndex>& items);
  v1::Assigned AssignedFrom(const AssignmentRef& ref, const core::LiveAssignment& live);
  void Hold(const AssignmentRef& ref, Holding holding);
  void Release(const AssignmentRef& ref);
  // Takes up what was granted before this coordinator began, from the partitions' leases, and what
  // ended last.
  void Adopt();
  // What the assignment's items that are known here have come to.
  Account AccountOf(const AssignmentRef& ref, const std::vector<core::ItemIndex>& items);
  void Remember(const AssignmentRef& ref, const Account& account);
  void Correct(const AssignmentRef& ref, double actual_seconds);

  std::vector<Offer> Offers(absl::string_view pool) override;
  Purchase Buy(Demand& demand, absl::string_view tenant, uint32_t partition) override;
  bool HasRoom(uint64_t session) override;
  void Ended(const Demand& demand, End end) override;
  void FindUnknownKeys(Demand& demand);
  // What a demand gets that was granted nothing: it stands, or ends because waiting will not help.
  Purchase NothingOf(const Demand& demand, const core::LeaseRequest& request);

  const CoordinatorOptions options_;
  Partitions* const partitions_;
  Broker broker_;
  Outbox outbox_;
  bool draining_ = false;
  absl::Time heartbeat_check_ = absl::InfinitePast();

  uint64_t next_session_ = 1;
  std::map<uint64_t, std::unique_ptr<Session>> sessions_;
  std::map<uint64_t, std::deque<AssignmentRef>> resends_;  // By session: to be sent again.
  absl::flat_hash_map<std::string, Gateway> gateways_;
  std::set<uint32_t> adopted_;  // Partitions whose leases were taken up.
  absl::flat_hash_map<AssignmentKey, Holding> holdings_;

  // The latest accounts; beyond kAccountsMax the oldest go, and a repeat is answered without sums.
  static constexpr size_t kAccountsMax = 1 << 16;
  absl::flat_hash_map<AssignmentKey, Account> accounts_;
  std::deque<AssignmentKey> account_order_;
};

}  // namespace tessera::edge
