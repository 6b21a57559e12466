// What a partition decides: who gets what, what counts, what it costs, when a job is done.
#include "coordinator/core/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/errors.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using absl::StatusCode;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;

class PartitionTest : public ::testing::Test {
 protected:
  JobView Job(JobIndex job) { return world_->Job(job).value(); }

  PartitionWorld world_;
};

TEST_F(PartitionTest, AJobWhoseWorkersAgreeIsFinalisedWithEveryItemResolved) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 10);
  world_.AnswerAll("yes", 0, 10);
  EXPECT_EQ(Job(job).phase, JobPhase::kFinalised);
  EXPECT_EQ(Job(job).counts.resolved, 10);
  for (ItemIndex i = 0; i < 10; ++i) EXPECT_EQ(world_->Item(job, i).value, 1);
}

TEST_F(PartitionTest, NoWorkerIsGivenAnItemTwice) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.999, .answers_min = 3, .answers_max = 5};
  world_.Create(create, 4);
  std::set<ItemIndex> seen;
  while (const auto lease = world_.TryLease(1)) {
    for (const ItemIndex i : lease->items) EXPECT_TRUE(seen.insert(i).second) << i;
    EXPECT_THAT(world_.Answer(*lease, "yes"), IsOk());
  }
  EXPECT_EQ(seen.size(), 4);
}

TEST_F(PartitionTest, ASubmissionCountsOnceHoweverOftenItIsSent) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  const Lease lease = *world_.TryLease(1);
  ASSERT_THAT(world_.Answer(lease, "yes"), IsOk());
  const auto again = world_.Answer(lease, "no");
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->repeated);
  EXPECT_EQ(again->earned_micros, 1000);
  EXPECT_EQ(Job(job).answers, 1);
  EXPECT_EQ(Job(job).ledger.earned_micros, 1000);
  EXPECT_EQ(world_->Item(job, 0).value, 1);
}

class GivenBackTest : public PartitionTest {
 protected:
  GivenBackTest() {
    CreateJob create = PartitionWorld::TwoClasses("a");
    create.policy.split = {.items_min = 2, .items_max = 2};
    job_ = world_.Create(create, 2);
    lease_ = *world_.TryLease(1);
  }

  absl::StatusOr<Submitted> Submit(const std::vector<ItemIndex>& items) {
    core::Submit submit{.assignment = lease_.assignment};
    for (const ItemIndex i : items) submit.answers.push_back({i, "yes"});
    return world_->Submit(submit, world_.now());
  }
  absl::Status Return(const std::vector<ItemIndex>& items) {
    return world_->Return({.assignment = lease_.assignment, .items = items}, world_.now());
  }

  JobIndex job_;
  Lease lease_;
};

// No work is dropped without a word: what is sent is counted, all of it, or refused, all of it.
TEST_F(GivenBackTest, AnAnswerToAnItemThatWasGivenBackIsRefusedWithAllOthers) {
  for (const bool late : {false, true}) {
    SCOPED_TRACE(late);
    ASSERT_THAT(Return({1}), IsOk());
    const uint64_t answers = Job(job_).answers;
    EXPECT_EQ(GetDetails(Submit({0, 1}).status()).reason, "ASSIGNMENT_FINISHED");
    EXPECT_EQ(GetDetails(Submit({1}).status()).reason, "ASSIGNMENT_FINISHED");
    EXPECT_EQ(Job(job_).answers, answers);
    ASSERT_EQ(Job(job_).open_assignments, 1);
    if (late) {
      EXPECT_EQ(Submit({0})->answers, 1);
      EXPECT_EQ(Job(job_).answers, answers + 1);
      break;
    }
    ASSERT_THAT(Return({0}), IsOk());
    EXPECT_EQ(GetDetails(Submit({0, 1}).status()).reason, "ASSIGNMENT_FINISHED") << "all is back";
    lease_ = *world_.TryLease(2);
    world_.SetNow(lease_.deadline);
    world_->Tick(world_.now());
  }
}

TEST_F(GivenBackTest, ASubmissionThatGaveAnItemBackCanBeSentAgainEvenWithAnAnswerToIt) {
  ASSERT_EQ(Submit({0})->answers, 1);
  for (const std::vector<ItemIndex>& items : {std::vector<ItemIndex>{0}, {0, 1}, {1, 0}, {}}) {
    const auto again = Submit(items);
    ASSERT_THAT(again, IsOk());
    EXPECT_TRUE(again->repeated);
    EXPECT_EQ(again->answers, items.empty() ? 0u : 1u);
    EXPECT_EQ(again->earned_micros, items.empty() ? 0 : 1000);
  }
  EXPECT_EQ(Job(job_).answers, 1);
}

TEST_F(PartitionTest, ALateAnswerCountsAndIsPaidWithinTheGraceAndNotAfterIt) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.lease = {.base = absl::Minutes(1),
                         .per_item = absl::ZeroDuration(),
                         .late_grace = absl::Minutes(10),
                         .extension_max = absl::Hours(1)};
  const JobIndex job = world_.Create(create, 1);
  const Lease late = *world_.TryLease(1);
  const Lease later = *world_.TryLease(2);
  world_.Pass(absl::Minutes(2));
  EXPECT_EQ(Job(job).ledger.reserved_micros, 2000);  // Still theirs, until the grace ends.
  world_.Pass(absl::Minutes(8));
  EXPECT_THAT(world_.Answer(late, "yes"), IsOk());
  EXPECT_EQ(Job(job).ledger.earned_micros, 1000);
  world_.Pass(absl::Minutes(1));
  EXPECT_THAT(world_.Answer(later, "yes"), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_EQ(GetDetails(world_.Answer(later, "yes").status()).reason, "ASSIGNMENT_EXPIRED");
  EXPECT_EQ(Job(job).ledger.earned_micros, 1000);
  EXPECT_EQ(Job(job).ledger.reserved_micros, 0);
}

TEST_F(PartitionTest, TheDeadlineHoldsEvenWhereTickIsLate) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.lease.late_grace = absl::ZeroDuration();
  world_.Create(create, 1);
  const Lease lease = *world_.TryLease(1);
  world_.SetNow(lease.deadline);
  EXPECT_THAT(world_.Answer(lease, "yes"), StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(PartitionTest, ALateAnswerCountsThoughTheItemWasBoughtAgainAndAboveItsCap) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.9, .answers_min = 1, .answers_max = 1};
  create.policy.finalise = FinaliseMode::kManual;
  const JobIndex job = world_.Create(create, 1);
  const Lease late = *world_.TryLease(1);
  world_.SetNow(late.deadline);
  world_->Tick(late.deadline);
  const Lease other = *world_.TryLease(2);
  ASSERT_THAT(world_.Answer(other, "yes"), IsOk());
  EXPECT_EQ(Job(job).counts.resolved, 1);
  ASSERT_THAT(world_.Answer(late, "yes"), IsOk());
  EXPECT_EQ(world_->Item(job, 0).answers, 2);
  EXPECT_EQ(Job(job).ledger.earned_micros, 2000);
}

TEST_F(PartitionTest, AtTheDeadlineDraftsCountAndOnlyTheRestIsReadyAgain) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.9, .answers_min = 1, .answers_max = 1};
  create.policy.split = {.items_min = 2, .items_max = 2};
  const JobIndex job = world_.Create(create, 2);
  const Lease lease = *world_.TryLease(1);
  ASSERT_EQ(lease.items.size(), 2);
  DraftAnswer draft{
      .assignment = lease.assignment, .item = lease.items[0], .edit = 2, .choice = "yes"};
  ASSERT_THAT(world_->Draft(draft, world_.now()), IsOk());
  draft.edit = 1;
  draft.choice = "no";
  ASSERT_THAT(world_->Draft(draft, world_.now()), IsOk());  // Lower edit: kept out.
  world_.SetNow(lease.deadline);
  world_->Tick(lease.deadline);
  EXPECT_EQ(world_->Item(job, lease.items[0]).value, 1);
  const auto next = world_.TryLease(2);
  ASSERT_TRUE(next.has_value());
  EXPECT_THAT(next->items, ::testing::ElementsAre(lease.items[1]));
}

TEST_F(PartitionTest, AClosingJobGrantsNothingAndWaitsForItsOpenLeases) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 3);
  const Lease open = *world_.TryLease(1);
  ASSERT_THAT(world_->CancelJob(job, world_.now()), IsOk());
  EXPECT_EQ(Job(job).phase, JobPhase::kClosing);
  EXPECT_FALSE(world_.TryLease(2).has_value());
  ASSERT_THAT(world_.Answer(open, "yes"), IsOk());
  EXPECT_EQ(Job(job).phase, JobPhase::kCancelled);
  EXPECT_EQ(Job(job).ledger.earned_micros, 1000);
  EXPECT_EQ(Job(job).counts.cancelled, 3);
  EXPECT_EQ(world_->Item(job, 0).state, ItemState::kCancelled);
}

TEST_F(PartitionTest, FinalisingAnUnfinishedJobLeavesItsItemsUnresolvedWithTheirBestValue) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 2);
  ASSERT_THAT(world_.Answer(*world_.TryLease(1), "yes"), IsOk());
  ASSERT_THAT(world_->FinaliseJob(job, world_.now()), IsOk());
  EXPECT_EQ(Job(job).phase, JobPhase::kFinalised);
  EXPECT_EQ(world_->Item(job, 0).state, ItemState::kUnresolved);
  EXPECT_EQ(world_->Item(job, 0).value, 1);
  EXPECT_EQ(Job(job).counts.total(), 2);
}

TEST_F(PartitionTest, AnOutageShiftsDeadlinesAndALateAnswerAfterItIsPaid) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.lease = {.base = absl::Minutes(2),
                         .per_item = absl::ZeroDuration(),
                         .late_grace = absl::Minutes(1),
                         .extension_max = absl::Hours(1)};
  const JobIndex job = world_.Create(create, 1);
  const Lease lease = *world_.TryLease(1);
  world_.Commit();
  world_.Pass(absl::Minutes(1));
  world_.Commit();
  world_.Crash(absl::Minutes(5));
  EXPECT_EQ(world_->state().job(job)->leases.Find(lease.assignment.sequence)->deadline,
            lease.deadline + absl::Minutes(5));
  // A minute and a half later it is past the shifted deadline, and within the shifted grace.
  world_.Pass(absl::Seconds(90));
  const auto submitted = world_.Answer(lease, "yes");
  ASSERT_THAT(submitted, IsOk());
  EXPECT_EQ(submitted->earned_micros, 1000);
  EXPECT_EQ(Job(job).answers, 1);
}

TEST_F(PartitionTest, ExtensionsMoveTheDeadlineUpToTheJobsLimit) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.lease.extension_max = absl::Minutes(30);
  world_.Create(create, 1);
  const Lease lease = *world_.TryLease(1);
  const auto extended = world_->Extend(
      {.assignment = lease.assignment, .until = lease.deadline + absl::Minutes(20)}, world_.now());
  ASSERT_THAT(extended, IsOk());
  EXPECT_EQ(extended->deadline, lease.deadline + absl::Minutes(20));
  const auto cut = world_->Extend(
      {.assignment = lease.assignment, .until = lease.deadline + absl::Hours(31)}, world_.now());
  ASSERT_THAT(cut, IsOk());
  EXPECT_EQ(cut->deadline, lease.deadline + absl::Minutes(30));
}

TEST_F(PartitionTest, AReturnedItemGoesToSomebodyElse) {
  world_.Create(PartitionWorld::TwoClasses("a"), 1);
  const Lease lease = *world_.TryLease(1);
  ASSERT_THAT(world_->Return({.assignment = lease.assignment, .items = {}}, world_.now()), IsOk());
  EXPECT_FALSE(world_.TryLease(1).has_value());
  EXPECT_TRUE(world_.TryLease(2).has_value());
}

TEST_F(PartitionTest, WhatABlockedWorkerDraftedCountsAndIsPaid) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  const std::optional<Lease> lease = world_.TryLease(1);
  ASSERT_TRUE(lease.has_value());
  ASSERT_THAT(
      world_->Draft({.assignment = lease->assignment, .item = 0, .edit = 1, .choice = "yes"},
                    world_.now()),
      IsOk());
  WorkerView worker;
  worker.name = PartitionWorld::Ask(1).worker;
  worker.blocked = true;
  ASSERT_THAT(world_->UpdateWorker(worker, world_.now()), IsOk());
  EXPECT_EQ(Job(job).answers, 1u);
  EXPECT_EQ(Job(job).open_assignments, 0u);
  EXPECT_EQ(Job(job).ledger.earned_micros, 1000);
  EXPECT_EQ(Job(job).ledger.reserved_micros, 0);
}

TEST_F(PartitionTest, ABlockedWorkersLeasesAreTakenBackAndNoNewOnesGiven) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 5);
  const Lease lease = *world_.TryLease(1);
  WorkerView worker;
  worker.name = "platforms/p/workers/w1";
  worker.blocked = true;
  ASSERT_THAT(world_->UpdateWorker(worker, world_.now()), IsOk());
  EXPECT_EQ(Job(job).ledger.reserved_micros, 0);
  EXPECT_THAT(world_->RequestLease(PartitionWorld::Ask(1), world_.now()),
              StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(world_.Answer(lease, "yes"), StatusIs(StatusCode::kFailedPrecondition));
  world_.Commit();
  ASSERT_EQ(world_.ended().size(), 1);
  EXPECT_EQ(world_.ended()[0].reason, LeaseEndReason::kWorkerBlocked);
}

TEST_F(PartitionTest, RevisionsComeInOrderAndSkipWhatWasSuperseded) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.finalise = FinaliseMode::kManual;
  create.policy.quality = {.target_confidence = 0.6, .answers_min = 1, .answers_max = 5};
  const JobIndex job = world_.Create(create, 3);
  for (int i = 0; i < 3; ++i) ASSERT_THAT(world_.Answer(*world_.TryLease(1), "yes"), IsOk());
  std::vector<ItemView> seen = world_->Revisions(job, 0, 10);
  ASSERT_EQ(seen.size(), 3);
  EXPECT_LT(seen[0].revision, seen[1].revision);
  const AssignmentId first{job, 0};
  ASSERT_THAT(world_->ReviewAnswer(
                  {.assignment = first, .item = 0, .approve = false, .reason = "x"}, world_.now()),
              IsOk());
  std::vector<ItemView> after = world_->Revisions(job, seen[2].revision, 10);
  ASSERT_EQ(after.size(), 1);
  EXPECT_EQ(after[0].item, 0);
  EXPECT_EQ(world_->Revisions(job, 0, 10).size(), 3);
}

TEST_F(PartitionTest, OfTwoJobsTheOneOfHigherPriorityIsServedAndTheOtherDoesNotWaitForEver) {
  CreateJob low = PartitionWorld::TwoClasses("low");
  CreateJob high = PartitionWorld::TwoClasses("high");
  high.policy.priority = 10;
  const JobIndex low_job = world_.Create(low, 1000);
  const JobIndex high_job = world_.Create(high, 1000);
  EXPECT_EQ(world_.TryLease(1)->assignment.job, high_job);
  // With a lease a second the low one's turn comes within kAgeing x the ratio of their priorities.
  int waited = 0;
  while (world_.TryLease(2 + waited)->assignment.job != low_job) {
    ++waited;
    world_.Pass(absl::Seconds(1));
    ASSERT_LT(waited, 60 * 10);
  }
  EXPECT_GT(waited, 60);
}

TEST_F(PartitionTest, OnlyItemsKeepsAGatewayToWhatItsWorkerCanAnswer) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 10);
  LeaseRequest request = PartitionWorld::Ask(1, 5);
  request.only_job = job;
  request.only_items = {7, 3, 3, 400};
  std::set<ItemIndex> got;
  while (const auto lease = world_->RequestLease(request, world_.now()).value()) {
    for (const ItemIndex i : lease->items) EXPECT_TRUE(got.insert(i).second);
  }
  EXPECT_THAT(got, ::testing::ElementsAre(3, 7));
}

TEST_F(PartitionTest, OnlyItemsThatTheBudgetDoesNotReachDoNotHideThoseThatWantAnotherAnswer) {
  // Money for one item and not for two; the one in progress is named last and is worth least.
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a", 6'000, 1000), 10);
  ASSERT_THAT(world_.Answer(*world_.TryLease(1), "yes"), IsOk());
  LeaseRequest request = PartitionWorld::Ask(2, 1);
  request.only_job = job;
  request.only_items = {5, 6, 7, 8, 9, 0};
  const auto lease = world_->RequestLease(request, world_.now()).value();
  ASSERT_TRUE(lease.has_value());
  EXPECT_THAT(lease->items, ::testing::ElementsAre(0));
}

TEST_F(PartitionTest, AnItemThatEverybodyGivesBackIsNotGivenAroundForEver) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  uint32_t given = 0;
  while (const auto lease = world_.TryLease(static_cast<int>(given))) {
    ASSERT_THAT(world_->Return({.assignment = lease->assignment, .items = {}}, world_.now()),
                IsOk());
    ASSERT_LE(++given, kEntriesPerItemMax);
  }
  EXPECT_EQ(given, kEntriesPerItemMax);
  EXPECT_EQ(Job(job).stall, StallReason::kNoEligibleWorker);
  ASSERT_THAT(world_->FinaliseJob(job, world_.now()), IsOk());
  EXPECT_EQ(world_->Item(job, 0).state, ItemState::kUnresolved);
}

// Else whoever gives it back often enough would have an answer of one person taken for the truth.
TEST_F(PartitionTest, AnItemThatIsGivenBackTooOftenIsNotTakenToBeResolved) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  ASSERT_THAT(world_.Answer(*world_.TryLease(0), "yes"), IsOk());
  int worker = 1;
  while (const auto lease = world_.TryLease(worker++)) {
    ASSERT_THAT(world_->Return({.assignment = lease->assignment, .items = {}}, world_.now()),
                IsOk());
  }
  EXPECT_EQ(world_->Item(job, 0).answers, 1u);
  EXPECT_EQ(world_->Item(job, 0).state, ItemState::kInProgress);
  ASSERT_THAT(world_->FinaliseJob(job, world_.now()), IsOk());
  EXPECT_EQ(world_->Item(job, 0).state, ItemState::kUnresolved);
}

TEST_F(PartitionTest, ASweepThatACrashCutOffIsMadeGood) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.999, .answers_min = 2, .answers_max = 10};
  const JobIndex job = world_.Create(create, 1);
  for (int w = 0; w < 4; ++w)
    ASSERT_THAT(world_.Answer(*world_.TryLease(w), w % 2 ? "yes" : "no"), IsOk());
  world_.Commit();
  UpdateJob update{.job = job,
                   .document = "",
                   .priority = 1,
                   .budget_micros = 1'000'000'000,
                   .deadline = absl::InfiniteFuture(),
                   .quality = {.target_confidence = 0.999, .answers_min = 2, .answers_max = 3}};
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  world_.Commit(/*fits=*/false);
  world_.Crash(absl::Seconds(1));
  world_.Pass(absl::Seconds(1));
  world_.Commit();
  EXPECT_EQ(Job(job).counts.resolved, 1);
}

TEST_F(PartitionTest, ItemsInProgressComeToTheirEndWhileNewOnesAreAddedWithoutEnd) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 100, /*seal=*/false);
  for (int w = 0; w < 100; ++w) {
    ASSERT_THAT(world_.Answer(*world_.TryLease(w), "yes"), IsOk());
    AddItems add{.job = job, .offset = 100u + static_cast<uint64_t>(w), .size = 1, .fresh = 1};
    ASSERT_THAT(world_->AddItems(add, world_.now()), IsOk());
  }
  EXPECT_GT(Job(job).counts.resolved, 0);
}

TEST_F(PartitionTest, RefusedCallsChangeNothing) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 2);
  const Lease lease = *world_.TryLease(1);
  world_.Commit();
  const auto before = ObjectsOf(world_->state());
  const AssignmentId never{job, 77};
  EXPECT_THAT(world_->Submit({.assignment = never, .answers = {}}, world_.now()),
              StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(
      world_->Submit({.assignment = lease.assignment, .answers = {{lease.items[0], "maybe"}}},
                     world_.now()),
      StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(
      world_->Submit({.assignment = lease.assignment, .answers = {{1 - lease.items[0], "yes"}}},
                     world_.now()),
      StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(world_->DeleteJob(job, world_.now()), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(world_->AddItems({.job = job, .offset = 9, .size = 1, .fresh = 1}, world_.now()),
              StatusIs(StatusCode::kOutOfRange));
  EXPECT_THAT(world_->AddItems({.job = job, .offset = 2, .size = 1, .fresh = 1}, world_.now()),
              StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(world_->PauseJob(JobIndex(9), world_.now()), StatusIs(StatusCode::kNotFound));
  CreateJob other = PartitionWorld::TwoClasses("a");
  other.identity.request_digest = 5;
  EXPECT_THAT(world_->CreateJob(other, world_.now()), StatusIs(StatusCode::kAlreadyExists));
  EXPECT_TRUE(world_->TakeEvents().empty());
  EXPECT_EQ(ObjectsOf(world_->state()), before);
}

TEST_F(PartitionTest, GivingBackTheWholeCountsDraftsUnlessTheyAreGivenBackToo) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.split = {.items_min = 2, .items_max = 2};
  create.policy.quality.answers_max = 4;
  const JobIndex job = world_.Create(create, 2);
  for (int w = 0; w < 2; ++w) {
    const Lease lease = *world_.TryLease(w);
    ASSERT_THAT(
        world_->Draft(
            {.assignment = lease.assignment, .item = lease.items[0], .edit = 1, .choice = "yes"},
            world_.now()),
        IsOk());
    ASSERT_THAT(world_->Return({.assignment = lease.assignment, .items = {}, .drafts_too = w == 1},
                               world_.now()),
                IsOk());
  }
  EXPECT_EQ(Job(job).answers, 1);
  EXPECT_EQ(Job(job).open_assignments, 0);
  EXPECT_EQ(Job(job).ledger.committed_micros(), 1000);
}

TEST_F(PartitionTest, AWithdrawnDraftDoesNotCount) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  const Lease lease = *world_.TryLease(1);
  DraftAnswer draft{.assignment = lease.assignment, .item = 0, .edit = 1, .choice = "yes"};
  ASSERT_THAT(world_->Draft(draft, world_.now()), IsOk());
  draft.edit = 2;
  draft.choice = "";
  ASSERT_THAT(world_->Draft(draft, world_.now()), IsOk());
  world_.SetNow(lease.deadline);
  world_->Tick(lease.deadline);
  EXPECT_EQ(Job(job).answers, 0);
}

// What is acknowledged counts: a correction that comes too late is refused.
TEST_F(PartitionTest, ADraftThatTheDeadlineWasFasterThanIsRefused) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.split = {.items_min = 2, .items_max = 2};
  const JobIndex job = world_.Create(create, 2);
  const Lease lease = *world_.TryLease(1);
  DraftAnswer draft{.assignment = lease.assignment, .item = 0, .edit = 3, .choice = "yes"};
  ASSERT_THAT(world_->Draft(draft, world_.now()), IsOk());
  world_.SetNow(lease.deadline);
  world_->Tick(lease.deadline);
  ASSERT_EQ(Job(job).open_assignments, 1);  // The other item may still come.
  const auto refused = [&](uint64_t edit, const char* choice) {
    draft.edit = edit;
    draft.choice = choice;
    const absl::Status status = world_->Draft(draft, world_.now());
    EXPECT_EQ(status.ok(), GetDetails(status).reason != "ASSIGNMENT_FINISHED") << status;
    return !status.ok();
  };
  EXPECT_FALSE(refused(3, "yes"));  // Once more.
  EXPECT_FALSE(refused(2, "no"));   // Overtaken long ago.
  EXPECT_TRUE(refused(4, "no"));
  EXPECT_TRUE(refused(4, ""));
  world_.Pass(create.policy.lease.late_grace);
  ASSERT_EQ(Job(job).open_assignments, 0);
  EXPECT_FALSE(refused(3, "yes"));
  EXPECT_TRUE(refused(4, "no"));
  EXPECT_TRUE(refused(4, ""));
  EXPECT_EQ(world_->Item(job, 0).value, 1);
  draft.item = 1;
  EXPECT_EQ(GetDetails(world_->Draft(draft, world_.now())).reason, "ASSIGNMENT_EXPIRED");
}

TEST_F(PartitionTest, WhatComesAfterTheEndIsToldHowTheAssignmentEnded) {
  world_.Create(PartitionWorld::TwoClasses("a"), 4);
  const auto reasons = [&](const Lease& lease) {
    const absl::Status draft = world_->Draft(
        {.assignment = lease.assignment, .item = lease.items[0], .edit = 9, .choice = "no"},
        world_.now());
    const absl::Status extend =
        world_
            ->Extend({.assignment = lease.assignment, .until = world_.now() + absl::Hours(1)},
                     world_.now())
            .status();
    return absl::StrCat(GetDetails(draft).reason, " ", GetDetails(extend).reason);
  };
  const Lease submitted = *world_.TryLease(1);
  ASSERT_THAT(world_.Answer(submitted, "yes"), IsOk());
  EXPECT_EQ(reasons(submitted), "ASSIGNMENT_FINISHED ASSIGNMENT_FINISHED");
  const Lease returned = *world_.TryLease(2);
  ASSERT_THAT(world_->Return({.assignment = returned.assignment, .items = {}}, world_.now()),
              IsOk());
  EXPECT_EQ(reasons(returned), "ASSIGNMENT_FINISHED ASSIGNMENT_FINISHED");
  const Lease taken = *world_.TryLease(3);
  WorkerView worker;
  worker.name = PartitionWorld::Ask(3).worker;
  worker.blocked = true;
  ASSERT_THAT(world_->UpdateWorker(worker, world_.now()), IsOk());
  EXPECT_EQ(reasons(taken), "ASSIGNMENT_REVOKED ASSIGNMENT_FINISHED");
  const Lease missed = *world_.TryLease(4);
  world_.SetNow(missed.deadline);
  EXPECT_EQ(reasons(missed), "ASSIGNMENT_EXPIRED ASSIGNMENT_EXPIRED");
  world_.Pass(absl::Hours(1));
  EXPECT_EQ(reasons(missed), "ASSIGNMENT_EXPIRED ASSIGNMENT_FINISHED");
}

TEST_F(PartitionTest, AJobsLimitsOfRateAndOfOpenAssignmentsHold) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.assignments_per_second_max = 2;
  create.policy.assignments_open_max = 3;
  const JobIndex job = world_.Create(create, 100);
  int granted = 0;
  for (int w = 0; w < 10; ++w) granted += world_.TryLease(w).has_value();
  EXPECT_EQ(granted, 2);
  EXPECT_EQ(Job(job).stall, StallReason::kRateLimited);
  world_.Pass(absl::Seconds(5));
  for (int w = 10; w < 20; ++w) granted += world_.TryLease(w).has_value();
  EXPECT_EQ(granted, 3);
  EXPECT_EQ(Job(job).stall, StallReason::kRateLimited);
}

TEST_F(PartitionTest, AJobThatHasJustBeenCreatedOffersNothing) {
  ASSERT_THAT(world_->CreateJob(PartitionWorld::TwoClasses("a"), world_.now()), IsOk());
  EXPECT_THAT(world_->Offers("default", world_.now()), ::testing::IsEmpty());
  EXPECT_FALSE(world_.TryLease(1).has_value());
}

TEST_F(PartitionTest, ItemsOfOneAssignmentAreRevisedOneAfterAnother) {
  // A revision that two items shared would be streamed for one of them only.
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.split.items_min = create.policy.split.items_max = 3;
  create.policy.quality = {.answers_min = 1, .answers_max = 1};
  const JobIndex job = world_.Create(create, 3);
  const std::optional<Lease> lease = world_.TryLease(1);
  ASSERT_TRUE(lease.has_value());
  ASSERT_EQ(lease->items.size(), 3u);
  ASSERT_THAT(world_.Answer(*lease, "yes"), IsOk());
  std::vector<uint32_t> revisions;
  for (const ItemView& item : world_->Revisions(job, 0, 10)) revisions.push_back(item.revision);
  EXPECT_THAT(revisions, ::testing::ElementsAre(1, 2, 3));
}

TEST_F(PartitionTest, APausedJobStandsStillAndSaysWhy) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.paused = true;
  const JobIndex job = world_.Create(create, 2);
  EXPECT_FALSE(world_.TryLease(1).has_value());
  EXPECT_EQ(Job(job).stall, StallReason::kPaused);
  ASSERT_THAT(world_->ResumeJob(job, world_.now()), IsOk());
  EXPECT_TRUE(world_.TryLease(1).has_value());
}

TEST_F(PartitionTest, NobodyIsMissedWhileSomebodyIsAtWork) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.9, .answers_min = 2, .answers_max = 2};
  const JobIndex job = world_.Create(create, 1);
  EXPECT_EQ(Job(job).stall, StallReason::kNone);
  const Lease lease = *world_.TryLease(1);
  EXPECT_FALSE(world_.TryLease(1).has_value());  // Had it; and there is nobody else.
  EXPECT_EQ(Job(job).stall, StallReason::kNone);
  ASSERT_THAT(world_.Answer(lease, "yes"), IsOk());
  EXPECT_FALSE(world_.TryLease(1).has_value());
  EXPECT_EQ(Job(job).stall, StallReason::kNoEligibleWorker);
  EXPECT_TRUE(world_.TryLease(2).has_value());
  EXPECT_EQ(Job(job).stall, StallReason::kWaitingForAnswers);
}

TEST_F(PartitionTest, AJobWithoutItemsCanBeLookedAtWaitedForAndEnded) {
  const JobIndex job = world_->CreateJob(PartitionWorld::TwoClasses("a"), world_.now()).value();
  EXPECT_EQ(world_->NextWake(), absl::InfiniteFuture());
  EXPECT_EQ(Job(job).stall, StallReason::kNoItems);
  EXPECT_TRUE(world_->Offers("default", world_.now()).empty());
  EXPECT_FALSE(world_.TryLease(1).has_value());
  EXPECT_THAT(world_->PlanJob(job), IsOk());
  ASSERT_THAT(world_->SealJob(job, world_.now()), IsOk());
  EXPECT_EQ(Job(job).phase, JobPhase::kFinalised);
}

TEST_F(PartitionTest, ADeletedJobIsGoneAndItsIndexIsNotUsedAgain) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  ASSERT_THAT(world_->FinaliseJob(job, world_.now()), IsOk());
  ASSERT_THAT(world_->DeleteJob(job, world_.now()), IsOk());
  EXPECT_THAT(world_->Job(job), StatusIs(StatusCode::kNotFound));
  EXPECT_NE(world_.Create(PartitionWorld::TwoClasses("a"), 1), job);
}

}  // namespace
}  // namespace tessera::core
