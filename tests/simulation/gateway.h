// A gateway with some workers, who remembers what was acknowledged.
//
// It keeps a stream, asks for work, drafts, submits, returns, extends, sends things twice and in
// odd orders, is late, forgets workers, loses its stream and comes back with a Hello that names
// what it holds. Each promise that a message makes is checked against the committed state when it
// comes, and at every CheckLedger() after.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/simulation/world.h"

namespace tessera::simulation {

class Gateway {
 public:
  Gateway(World* world, int number, int workers);

  void Act();
  void OnMessage(uint64_t stream, const v1::WorkResponse& response);
  void OnClosed(uint64_t stream, const absl::Status& status);
  // What was acknowledged is in the committed state, and nothing else is counted.
  void CheckLedger();
  // Nothing that was sent waits for its answer.
  bool quiet() const { return unanswered_.empty(); }
  std::string Describe() const;

 private:
  struct ItemNotes {
    int64_t edit = 0;  // Of the last draft sent.
    int64_t edit_acknowledged = 0;
    bool withdrawn = false;                  // A draft without an answer was sent.
    bool returned = false;                   // It was given back by name.
    std::set<std::string> said;              // All choices that were ever sent ...
    std::map<int64_t, std::string> drafted;  // ... and those in drafts, by edit.
  };
  // An assignment, for as long as the history lasts.
  struct Held {
    edge::IdMaker::AssignmentRef ref;
    std::string worker;
    std::map<std::string, ItemNotes> items;  // By key.
    int64_t price_micros = 0;
    absl::Time expire;  // The latest that were promised.
    absl::Time late_until;
    absl::Time answer_at;    // When its worker is done.
    bool abandoned = false;  // The worker is gone; nothing comes.
    bool submit_sent = false;
    bool return_sent = false;
    bool submit_acknowledged = false;
    int64_t earned_acknowledged = 0;
    bool finished = false;  // As far as the gateway knows.
    bool revoked = false;
  };
  // An entry that was sent and not answered.
  struct Entry {
    v1::WorkKind kind = v1::WORK_KIND_UNSPECIFIED;
    std::string assignment;
    v1::WorkRequest request;  // With this entry alone.
    absl::Time sent_at;
    bool over = false;  // The assignment was over before it was sent: it can change nothing.
  };

  void Connect();
  void AskForWork();
  void Work(const std::string& id, Held& held);
  void SendDraft(const std::string& id, Held& held);
  void SendSubmit(const std::string& id, Held& held);
  void SendReturn(const std::string& id, Held& held);
  void SendExtend(const std::string& id, Held& held);
  void SendBadAnswer(const std::string& id, const Held& held);
  void SendOldEntry();
  void SendEntry(v1::WorkKind kind, const std::string& assignment, v1::WorkRequest request);
  void SendAgain();

  void OnWelcome(const v1::Welcome& welcome);
  void OnAssigned(const v1::Assigned& assigned);
  void OnCommitted(const v1::Committed& committed);
  void OnRejected(const v1::Rejected& rejected);
  void See(const v1::CommitPosition& position);

  std::string Guess(const std::string& key);
  // The entry of this item under this assignment, in the committed state.
  std::optional<core::ItemEntry> Find(const Held& held, const std::string& key) const;
  void CheckHeld(const std::string& id, const Held& held);
  // A reply that can have changed nothing states what was earned.
  void CheckRepeat(const v1::Committed& committed, const Held& held);
  bool JobIsThere(const Held& held) const;
  bool IsOver(const Held& held) const;
  template <typename... Parts>
  void Complain(const Parts&... parts);

  World* const world_;
  const std::string name_;
  std::vector<std::string> workers_;
  uint64_t stream_ = 0;
  bool welcomed_ = false;
  absl::Time connect_at_;
  absl::Time heard_at_;
  uint64_t next_demand_ = 1;
  std::map<uint64_t, std::string> demands_;  // Open on this stream, with their workers.
  uint64_t next_tag_ = 1;
  std::map<uint64_t, Entry> unanswered_;                 // By tag.
  std::vector<v1::WorkRequest> sent_;                    // Some old ones, to be sent again.
  std::map<std::string, Held> held_;                     // By assignment.
  std::map<std::string, v1::CommitPosition> positions_;  // By partition.
};

}  // namespace tessera::simulation
