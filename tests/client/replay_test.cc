// A recorded crowd gives every answer that is asked of it once, however often the stream breaks.
#include "client/replay.h"

#include "absl/strings/str_cat.h"
#include "tests/client/work_messages.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using ::testing::ElementsAre;
using testing::StatusIs;

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

TEST_F(ReplayTest, WhatIsHeldAndUntilWhenIsKnown) {
  Replay replay = Make(2, 1);
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  EXPECT_EQ(replay.counts().open, 0);
  now_ += absl::Hours(1);  // They have arrived.
  const v1::WorkRequest ask = Sent(replay);
  ASSERT_EQ(ask.leases_size(), 2);
  v1::WorkResponse granted = Grant(ask.leases(0), "a", {"i0"});
  granted.mutable_assigned(0)->mutable_expire_time()->set_seconds(100);
  granted.mutable_assigned(0)->mutable_late_until_time()->set_seconds(700);
  replay.Handle(granted, now_);
  granted = Grant(ask.leases(1), "b", {"i0"});
  granted.mutable_assigned(0)->mutable_expire_time()->set_seconds(200);  // Without a grace.
  replay.Handle(granted, now_);
  EXPECT_EQ(replay.counts().open, 2);
  EXPECT_EQ(replay.counts().open_until, absl::FromUnixSeconds(700));
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

// More items than a demand can name: none of them is forgotten, and none keeps the others waiting.
TEST_F(ReplayTest, AWorkerWithMoreItemsThanADemandNamesAsksForThemInTurn) {
  constexpr int kItems = 25'000;
  Replay replay = Make(1, kItems, {.speed = kSpeedMax});
  replay.Connect(now_);
  replay.Handle(WelcomeOf(), now_);
  const auto window = [&](int from, int count) {
    const v1::WorkRequest request = Sent(replay);
    EXPECT_EQ(request.leases_size(), 1);
    const v1::Lease& lease = request.leases(0);
    EXPECT_EQ(lease.only_item_keys_size(), count);
    EXPECT_EQ(lease.only_item_keys(0), absl::StrCat("i", from));
    EXPECT_EQ(lease.only_item_keys(count - 1), absl::StrCat("i", from + count - 1));
    return lease;
  };
  v1::Lease lease = window(0, 10'000);
  EXPECT_TRUE(lease.has_wait_max());  // There may be work among the others.
  const auto ended = [&](v1::DemandEndReason reason) {
    EXPECT_TRUE(replay.idle());
    replay.Handle(Ended(lease.demand_id(), reason), now_);
    EXPECT_FALSE(replay.done());
    EXPECT_TRUE(replay.idle());  // A crowd that goes round in vain goes home like any other.
  };
  ended(v1::DEMAND_END_REASON_NO_WORK);
  lease = window(10'000, 10'000);
  ended(v1::DEMAND_END_REASON_NO_WORK);
  lease = window(20'000, 5'000);
  replay.Handle(Grant(lease, "a", {"i20000"}), now_);
  EXPECT_FALSE(replay.idle());
  replay.Handle(Commit(Sent(replay).submits(0)), now_);
  lease = window(0, 10'000);
  ended(v1::DEMAND_END_REASON_JOB_DONE);  // Of those that were named.
  lease = window(10'000, 10'000);
  ended(v1::DEMAND_END_REASON_JOB_DONE);
  lease = window(20'001, 4'999);
  EXPECT_FALSE(lease.has_wait_max());  // These are all.
  replay.Handle(Ended(lease.demand_id(), v1::DEMAND_END_REASON_JOB_DONE), now_);
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

}  // namespace
}  // namespace tessera::client
