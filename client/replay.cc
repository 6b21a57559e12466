#include "client/replay.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/messages.h"
#include "common/check.h"
#include "common/hash.h"

namespace tessera::client {
namespace {

constexpr int kHeldMax = 10'000;     // In Hello.
constexpr size_t kKeysMax = 10'000;  // In Lease.only_item_keys.
// For how long a worker waits for some of their items before they ask for the next ones.
constexpr absl::Duration kWindowWait = absl::Seconds(2);
constexpr absl::Duration kAskAgain = absl::Milliseconds(500);

// Codes of google.rpc.Code that entries are refused with.
constexpr int kInvalidArgument = 3;
constexpr int kNotFound = 5;
constexpr int kResourceExhausted = 8;
constexpr int kUnavailable = 14;

bool MaySendAgain(int code) { return code == kUnavailable || code == kResourceExhausted; }

// `platforms/{platform}/workers/{worker}` without what is before the worker.
absl::string_view LastSegment(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return slash == absl::string_view::npos ? name : name.substr(slash + 1);
}

// A limit of Welcome; 0, where the coordinator states none, is `otherwise`.
int64_t Limit(int64_t stated, int64_t otherwise) { return stated > 0 ? stated : otherwise; }

}  // namespace

Replay::Replay(Crowd crowd, ReplayOptions options, absl::Time now)
    : options_(std::move(options)), sent_time_(now), heard_time_(now) {
  TESSERA_CHECK(!options_.job.empty());
  TESSERA_CHECK(options_.speed > 0);
  for (RecordedWorker& recorded : crowd.workers) {
    WorkerState worker;
    for (size_t i = 0; i < recorded.answers.size(); ++i) {
      worker.by_key.emplace(recorded.answers[i].item_key, i);
    }
    worker.finished.resize(recorded.answers.size());
    worker.left = recorded.answers.size();
    worker.recorded = std::move(recorded);
    worker_by_name_.emplace(worker.recorded.name, workers_.size());
    workers_.push_back(std::move(worker));
  }
  in_phase_[static_cast<size_t>(WorkerPhase::kAway)] = static_cast<int64_t>(workers_.size());

  // The standard leaves open what its distributions and std::shuffle do; this is the same anywhere.
  std::vector<size_t> order(workers_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937_64 random(options_.seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  for (size_t i = 0; i < order.size(); ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(order.size());
    Schedule(now + Scaled(options_.arrival_window * share), Timer::kArrive, order[i]);
  }
}

absl::Duration Replay::Scaled(absl::Duration recorded) const {
  return std::isinf(options_.speed) ? absl::ZeroDuration() : recorded / options_.speed;
}

absl::Duration Replay::AnswerTime(size_t worker, const RecordedAnswer& answer) const {
  if (std::isinf(options_.speed)) return absl::ZeroDuration();
  if (answer.seconds.has_value()) return Scaled(absl::Seconds(*answer.seconds));
  // From the seed and the answer alone: the order in which items are leased does not matter.
  const SipKey key = {.low = options_.seed, .high = 0x7365636f6e6473};
  const uint64_t bits =
      SipHash24(key, absl::StrCat(workers_[worker].recorded.name, "\n", answer.item_key));
  const double uniform = static_cast<double>(bits >> 11) * 0x1p-53;
  return Scaled(options_.mean_answer_time * -std::log1p(-uniform));
}

void Replay::Schedule(absl::Time at, Timer::Kind kind, size_t worker, std::string assignment) {
  timers_.push({.at = at,
                .order = timer_order_++,
                .kind = kind,
                .worker = worker,
                .assignment = std::move(assignment)});
}

void Replay::RunTimers(absl::Time now) {
  while (!timers_.empty() && timers_.top().at <= now) {
    const Timer timer = timers_.top();
    timers_.pop();
    switch (timer.kind) {
      case Timer::kArrive:
        ++counts_.workers_arrived;
        if (workers_[timer.worker].phase == WorkerPhase::kAway) WantWork(timer.worker);
        break;
      case Timer::kAsk:
        if (workers_[timer.worker].phase == WorkerPhase::kAway) WantWork(timer.worker);
        break;
      case Timer::kSubmit: {
        const auto found = assignments_.find(timer.assignment);
        if (found == assignments_.end() || found->second.phase != AssignmentPhase::kThinking) break;
        found->second.phase = AssignmentPhase::kReady;
        ready_.push_back(timer.assignment);
        break;
      }
    }
  }
}

void Replay::Enter(size_t worker, WorkerPhase phase) {
  WorkerState& state = workers_[worker];
  --in_phase_[static_cast<size_t>(state.phase)];
  ++in_phase_[static_cast<size_t>(phase)];
  state.phase = phase;
}

void Replay::WantWork(size_t worker) {
  if (workers_[worker].left == 0) {
    Enter(worker, WorkerPhase::kDone);
    return;
  }
  Enter(worker, WorkerPhase::kWaiting);
  waiting_.push_back(worker);
}

v1::WorkRequest Replay::Connect(absl::Time now) {
  welcome_ = false;
  draining_ = false;
  unanswered_ = 0;
  sent_time_ = now;
  heard_time_ = now;
  // Demands end with their stream.
  demands_.clear();
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].phase == WorkerPhase::kAsking) WantWork(i);
  }
  v1::WorkRequest request;
  v1::Hello& hello = *request.mutable_hello();
  hello.set_gateway(options_.gateway);
  hello.set_protocol_version(1);
  hello.set_client("tessera replay");
  // What is open and not named here is sent again: its news may have been lost on the way, with the
  // stream or with an earlier process of this name.
  for (const auto& [name, assignment] : assignments_) {
    if (hello.held_size() == kHeldMax) break;
    hello.add_held()->set_assignment(name);
  }
  for (const auto& [partition, position] : positions_) {
    v1::CommitPosition& seen = *hello.add_positions();
    seen.set_partition(partition);
    seen.set_epoch(position.first);
    seen.set_sequence(position.second);
  }
  return request;
}

void Replay::Handle(const v1::WorkResponse& response, absl::Time now) {
  heard_time_ = now;
  if (response.has_welcome()) Welcomed(response.welcome());
  for (const auto& entry : response.assigned()) Assigned(entry, now);
  for (const auto& entry : response.committed()) Committed(entry);
  for (const auto& entry : response.rejected()) Rejected(entry, now);
  for (const auto& entry : response.revoked()) {
    Saw(entry.position());
    const auto found = assignments_.find(entry.assignment());
    if (found == assignments_.end()) continue;
    counts_.earned_micros += entry.earned_micros();
    // A Submit under way is answered by itself.
    if (found->second.phase != AssignmentPhase::kSent) Drop(entry.assignment(), false);
  }
  for (const auto& entry : response.demands_ended()) DemandEnded(entry, now);
  if (response.has_drain()) draining_ = true;
}

void Replay::Welcomed(const v1::Welcome& welcome) {
  welcome_ = true;
  limits_ = welcome.limits();
  if (welcome.has_heartbeat_interval() && ToDuration(welcome.heartbeat_interval()) > kAskAgain) {
    heartbeat_ = ToDuration(welcome.heartbeat_interval());
  }
  for (const v1::HeldState& held : welcome.held()) {
    const auto found = assignments_.find(held.assignment());
    if (found == assignments_.end()) continue;
    switch (held.status()) {
      case v1::HELD_STATUS_COMMITTED: {
        // A coordinator that does not say which items were accepted is asked by a repeat: its reply
        // is the first one's. And what the deadline finished is still worth sending.
        const int accepted = held.accepted_item_keys_size();
        if (accepted == 0) break;
        counts_.answers_accepted += accepted;
        counts_.earned_micros += held.earned_micros();
        Drop(held.assignment(), true);
        break;
      }
      case v1::HELD_STATUS_REVOKED:
      case v1::HELD_STATUS_UNKNOWN:
        Drop(held.assignment(), false);
        break;
      default:
        break;
    }
  }
  // What was sent and not answered may have been lost on the way: once more.
  for (auto& [name, assignment] : assignments_) {
    if (assignment.phase != AssignmentPhase::kSent) continue;
    assignment.phase = AssignmentPhase::kReady;
    ready_.push_back(name);
  }
}

void Replay::Assigned(const v1::Assigned& assigned, absl::Time now) {
  demands_.erase(assigned.demand_id());
  if (assigned.job() != options_.job) return;  // An older gateway's of the same name.
  const auto known = worker_by_name_.find(LastSegment(assigned.worker()));
  if (known == worker_by_name_.end()) return;
  if (assignments_.contains(assigned.assignment())) return;
  WorkerState& worker = workers_[known->second];
  AssignmentState assignment = {
      .worker = known->second,
      .keys = {},
      .time = {},
      .until = ToTime(assigned.has_late_until_time() ? assigned.late_until_time()
                                                     : assigned.expire_time())};
  for (const v1::AssignedItem& item : assigned.items()) {
    assignment.keys.push_back(item.key());
    const auto answer = worker.by_key.find(item.key());
    if (answer == worker.by_key.end()) {
      ++counts_.items_unknown;
      continue;
    }
    assignment.time += AnswerTime(known->second, worker.recorded.answers[answer->second]);
  }
  ++counts_.assignments;
  ++worker.held;
  Enter(known->second, WorkerPhase::kHolding);
  Schedule(now + assignment.time, Timer::kSubmit, known->second, assigned.assignment());
  assignments_.emplace(assigned.assignment(), std::move(assignment));
}

void Replay::Saw(const v1::CommitPosition& position) {
  if (position.partition().empty()) return;
  auto& highest = positions_[position.partition()];
  highest = std::max(highest, {position.epoch(), position.sequence()});
}

void Replay::Committed(const v1::Committed& committed) {
  Saw(committed.position());
  if (committed.kind() != v1::WORK_KIND_SUBMIT) return;  // An expiry: a late answer still counts.
  const auto found = assignments_.find(committed.assignment());
  if (found == assignments_.end() || found->second.phase != AssignmentPhase::kSent) return;
  --unanswered_;
  counts_.answers_accepted += committed.items_accepted();
  counts_.earned_micros += committed.earned_micros();
  Drop(committed.assignment(), true);
}

void Replay::Rejected(const v1::Rejected& rejected, absl::Time now) {
  const absl::Duration wait =
      rejected.has_retry_delay() ? ToDuration(rejected.retry_delay()) : kAskAgain;
  const auto what = [&rejected] {
    return absl::StrCat(rejected.message(), rejected.reason().empty() ? "" : " (",
                        rejected.reason(), rejected.reason().empty() ? "" : ")");
  };
  if (rejected.kind() == v1::WORK_KIND_LEASE) {
    const auto demand = demands_.find(rejected.demand_id());
    if (demand == demands_.end()) return;
    const size_t worker = demand->second.worker;
    demands_.erase(demand);
    if (workers_[worker].phase != WorkerPhase::kAsking) return;
    if (MaySendAgain(rejected.code())) {
      Enter(worker, WorkerPhase::kAway);
      Schedule(now + wait, Timer::kAsk, worker);
      return;
    }
    Enter(worker, WorkerPhase::kDone);
    if (rejected.code() == kInvalidArgument) {
      failure_ = absl::InvalidArgumentError(absl::StrCat("asking for work: ", what()));
    } else if (rejected.code() == kNotFound) {
      failure_ = absl::NotFoundError(absl::StrCat("asking for work: ", what()));
    }
    return;
  }
  if (rejected.kind() != v1::WORK_KIND_SUBMIT) return;
  const auto found = assignments_.find(rejected.assignment());
  if (found == assignments_.end() || found->second.phase != AssignmentPhase::kSent) return;
  --unanswered_;
  if (MaySendAgain(rejected.code())) {
    found->second.phase = AssignmentPhase::kThinking;
    Schedule(now + wait, Timer::kSubmit, found->second.worker, rejected.assignment());
    return;
  }
  if (rejected.code() == kInvalidArgument) {
    failure_ = absl::InvalidArgumentError(
        absl::StrCat("a recorded answer does not fit the job's template: ", what()));
  }
  counts_.answers_refused += static_cast<int64_t>(found->second.keys.size());
  Drop(rejected.assignment(), false);
}

void Replay::DemandEnded(const v1::DemandEnded& ended, absl::Time now) {
  const auto found = demands_.find(ended.demand_id());
  if (found == demands_.end()) return;
  const Demand demand = found->second;
  demands_.erase(found);
  // They hold one that was sent again.
  if (workers_[demand.worker].phase != WorkerPhase::kAsking) return;
  switch (ended.reason()) {
    case v1::DEMAND_END_REASON_JOB_DONE:
      // Of the items that were named; there may be more.
      for (size_t i = demand.begin; i < demand.end; ++i) Finish(demand.worker, i);
      WantWork(demand.worker);
      return;
    case v1::DEMAND_END_REASON_NO_WORK:
      if (demand.windowed) {
        WantWork(demand.worker);  // It was waited for already.
        return;
      }
      Enter(demand.worker, WorkerPhase::kAway);
      Schedule(now + kAskAgain, Timer::kAsk, demand.worker);
      return;
    default:
      Enter(demand.worker, WorkerPhase::kDone);
  }
}

void Replay::Finish(size_t worker, size_t answer) {
  WorkerState& state = workers_[worker];
  if (state.finished[answer]) return;
  state.finished[answer] = true;
  --state.left;
}

void Replay::Drop(const std::string& assignment, bool answered) {
  const auto found = assignments_.find(assignment);
  if (found == assignments_.end()) return;
  const size_t index = found->second.worker;
  WorkerState& worker = workers_[index];
  for (const std::string& key : found->second.keys) {
    const auto place = worker.by_key.find(key);
    if (answered && place != worker.by_key.end()) Finish(index, place->second);
  }
  assignments_.erase(found);
  if (--worker.held == 0 && worker.phase == WorkerPhase::kHolding) WantWork(index);
}

v1::Lease Replay::MakeLease(size_t index) {
  WorkerState& worker = workers_[index];
  TESSERA_CHECK(worker.left > 0);
  Demand demand = {.worker = index, .windowed = worker.left > kKeysMax};
  v1::Lease lease;
  lease.set_demand_id(++last_demand_);
  lease.set_worker(worker.recorded.name);
  lease.set_pool(options_.pool);
  lease.set_assignments_wanted(1);
  lease.set_items_max(options_.items_max);
  lease.set_only_job(options_.job);
  const size_t count = worker.finished.size();
  // Where not all can be named at once, each demand names the next ones, and waits for them for a
  // while only: what the job wants may be among the others.
  if (demand.windowed) {
    demand.begin = worker.next_window;
    SetDuration(kWindowWait, lease.mutable_wait_max());
  }
  while (true) {
    demand.end = demand.begin;
    for (; demand.end < count && lease.only_item_keys_size() < static_cast<int>(kKeysMax);
         ++demand.end) {
      if (worker.finished[demand.end]) continue;
      lease.add_only_item_keys(worker.recorded.answers[demand.end].item_key);
    }
    if (lease.only_item_keys_size() > 0) break;
    demand.begin = 0;  // Some are left, and they stand before.
  }
  worker.next_window = demand.end == count ? 0 : demand.end;
  demands_.emplace(lease.demand_id(), demand);
  return lease;
}

bool Replay::MaySubmit() const {
  return !ready_.empty() && unanswered_ < Limit(limits_.unanswered_max(), 10'000);
}

bool Replay::MayAsk() const {
  return !waiting_.empty() && !draining_ &&
         static_cast<int64_t>(demands_.size()) < Limit(limits_.demands_max(), 10'000);
}

bool Replay::Next(absl::Time now, v1::WorkRequest* request) {
  request->Clear();
  if (!welcome_ || !failure_.ok()) return false;
  RunTimers(now);
  int64_t entries = 0;
  // Half of what may be sent, so that no sum of small overheads matters.
  int64_t bytes = 0;
  const int64_t bytes_max = Limit(limits_.request_bytes_max(), 4 << 20) / 2;
  const int64_t entries_max = Limit(limits_.entries_max(), 1000);
  while (MaySubmit() && entries < entries_max && bytes < bytes_max) {
    const std::string name = std::move(ready_.front());
    ready_.pop_front();
    const auto found = assignments_.find(name);
    if (found == assignments_.end() || found->second.phase != AssignmentPhase::kReady) continue;
    AssignmentState& assignment = found->second;
    const WorkerState& worker = workers_[assignment.worker];
    v1::Submit& submit = *request->add_submits();
    submit.set_assignment(name);
    for (const std::string& key : assignment.keys) {
      const auto answer = worker.by_key.find(key);
      if (answer == worker.by_key.end()) continue;  // Goes back unpaid.
      v1::ItemAnswer& item = *submit.add_answers();
      item.set_item_key(key);
      item.mutable_answer()->add_fields()->set_choice(
          worker.recorded.answers[answer->second].label);
    }
    if (!std::isinf(options_.speed)) SetDuration(assignment.time, submit.mutable_active_duration());
    if (assignment.sent_before) ++counts_.resent;
    assignment.sent_before = true;
    assignment.phase = AssignmentPhase::kSent;
    ++unanswered_;
    ++entries;
    bytes += static_cast<int64_t>(submit.ByteSizeLong());
  }
  while (MayAsk() && entries < entries_max && bytes < bytes_max) {
    const size_t worker = waiting_.front();
    waiting_.pop_front();
    if (workers_[worker].phase != WorkerPhase::kWaiting) continue;
    v1::Lease& lease = *request->add_leases();
    lease = MakeLease(worker);
    Enter(worker, WorkerPhase::kAsking);
    ++entries;
    bytes += static_cast<int64_t>(lease.ByteSizeLong());
  }
  if (entries == 0 && now < sent_time_ + heartbeat_ / 2) return false;
  sent_time_ = now;
  return true;
}

absl::Time Replay::wake_time() const {
  const absl::Time silent = heard_time_ + heartbeat_ * 3;
  if (!welcome_ || !failure_.ok()) return silent;
  if (MaySubmit() || MayAsk()) return absl::InfinitePast();
  absl::Time wake = std::min(silent, sent_time_ + heartbeat_ / 2);
  if (!timers_.empty()) wake = std::min(wake, timers_.top().at);
  return wake;
}

bool Replay::peer_is_silent(absl::Time now) const { return now >= heard_time_ + heartbeat_ * 3; }

bool Replay::done() const {
  return in_phase_[static_cast<size_t>(WorkerPhase::kDone)] ==
             static_cast<int64_t>(workers_.size()) &&
         assignments_.empty();
}

bool Replay::idle() const {
  // Who waits to ask does so at once, or as soon as others need not ask any more.
  return welcome_ && assignments_.empty() &&
         in_phase_[static_cast<size_t>(WorkerPhase::kDone)] +
                 in_phase_[static_cast<size_t>(WorkerPhase::kAsking)] +
                 in_phase_[static_cast<size_t>(WorkerPhase::kWaiting)] ==
             static_cast<int64_t>(workers_.size());
}

ReplayCounts Replay::counts() const {
  ReplayCounts counts = counts_;
  counts.workers_done = in_phase_[static_cast<size_t>(WorkerPhase::kDone)];
  counts.asking = in_phase_[static_cast<size_t>(WorkerPhase::kAsking)];
  counts.unanswered = unanswered_;
  counts.working = static_cast<int64_t>(assignments_.size()) - unanswered_;
  counts.open = static_cast<int64_t>(assignments_.size());
  for (const auto& [name, assignment] : assignments_) {
    counts.open_until = std::max(counts.open_until, assignment.until);
  }
  return counts;
}

}  // namespace tessera::client
