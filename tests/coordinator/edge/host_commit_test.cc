// What a host says is durable, and what it does when the store does not do as it is told.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/record.h"
#include "coordinator/edge/host.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/edge/host_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using core::JobIndex;
using core::RecordId;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;

using Fault = FaultyStore::Fault;

class HostCommitTest : public ::testing::Test {
 protected:
  HostCommitTest() : owner_(world_.Open()) {
    world_.WriteAll(*owner_);  // Nothing is on its way when a test begins.
  }

  HostWorld world_;
  std::unique_ptr<Owner> owner_;
  PartitionHost& host_ = owner_->host();
  FaultyStore& store_ = owner_->store();
};

TEST_F(HostCommitTest, ANewPartitionServesUnderAFenceOfItsOwn) {
  EXPECT_THAT(world_.start_status(), IsOk());
  EXPECT_EQ(host_.state(), HostState::kServing);
  EXPECT_TRUE(host_.accepting());
  EXPECT_TRUE(world_.disk().journal().contains({1, 0}));
  EXPECT_EQ(host_.status().head, (RecordId{1, 1}));
}

TEST_F(HostCommitTest, AReplyNeverComesBeforeItsCommit) {
  bool replied = false;
  world_.CreateJob(*owner_, "a");
  host_.WhenCommitted([&](absl::Status status) {
    EXPECT_THAT(status, IsOk());
    EXPECT_EQ(world_.disk().last_id(), (RecordId{1, 2}));
    replied = true;
  });
  host_.Flush(world_.now());
  EXPECT_TRUE(store_.Arrive());  // It is in the journal, but the host cannot know.
  host_.Flush(world_.now());
  EXPECT_FALSE(replied);
  store_.Deliver();
  EXPECT_TRUE(replied);
}

TEST_F(HostCommitTest, WhatGathersDuringACommitGoesIntoTheNextRecordTogether) {
  world_.CreateJob(*owner_, "a");
  host_.Flush(world_.now());
  for (const char* id : {"b", "c", "d"}) {
    world_.CreateJob(*owner_, id);
    host_.Flush(world_.now());
  }
  EXPECT_EQ(store_.pending(), 1u);
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  EXPECT_EQ(host_.status().head, (RecordId{1, 3}));
}

TEST_F(HostCommitTest, LargeCommandsForWhichNobodyWaitsDoNotGatherInOneRecord) {
  HostOptions options = world_.Options();
  options.record_bytes_max = 1;
  owner_ = world_.Open(options);
  PartitionHost& host = owner_->host();
  world_.WriteAll(*owner_);
  const uint64_t before = host.status().head.sequence;
  for (const char* id : {"a", "b", "c"}) {
    world_.CreateJob(*owner_, id);
    host.EndCommand();
  }
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  EXPECT_EQ(host.status().head.sequence, before + 3);
}

TEST_F(HostCommitTest, ARepliesOrderIsThatOfTheCommands) {
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) {
    if (i % 2 == 0) world_.CreateJob(*owner_, absl::StrCat("job", i));
    host_.WhenCommitted([&order, i](absl::Status) { order.push_back(i); });
    if (i == 2) host_.Flush(world_.now());
  }
  world_.Commit(*owner_).IgnoreError();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(HostCommitTest, AReadWaitsForTheCommitOfWhatItSaw) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  host_.Flush(world_.now());
  ASSERT_THAT(owner_->partition().Job(job), IsOk());  // A read: it sees the job.
  bool replied = false;
  host_.WhenCommitted([&](absl::Status) { replied = true; });
  host_.Flush(world_.now());
  EXPECT_FALSE(replied);
  store_.Deliver();
  EXPECT_TRUE(replied);
}

TEST_F(HostCommitTest, WithNothingOutstandingTheNextFlushReplies) {
  const RecordId head = host_.status().head;
  bool replied = false;
  host_.WhenCommitted([&](absl::Status status) { replied = status.ok(); });
  EXPECT_FALSE(replied) << "inside the call";
  EXPECT_LE(host_.NextWake(), world_.now());
  host_.Flush(world_.now());
  EXPECT_TRUE(replied);
  EXPECT_EQ(store_.pending(), 0u) << "a record without a decision";
  EXPECT_EQ(host_.status().head, head);
}

TEST_F(HostCommitTest, ALargeBatchIsSpreadOverRecords) {
  HostOptions options = world_.Options();
  options.record_bytes_max = 10'000;
  owner_ = world_.Open(options);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  std::vector<RecordId> at;
  for (int i = 0; i < 10; ++i) {
    world_.AddItems(*owner_, job, 200);
    (*owner_)->WhenCommitted([&](absl::Status status) {
      EXPECT_THAT(status, IsOk());
      at.push_back((*owner_)->status().head);
    });
  }
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  EXPECT_LT(at.front(), at.back());
  for (const auto& [id, bytes] : world_.disk().journal()) EXPECT_LT(bytes.size(), 30'000u);
  world_.ExpectItems(*owner_, job, 2000);
}

TEST_F(HostCommitTest, LeasesThatEndTogetherAreSpreadOverRecordsWhileACommitIsUnderWay) {
  HostOptions options = world_.Options();
  options.record_bytes_max = 10'000;
  options.partition.tick_bytes_max = 2'000;
  owner_ = world_.Open(options);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 500);
  absl::Time deadline;
  for (int w = 0; w < 500; ++w) {
    const core::LeaseRequest request = core::PartitionWorld::Ask(w, /*items_max=*/1);
    deadline = owner_->partition().RequestLease(request, world_.now()).value()->deadline;
  }
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  // Second by second: a host that stood still would put the deadlines off.
  world_.RunFor(*owner_, deadline - world_.now() - absl::Seconds(2));
  owner_->store().DeliverAll();
  const RecordId before = (*owner_)->status().head;
  world_.CreateJob(*owner_, "b");
  (*owner_)->Flush(world_.now());
  ASSERT_EQ(owner_->store().pending(), 1u);
  world_.Pass(deadline - world_.now());
  int ticks = 0;
  do {
    (*owner_)->Tick(world_.now());
    ASSERT_LE(++ticks, 500);
  } while ((*owner_)->NextWake() <= world_.now());
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  EXPECT_EQ(owner_->partition().TakeNotices().leases_ended.size(), 500u);
  for (const auto& [id, bytes] : world_.disk().journal()) {
    if (id <= before) continue;
    EXPECT_LT(bytes.size(), 13'000u) << id.ToString();
  }
}

TEST_F(HostCommitTest, RefusedRecordsAreKeptAndNothingIsTakenMeanwhile) {
  for (int i = 0; i < 20; ++i) store_.FailNext(Fault::kRefuse);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  bool replied = false;
  host_.WhenCommitted([&](absl::Status status) { replied = status.ok(); });
  host_.Flush(world_.now());
  store_.Deliver();
  EXPECT_FALSE(host_.accepting());
  EXPECT_FALSE(replied);
  world_.RunFor(*owner_, absl::Seconds(60));
  EXPECT_TRUE(host_.accepting());
  EXPECT_TRUE(replied);
  EXPECT_THAT(owner_->partition().Job(job), IsOk());
  world_.ExpectOneState(*owner_, true);
}

TEST_F(HostCommitTest, NoLeaseEndsWhileTheStoreRefuses) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  const std::optional<core::Lease> lease =
      owner_->partition().RequestLease(core::PartitionWorld::Ask(1), world_.now()).value();
  ASSERT_TRUE(lease.has_value());
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  // The store is full for an hour; the lease was good for a few minutes.
  store_.SetFaults({.refuse_per_mille = 1000});
  world_.RunFor(*owner_, absl::Hours(1));
  EXPECT_FALSE(host_.accepting());
  EXPECT_EQ(owner_->partition().open_assignments(), 1u);
  store_.SetFaults({});
  for (int i = 0; i < 1000 && !host_.accepting(); ++i) world_.Step(*owner_);
  ASSERT_TRUE(host_.accepting());
  const core::AssignmentId id = lease->assignment;
  const auto* open = owner_->partition().state().job(id.job)->leases.Find(id.sequence);
  ASSERT_NE(open, nullptr);
  EXPECT_GT(open->deadline, world_.now());
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  world_.ExpectOneState(*owner_, /*whole=*/false);  // It has made room.
}

// A paused machine, or a clock that is set forwards: nobody could hand in anything meanwhile.
TEST_F(HostCommitTest, AHostThatStoodStillEndsNoLease) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  const core::Lease lease =
      **owner_->partition().RequestLease(core::PartitionWorld::Ask(1), world_.now());
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  world_.RunFor(*owner_, absl::Seconds(10));
  const auto open = [&] {
    return owner_->partition().state().job(job)->leases.Find(lease.assignment.sequence);
  };
  const absl::Time deadline = open()->deadline;
  const absl::Time late_until = open()->late_until;
  const absl::Duration gap = deadline - world_.now() + absl::Minutes(10);
  world_.Pass(gap);
  host_.Tick(world_.now());
  ASSERT_NE(open(), nullptr);
  EXPECT_FALSE(open()->expired);
  // By the gap, and by what had passed since the last tick that was written down.
  EXPECT_GE(open()->deadline, deadline + gap);
  EXPECT_LE(open()->deadline, deadline + gap + absl::Seconds(2));
  EXPECT_EQ(open()->late_until - late_until, open()->deadline - deadline);
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  world_.ExpectOneState(*owner_, true);
}

TEST_F(HostCommitTest, AHostThatIsALittleLateEndsLeasesAtTheirDeadlines) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  const core::Lease lease =
      **owner_->partition().RequestLease(core::PartitionWorld::Ask(1), world_.now());
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  const auto open = [&] {
    return owner_->partition().state().job(job)->leases.Find(lease.assignment.sequence);
  };
  const absl::Time deadline = open()->deadline;
  while (world_.now() < deadline) {
    world_.Pass(absl::Seconds(4));
    host_.Tick(world_.now());
    EXPECT_THAT(world_.Commit(*owner_), IsOk());
  }
  EXPECT_EQ(open()->deadline, deadline);
  EXPECT_TRUE(open()->expired);
}

TEST_F(HostCommitTest, TooMuchUncommittedStopsTheIntake) {
  HostOptions options = world_.Options();
  options.unflushed_bytes_max = 20'000;
  owner_ = world_.Open(options);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 1000);
  EXPECT_FALSE((*owner_)->accepting());
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  (*owner_)->Tick(world_.now());
  EXPECT_TRUE((*owner_)->accepting());
}

// People cannot hand in what is refused, so no lease ends meanwhile.
TEST_F(HostCommitTest, WhatIsRefusedForWantOfCommitsIsAnOutage) {
  HostOptions options = world_.Options();
  options.unflushed_bytes_max = 20'000;
  owner_ = world_.Open(options);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  const core::Lease lease =
      **(*owner_)->partition().RequestLease(core::PartitionWorld::Ask(1), world_.now());
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  const auto open = [&] {
    return (*owner_)->partition().state().job(job)->leases.Find(lease.assignment.sequence);
  };
  world_.AddItems(*owner_, job, 1000);
  (*owner_)->Tick(world_.now());
  (*owner_)->Flush(world_.now());
  EXPECT_FALSE((*owner_)->accepting());
  EXPECT_GT((*owner_)->NextWake(), world_.now()) << "it would spin";
  while (world_.now() < lease.deadline + absl::Seconds(10)) {
    world_.Pass(absl::Seconds(1));
    (*owner_)->Tick(world_.now());
  }
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  (*owner_)->Tick(world_.now());
  EXPECT_TRUE((*owner_)->accepting());
  ASSERT_NE(open(), nullptr);
  EXPECT_FALSE(open()->expired);
  EXPECT_GT(open()->deadline, world_.now());
}

TEST_F(HostCommitTest, ABusyOwnerNoticesThatItsJournalIsGone) {
  world_.CreateJob(*owner_, "a");
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  world_.disk().LoseLastRecords(world_.disk().journal().size());
  world_.CreateJob(*owner_, "b");
  EXPECT_THAT(world_.Commit(*owner_), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(host_.failure(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(world_.disk().journal(), ::testing::IsEmpty());
}

TEST_F(HostCommitTest, AFencedOwnerFailsAndItsRepliesSayUnavailable) {
  const std::unique_ptr<Owner> other = world_.Open();
  ASSERT_EQ(other->host().state(), HostState::kServing);
  world_.CreateJob(*owner_, "a");
  EXPECT_THAT(world_.Commit(*owner_), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(host_.state(), HostState::kFailed);
  EXPECT_THAT(host_.failure(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_FALSE(host_.accepting());
  EXPECT_THAT(world_.Commit(*owner_),
              StatusIs(absl::StatusCode::kUnavailable));  // From now on, all.
  EXPECT_EQ(other->partition().state().jobs(), 0u);
}

TEST_F(HostCommitTest, WhoAsksWhetherWeAreTheOwnerWritesNothingAndSharesTheAnswer) {
  const RecordId end = world_.disk().last_id();
  std::vector<int> told;
  const auto ask = [&](int who) {
    host_.WhenOwned([&told, who](const absl::Status& owned) {
      EXPECT_THAT(owned, IsOk());
      told.push_back(who);
    });
  };
  for (int who = 0; who < 1000; ++who) ask(who);
  EXPECT_LE(host_.NextWake(), world_.now());
  host_.Tick(world_.now());
  ASSERT_EQ(store_.pending(), 1);
  ask(1000);  // The question that is under way may be older than what it is to be sure of.
  store_.Deliver();
  host_.Flush(world_.now());
  EXPECT_EQ(told.size(), 1000);
  host_.Tick(world_.now());
  EXPECT_EQ(store_.pending(), 1);
  world_.RunFor(*owner_, absl::Milliseconds(10));
  ASSERT_EQ(told.size(), 1001);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(world_.disk().last_id(), end);
}

TEST_F(HostCommitTest, WhetherWeAreTheOwnerIsAskedAgainUntilThereIsAnAnswer) {
  std::optional<absl::Status> owned;
  host_.WhenOwned([&](const absl::Status& status) { owned = status; });
  store_.FailNext(Fault::kLoseRequest);
  world_.RunFor(*owner_, absl::Milliseconds(500));
  EXPECT_FALSE(owned.has_value());
  world_.RunFor(*owner_, absl::Seconds(1));
  ASSERT_TRUE(owned.has_value());
  EXPECT_THAT(*owned, IsOk());
  // Nor before what was decided is committed.
  world_.CreateJob(*owner_, "a");
  owned.reset();
  host_.WhenOwned([&](const absl::Status& status) {
    EXPECT_EQ(host_.status().head, world_.disk().last_id());
    owned = status;
  });
  const RecordId before = host_.status().head;
  world_.RunFor(*owner_, absl::Seconds(1));
  ASSERT_TRUE(owned.has_value());
  EXPECT_LT(before, host_.status().head);
}

// They would gather for as long as the store is away.
TEST_F(HostCommitTest, NobodyWaitsForAStoreThatDoesNotAnswer) {
  std::vector<absl::Status> told;
  const auto ask = [&] {
    host_.WhenOwned([&](const absl::Status& owned) { told.push_back(owned); });
  };
  store_.SetFaults({.lose_request_per_mille = 1000});
  ask();
  world_.RunFor(*owner_, absl::Seconds(5));
  EXPECT_THAT(told, ElementsAre(StatusIs(absl::StatusCode::kUnavailable)));
  ask();
  EXPECT_EQ(told.size(), 1);
  host_.Flush(world_.now());
  EXPECT_THAT(told.back(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(told.size(), 2);
  store_.SetFaults({});
  world_.RunFor(*owner_, absl::Seconds(5));
  ask();
  world_.RunFor(*owner_, absl::Seconds(1));
  ASSERT_EQ(told.size(), 3);
  EXPECT_THAT(told.back(), IsOk());
}

TEST_F(HostCommitTest, WhoAsksAnOwnerThatWasReplacedLearnsIt) {
  const std::unique_ptr<Owner> other = world_.Open();
  std::vector<absl::Status> told;
  for (int times = 0; times < 2; ++times) {
    host_.WhenOwned([&](const absl::Status& owned) { told.push_back(owned); });
    if (times == 0) host_.Tick(world_.now());  // The second comes while the first is being asked.
  }
  world_.RunFor(*owner_, absl::Milliseconds(10));
  EXPECT_THAT(told, ElementsAre(StatusIs(absl::StatusCode::kUnavailable),
                                StatusIs(absl::StatusCode::kUnavailable)));
  EXPECT_THAT(host_.failure(), StatusIs(absl::StatusCode::kAborted));
}

// It would answer from an old state for as long as nobody writes.
TEST_F(HostCommitTest, AFencedOwnerNoticesAlsoWhenItHasNothingToWrite) {
  world_.RunFor(*owner_, absl::Seconds(20));
  EXPECT_EQ(host_.state(), HostState::kServing);
  const std::unique_ptr<Owner> other = world_.Open();
  world_.RunFor(*owner_, absl::Seconds(6));
  EXPECT_THAT(host_.failure(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(other->host().state(), HostState::kServing);
}

TEST_F(HostCommitTest, AnIdleOwnerNoticesThatTheStoreIsAwayOrHasLostSomething) {
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  world_.CreateJob(*owner_, "a");
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  owner_->store().SetFaults({.refuse_per_mille = 1000});
  world_.RunFor(*owner_, absl::Seconds(6));
  EXPECT_FALSE(host_.trouble().ok());
  owner_->store().SetFaults({});
  world_.RunFor(*owner_, absl::Seconds(6));
  EXPECT_THAT(host_.trouble(), IsOk());
  world_.disk().LoseLastRecords(1);
  world_.RunFor(*owner_, absl::Seconds(6));
  EXPECT_THAT(host_.failure(), StatusIs(absl::StatusCode::kDataLoss));
}

// The connection may stand for long before it is given up.
TEST_F(HostCommitTest, AStoreThatOwesAnAnswerForSecondsIsTrouble) {
  world_.CreateJob(*owner_, "a");
  host_.Flush(world_.now());
  for (int tenths = 0; tenths < 50; ++tenths) {
    world_.Pass(absl::Milliseconds(100));
    host_.Tick(world_.now());
    EXPECT_EQ(host_.trouble().ok(), tenths < 29) << tenths;
    EXPECT_TRUE(host_.accepting());
  }
  EXPECT_THAT(world_.Commit(*owner_), IsOk());
  EXPECT_THAT(host_.trouble(), IsOk());
}

TEST_F(HostCommitTest, AFencedOwnerNoticesByItsPagesToo) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 100);
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  const std::unique_ptr<Owner> other = world_.Open();
  const auto objects = world_.disk().objects();
  world_.RunFor(*owner_, absl::Seconds(1));
  EXPECT_THAT(host_.failure(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(world_.disk().objects().size(), objects.size());
}

TEST_F(HostCommitTest, TheDestructorAnswersWhoeverStillWaits) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  std::optional<absl::Status> reply, read, owned;
  host_.WhenCommitted([&](absl::Status status) { reply = status; });
  host_.WhenOwned([&](absl::Status status) { owned = status; });
  host_.ReadPayloads(job, {3}, [&](auto payloads) { read = payloads.status(); });
  host_.Flush(world_.now());
  owner_->DropHost();
  ASSERT_TRUE(reply.has_value());
  EXPECT_THAT(*reply, StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(read.has_value());
  EXPECT_THAT(*read, StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(owned.has_value());
  EXPECT_THAT(*owned, StatusIs(absl::StatusCode::kUnavailable));
  store_.DeliverAll();  // What the store says later reaches nobody, and harms nobody.
}

TEST_F(HostCommitTest, TwoOwnersThatStartAtOnceLeaveOne) {
  Owner a(&world_.disk(), world_.Options());
  Owner b(&world_.disk(), world_.Options());
  std::optional<absl::Status> a_started, b_started;
  a->Start(world_.now(), [&](absl::Status status) { a_started = status; });
  b->Start(world_.now(), [&](absl::Status status) { b_started = status; });
  for (int i = 0; i < 200; ++i) {
    world_.Step(a);
    world_.Step(b);
  }
  ASSERT_TRUE(a_started.has_value());
  ASSERT_TRUE(b_started.has_value());
  EXPECT_NE(a_started->ok(), b_started->ok()) << *a_started << " / " << *b_started;
  EXPECT_THAT(a_started->ok() ? *b_started : *a_started, StatusIs(absl::StatusCode::kAborted));
}

}  // namespace
}  // namespace tessera::edge
