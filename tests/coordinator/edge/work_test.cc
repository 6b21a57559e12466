// Gateways' streams: leases, drafts, submissions, and what is told after breaks, restarts,
// deadlines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "coordinator/edge/broker.h"
#include "coordinator/edge/convert.h"
#include "coordinator/edge/names.h"
#include "tests/coordinator/edge/work_world.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST_F(WorkTest, WelcomeNamesTheLimitsAndComesFirst) {
  ASSERT_THAT(sink_.messages, SizeIs(1));
  EXPECT_TRUE(sink_.messages[0].has_welcome());
  EXPECT_EQ(sink_.messages[0].welcome().platform(), "platforms/web");
  EXPECT_GT(sink_.messages[0].welcome().limits().demands_max(), 0);

  JobWith(3);
  RecordingSink& other = world_.NewSink();
  world_.Turn([&] {
    const auto session = world_->OpenSession("web", &other);
    v1::WorkRequest request;
    request.mutable_hello()->set_gateway("g2");
    request.mutable_hello()->set_protocol_version(1);
    CoordinatorWorld::AddLease(request, 1, "ann");
    CoordinatorWorld::AddLease(request, 2, "platforms/other/workers/x");
    world_->OnWork(session, request);
  });
  world_.Settle();
  ASSERT_FALSE(other.messages.empty());
  EXPECT_TRUE(other.messages[0].has_welcome());
  EXPECT_THAT(other.all.assigned(), SizeIs(1));
  EXPECT_THAT(other.all.rejected(), SizeIs(1));
}

TEST_F(WorkTest, ADemandStandsUntilThereIsWork) {
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 5, "ann");
  world_.Send(session_, request);
  sink_.Take();
  JobWith(3);
  const v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.assigned(), SizeIs(1));
  EXPECT_EQ(told.assigned(0).demand_id(), 5);
}

TEST_F(WorkTest, WhatATurnSaysToAGatewayIsOneMessage) {
  JobWith(100);
  v1::WorkRequest request;
  for (int i = 0; i < 10; ++i) CoordinatorWorld::AddLease(request, 1 + i, absl::StrCat("w", i));
  CoordinatorWorld::AddLease(request, 99, "platforms/other/workers/x");
  const size_t before = sink_.messages.size();
  world_.Send(session_, request);
  EXPECT_EQ(sink_.messages.size(), before + 1);
  const v1::WorkResponse told = sink_.messages.back();
  EXPECT_THAT(told.assigned(), SizeIs(10));
  EXPECT_THAT(told.templates(), SizeIs(1));
  EXPECT_THAT(told.rejected(), SizeIs(1));
}

TEST_F(WorkTest, ATemplateIsSentOnceForEachJobAndStream) {
  JobWith(100);
  Lease(1, "ann");
  EXPECT_THAT(sink_.messages.back().templates(), SizeIs(1));
  EXPECT_EQ(sink_.messages.back().templates(0).template_().title(), "Is it positive?");
  Lease(2, "bob");
  EXPECT_THAT(sink_.messages.back().templates(), IsEmpty());
  RecordingSink& other = world_.NewSink();
  const auto session = world_.Connect(other, "g2");
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "cem");
  world_.Send(session, request);
  EXPECT_THAT(other.all.templates(), SizeIs(1));
}

TEST_F(WorkTest, GoldIsNeverSentToAGateway) {
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  v1::AddItemsRequest add;
  add.set_job(job);
  v1::Item item = CoordinatorWorld::TextItem("a");
  (*item.mutable_metadata())["secret"] = "SECRET";
  *add.add_items() = item;
  item.set_key("b");
  *item.mutable_gold() = CoordinatorWorld::Choice("no");
  *add.add_items() = item;
  ASSERT_THAT(world_.Call(&Coordinator::AddItems, add), IsOk());
  const v1::Assigned assigned = Lease(1, "ann");
  for (const v1::AssignedItem& one : assigned.items()) {
    EXPECT_EQ(one.DebugString().find("SECRET"), std::string::npos);
    EXPECT_FALSE(one.has_draft());
  }
}

TEST_F(WorkTest, TenantsShareWorkersEvenly) {
  JobWith(200, "r1", "acme");
  JobWith(200, "r2", "zoo");
  v1::WorkRequest request;
  for (int i = 0; i < 20; ++i) CoordinatorWorld::AddLease(request, 1 + i, absl::StrCat("w", i));
  world_.Send(session_, request);
  std::map<std::string, int> by_tenant;
  const v1::WorkResponse told = sink_.Take();
  for (const v1::Assigned& assigned : told.assigned()) {
    ++by_tenant[assigned.job().substr(0, assigned.job().find("/jobs"))];
  }
  EXPECT_THAT(by_tenant,
              ElementsAre(::testing::Pair("tenants/acme", 10), ::testing::Pair("tenants/zoo", 10)));
}

// Drafts count when the rest is given back: who works that way is charged like everybody.
TEST_F(WorkTest, AnAssignmentThatIsGivenBackWithDraftsIsChargedForTheTimeItTook) {
  for (const bool drafts : {true, false}) {
    std::map<std::string, int> turns;
    for (const std::string tenant : {"draughty", "other"}) {
      JobWith(400, drafts ? "r1" : "r2", tenant);
    }
    for (int i = 0; i < 20; ++i) {
      const v1::Assigned assigned = Lease(100 + i, absl::StrCat("w", drafts, "-", i));
      const std::string tenant = assigned.job().substr(0, assigned.job().find("/jobs/"));
      ++turns[tenant];
      world_.Pass(absl::Seconds(110));  // About what ten items are expected to take.
      if (tenant == "tenants/other") {
        Submit(assigned);
        continue;
      }
      if (drafts) Draft(assigned, 0, 1, "yes");
      v1::WorkRequest request;
      request.add_returns()->set_assignment(assigned.assignment());
      world_.Send(session_, request);
      EXPECT_EQ(sink_.Take().committed(0).finished(), true);
    }
    if (drafts) {
      EXPECT_THAT(turns["tenants/draughty"], ::testing::AllOf(::testing::Ge(9), ::testing::Le(11)));
    } else {
      EXPECT_GT(turns["tenants/draughty"], 11);
    }
  }
}

// Of large items an assignment has no more than a client of gRPC accepts in one message.
TEST_F(WorkTest, AnAssignmentFitsIntoAMessage) {
  v1::CreateJobRequest create = CoordinatorWorld::JobRequest();
  create.mutable_job()->mutable_policy()->mutable_split()->set_items_min(1000);
  const std::string job = world_.Create(create);
  v1::AddItemsRequest add;
  add.set_job(job);
  for (int i = 0; i < 120; ++i) {
    *add.add_items() = CoordinatorWorld::TextItem(absl::StrCat("item", i),
                                                  std::string(i == 60 ? 64'000 : 60'000, 'x'));
  }
  ASSERT_THAT(world_.Call(&Coordinator::AddItems, add), IsOk());
  for (const bool restarted : {false, true}) {
    if (restarted) {
      world_.Restart();
      sink_.closed.reset();
      session_ = world_.Connect(sink_);
      sink_.Take();
    }
    const v1::Assigned assigned = Lease(10 + restarted, restarted ? "bob" : "ann");
    EXPECT_LE(assigned.ByteSizeLong(), size_t{3 << 20});
    EXPECT_GE(assigned.items_size(), 40);
  }
}

TEST_F(WorkTest, ASubmissionCountsOnceAcrossRestarts) {
  const std::string job = JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  const v1::Committed first = Submit(assigned).committed(0);
  EXPECT_EQ(first.earned_micros(), 30'000);
  const v1::Committed again = Submit(assigned, "no").committed(0);
  EXPECT_EQ(again.earned_micros(), 30'000);
  EXPECT_EQ(again.items_accepted(), 3);
  Restart();
  const v1::WorkResponse told = Submit(assigned, "no");
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.committed(0).earned_micros(), 30'000);
  EXPECT_EQ(world_.Job(job).counts().answers(), 3);
  EXPECT_EQ(world_.Job(job).ledger().earned_micros(), 30'000);
}

// The coordinator ended between the commit and the reply: what the gateway names is all it knows.
TEST_F(WorkTest, WhatEndedIsKnownAfterARestart) {
  JobWith(9);
  const v1::Assigned paid = Lease(1, "ann");
  for (int i = 0; i < 2; ++i) Draft(paid, i, 1, "yes");
  v1::WorkRequest request;  // With its drafts alone.
  request.add_submits()->set_assignment(paid.assignment());
  world_.Send(session_, request);
  EXPECT_EQ(sink_.Take().committed(0).earned_micros(), 20'000);
  const v1::Assigned taken = Lease(2, "bob");
  v1::UpdateWorkerRequest block;
  block.mutable_worker()->set_name(taken.worker());
  block.mutable_worker()->set_blocked(true);
  block.mutable_worker()->set_blocked_reason("spam");
  block.mutable_update_mask()->add_paths("blocked");
  block.mutable_update_mask()->add_paths("blocked_reason");
  ASSERT_THAT(world_.Call(&Coordinator::UpdateWorker, block), testing::IsOk());

  v1::Hello hello;
  hello.add_held()->set_assignment(paid.assignment());
  hello.add_held()->set_assignment(taken.assignment());
  for (const bool restarted : {false, true}) {
    if (restarted) world_.Restart();
    RecordingSink& sink = world_.NewSink();
    const auto session = world_.Connect(sink, "g2", "web", hello);
    const v1::WorkResponse told = sink.Take();
    ASSERT_THAT(told.welcome().held(), SizeIs(2));
    EXPECT_EQ(told.welcome().held(0).status(), v1::HELD_STATUS_COMMITTED);
    EXPECT_EQ(told.welcome().held(0).earned_micros(), 20'000) << restarted;
    EXPECT_EQ(told.welcome().held(1).status(), v1::HELD_STATUS_REVOKED) << restarted;
    world_.Send(session, request);
    const v1::Committed again = sink.Take().committed(0);
    EXPECT_EQ(again.earned_micros(), 20'000);
    EXPECT_EQ(again.items_accepted(), 2);
    EXPECT_EQ(again.items_returned(), paid.items_size() - 2);
  }
}

TEST_F(WorkTest, WhatEndedTooLongAgoIsToldWithoutSums) {
  world_.options().host.journal_kept_bytes = 0;
  world_.options().host.commits_per_trim = 1;
  Restart();
  const std::string job = JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  EXPECT_TRUE(Submit(assigned).committed(0).has_earned_micros());
  world_.Pass(absl::Seconds(30));  // All is written behind ...
  for (int i = 0; i < 3; ++i) {    // ... and what happens next trims the journal.
    v1::UpdateJobRequest update;
    update.mutable_job()->set_name(job);
    update.mutable_job()->mutable_policy()->set_priority(i + 1);
    update.mutable_update_mask()->add_paths("policy.priority");
    ASSERT_THAT(world_.Call(&Coordinator::UpdateJob, update), testing::IsOk());
    world_.Pass(absl::Seconds(1));
  }
  v1::Hello hello;
  hello.add_held()->set_assignment(assigned.assignment());
  const v1::HeldState held = Restart(hello).welcome().held(0);
  EXPECT_EQ(held.status(), v1::HELD_STATUS_COMMITTED);
  EXPECT_FALSE(held.has_earned_micros()) << held.DebugString();
  const v1::WorkResponse told = Submit(assigned);
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_TRUE(told.committed(0).finished());
  EXPECT_FALSE(told.committed(0).has_earned_micros());
  EXPECT_FALSE(told.committed(0).has_items_accepted());
}

TEST_F(WorkTest, DraftsAreKeptByTheHighestEditAndCountAtTheDeadline) {
  const std::string job = JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  v1::WorkResponse told = Draft(assigned, 0, 5, "yes");
  ASSERT_THAT(told.committed(), SizeIs(1));
  EXPECT_EQ(told.committed(0).edit(), 5);
  EXPECT_EQ(told.committed(0).tag(), 7);
  EXPECT_FALSE(told.committed(0).finished());
  EXPECT_EQ(Draft(assigned, 0, 3, "no").committed(0).edit(), 5);
  Draft(assigned, 1, 1, "no");
  Draft(assigned, 1, 2, "");  // Undone.
  Draft(assigned, 2, 1, "no");

  world_.Pass(absl::Minutes(6));
  told = sink_.Take();
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.committed(0).kind(), v1::WORK_KIND_EXPIRY);
  EXPECT_EQ(told.committed(0).items_accepted(), 2);
  EXPECT_EQ(told.committed(0).items_returned(), 1);
  EXPECT_EQ(told.committed(0).earned_micros(), 20'000);
  // Late, and within the grace: what had no draft still counts.
  told = Submit(assigned, "yes");
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.committed(0).items_accepted(), 3);
  EXPECT_EQ(told.committed(0).earned_micros(), 30'000);
  EXPECT_TRUE(told.committed(0).late());
  EXPECT_EQ(world_.Job(job).counts().answers(), 3);
}

TEST_F(WorkTest, AfterItsGraceAnAssignmentIsExpired) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  world_.Pass(absl::Minutes(30));
  sink_.Take();
  const v1::WorkResponse told = Submit(assigned);
  ASSERT_THAT(told.rejected(), SizeIs(1));
  EXPECT_EQ(told.rejected(0).reason(), "ASSIGNMENT_EXPIRED");
}

TEST_F(WorkTest, ReturnsAndExtensionsAreCommitted) {
  JobWith(4);
  const v1::Assigned assigned = Lease(1, "ann");
  v1::WorkRequest request;
  v1::Extend& extend = *request.add_extends();
  extend.set_assignment(assigned.assignment());
  extend.mutable_expire_time()->set_seconds(assigned.expire_time().seconds() + 86'400);
  v1::Return& some = *request.add_returns();
  some.set_assignment(assigned.assignment());
  some.add_item_keys("item1");
  world_.Send(session_, request);
  v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.committed(), SizeIs(2)) << told.DebugString();
  EXPECT_EQ(told.committed(0).kind(), v1::WORK_KIND_RETURN);
  EXPECT_EQ(told.committed(0).items_returned(), 1);
  EXPECT_FALSE(told.committed(0).finished());
  EXPECT_EQ(told.committed(1).kind(), v1::WORK_KIND_EXTEND);
  // Cut to what the job allows, which is what the assignment said.
  EXPECT_EQ(told.committed(1).expire_time().seconds(), assigned.extensible_until_time().seconds());

  request.Clear();
  request.add_returns()->set_assignment(assigned.assignment());
  world_.Send(session_, request);
  told = sink_.Take();
  ASSERT_THAT(told.committed(), SizeIs(1));
  EXPECT_TRUE(told.committed(0).finished());
  EXPECT_EQ(told.committed(0).items_returned(), 4);
  world_.Send(session_, request);
  EXPECT_EQ(sink_.Take().committed(0).items_returned(), 4);
}

TEST_F(WorkTest, AGatewayThatComesBackIsToldWhatBecameOfWhatItHolds) {
  JobWith(12);
  const v1::Assigned open = Lease(1, "ann");
  const v1::Assigned done = Lease(2, "bob");
  Draft(open, 0, 4, "no");
  Submit(done);
  world_.Restart();

  v1::Hello hello;
  v1::Held& held = *hello.add_held();
  held.set_assignment(open.assignment());
  held.set_resend(true);
  v1::HeldDraft& draft = *held.add_drafts();
  draft.set_item_key(open.items(0).key());
  draft.set_edit(9);
  v1::Held& over = *hello.add_held();
  over.set_assignment(done.assignment());
  v1::HeldDraft& last = *over.add_drafts();
  last.set_item_key(done.items(0).key());
  last.set_edit(1);
  hello.add_held()->set_assignment("00000000000000000000");
  sink_ = RecordingSink();
  session_ = world_.Connect(sink_, "g1", "web", hello);
  const v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.welcome().held(), SizeIs(3)) << told.DebugString();
  EXPECT_EQ(told.welcome().held(0).status(), v1::HELD_STATUS_HELD);
  ASSERT_THAT(told.welcome().held(0).drafts(), SizeIs(1));
  EXPECT_EQ(told.welcome().held(0).drafts(0).edit(), 4);
  EXPECT_EQ(told.welcome().held(1).status(), v1::HELD_STATUS_COMMITTED);
  EXPECT_THAT(told.welcome().held(1).accepted_item_keys(), ElementsAre(done.items(0).key()));
  EXPECT_EQ(told.welcome().held(2).status(), v1::HELD_STATUS_UNKNOWN);
  ASSERT_THAT(told.assigned(), SizeIs(1));
  EXPECT_EQ(told.assigned(0).assignment(), open.assignment());
  EXPECT_EQ(told.assigned(0).demand_id(), 0);
  EXPECT_EQ(told.assigned(0).items(0).draft().fields(0).choice(), "no");
  EXPECT_EQ(told.assigned(0).items(0).draft_edit(), 4);
  EXPECT_THAT(told.templates(), SizeIs(1));

  // It is this stream's: its end is told here.
  world_.Pass(absl::Minutes(20));
  ASSERT_THAT(sink_.Take().committed(), SizeIs(1));
}

TEST_F(WorkTest, AGatewayThatLostItsMemoryGetsItsAssignmentsAgain) {
  JobWith(30);
  const v1::Assigned one = Lease(1, "ann");
  const v1::Assigned two = Lease(2, "bob");
  world_.Turn([&] { world_->CloseSession(session_); });
  v1::Hello hello;
  hello.set_resend_all(true);
  RecordingSink& again = world_.NewSink();
  world_.Connect(again, "g1", "web", hello);
  std::set<std::string> sent;
  for (const v1::Assigned& assigned : again.all.assigned()) sent.insert(assigned.assignment());
  EXPECT_EQ(sent, (std::set<std::string>{one.assignment(), two.assignment()}));
  RecordingSink& stranger = world_.NewSink();
  world_.Connect(stranger, "g2", "web", hello);
  EXPECT_THAT(stranger.all.assigned(), IsEmpty());
}

TEST_F(WorkTest, ANewStreamOfTheSameGatewayReplacesTheOlder) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  RecordingSink& second = world_.NewSink();
  world_.Connect(second);
  ASSERT_TRUE(sink_.closed.has_value());
  EXPECT_THAT(*sink_.closed, StatusIs(StatusCode::kAborted));
  EXPECT_THAT(*sink_.closed, HasReason("SESSION_REPLACED"));
  world_.Turn([&] { world_->CloseSession(session_); });
  world_.Pass(absl::Minutes(6));
  ASSERT_THAT(second.all.committed(), SizeIs(1));
  EXPECT_EQ(second.all.committed(0).kind(), v1::WORK_KIND_EXPIRY);
}

TEST_F(WorkTest, AStoreThatLostWhatAGatewaySawIsNotServedSilently) {
  v1::Hello hello;
  v1::CommitPosition& seen = *hello.add_positions();
  seen.set_partition("partitions/p0");
  seen.set_epoch(1);
  seen.set_sequence(1000);
  RecordingSink& second = world_.NewSink();
  world_.Connect(second, "g2", "web", hello);
  ASSERT_TRUE(second.closed.has_value());
  EXPECT_THAT(*second.closed, StatusIs(StatusCode::kDataLoss));
}

TEST_F(WorkTest, ABlockTakesLeasesBackAndEndsDemands) {
  JobWith(30);
  const v1::Assigned assigned = Lease(1, "ann");
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 2, "ann", 5);
  v1::UpdateWorkerRequest block;
  block.mutable_worker()->set_name("platforms/web/workers/ann");
  block.mutable_worker()->set_blocked(true);
  block.mutable_update_mask()->add_paths("blocked");
  EXPECT_THAT(world_.Call(&Coordinator::UpdateWorker, block),
              StatusIs(StatusCode::kInvalidArgument));
  block.mutable_worker()->set_blocked_reason("spam");
  const auto blocked = world_.Call(&Coordinator::UpdateWorker, block);
  ASSERT_THAT(blocked, IsOk());
  EXPECT_TRUE(blocked->blocked());
  v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.revoked(), SizeIs(1));
  EXPECT_EQ(told.revoked(0).assignment(), assigned.assignment());
  EXPECT_EQ(told.revoked(0).reason(), v1::REVOKE_REASON_WORKER_BLOCKED);
  world_.Send(session_, request);
  told = sink_.Take();
  EXPECT_THAT(told.assigned(), IsEmpty());
  ASSERT_THAT(told.demands_ended(), SizeIs(1));
  EXPECT_EQ(told.demands_ended(0).reason(), v1::DEMAND_END_REASON_WORKER_BLOCKED);
  EXPECT_EQ(told.demands_ended(0).assignments_unused(), 5);
}

TEST_F(WorkTest, AGatewayMayAskForSomeItemsOfOneJobOnly) {
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  ASSERT_THAT(world_.Add(job, 0, 10), IsOk());
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 5);
  request.mutable_leases(0)->set_only_job(job);
  request.mutable_leases(0)->add_only_item_keys("item3");
  request.mutable_leases(0)->add_only_item_keys("item12");
  world_.Send(session_, request);
  v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.assigned(), SizeIs(1));
  ASSERT_THAT(told.assigned(0).items(), SizeIs(1));
  EXPECT_EQ(told.assigned(0).items(0).key(), "item3");
  // The other comes later.
  ASSERT_THAT(world_.Add(job, 10, 10), IsOk());
  told = sink_.Take();
  ASSERT_THAT(told.assigned(), SizeIs(1));
  EXPECT_EQ(told.assigned(0).items(0).key(), "item12");
  // Now she had both, and nobody is asked twice: there is nothing to wait for.
  ASSERT_THAT(told.demands_ended(), SizeIs(1));
  EXPECT_EQ(told.demands_ended(0).reason(), v1::DEMAND_END_REASON_JOB_DONE);
  EXPECT_EQ(told.demands_ended(0).assignments_unused(), 3);
}

TEST_F(WorkTest, ADemandForSomeItemsStandsWhileOneOfThemMayStillCome) {
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  ASSERT_THAT(world_.Add(job, 0, 3), IsOk());
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 5);
  CoordinatorWorld::AddLease(request, 2, "bob", 5);
  for (v1::Lease& lease : *request.mutable_leases()) lease.set_only_job(job);
  request.mutable_leases(0)->add_only_item_keys("item1");
  request.mutable_leases(0)->add_only_item_keys("nowhere");
  request.mutable_leases(1)->add_only_item_keys("nowhere");
  world_.Send(session_, request);
  v1::WorkResponse told = sink_.Take();
  EXPECT_THAT(told.assigned(), SizeIs(1));
  EXPECT_THAT(told.demands_ended(), IsEmpty());
  EXPECT_TRUE(world_.Seal(job).sealed());
  world_.Pass(Broker::kRetryInterval);
  told = sink_.Take();
  ASSERT_THAT(told.demands_ended(), SizeIs(2));
  EXPECT_EQ(told.demands_ended(0).reason(), v1::DEMAND_END_REASON_JOB_DONE);
  EXPECT_EQ(told.demands_ended(1).reason(), v1::DEMAND_END_REASON_JOB_DONE);
}

TEST_F(WorkTest, APlanHoldsWhatIsBegunAsWell) {
  const std::string job = JobWith(10);
  v1::PlanJobRequest request;
  request.set_parent("tenants/acme");
  request.set_job(job);
  const auto before = world_.Call(&Coordinator::PlanJob, request);
  ASSERT_THAT(before, IsOk());
  ASSERT_EQ(before->items(), 10);
  const v1::Assigned assigned = Lease(1, "ann");
  ASSERT_THAT(assigned.items(), Not(IsEmpty()));
  const int begun = assigned.items_size();
  const auto during = world_.Call(&Coordinator::PlanJob, request);
  ASSERT_THAT(during, IsOk());
  EXPECT_EQ(during->items(), 10);
  EXPECT_EQ(during->items_admitted(), 10);
  EXPECT_EQ(during->strata(0).items(), 10);
  // What is being answered is reserved, and no longer expected.
  EXPECT_NEAR(during->expected_answers(), before->expected_answers() - begun, 1e-6);
}

TEST_F(WorkTest, ADemandForAJobEndsWithTheJob) {
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 3);
  request.mutable_leases(0)->set_only_job(job);
  world_.Send(session_, request);
  EXPECT_THAT(sink_.Take().demands_ended(), IsEmpty());
  v1::CancelJobRequest cancel;
  cancel.set_name(job);
  ASSERT_THAT(world_.Call(&Coordinator::CancelJob, cancel), IsOk());
  const v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.demands_ended(), SizeIs(1));
  EXPECT_EQ(told.demands_ended(0).reason(), v1::DEMAND_END_REASON_JOB_DONE);
  EXPECT_EQ(told.demands_ended(0).assignments_unused(), 3);
}

TEST_F(WorkTest, ADemandForAJobEndsWhenItsWorkerHasAllThatTheJobAllows) {
  v1::CreateJobRequest create = CoordinatorWorld::JobRequest();
  create.mutable_job()->mutable_policy()->mutable_quality()->set_answers_per_worker_max(2);
  const std::string job = world_.Create(create);
  ASSERT_THAT(world_.Add(job, 0, 10), IsOk());
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 5);
  request.mutable_leases(0)->set_only_job(job);
  request.mutable_leases(0)->set_items_max(1);
  world_.Send(session_, request);
  v1::WorkResponse told = sink_.Take();
  EXPECT_THAT(told.assigned(), SizeIs(2));
  ASSERT_THAT(told.demands_ended(), SizeIs(1));
  EXPECT_EQ(told.demands_ended(0).reason(), v1::DEMAND_END_REASON_WORKER_CAPPED);
  EXPECT_EQ(told.demands_ended(0).assignments_unused(), 3);
  // Another job may come, so a demand for any stands.
  v1::WorkRequest any;
  CoordinatorWorld::AddLease(any, 2, "ann");
  world_.Send(session_, any);
  told = sink_.Take();
  EXPECT_THAT(told.assigned(), IsEmpty());
  EXPECT_THAT(told.demands_ended(), IsEmpty());
}

TEST_F(WorkTest, TenantsShareAPoolByTheirWeights) {
  v1::CreatePoolRequest create;
  create.set_pool_id("shared");
  (*create.mutable_pool()->mutable_tenant_weights())["tenants/acme"] = 3;
  ASSERT_THAT(world_.Call(&Coordinator::CreatePool, create), IsOk());
  for (const char* const tenant : {"acme", "zoo"}) {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest("r1", tenant);
    request.mutable_job()->mutable_policy()->mutable_eligibility()->add_pools("pools/shared");
    ASSERT_THAT(world_.Add(world_.Create(request), 0, 1000), IsOk());
  }
  uint64_t demand = 0;
  const auto acmes_of = [&](int leases) {
    v1::WorkRequest request;
    for (int i = 0; i < leases; ++i) {
      ++demand;
      CoordinatorWorld::AddLease(request, demand, absl::StrCat("w", demand));
      request.mutable_leases(i)->set_pool("pools/shared");
    }
    world_.Send(session_, request);
    const v1::WorkResponse told = sink_.Take();
    EXPECT_THAT(told.assigned(), SizeIs(leases));
    return std::count_if(told.assigned().begin(), told.assigned().end(),
                         [](const v1::Assigned& assigned) {
                           return absl::StartsWith(assigned.job(), "tenants/acme/");
                         });
  };
  EXPECT_EQ(acmes_of(40), 30);
  v1::UpdatePoolRequest update;
  update.mutable_pool()->set_name("pools/shared");
  (*update.mutable_pool()->mutable_tenant_weights())["tenants/zoo"] = 4;
  update.mutable_update_mask()->add_paths("tenant_weights");
  const auto updated = world_.Call(&Coordinator::UpdatePool, update);
  ASSERT_THAT(updated, IsOk());
  EXPECT_THAT(updated->tenant_weights(), ElementsAre(::testing::Pair("tenants/zoo", 4)));
  EXPECT_NEAR(static_cast<double>(acmes_of(50)), 10, 1);
  Restart();
  EXPECT_NEAR(static_cast<double>(acmes_of(50)), 10, 1);
}

// Else nothing would happen for as long as the clock was set back by: no lease would end.
TEST_F(WorkTest, AfterAClockThatWasSetBackTimeGoesOnFromWhereItWas) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  const absl::Time before = world_.now();
  world_.Restart(-absl::Hours(1));
  EXPECT_EQ(world_.now(), before - absl::Hours(1));
  world_.GoOnFromLatest();
  EXPECT_NEAR(absl::ToDoubleSeconds(world_.now() - before), 0, 2);
  sink_ = RecordingSink();
  session_ = world_.Connect(sink_);
  world_.Pass(FromProto(assigned.expire_time()) - world_.now() + absl::Minutes(1));
  const v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.committed(0).kind(), v1::WORK_KIND_EXPIRY);
}

// A gateway may count its edits by the clock.
TEST_F(WorkTest, AnEditIsAsLargeAsATimestamp) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  const int64_t edit = 1'700'000'000'000'000'000;
  EXPECT_EQ(Draft(assigned, 0, edit, "yes").committed(0).edit(), edit);
  EXPECT_EQ(Draft(assigned, 0, edit - 1, "no").committed(0).edit(), edit);
  world_.Restart();
  sink_ = RecordingSink();
  v1::Hello hello;
  v1::Held& held = *hello.add_held();
  held.set_assignment(assigned.assignment());
  v1::HeldDraft& draft = *held.add_drafts();
  draft.set_item_key(assigned.items(0).key());
  draft.set_edit(edit);
  session_ = world_.Connect(sink_, "g1", "web", hello);
  ASSERT_THAT(sink_.messages.at(0).welcome().held(0).drafts(), SizeIs(1));
  EXPECT_EQ(sink_.messages.at(0).welcome().held(0).drafts(0).edit(), edit);
}

// An owner that was replaced and does not know it must not make a gateway drop what the newer one
// granted.
TEST_F(WorkTest, AnAssignmentBeyondTheKnownHistoryIsNotCalledUnknown) {
  JobWith(3);
  v1::Assigned future;
  const IdMaker ids({.low = 17, .high = 4}, 1);
  for (const core::AssignmentId id :
       {core::AssignmentId{core::JobIndex(0), 5}, core::AssignmentId{core::JobIndex(5), 0}}) {
    future.set_assignment(ids.Assignment(0, id));
    const v1::WorkResponse told = Submit(future);
    ASSERT_THAT(told.rejected(), SizeIs(1));
    EXPECT_EQ(told.rejected(0).code(), static_cast<int>(StatusCode::kUnavailable));
    v1::Hello hello;
    hello.add_held()->set_assignment(future.assignment());
    RecordingSink& other = world_.NewSink();
    world_.Connect(other, "g2", "web", hello);
    ASSERT_TRUE(other.closed.has_value());
    EXPECT_THAT(*other.closed, StatusIs(StatusCode::kDataLoss));
  }
}

TEST_F(WorkTest, ADrainedCoordinatorGivesNoLeasesAndStillTakesAnswers) {
  JobWith(30);
  const v1::Assigned assigned = Lease(1, "ann");
  bool drained = false;
  world_.Turn([&] { world_->Drain(absl::Seconds(90), [&] { drained = true; }); });
  world_.Settle();
  EXPECT_TRUE(drained);
  EXPECT_EQ(FromProto(sink_.Take().drain().end_time()), world_.now() + absl::Seconds(90));
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 2, "bob");
  CoordinatorWorld::AddSubmit(request, assigned);
  world_.Send(session_, request);
  const v1::WorkResponse told = sink_.Take();
  EXPECT_THAT(told.assigned(), IsEmpty());
  ASSERT_THAT(told.rejected(), SizeIs(1));
  EXPECT_EQ(told.rejected(0).code(), static_cast<int>(StatusCode::kUnavailable));
  EXPECT_THAT(told.committed(), SizeIs(1));
}

TEST_F(WorkTest, ASilentStreamEndsAndAQuietOneIsKeptAlive) {
  for (int i = 0; i < 10; ++i) {
    world_.Pass(absl::Seconds(14), /*silent=*/true);
    world_.Send(session_, v1::WorkRequest());
  }
  EXPECT_FALSE(sink_.closed.has_value());
  EXPECT_GE(sink_.messages.size(), 8);
  world_.Pass(absl::Seconds(60), /*silent=*/true);
  ASSERT_TRUE(sink_.closed.has_value());
  EXPECT_THAT(*sink_.closed, StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(*sink_.closed, HasReason("STREAM_IDLE"));
}

TEST_F(WorkTest, AnAcknowledgementWaitsForItsCommit) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  v1::WorkRequest request;
  CoordinatorWorld::AddSubmit(request, assigned);
  world_.Turn([&] { world_->OnWork(session_, request); });
  for (int i = 0; i < 5; ++i) world_.Turn();
  EXPECT_THAT(sink_.all.committed(), IsEmpty());
  world_.Settle();
  EXPECT_THAT(sink_.all.committed(), SizeIs(1));
  EXPECT_EQ(sink_.all.committed(0).position().partition(), "partitions/p0");
  EXPECT_GT(sink_.all.committed(0).position().sequence(), 0);
}

}  // namespace
}  // namespace tessera::edge