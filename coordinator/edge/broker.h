// Who is served next when there is work, and with whose work.
//
// A gateway's demand stands until its credit is used up, it is withdrawn or its time is over. For
// each demand the broker asks the tenants that offer work in its pool, in the order of fair
// queueing (fair_queue.h), until one grants a lease or all have said NONE. A demand that got NONE
// from all is parked with the version of the work that it saw, and is tried again only after work
// has appeared since: round robin, and only so many in a turn, so that ten thousand parked demands
// and one new item cost neither ten thousand questions nor a wait behind them. Demands of a gateway
// that does not read what it was given are held up until it does.
//
//   broker.Put(demand);
//   broker.WorkAppeared();
//   broker.Run(now);      // Once per turn. more(): it stopped at its limit and wants another turn.
//
// Promise: while a demand stands that is not held up, and some tenant would grant it a lease, it gets
// one after at most ceil(demands of the pool / kParkedTriesMax) turns, or as many more as the limit
// on work takes: where tenants have thousands of jobs, a turn is a few questions. A notice of work
// that never came (a job whose start time has passed) is made up for every kRetryInterval.
//
// Threads: none; belongs to a Coordinator.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/edge/fair_queue.h"
#include "coordinator/edge/partitions.h"

namespace tessera::edge {

// Credit for one worker.
struct Demand {
  uint64_t session = 0;
  std::string platform;  // The session's; empty: any.
  uint64_t id = 0;       // Unique in its session.
  std::string worker;    // Full name.
  std::string pool;      // Id.
  uint32_t wanted = 0;   // Assignments.
  uint32_t items_max = 0;
  std::vector<std::string> skills, languages;
  absl::Time until = absl::InfiniteFuture();  // InfinitePast: what there is now, then it ends.
  // Only this job, and of it only these items. Keys that are not known so far wait for their items.
  std::optional<JobRef> only_job;
  std::string only_tenant;
  bool only_some_items = false;
  std::vector<core::ItemIndex> only_items;
  std::vector<std::string> unknown_keys;
  uint32_t items_seen = 0;  // How many items the job had when keys were last looked up.
  size_t bytes = 0;         // What it takes beyond a demand that names nothing, as it was put.

  // About what one takes here that names nothing, with its places in the broker's tables.
  static constexpr size_t kBareBytes = 512;
  size_t memory() const { return kBareBytes + bytes; }
};

// What the broker buys from: the partitions, or a test's.
class Market {
 public:
  virtual ~Market() = default;

  struct Offer {
    std::string tenant;
    uint32_t partition = 0;
    double index = 0;
    double weight = 1;  // The tenant's share of the pool.
    size_t jobs = 1;    // Of the tenant there: so many are looked at for an offer, and for a lease.
  };
  // Hints: who has something in the pool.
  virtual std::vector<Offer> Offers(absl::string_view pool) = 0;

  // Why a demand ends before its credit is used up.
  enum class End { kNoWork, kWithdrawn, kJobDone, kBlocked, kCapped };
  struct Purchase {
    bool granted = false;
    double seconds = 0;      // Expected, if granted.
    std::optional<End> end;  // Nothing was granted, and waiting will not help.
  };
  virtual Purchase Buy(Demand& demand, absl::string_view tenant, uint32_t partition) = 0;
  // Whether the session's gateway can be given more. Where not, a turn is due when it can.
  virtual bool HasRoom(uint64_t session) = 0;

  // The demand ended with `demand.wanted` of its credit unused.
  virtual void Ended(const Demand& demand, End end) = 0;
};

class Broker {
 public:
  // In one turn and pool: questions answered NONE for parked demands, for new ones; leases.
  static constexpr int kParkedTriesMax = 64;
  static constexpr int kNewTriesMax = 512;
  static constexpr int kGrantsMax = 4096;
  // In one turn: jobs looked at, and demands beside. Some tens of milliseconds, then others are
  // heard.
  static constexpr size_t kWorkMax = 20'000;
  // In one turn and session: demands that were held up and are tried again.
  static constexpr int kResumedMax = 64;
  // NONEs in a row after which offers are asked for again: they may be gone.
  static constexpr int kNonesToRefresh = 8;
  static constexpr absl::Duration kRetryInterval = absl::Seconds(5);

  explicit Broker(Market* market) : market_(market) {}

  // A demand of the same session and id is replaced, without a word.
  void Put(Demand demand);
  // Ended(kWithdrawn), if it is there.
  void Withdraw(uint64_t session, uint64_t id);
  // Without a word: there is nobody to say it to.
  void DropSession(uint64_t session);
  // Ends what asks for this job only.
  void JobDone(JobRef job);

  void WorkAppeared() { ++version_; }
  void Run(absl::Time now);
  bool more() const;
  absl::Time NextWake() const;

  // What was charged for a lease turned out otherwise.
  void Correct(absl::string_view pool, absl::string_view tenant, double charged, double actual);

  size_t demands() const { return demands_.size(); }
  size_t demands(uint64_t session) const;
  // Of the session's demands.
  size_t bytes(uint64_t session) const;
  size_t bytes(uint64_t session, uint64_t id) const;
  // Of all demands, and of those of one platform's sessions.
  size_t memory() const { return memory_; }
  size_t memory(absl::string_view platform) const;
  bool Stands(uint64_t session, uint64_t id) const { return demands_.contains(Key{session, id}); }

 private:
  using Key = std::pair<uint64_t, uint64_t>;  // Session, demand.
  using Line = std::map<uint64_t, Key>;       // By ticket.
  enum class Where { kFresh, kParked, kHeldUp };
  struct Standing {
    Demand demand;
    uint64_t tried_version = 0;   // The work that it was last tried on; 0: never.
    uint64_t ticket = 0;          // Its place in its line.
    Where where = Where::kFresh;  // Which line that is.
  };
  struct PoolQueue {
    FairQueue fair;
    Line fresh;   // Never tried, or served and still wanting.
    Line parked;  // Those longest untried first.
  };
  // One pool's turn: what is on offer now, and what it has cost so far.
  struct Turn;

  PoolQueue& QueueOf(absl::string_view pool);
  void RunPool(const std::string& pool, PoolQueue& queue, absl::Time now);
  enum class Tried { kGranted, kNone, kEnded, kHeldUp };
  Tried Try(Standing& standing, PoolQueue& queue, Turn& turn);
  // Lets demands go on whose gateways have room again.
  void Resume();
  Line& LineOf(const Standing& standing);
  void Enqueue(Standing& standing, Where where);
  void Remove(const Key& key);
  void End(const Key& key, Market::End end);

  Market* const market_;
  uint64_t version_ = 1;
  uint64_t next_ticket_ = 1;
  bool more_ = false;
  size_t work_ = 0;        // Of this turn.
  std::string next_pool_;  // The first to have its turn.
  absl::Time last_retry_ = absl::InfinitePast();
  std::map<std::string, std::unique_ptr<PoolQueue>, std::less<>> pools_;
  absl::flat_hash_map<Key, std::unique_ptr<Standing>> demands_;
  struct OfSession {
    std::set<uint64_t> ids;
    size_t bytes = 0;
    Line held_up;
  };
  absl::flat_hash_map<uint64_t, OfSession> by_session_;
  size_t memory_ = 0;
  absl::flat_hash_map<std::string, size_t> memory_by_platform_;
  std::set<uint64_t> held_up_;  // Sessions with a demand that is held up, or that had one.
  std::map<JobRef, std::set<Key>> by_job_;
  // Of those that have been tried, are not held up and have patience, and an end of it.
  std::set<std::pair<absl::Time, Key>> until_;
};

}  // namespace tessera::edge
