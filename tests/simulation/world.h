// A seeded simulation of whole coordinators: one thread, virtual time, one seed.
//
// A World has the disks (the one Redis, a journal for each partition), coordinators that come and
// go, requesters and gateways that speak the contract over links that lose, delay, repeat and
// reorder, and a witness for each journal. Each step lets one thing happen, chosen by the seed, and
// after each step the promises are checked. When the faults end, all jobs must come to theirs.
//
//   Report report = World({.seed = 7}).Run();
//   if (!report.ok()) std::cout << report.broken << report.trace;
//
// The same seed gives the same history on any machine.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/edge/names.h"
#include "tests/simulation/mail.h"
#include "tests/simulation/random.h"
#include "tests/simulation/witness.h"
#include "tests/support/faulty_store.h"

namespace tessera::simulation {

namespace v1 = ::tessera::v1;

class Gateway;
class Requester;

// Bugs outside of the core that can be put in on purpose (those inside it:
// coordinator/core/mutation.h).
enum class Sabotage {
  kNone,
  kFencingOff,         // The disk lets any owner write at any time.
  kAppendNotAwaited,   // The store says that it has appended what is still on its way.
  kTrimTooFar,         // The store trims one record more than it was told.
  kObjectsNotWritten,  // The store says that it has written objects, and has not, now and then.
};

struct WorldOptions {
  uint64_t seed = 0;
  Sabotage sabotage = Sabotage::kNone;
};

struct Report {
  std::string broken;  // The first promise that was; empty if none.
  std::string trace;   // What happened last.
  uint64_t steps = 0;
  uint64_t crashes = 0;
  absl::Duration passed;                   // Virtual time.
  std::map<std::string, uint64_t> events;  // Committed, by name.
  std::string digest;                      // Of what all partitions came to.

  bool ok() const { return broken.empty(); }
};

// Computes fits when the simulation says so.
class FitBench final : public edge::FitExecutor {
 public:
  void Compute(core::FitWork work, core::FitOptions options,
               std::function<void(core::Fit)> done) override;
  bool Finish(Random& random);  // One of them, within a turn. False if there is none.

 private:
  struct Task {
    core::FitWork work;
    core::FitOptions options;
    std::function<void(core::Fit)> done;
  };
  std::vector<Task> tasks_;
};

class World {
 public:
  explicit World(WorldOptions options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Report Run();

  // --- For clients -------------------------------------------------------------------------------

  static constexpr int64_t kPoolPriceMax = 3000;  // Of an answer, in micros, in any pool.

  absl::Time now() const { return now_; }
  Random& random() { return random_; }
  // Faults have ended: help jobs to their ends.
  bool calm() const { return calm_; }

  // Sends a request to a coordinator, once or more often. `done` runs once: with a reply, or with
  // UNAVAILABLE when none came in time.
  template <typename Request, typename Answer, typename Result>
  void Call(Result (edge::Coordinator::*method)(const Request&, edge::Coordinator::Reply<Answer>),
            const Request& request, std::function<void(absl::StatusOr<Answer>)> done) {
    const auto once = Once<Answer>(std::move(done));
    const int copies = Fault(60) ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      if (Fault(30)) continue;
      ToServer(0, true, [this, method, request, once](Callee callee) {
        (callee.coordinator->*method)(request, Back<Answer>(callee, once));
      });
    }
  }
  // The same for WaitResults.
  void WaitResults(const v1::StreamResultsRequest& request, bool told_end,
                   std::function<void(absl::StatusOr<v1::StreamResultsResponse>, bool)> done);

  // A gateway's stream: `Gateway::OnMessage` and `OnClosed` are called with its id. 0: nobody
  // listens.
  uint64_t Connect(Gateway* gateway);
  void Send(uint64_t stream, v1::WorkRequest request);
  void Disconnect(uint64_t stream);

  const edge::IdMaker& ids() const { return ids_; }
  const core::PartitionState& state(uint32_t partition) const;  // The committed one.
  // The item that a requester's key became; nothing while its job is not known.
  std::optional<core::ItemIndex> ItemOf(uint32_t partition, core::JobIndex job,
                                        const std::string& key) const;
  absl::Time ClockOf(uint64_t stream) const;  // The time at the coordinator behind it.
  // Something that happens at a client, later.
  void Later(absl::Duration after, std::function<void()> action);

  // A promise is broken: the history ends.
  void Complain(const std::string& what);
  template <typename... Parts>
  void Note(const Parts&... parts) {
    NoteLine(absl::StrCat(parts...));
  }

 private:
  class Link;
  class ServerClock;
  struct Server;
  // A coordinator, and whether it still is one: what it says after its end nobody hears.
  struct Callee {
    edge::Coordinator* coordinator = nullptr;
    std::shared_ptr<bool> alive;
    int number = 0;
  };

  template <typename Answer>
  std::shared_ptr<std::function<void(absl::StatusOr<Answer>)>> Once(
      std::function<void(absl::StatusOr<Answer>)> done) {
    auto once = std::make_shared<std::function<void(absl::StatusOr<Answer>)>>(std::move(done));
    Later(random_.Between(absl::Seconds(2), absl::Seconds(20)),
          [once] { RunOnce<Answer>(*once, absl::UnavailableError("no reply came in time")); });
    return once;
  }
  template <typename Answer>
  static void RunOnce(std::function<void(absl::StatusOr<Answer>)>& once,
                      absl::StatusOr<Answer> answer) {
    if (!once) return;
    std::exchange(once, nullptr)(std::move(answer));
  }
  // A reply's way back.
  template <typename Answer>
  edge::Coordinator::Reply<Answer> Back(
      Callee callee, std::shared_ptr<std::function<void(absl::StatusOr<Answer>)>> once) {
    return [this, once, callee](absl::StatusOr<Answer> answer) {
      if (!*callee.alive || Fault(30)) return;
      // An old owner refuses by what it knows, as nothing of that has to be committed.
      if (!answer.ok() && callee.number < newest_) {
        answer = absl::UnavailableError("an old owner refuses");
      }
      Later(Delay(), [once, answer = std::move(answer)] { RunOnce<Answer>(*once, answer); });
    };
  }

  bool Fault(int per_mille) { return !calm_ && random_.Chance(per_mille); }
  absl::Duration Delay();
  // To the coordinator that a client finds: the newest, or one that does not know that it is not.
  void ToServer(uint64_t lane, bool may_overtake, std::function<void(Callee)> action);
  void ToServer(const std::shared_ptr<Server>& server, uint64_t lane, bool may_overtake,
                std::function<void(Callee)> action);
  std::shared_ptr<Server> FindServer();
  static absl::Time ClockOf(Server& server);

  // --- What can happen ---------------------------------------------------------------------------

  void Step();
  void CalmRound();
  void StartServer();
  void Crash(const std::shared_ptr<Server>& server, absl::string_view why);
  void Turn(Server& server, int letters);
  void StoreStep(Server& server);
  void Misfortune();
  void RefuseAndCompare();
  bool ClientActs();
  void BlockOrUnblock();
  void ChangePool();
  void Observe(uint32_t partition);
  void ObserveAll();
  void CheckServer(const std::shared_ptr<Server>& server);
  void CheckClients();
  void CheckLiveStates();
  bool AllEnded() const;
  void Audit();
  void NoteLine(std::string line);

  const WorldOptions options_;
  Random random_;
  absl::Time now_;
  bool calm_ = false;
  const uint32_t partitions_;
  edge::CoordinatorOptions coordinator_options_;
  const edge::IdMaker ids_;
  std::vector<std::unique_ptr<testing::FaultyDisk>> disks_;
  std::vector<std::unique_ptr<Witness>> witnesses_;
  std::vector<std::shared_ptr<Server>> servers_;  // Those that run; the newest is the last.
  absl::Time next_start_;                         // When a coordinator starts if none runs.
  int requesters_max_ = 0;
  int newest_ = 0;  // The number of the coordinator that was started last.
  testing::FaultyStore::Faults faults_;

  Mail mail_;  // To clients.
  std::map<uint64_t, std::unique_ptr<Link>> links_;
  uint64_t next_link_ = 1;
  std::vector<std::unique_ptr<Requester>> requesters_;
  std::vector<std::unique_ptr<Gateway>> gateways_;

  std::string broken_;
  std::deque<std::string> notes_;
  uint64_t steps_ = 0;
  uint64_t crashes_ = 0;
};

}  // namespace tessera::simulation
