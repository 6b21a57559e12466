// A recorded crowd at work: what its gateway says, and when.
//
// Every recorded worker arrives, asks for the items of one job that they answered in the recording
// and not yet here, takes their time, gives the recorded answers, and asks again, until nothing of
// theirs is left or wanted. All of that is a state machine here: it is told the time and what came
// in, and says what to send. It holds no stream, thread, clock or randomness but its seed, so that
// the same calls give the same requests. ReplayGateway (replay_gateway.h) is the rest.
//
//   Replay replay(crowd, {.job = "tenants/default/jobs/1", .seed = 7}, now);
//   Send(replay.Connect(now));                    // Hello; after every break again.
//   replay.Handle(response, now);                 // Whatever comes in.
//   while (replay.Next(now, &request)) Send(request);
//   WaitUntil(replay.wake_time());                // Or until something comes in.
//
// Nothing is lost by a break: an assignment is held until its Submit is answered, is named in the
// next Hello, and its Submit is sent again; demands are asked again; and assignments whose news was
// lost are sent again by the coordinator.
//
// Of a worker with more items than a demand can name, each demand names the next ones, round and
// round.
//
// Invariants: a worker has at most one demand, and none while holding an assignment; an answer is
// sent only under an assignment that names its item; never more unanswered entries or demands than
// Welcome allows.
// Threads: none.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/crowd.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::client {

// As fast as possible: no time passes between lease and answer.
inline constexpr double kSpeedMax = std::numeric_limits<double>::infinity();

struct ReplayOptions {
  std::string job;                 // Required. `tenants/{tenant}/jobs/{job}`.
  std::string gateway = "replay";  // Name of the gateway on its platform.
  std::string pool;                // Empty: the default pool.
  uint64_t seed = 1;               // Of the order of arrival and of times that were not recorded.
  double speed = 1;                // Recorded time passes so many times as fast; kSpeedMax.
  // Where the recording has no seconds: mean of an exponential time for an answer.
  absl::Duration mean_answer_time = absl::Seconds(20);
  // Workers arrive one after another, in a random order, spread over this much recorded time.
  absl::Duration arrival_window = absl::Minutes(2);
  int32_t items_max = 0;  // Most items in an assignment; 0: as the job plans.
};

// What became of it so far.
struct ReplayCounts {
  int64_t workers_arrived = 0;
  int64_t workers_done = 0;  // Nothing left to answer, or nothing wanted.
  int64_t asking = 0;        // Workers who wait for work now.
  int64_t working = 0;       // Assignments that a worker is at now.
  int64_t unanswered = 0;    // Submits sent and not answered yet.
  int64_t assignments = 0;   // Ever received, repeats excluded.
  int64_t answers_accepted = 0;
  int64_t answers_refused = 0;  // Submits that were refused for good, by items.
  int64_t items_unknown = 0;    // Leased although not in the worker's recording; given back.
  int64_t earned_micros = 0;
  int64_t resent = 0;  // Submits that were sent again.
  // The assignments that are held now, and until when the last of them can be answered: they wait
  // for whoever comes next under the same gateway's name.
  int64_t open = 0;
  absl::Time open_until = absl::InfinitePast();
};

class Replay {
 public:
  Replay(Crowd crowd, ReplayOptions options, absl::Time now);

  // A new stream begins: its first request. Everything that was sent and not answered will be sent
  // again.
  v1::WorkRequest Connect(absl::Time now);

  // Takes in what the coordinator said.
  void Handle(const v1::WorkResponse& response, absl::Time now);

  // What is to be sent now, if anything (a heartbeat counts). False before Welcome.
  bool Next(absl::Time now, v1::WorkRequest* request);

  // Next() has something at this instant, if nothing comes in before.
  absl::Time wake_time() const;

  // Nothing came from the coordinator for three heartbeats: give the stream up.
  bool peer_is_silent(absl::Time now) const;

  // Every worker is done and everything sent was answered.
  bool done() const;

  // No worker has anything in hand or under way: all who are there wait for work.
  bool idle() const;

  // An error after which going on makes no sense; OK while there is none.
  const absl::Status& failure() const { return failure_; }

  // The coordinator asked to go elsewhere.
  bool draining() const { return draining_; }
  // The coordinator has answered this stream's Hello.
  bool welcomed() const { return welcome_; }

  ReplayCounts counts() const;

 private:
  enum class WorkerPhase { kAway, kWaiting, kAsking, kHolding, kDone };
  struct WorkerState {
    RecordedWorker recorded;
    absl::flat_hash_map<std::string, size_t> by_key;  // Place in recorded.answers.
    std::vector<bool> finished;  // Answered, or not wanted of this worker any more.
    size_t left = 0;             // Not finished.
    size_t next_window = 0;  // Where the next demand begins, if it cannot name all that is left.
    WorkerPhase phase = WorkerPhase::kAway;
    int held = 0;  // Assignments.
  };
  // What was asked for: the answers from `begin` on, before `end`, that were not finished.
  struct Demand {
    size_t worker = 0;
    size_t begin = 0;
    size_t end = 0;
    bool windowed = false;  // There are more, which another demand has to name.
  };
  enum class AssignmentPhase { kThinking, kReady, kSent };
  struct AssignmentState {
    size_t worker = 0;
    std::vector<std::string> keys;  // In the order of the assignment.
    absl::Duration time;            // The worker needs, at this speed.
    absl::Time until;               // A late answer counts, too.
    AssignmentPhase phase = AssignmentPhase::kThinking;
    bool sent_before = false;
  };
  // Something that happens by itself at a time; of equal times in the order of their making.
  struct Timer {
    absl::Time at;
    uint64_t order = 0;
    enum Kind { kArrive, kAsk, kSubmit } kind = kArrive;
    size_t worker = 0;
    std::string assignment;
    bool operator>(const Timer& other) const {
      return std::pair(at, order) > std::pair(other.at, other.order);
    }
  };

  void Schedule(absl::Time at, Timer::Kind kind, size_t worker, std::string assignment = "");
  void RunTimers(absl::Time now);
  void Welcomed(const v1::Welcome& welcome);
  void Assigned(const v1::Assigned& assigned, absl::Time now);
  void Committed(const v1::Committed& committed);
  void Rejected(const v1::Rejected& rejected, absl::Time now);
  void DemandEnded(const v1::DemandEnded& ended, absl::Time now);
  void Saw(const v1::CommitPosition& position);
  // The assignment is over; its items count as answered if `answered`.
  void Drop(const std::string& assignment, bool answered);
  void Finish(size_t worker, size_t answer);
  void Enter(size_t worker, WorkerPhase phase);
  void WantWork(size_t worker);
  bool MaySubmit() const;
  bool MayAsk() const;
  absl::Duration AnswerTime(size_t worker, const RecordedAnswer& answer) const;
  absl::Duration Scaled(absl::Duration recorded) const;
  v1::Lease MakeLease(size_t worker);

  const ReplayOptions options_;
  std::vector<WorkerState> workers_;
  absl::flat_hash_map<std::string, size_t> worker_by_name_;
  // Ordered: what is sent must not depend on a hash.
  std::map<std::string, AssignmentState> assignments_;
  absl::flat_hash_map<uint64_t, Demand> demands_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::deque<size_t> waiting_;     // Workers in kWaiting, in the order in which they ask.
  std::deque<std::string> ready_;  // Assignments to be submitted; may hold some that are gone.
  std::map<std::string, std::pair<uint64_t, uint64_t>> positions_;
  bool welcome_ = false;
  bool draining_ = false;
  v1::WorkLimits limits_;
  absl::Duration heartbeat_ = absl::Seconds(15);
  absl::Time sent_time_;
  absl::Time heard_time_;
  uint64_t timer_order_ = 0;
  uint64_t last_demand_ = 0;
  int64_t unanswered_ = 0;
  std::array<int64_t, 5> in_phase_ = {};  // Workers, by WorkerPhase.
  absl::Status failure_;
  ReplayCounts counts_;
};

}  // namespace tessera::client
