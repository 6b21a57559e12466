// A recorded crowd gives every answer that is asked of it once, however often the stream breaks.
#include "client/replay.h"

#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using ::testing::ElementsAre;
using testing::StatusIs;

constexpr char kJob[] = "tenants/t/jobs/j";

Crowd MakeCrowd(int workers, int items_each) {
  Crowd crowd;
  for (int w = 0; w < workers; ++w) {
    RecordedWorker worker = {.name = absl::StrCat("w", w), .answers = {}};
    for (int i = 0; i < items_each; ++i) {
      worker.answers.push_back({.item_key = absl::StrCat("i", i),
                                .label = absl::StrCat("w", w, "-i", i),
                                .seconds = 1.0 + i});
    }
    crowd.answers += items_each;
    crowd.workers.push_back(std::move(worker));
  }
  return crowd;
}

v1::WorkResponse WelcomeOf(const v1::WorkLimits& limits = {}) {
  v1::WorkResponse response;
  *response.mutable_welcome()->mutable_limits() = limits;
  response.mutable_welcome()->mutable_heartbeat_interval()->set_seconds(10);
  return response;
}

v1::WorkResponse Grant(const v1::Lease& lease, const std::string& assignment,
                       const std::vector<std::string>& keys) {
  v1::WorkResponse response;
  v1::Assigned& assigned = *response.add_assigned();
  assigned.set_assignment(assignment);
  assigned.set_demand_id(lease.demand_id());
  assigned.set_job(kJob);
  assigned.set_worker(absl::StrCat("platforms/p/workers/", lease.worker()));
  for (const std::string& key : keys) assigned.add_items()->set_key(key);
  return response;
}

v1::WorkResponse Commit(const v1::Submit& submit) {
  v1::WorkResponse response;
  v1::Committed& committed = *response.add_committed();
  committed.set_kind(v1::WORK_KIND_SUBMIT);
  committed.set_assignment(submit.assignment());
  committed.set_items_accepted(submit.answers_size());
  committed.set_earned_micros(10 * submit.answers_size());
  committed.mutable_position()->set_partition("partitions/0");
  committed.mutable_position()->set_epoch(1);
  committed.mutable_position()->set_sequence(7);
  return response;
}

v1::WorkResponse Ended(uint64_t demand, v1::DemandEndReason reason) {
  v1::WorkResponse response;
  response.add_demands_ended()->set_demand_id(demand);
  response.mutable_demands_ended(0)->set_reason(reason);
  return response;
}

class ReplayTest : public ::testing::Test {
 protected:
  Replay Make(int workers, int items, ReplayOptions options = {}) {
    options.job = kJob;
    return Replay(MakeCrowd(workers, items), options, now_);
  }

  // What it sends now; fails if it has nothing to say.
  v1::WorkRequest Sent(Replay& replay) {
    v1::WorkRequest request;
    EXPECT_TRUE(replay.Next(now_, &request));
    return request;
  }

  bool Silent(Replay& replay) {
    v1::WorkRequest request;
    return !replay.Next(now_, &request);
  }

  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
};

TEST_F(ReplayTest, NothingIsSentBeforeWelcome) {
  Replay replay = Make(1, 1, {.speed = kSpeedMax});
  const v1::WorkRequest hello = replay.Connect(now_);
  EXPECT_EQ(hello.hello().gateway(), "replay");
  EXPECT_EQ(hello.hello().protocol_version(), 1);
  EXPECT_TRUE(Silent(replay));
  replay.Handle(WelcomeOf(), now_);
  EXPECT_EQ(Sent(replay).leases_size(), 1);
}

TEST_F(ReplayTest, AWorkerAsksForTheirItemsAnswersAsRecordedAndAsksForTheRest) {
  Replay replay = Make(1, 3, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  const v1::WorkRequest ask = Sent(replay);
  ASSERT_EQ(ask.leases_size(), 1);
  EXPECT_EQ(ask.leases(0).only_job(), kJob);
  EXPECT_EQ(ask.leases(0).assignments_wanted(), 1);
  EXPECT_THAT(ask.leases(0).only_item_keys(), ElementsAre("i0", "i1", "i2"));
  EXPECT_TRUE(Silent(replay));

  replay.Handle(Grant(ask.leases(0), "a", {"i2", "i0"}), now_);
  const v1::WorkRequest answer = Sent(replay);
  ASSERT_EQ(answer.submits_size(), 1);
  EXPECT_EQ(answer.submits(0).answers(0).item_key(), "i2");
  EXPECT_EQ(answer.submits(0).answers(0).answer().fields(0).choice(), "w0-i2");
  EXPECT_FALSE(answer.submits(0).has_active_duration());
  EXPECT_TRUE(Silent(replay));  // Nothing more while the answer is under way.

  replay.Handle(Commit(answer.submits(0)), now_);
  const v1::WorkRequest again = Sent(replay);
  ASSERT_EQ(again.leases_size(), 1);
  EXPECT_THAT(again.leases(0).only_item_keys(), ElementsAre("i1"));
  EXPECT_NE(again.leases(0).demand_id(), ask.leases(0).demand_id());

  replay.Handle(Grant(again.leases(0), "b", {"i1"}), now_);
  replay.Handle(Commit(Sent(replay).submits(0)), now_);
  EXPECT_TRUE(replay.done());
  EXPECT_EQ(replay.counts().answers_accepted, 3);
  EXPECT_EQ(replay.counts().earned_micros, 30);
}

TEST_F(ReplayTest, AnswersTakeTheRecordedTimeAtTheSpeed) {
  Replay replay = Make(1, 2, {.speed = 10});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"i0", "i1"}), now_);
  EXPECT_TRUE(Silent(replay));
  EXPECT_EQ(replay.wake_time(), now_ + absl::Milliseconds(300));  // (1 s + 2 s) / 10.
  now_ += absl::Milliseconds(299);
  EXPECT_TRUE(Silent(replay));
  now_ += absl::Milliseconds(1);
  const v1::WorkRequest request = Sent(replay);
  ASSERT_EQ(request.submits_size(), 1);
  EXPECT_EQ(request.submits(0).active_duration().nanos(), 300'000'000);
}

TEST_F(ReplayTest, WorkersArriveOverTheWindowInAnOrderOfTheSeed) {
  const auto order = [this](uint64_t seed) {
    const absl::Time begun = now_;
    Replay replay = Make(20, 1, {.seed = seed, .speed = 2, .arrival_window = absl::Seconds(40)});
    replay.Connect(now_);
    replay.Handle(WelcomeOf(), now_);
    std::vector<std::string> names;
    while (true) {
      v1::WorkRequest request;
      while (replay.Next(now_, &request)) {
        for (const v1::Lease& lease : request.leases()) names.push_back(lease.worker());
      }
      if (names.size() == 20) break;
      now_ = std::max(now_, replay.wake_time());
      replay.Handle(v1::WorkResponse(), now_);  // A heartbeat.
    }
    EXPECT_EQ(now_ - begun, absl::Seconds(19));  // The last of 20 comes at 19/20 of 40 s / 2.
    return names;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

TEST_F(ReplayTest, AfterABreakWhatIsHeldIsNamedAndWhatGotNoReplyIsSentAgain) {
  Replay replay = Make(2, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  const v1::WorkRequest ask = Sent(replay);
  ASSERT_EQ(ask.leases_size(), 2);
  replay.Handle(Grant(ask.leases(0), "a", {"i0"}), now_);
  const v1::Submit first = Sent(replay).submits(0);

  const v1::WorkRequest hello = replay.Connect(now_);  // The reply was lost.
  ASSERT_EQ(hello.hello().held_size(), 1);
  EXPECT_EQ(hello.hello().held(0).assignment(), "a");
  v1::WorkResponse welcome = WelcomeOf();
  welcome.mutable_welcome()->add_held()->set_assignment("a");
  welcome.mutable_welcome()->mutable_held(0)->set_status(v1::HELD_STATUS_HELD);
  replay.Handle(welcome, now_);
  const v1::WorkRequest again = Sent(replay);
  ASSERT_EQ(again.submits_size(), 1);
  EXPECT_EQ(again.submits(0).SerializeAsString(), first.SerializeAsString());
  ASSERT_EQ(again.leases_size(), 1);  // The other worker's demand ended with the stream.
  EXPECT_EQ(again.leases(0).worker(), ask.leases(1).worker());
  EXPECT_EQ(replay.counts().resent, 1);
}

TEST_F(ReplayTest, AnAnswerThatWasCommittedBeforeTheBreakIsNotSentAgain) {
  Replay replay = Make(1, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"i0"}), now_);
  Sent(replay);
  replay.Connect(now_);
  v1::WorkResponse welcome = WelcomeOf();
  v1::HeldState& held = *welcome.mutable_welcome()->add_held();
  held.set_assignment("a");
  held.set_status(v1::HELD_STATUS_COMMITTED);
  held.set_earned_micros(5);
  held.add_accepted_item_keys("i0");
  replay.Handle(welcome, now_);
  EXPECT_TRUE(Silent(replay));
  EXPECT_TRUE(replay.done());
  EXPECT_EQ(replay.counts().answers_accepted, 1);
  EXPECT_EQ(replay.counts().earned_micros, 5);
}

// The deadline finished it without an answer: a late one still counts, and is paid.
TEST_F(ReplayTest, AnAssignmentThatTheDeadlineFinishedIsAnsweredLate) {
  Replay replay = Make(1, 1, {.speed = 1});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"i0"}), now_);
  replay.Connect(now_);
  v1::WorkResponse welcome = WelcomeOf();
  v1::HeldState& held = *welcome.mutable_welcome()->add_held();
  held.set_assignment("a");
  held.set_status(v1::HELD_STATUS_COMMITTED);
  held.mutable_late_until_time()->set_seconds(absl::ToUnixSeconds(now_) + 60);
  replay.Handle(welcome, now_);
  now_ += absl::Seconds(1);
  EXPECT_EQ(Sent(replay).submits_size(), 1);
}

TEST_F(ReplayTest, WhatWasTakenAwayOrForgottenIsAskedForAgain) {
  Replay replay = Make(1, 1, {.speed = 1});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"i0"}), now_);
  replay.Connect(now_);
  v1::WorkResponse welcome = WelcomeOf();
  welcome.mutable_welcome()->add_held()->set_assignment("a");
  welcome.mutable_welcome()->mutable_held(0)->set_status(v1::HELD_STATUS_UNKNOWN);
  replay.Handle(welcome, now_);
  const v1::WorkRequest ask = Sent(replay);
  ASSERT_EQ(ask.leases_size(), 1);
  EXPECT_THAT(ask.leases(0).only_item_keys(), ElementsAre("i0"));
  now_ += absl::Seconds(1);  // The old assignment's time is up: it is gone.
  EXPECT_TRUE(Silent(replay));
}

TEST_F(ReplayTest, ASubmitIsSentAgainWhereThatHelpsAndDroppedWhereItDoesNot) {
  Replay replay = Make(1, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"i0"}), now_);
  Sent(replay);
  v1::WorkResponse refused;
  v1::Rejected& rejected = *refused.add_rejected();
  rejected.set_kind(v1::WORK_KIND_SUBMIT);
  rejected.set_assignment("a");
  rejected.set_code(14);  // UNAVAILABLE
  rejected.mutable_retry_delay()->set_seconds(2);
  replay.Handle(refused, now_);
  EXPECT_TRUE(Silent(replay));
  EXPECT_EQ(replay.wake_time(), now_ + absl::Seconds(2));
  now_ += absl::Seconds(2);
  EXPECT_EQ(Sent(replay).submits_size(), 1);
  rejected.set_code(9);  // FAILED_PRECONDITION: too late.
  replay.Handle(refused, now_);
  EXPECT_EQ(replay.counts().answers_refused, 1);
  EXPECT_EQ(Sent(replay).leases_size(), 1);
}

TEST_F(ReplayTest, AnAnswerThatDoesNotFitTheTemplateEndsTheReplay) {
  Replay replay = Make(1, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"i0"}), now_);
  Sent(replay);
  v1::WorkResponse refused;
  v1::Rejected& rejected = *refused.add_rejected();
  rejected.set_kind(v1::WORK_KIND_SUBMIT);
  rejected.set_assignment("a");
  rejected.set_code(3);  // INVALID_ARGUMENT
  rejected.set_message("no class of this value");
  replay.Handle(refused, now_);
  EXPECT_THAT(replay.failure(), StatusIs(absl::StatusCode::kInvalidArgument,
                                         ::testing::HasSubstr("no class of this value")));
}

TEST_F(ReplayTest, ADemandThatEndsForGoodEndsTheWorkerAndOneWithoutWorkIsAskedAgain) {
  Replay replay = Make(2, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  const v1::WorkRequest ask = Sent(replay);
  replay.Handle(Ended(ask.leases(0).demand_id(), v1::DEMAND_END_REASON_JOB_DONE), now_);
  replay.Handle(Ended(ask.leases(1).demand_id(), v1::DEMAND_END_REASON_NO_WORK), now_);
  EXPECT_FALSE(replay.done());
  EXPECT_FALSE(replay.idle());
  now_ = replay.wake_time();
  const v1::WorkRequest again = Sent(replay);
  ASSERT_EQ(again.leases_size(), 1);
  EXPECT_EQ(again.leases(0).worker(), ask.leases(1).worker());
  EXPECT_TRUE(replay.idle());
  replay.Handle(Ended(again.leases(0).demand_id(), v1::DEMAND_END_REASON_WORKER_CAPPED), now_);
  EXPECT_TRUE(replay.done());
}

TEST_F(ReplayTest, ItemsThatAWorkerNeverSawGoBack) {
  Replay replay = Make(1, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  replay.Handle(Grant(Sent(replay).leases(0), "a", {"other", "i0"}), now_);
  const v1::WorkRequest request = Sent(replay);
  ASSERT_EQ(request.submits(0).answers_size(), 1);
  EXPECT_EQ(request.submits(0).answers(0).item_key(), "i0");
  EXPECT_EQ(replay.counts().items_unknown, 1);
}

TEST_F(ReplayTest, LimitsOfTheStreamAreKept) {
  v1::WorkLimits limits;
  limits.set_entries_max(3);
  limits.set_demands_max(5);
  limits.set_unanswered_max(2);
  Replay replay = Make(10, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(limits), now_);
  std::vector<v1::Lease> leases;
  v1::WorkRequest request;
  while (replay.Next(now_, &request)) {
    EXPECT_LE(request.leases_size() + request.submits_size(), 3);
    for (const v1::Lease& lease : request.leases()) leases.push_back(lease);
  }
  ASSERT_EQ(leases.size(), 5u);
  for (size_t i = 0; i < leases.size(); ++i) {
    replay.Handle(Grant(leases[i], absl::StrCat("a", i), {"i0"}), now_);
  }
  int submits = 0;
  while (replay.Next(now_, &request)) submits += request.submits_size();
  EXPECT_EQ(submits, 2);
}

TEST_F(ReplayTest, ItSpeaksUpBeforeTheHeartbeatIsDueAndNoticesSilence) {
  Replay replay = Make(1, 1, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);  // Every 10 s.
  Sent(replay);
  EXPECT_LE(replay.wake_time(), now_ + absl::Seconds(10));
  now_ = replay.wake_time();
  EXPECT_EQ(Sent(replay).ByteSizeLong(), 0u);
  EXPECT_FALSE(replay.peer_is_silent(now_));
  EXPECT_TRUE(replay.peer_is_silent(now_ + absl::Seconds(30)));
}

// A coordinator as far as a gateway sees it, with a network that loses, repeats and reorders.
class Desk {
 public:
  explicit Desk(uint32_t seed) : random_(seed) {}

  void Take(const v1::WorkRequest& request, int answers_max) {
    if (request.has_hello()) {
      demands_.clear();
      v1::WorkResponse response = WelcomeOf();
      for (const v1::Held& held : request.hello().held()) {
        v1::HeldState& state = *response.mutable_welcome()->add_held();
        state.set_assignment(held.assignment());
        const auto found = submitted_.find(held.assignment());
        state.set_status(found == submitted_.end() ? v1::HELD_STATUS_HELD
                                                   : v1::HELD_STATUS_COMMITTED);
        if (found == submitted_.end()) continue;
        for (const v1::ItemAnswer& answer : found->second.answers()) {
          state.add_accepted_item_keys(answer.item_key());
        }
      }
      out_ = {response};  // What was under way to the old stream is lost.
      for (const auto& [name, grant] : granted_) {
        bool named = false;
        for (const v1::Held& held : request.hello().held()) named |= held.assignment() == name;
        if (!named && !submitted_.contains(name)) out_.push_back(grant);
      }
    }
    for (const v1::Lease& lease : request.leases()) {
      EXPECT_TRUE(demands_.emplace(lease.worker(), lease).second) << "two demands";
    }
    for (const v1::Submit& submit : request.submits()) {
      EXPECT_TRUE(granted_.contains(submit.assignment()));
      if (submitted_.emplace(submit.assignment(), submit).second) {
        for (const v1::ItemAnswer& answer : submit.answers()) {
          ++answers_[answer.item_key()];
          EXPECT_TRUE(by_worker_.insert(answer.answer().fields(0).choice()).second) << "twice";
        }
      }
      out_.push_back(Commit(submit));
    }
    // Some of what is wanted is granted, now or later.
    for (auto it = demands_.begin(); it != demands_.end();) {
      if (random_() % 2 == 0) {
        ++it;
        continue;
      }
      std::vector<std::string> keys;
      for (const std::string& key : it->second.only_item_keys()) {
        if (answers_[key] < answers_max && keys.size() < 3 && random_() % 2 == 0) {
          keys.push_back(key);
        }
      }
      bool any = false;
      for (const std::string& key : it->second.only_item_keys()) any |= answers_[key] < answers_max;
      if (!any) {
        out_.push_back(Ended(it->second.demand_id(), v1::DEMAND_END_REASON_JOB_DONE));
        it = demands_.erase(it);
      } else if (!keys.empty()) {
        const std::string name = absl::StrCat("a", granted_.size());
        out_.push_back(Grant(it->second, name, keys));
        granted_.emplace(name, out_.back()).first->second.mutable_assigned(0)->set_demand_id(0);
        it = demands_.erase(it);
      } else {
        ++it;
      }
    }
  }

  std::vector<v1::WorkResponse> Out() { return std::exchange(out_, {}); }
  int64_t answers() const { return static_cast<int64_t>(by_worker_.size()); }

 private:
  std::mt19937 random_;
  std::map<std::string, v1::Lease> demands_;
  std::map<std::string, v1::WorkResponse> granted_;  // As sent again.
  std::map<std::string, v1::Submit> submitted_;
  std::map<std::string, int> answers_;
  std::set<std::string> by_worker_;  // Recorded answers are distinct over workers and items.
  std::vector<v1::WorkResponse> out_;
};

TEST_F(ReplayTest, UnderBreaksAndLostRepliesEveryWantedAnswerIsGivenOnce) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Desk desk(seed);
    Replay replay = Make(6, 8, {.seed = seed, .speed = 50});
    desk.Take(replay.Connect(now_), 4);
    int steps = 0;
    while (!replay.done() && ++steps < 10'000) {
      std::vector<v1::WorkResponse> responses = desk.Out();
      std::shuffle(responses.begin() + (responses.empty() || !responses[0].has_welcome() ? 0 : 1),
                   responses.end(), random);
      bool broke = false;
      for (const v1::WorkResponse& response : responses) {
        if (!response.has_welcome() && random() % 10 == 0) {
          broke = true;  // This one is lost, and so is what comes after it.
          break;
        }
        replay.Handle(response, now_);
        if (random() % 10 == 0) replay.Handle(response, now_);  // Twice.
      }
      if (broke) {
        desk.Take(replay.Connect(now_), 4);
        continue;
      }
      v1::WorkRequest request;
      if (replay.Next(now_, &request)) {
        desk.Take(request, 4);
      } else {
        desk.Take(v1::WorkRequest(), 4);
        now_ += absl::Milliseconds(random() % 100);
      }
    }
    EXPECT_TRUE(replay.done());
    EXPECT_EQ(replay.counts().answers_accepted, desk.answers());
    EXPECT_GE(desk.answers(), 8 * 4);
  }
}

}  // namespace
}  // namespace tessera::client
