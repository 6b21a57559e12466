// At stake: what a gateway may not do is refused, entry by entry, with what is at fault, and tells
// it nothing of other platforms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/edge/broker.h"
#include "coordinator/edge/convert.h"
#include "tests/coordinator/edge/work_world.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(WorkTest, EveryBadEntryIsAnsweredByItselfAndTheStreamGoesOn) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  v1::WorkRequest request;
  v1::Submit& unknown = *request.add_submits();
  unknown.set_assignment("nonsense");
  unknown.set_tag(1);
  v1::Submit& misfit = *request.add_submits();
  misfit.set_assignment(assigned.assignment());
  misfit.set_tag(2);
  v1::ItemAnswer& maybe = *misfit.add_answers();
  maybe.set_item_key("item0");
  *maybe.mutable_answer() = CoordinatorWorld::Choice("maybe");
  v1::Submit& stranger = *request.add_submits();
  stranger.set_assignment(assigned.assignment());
  stranger.set_tag(3);
  v1::ItemAnswer& other = *stranger.add_answers();
  other.set_item_key("item99");
  *other.mutable_answer() = CoordinatorWorld::Choice("yes");
  world_.Send(session_, request);
  const v1::WorkResponse told = sink_.Take();
  EXPECT_THAT(told.committed(), IsEmpty());
  ASSERT_THAT(told.rejected(), SizeIs(3)) << told.DebugString();
  std::map<uint64_t, v1::Rejected> by_tag;
  for (const v1::Rejected& rejected : told.rejected()) by_tag[rejected.tag()] = rejected;
  EXPECT_EQ(by_tag[1].code(), static_cast<int>(StatusCode::kNotFound));
  EXPECT_EQ(by_tag[1].reason(), "ASSIGNMENT_NOT_FOUND");
  EXPECT_EQ(by_tag[2].code(), static_cast<int>(StatusCode::kInvalidArgument));
  EXPECT_EQ(by_tag[2].reason(), "ANSWER_DOES_NOT_FIT");
  EXPECT_EQ(by_tag[2].item_key(), "item0");
  EXPECT_EQ(by_tag[3].code(), static_cast<int>(StatusCode::kNotFound));
  EXPECT_EQ(by_tag[3].reason(), "ITEM_NOT_IN_ASSIGNMENT");
  EXPECT_EQ(by_tag[3].field(), "answers[0].item_key");
  EXPECT_THAT(Submit(assigned).committed(), SizeIs(1));
}

TEST_F(WorkTest, AnotherPlatformsWorkersAndAssignmentsAreDenied) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  RecordingSink& other = world_.NewSink();
  const auto session = world_.Connect(other, "g1", "rival");
  v1::WorkRequest request;
  CoordinatorWorld::AddSubmit(request, assigned);
  CoordinatorWorld::AddLease(request, 1, "platforms/web/workers/ann");
  world_.Send(session, request);
  ASSERT_THAT(other.all.rejected(), SizeIs(2));
  for (const v1::Rejected& rejected : other.all.rejected()) {
    EXPECT_EQ(rejected.code(), static_cast<int>(StatusCode::kPermissionDenied));
    EXPECT_EQ(rejected.reason(), "PLATFORM_DENIED");
  }
  // Nor once it is over.
  Submit(assigned);
  other.Take();
  world_.Send(session, request);
  EXPECT_THAT(other.all.committed(), IsEmpty());
  EXPECT_FALSE(sink_.closed.has_value()) << "gateways of one name on two platforms are two";
}

TEST_F(WorkTest, MoreDemandsThanAreAllowedAreRejected) {
  world_.options().work.demands_max = 3;
  Restart();
  v1::WorkRequest request;
  for (int i = 0; i < 5; ++i) CoordinatorWorld::AddLease(request, 1 + i, absl::StrCat("w", i));
  world_.Send(session_, request);
  const v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.rejected(), SizeIs(2));
  EXPECT_EQ(told.rejected(0).demand_id(), 4);
  EXPECT_EQ(told.rejected(0).reason(), "STREAM_LIMIT");
}

// A few demands that name much are as heavy as many that name nothing.
TEST_F(WorkTest, DemandsThatNameMoreThanIsAllowedAreRejected) {
  world_.options().work.demand_bytes_max = 1000;
  Restart();
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  const auto lease = [&](uint64_t demand, size_t bytes) {
    v1::WorkRequest request;
    CoordinatorWorld::AddLease(request, demand, "ann");
    request.mutable_leases(0)->set_only_job(job);
    request.mutable_leases(0)->add_only_item_keys(std::string(bytes - sizeof(std::string), 'k'));
    world_.Send(session_, request);
    return sink_.Take();
  };
  EXPECT_THAT(lease(1, 600).rejected(), IsEmpty());
  const v1::WorkResponse told = lease(2, 401);
  ASSERT_THAT(told.rejected(), SizeIs(1));
  EXPECT_EQ(told.rejected(0).demand_id(), 2u);
  EXPECT_EQ(told.rejected(0).reason(), "STREAM_LIMIT");
  // One in place of another, and one after another has gone.
  EXPECT_THAT(lease(1, 1000).rejected(), IsEmpty());
  v1::WorkRequest withdraw;
  CoordinatorWorld::AddLease(withdraw, 1, "ann", 0);
  world_.Send(session_, withdraw);
  EXPECT_THAT(sink_.Take().demands_ended(), SizeIs(1));
  EXPECT_THAT(lease(2, 1000).rejected(), IsEmpty());
}

// However many streams there are: what they ask for is kept in one memory, and no platform takes all
// of it.
TEST_F(WorkTest, AllStreamsTogetherHaveRoomForSoManyDemands) {
  world_.options().work.demand_memory_bytes_max = 16 * Demand::kBareBytes;
  world_.Restart();
  const auto demands = [&](Coordinator::SessionId session, RecordingSink& sink, int first) {
    v1::WorkRequest request;
    for (int i = 0; i < 5; ++i) {
      CoordinatorWorld::AddLease(request, static_cast<uint64_t>(first + i), absl::StrCat("w", i));
    }
    world_.Send(session, request);
    const v1::WorkResponse told = sink.Take();
    for (const v1::Rejected& rejected : told.rejected()) {
      EXPECT_EQ(rejected.code(), static_cast<int>(StatusCode::kResourceExhausted));
      EXPECT_EQ(rejected.reason(), "STREAM_LIMIT");
    }
    return 5 - told.rejected_size();
  };
  RecordingSink& first = world_.NewSink();
  RecordingSink& second = world_.NewSink();
  const auto session = world_.Connect(first, "g1", "market");
  EXPECT_EQ(demands(session, first, 1), 4);
  EXPECT_EQ(demands(world_.Connect(second, "g2", "market"), second, 1), 0);
  // In place of one of its own there is room.
  EXPECT_EQ(demands(session, first, 1), 4);
  for (const char* const platform : {"a", "b", "c"}) {
    RecordingSink& sink = world_.NewSink();
    EXPECT_EQ(demands(world_.Connect(sink, "g", platform), sink, 1), 4) << platform;
  }
  RecordingSink& late = world_.NewSink();
  const auto last = world_.Connect(late, "g", "late");
  EXPECT_EQ(demands(last, late, 1), 0);
  world_.Turn([&] { world_->CloseSession(session); });
  EXPECT_EQ(demands(last, late, 1), 4);
}

TEST_F(WorkTest, AModelsVersionIsRefusedAsLongAsItMeansNothing) {
  JobWith(3);
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann");
  request.mutable_leases(0)->set_model_version("v2");
  world_.Send(session_, request);
  const v1::WorkResponse told = sink_.Take();
  EXPECT_THAT(told.assigned(), IsEmpty());
  ASSERT_THAT(told.rejected(), SizeIs(1));
  EXPECT_EQ(told.rejected(0).code(), static_cast<int>(StatusCode::kUnimplemented));
  EXPECT_EQ(told.rejected(0).reason(), "NOT_SERVED");
  EXPECT_EQ(told.rejected(0).field(), "model_version");
}

TEST_F(WorkTest, WelcomeTellsTheLimitsThatHold) {
  world_.options().work = {.request_bytes_max = 5,
                           .entries_max = 4,
                           .credit_max = 3,
                           .unanswered_max = 2,
                           .demands_max = 1,
                           .demand_bytes_max = 6};
  Restart();
  const v1::WorkLimits& limits = sink_.messages.at(0).welcome().limits();
  EXPECT_EQ(limits.request_bytes_max(), 5);
  EXPECT_EQ(limits.entries_max(), 4);
  EXPECT_EQ(limits.credit_max(), 3);
  EXPECT_EQ(limits.unanswered_max(), 2);
  EXPECT_EQ(limits.demands_max(), 1);
  EXPECT_EQ(limits.demand_bytes_max(), 6);
}

// What was rejected since did not go back to anybody, and earns nothing.
TEST_F(WorkTest, ARejectionIsNoReturnInWhatIsToldAfterARestart) {
  const std::string job = JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  Submit(assigned);
  v1::ReviewAnswersRequest reviews;
  reviews.set_job(job);
  v1::Review& review = *reviews.add_reviews();
  review.set_assignment(assigned.assignment());
  review.set_item_key(assigned.items(0).key());
  review.set_decision(v1::REVIEW_DECISION_REJECT);
  review.set_reason("wrong");
  ASSERT_THAT(world_.Call(&Coordinator::ReviewAnswers, reviews), testing::IsOk());
  Restart();
  v1::WorkRequest request;
  request.add_submits()->set_assignment(assigned.assignment());
  world_.Send(session_, request);
  const v1::WorkResponse told = sink_.Take();
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.committed(0).earned_micros(), 20'000);
  EXPECT_EQ(told.committed(0).items_accepted(), 2);
  EXPECT_EQ(told.committed(0).items_returned(), 0);
}

// Whose an assignment was that is over is not forgotten with its lease; and an id can be guessed.
TEST_F(WorkTest, AFinishedAssignmentAnswersNobodyElse) {
  // So that it is forgotten with the coordinator.
  world_.options().host.journal_kept_bytes = 0;
  world_.options().host.commits_per_trim = 1;
  Restart();
  JobWith(9);
  const v1::Assigned assigned = Lease(1, "ann");
  Submit(assigned);
  v1::Hello hello;
  hello.add_held()->set_assignment(assigned.assignment());
  v1::WorkRequest request;
  request.add_submits()->set_assignment(assigned.assignment());
  request.add_returns()->set_assignment(assigned.assignment());
  v1::Extend& extend = *request.add_extends();
  extend.set_assignment(assigned.assignment());
  *extend.mutable_expire_time() = TimeToProto(world_.now() + absl::Hours(1));
  for (const bool remembered : {true, false}) {
    if (!remembered) {
      world_.Pass(absl::Seconds(30));
      JobWith(1, "r2");
      JobWith(1, "r3");
      world_.Restart();
    }
    RecordingSink& other = world_.NewSink();
    const auto session = world_.Connect(other, "g1", "rival", hello);
    const v1::WorkResponse told = other.Take();
    ASSERT_THAT(told.welcome().held(), SizeIs(1));
    EXPECT_EQ(told.welcome().held(0).earned_micros(), 0);
    if (remembered) {
      EXPECT_EQ(told.welcome().held(0).status(), v1::HELD_STATUS_UNKNOWN);
    }
    world_.Send(session, request);
    for (const v1::Committed& committed : other.all.committed()) {
      EXPECT_FALSE(remembered);
      EXPECT_EQ(committed.earned_micros(), 0);
      EXPECT_EQ(committed.items_accepted(), 0);
    }
    EXPECT_THAT(other.all.rejected(), SizeIs(remembered ? 3 : 1));
    // With its items, whose it was is known in any case.
    v1::Hello guess = hello;
    v1::HeldDraft& draft = *guess.mutable_held(0)->add_drafts();
    draft.set_item_key(assigned.items(0).key());
    draft.set_edit(1);
    RecordingSink& third = world_.NewSink();
    world_.Connect(third, "g2", "rival", guess);
    EXPECT_EQ(third.all.welcome().held(0).status(), v1::HELD_STATUS_UNKNOWN);
    EXPECT_EQ(third.all.welcome().held(0).earned_micros(), 0);
  }
}

TEST_F(WorkTest, ARejectionNamesTheFieldAndTheKeyAtFault) {
  const std::string job = JobWith(30);
  const v1::Assigned assigned = Lease(1, "ann");
  const v1::Assigned other = Lease(2, "bob");
  std::set<std::string> own;
  for (const v1::AssignedItem& item : assigned.items()) own.insert(item.key());
  std::string foreign;  // Of the job, and not of the assignment.
  for (const v1::AssignedItem& item : other.items()) {
    if (!own.contains(item.key())) foreign = item.key();
  }
  ASSERT_NE(foreign, "");
  for (const std::string& key : {foreign, std::string("of no job")}) {
    v1::WorkRequest request;
    v1::Draft& draft = *request.add_drafts();
    draft.set_assignment(assigned.assignment());
    draft.set_item_key(key);
    draft.set_edit(1);
    v1::Submit& submit = *request.add_submits();
    submit.set_assignment(assigned.assignment());
    for (const std::string& answered : {assigned.items(0).key(), key}) {
      v1::ItemAnswer& answer = *submit.add_answers();
      answer.set_item_key(answered);
      *answer.mutable_answer() = CoordinatorWorld::Choice("yes");
    }
    v1::Return& giving_back = *request.add_returns();
    giving_back.set_assignment(assigned.assignment());
    giving_back.add_item_keys(assigned.items(0).key());
    giving_back.add_item_keys(key);
    world_.Send(session_, request);
    const v1::WorkResponse told = sink_.Take();
    ASSERT_THAT(told.rejected(), SizeIs(3)) << told.DebugString();
    std::map<v1::WorkKind, std::string> fields;
    for (const v1::Rejected& rejected : told.rejected()) {
      EXPECT_EQ(rejected.reason(), "ITEM_NOT_IN_ASSIGNMENT");
      EXPECT_EQ(rejected.item_key(), key);
      fields[rejected.kind()] = rejected.field();
    }
    EXPECT_EQ(fields[v1::WORK_KIND_DRAFT], "item_key");
    EXPECT_EQ(fields[v1::WORK_KIND_SUBMIT], "answers[1].item_key");
    EXPECT_EQ(fields[v1::WORK_KIND_RETURN], "item_keys[1]");
  }
}

TEST_F(WorkTest, ACorrectionThatComesAfterTheAnswerWasCountedIsNotAcknowledged) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  Draft(assigned, 0, 1, "yes");
  world_.Pass(absl::Minutes(6));
  sink_.Take();
  v1::WorkResponse told = Draft(assigned, 0, 2, "no");
  EXPECT_THAT(told.committed(), SizeIs(0));
  ASSERT_THAT(told.rejected(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.rejected(0).reason(), "ASSIGNMENT_FINISHED");
  EXPECT_EQ(told.rejected(0).edit(), 2);
  told = Draft(assigned, 0, 1, "yes");
  ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
  EXPECT_EQ(told.committed(0).edit(), 1);
  EXPECT_TRUE(told.committed(0).finished());
}

// Where many leases end at once, some are ended by what comes for them first.
TEST_F(WorkTest, ASubmissionThatFindsItsDeadlineOverIsToldAllThatWasEarned) {
  world_.options().host.partition.tick_bytes_max = 1;
  Restart();
  JobWith(12);
  std::vector<v1::Assigned> leased;
  for (const char* worker : {"ann", "bob"}) {
    const v1::Assigned& assigned = leased.emplace_back(Lease(leased.size() + 1, worker));
    for (int i = 0; i < assigned.items_size(); ++i) Draft(assigned, i, 1, "yes");
  }
  const v1::Assigned& last = leased.back();
  world_.Pass(FromProto(last.expire_time()) - world_.now() - absl::Seconds(1));
  world_.Skip(absl::Seconds(1));
  v1::WorkRequest request;
  request.add_submits()->set_assignment(last.assignment());
  world_.Send(session_, request);
  for (int times = 0; times < 2; ++times) {
    const v1::WorkResponse told = sink_.Take();
    const auto reply = std::find_if(
        told.committed().begin(), told.committed().end(),
        [](const v1::Committed& committed) { return committed.kind() == v1::WORK_KIND_SUBMIT; });
    ASSERT_NE(reply, told.committed().end()) << told.DebugString();
    EXPECT_EQ(reply->items_accepted(), last.items_size());
    EXPECT_EQ(reply->earned_micros(), last.items_size() * last.price_per_item_micros());
    world_.Send(session_, request);  // As is a repeat.
  }
}

// Who lost its memory numbers its drafts from what it is told, and would have the next one dropped.
TEST_F(WorkTest, AWithdrawnDraftsEditIsToldWhereItsAssignmentIsSentAgain) {
  JobWith(3);
  const v1::Assigned assigned = Lease(1, "ann");
  Draft(assigned, 0, 1, "yes");
  Draft(assigned, 0, 2, "");
  v1::Hello hello;
  v1::Held& held = *hello.add_held();
  held.set_assignment(assigned.assignment());
  held.set_resend(true);
  for (const int item : {0, 1}) {
    v1::HeldDraft& draft = *held.add_drafts();
    draft.set_item_key(assigned.items(item).key());
    draft.set_edit(1);
  }
  const v1::WorkResponse told = Restart(hello);
  ASSERT_THAT(told.welcome().held(), SizeIs(1));
  ASSERT_THAT(told.welcome().held(0).drafts(), SizeIs(1)) << "the other has none";
  EXPECT_EQ(told.welcome().held(0).drafts(0).edit(), 2);
  ASSERT_THAT(told.assigned(), SizeIs(1));
  const v1::Assigned& again = told.assigned(0);
  EXPECT_FALSE(again.items(0).has_draft());
  EXPECT_EQ(again.items(0).draft_edit(), 2);
  EXPECT_EQ(again.items(1).draft_edit(), 0);

  Draft(again, 0, again.items(0).draft_edit() + 1, "no");
  world_.Pass(absl::Minutes(6));
  const v1::WorkResponse end = sink_.Take();
  ASSERT_THAT(end.committed(), SizeIs(1));
  EXPECT_EQ(end.committed(0).items_accepted(), 1);
}

// What is said of a gold item is told of its answers, whatever is known.
TEST_F(WorkTest, AGoldItemsValueIsWhatItsAnswersSay) {
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  v1::AddItemsRequest add;
  add.set_job(job);
  v1::Item& item = *add.add_items();
  item.set_key("item0");
  item.add_content()->set_text("fine");
  *item.mutable_gold() = CoordinatorWorld::Choice("yes");
  ASSERT_TRUE(world_.Call(&Coordinator::AddItems, add).ok());
  ASSERT_THAT(Submit(Lease(1, "ann"), "no").committed(), SizeIs(1));
  v1::ExplainItemRequest explain;
  explain.set_job(job);
  explain.set_item_key("item0");
  const auto story = world_.Call(&Coordinator::ExplainItem, explain);
  ASSERT_TRUE(story.ok());
  EXPECT_TRUE(story->result().is_gold());
  EXPECT_EQ(story->result().value().fields(0).choice(), "no");
  EXPECT_EQ(story->item().gold().fields(0).choice(), "yes");
  ASSERT_THAT(story->answers(), SizeIs(1));
  EXPECT_EQ(story->answers(0).status(), v1::ANSWER_STATUS_COUNTED);
}

// The posterior is the product over what is said to count, so that must be true of each answer.
TEST_F(WorkTest, ARejectedAnswerIsSaidToCountWhereItWasRejectedAfterTheEnd) {
  const std::string job = JobWith(2);
  const v1::Assigned assigned = Lease(1, "ann");
  ASSERT_THAT(assigned.items(), SizeIs(2));
  ASSERT_THAT(Submit(assigned).committed(), SizeIs(1));
  const auto rejected = [&](const std::string& key) {
    v1::ReviewAnswersRequest request;
    request.set_job(job);
    v1::Review& review = *request.add_reviews();
    review.set_assignment(assigned.assignment());
    review.set_item_key(key);
    review.set_decision(v1::REVIEW_DECISION_REJECT);
    review.set_reason("wrong");
    EXPECT_THAT(world_.Call(&Coordinator::ReviewAnswers, request), testing::IsOk());
    v1::ExplainItemRequest explain;
    explain.set_job(job);
    explain.set_item_key(key);
    const auto story = world_.Call(&Coordinator::ExplainItem, explain);
    EXPECT_THAT(story, testing::IsOk());
    EXPECT_THAT(story->answers(), SizeIs(1));
    EXPECT_EQ(story->answers(0).payment(), v1::PAYMENT_STATUS_REJECTED);
    const double moved = story->posterior(0).probability() - story->prior(0).probability();
    EXPECT_EQ(story->answers(0).status() == v1::ANSWER_STATUS_COUNTED, std::abs(moved) > 0.1);
    return story->answers(0).status();
  };
  EXPECT_EQ(rejected("item0"), v1::ANSWER_STATUS_REJECTED);
  v1::FinaliseJobRequest finalise;
  finalise.set_name(job);
  ASSERT_THAT(world_.Call(&Coordinator::FinaliseJob, finalise), testing::IsOk());
  ASSERT_EQ(world_.Job(job).state(), v1::JOB_STATE_FINALISED);
  EXPECT_EQ(rejected("item1"), v1::ANSWER_STATUS_COUNTED);
}

}  // namespace
}  // namespace tessera::edge
