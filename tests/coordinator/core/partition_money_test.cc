// What a job pays, to whom and when: reserve, earn, pay, give back, and what the budget stops.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/errors.h"
#include "coordinator/core/partition.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using absl::StatusCode;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;

class PartitionMoneyTest : public ::testing::Test {
 protected:
  JobView Job(JobIndex job) { return world_->Job(job).value(); }

  PartitionWorld world_;
};

TEST_F(PartitionMoneyTest, MoneyReservedEarnedAndPaidNeverPassesTheBudget) {
  // Enough for five answers and not six.
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a", 5'999, 1000), 100);
  std::vector<Lease> leases;
  for (int w = 0; w < 50; ++w) {
    if (const auto lease = world_.TryLease(w)) leases.push_back(*lease);
  }
  // One item is admitted at a time where the budget may not bring two to their end.
  EXPECT_THAT(leases.size(), ::testing::AllOf(::testing::Ge(2), ::testing::Le(5)));
  EXPECT_LE(Job(job).ledger.committed_micros(), 5'999);
  for (const Lease& lease : leases) ASSERT_THAT(world_.Answer(lease, "yes"), IsOk());
  world_.AnswerAll("yes", 0, 50);
  world_.Pass(absl::Seconds(1));
  // One item of four answers; what is left cannot bring another to its two.
  EXPECT_EQ(Job(job).ledger.committed_micros(), 4'000);
  EXPECT_EQ(Job(job).counts.resolved, 1);
}

TEST_F(PartitionMoneyTest, AJobOutOfMoneyPausesAndGoesOnWhenTheBudgetIsRaised) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a", 4'000, 1000), 10);
  world_.AnswerAll("yes", 0, 10);
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kPaused);
  EXPECT_EQ(Job(job).pause_reasons, kPauseBudget);
  EXPECT_EQ(Job(job).stall, StallReason::kOutOfBudget);
  EXPECT_THAT(world_->ResumeJob(job, world_.now()), IsOk());
  EXPECT_EQ(Job(job).pause_reasons, kPauseBudget);  // Resuming brings no money.
  const JobView view = Job(job);
  UpdateJob update{.job = job,
                   .document = "",
                   .priority = 1,
                   .budget_micros = 100'000,
                   .deadline = view.policy.deadline,
                   .quality = view.policy.quality};
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  world_.Commit();
  world_.AnswerAll("yes", 0, 10);
  EXPECT_EQ(Job(job).phase, JobPhase::kFinalised);
  EXPECT_EQ(Job(job).counts.resolved, 10);
}

TEST_F(PartitionMoneyTest, ABudgetCannotBeSetBelowWhatIsCommitted) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 10);
  ASSERT_TRUE(world_.TryLease(1).has_value());
  UpdateJob update{.job = job,
                   .document = "",
                   .priority = 1,
                   .budget_micros = 999,
                   .deadline = absl::InfiniteFuture(),
                   .quality = {}};
  EXPECT_THAT(world_->UpdateJob(update, world_.now()), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_EQ(Job(job).ledger.budget_micros, 1'000'000'000);
}

TEST_F(PartitionMoneyTest, ARejectedAnswerCountsNoMoreAndItsPriceGoesBack) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.finalise = FinaliseMode::kManual;
  const JobIndex job = world_.Create(create, 1);
  const Lease first = *world_.TryLease(1);
  const Lease second = *world_.TryLease(2);
  ASSERT_THAT(world_.Answer(first, "yes"), IsOk());
  ASSERT_THAT(world_.Answer(second, "yes"), IsOk());
  const uint32_t revision = Job(job).revision;
  ASSERT_THAT(world_->ReviewAnswer(
                  {.assignment = first.assignment, .item = 0, .approve = false, .reason = "x"},
                  world_.now()),
              IsOk());
  EXPECT_EQ(world_->Item(job, 0).answers, 1);
  EXPECT_EQ(Job(job).answers, 1u);
  EXPECT_EQ(Job(job).answers_rejected, 1u);
  EXPECT_EQ(Job(job).ledger.earned_micros, 1000);
  EXPECT_EQ(Job(job).ledger.rejected_micros, 1000);
  EXPECT_GE(Job(job).revision, revision);
  EXPECT_THAT(
      world_->ReviewAnswer(
          {.assignment = first.assignment, .item = 0, .approve = true, .reason = ""}, world_.now()),
      StatusIs(StatusCode::kFailedPrecondition));
  // The item wants an answer again, and not from them.
  EXPECT_FALSE(world_.TryLease(1).has_value());
  EXPECT_TRUE(world_.TryLease(3).has_value());
}

TEST_F(PartitionMoneyTest, AnApprovedAnswerStaysPaid) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a"), 1);
  const Lease lease = *world_.TryLease(1);
  ASSERT_THAT(world_.Answer(lease, "yes"), IsOk());
  ASSERT_THAT(
      world_->ReviewAnswer(
          {.assignment = lease.assignment, .item = 0, .approve = true, .reason = ""}, world_.now()),
      IsOk());
  EXPECT_EQ(Job(job).ledger.approved_micros, 1000);
  EXPECT_EQ(Job(job).ledger.earned_micros, 0);
}

TEST_F(PartitionMoneyTest, ABonusComesOutOfTheBudgetOncePerRequest) {
  const JobIndex job = world_.Create(PartitionWorld::TwoClasses("a", 10'000, 1000), 1);
  ASSERT_THAT(world_.Answer(*world_.TryLease(1), "yes"), IsOk());
  PayBonus bonus{.job = job,
                 .worker = "platforms/p/workers/w1",
                 .amount_micros = 5000,
                 .request_id = "r",
                 .reason = "thanks"};
  ASSERT_THAT(world_->PayBonus(bonus, world_.now()), IsOk());
  ASSERT_THAT(world_->PayBonus(bonus, world_.now()), IsOk());
  EXPECT_EQ(Job(job).ledger.bonus_micros, 5000);
  bonus.amount_micros = 1;
  EXPECT_THAT(world_->PayBonus(bonus, world_.now()), StatusIs(StatusCode::kAlreadyExists));
  bonus.amount_micros = 5000;
  bonus.request_id = "other";
  EXPECT_THAT(world_->PayBonus(bonus, world_.now()), StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(PartitionMoneyTest, AJobGrantsSoManyBonusesAndStillKnowsThem) {
  PartitionWorld world({.bonuses_per_job_max = 3});
  const JobIndex job = world.Create(PartitionWorld::TwoClasses("a"), 1);
  ASSERT_THAT(world.Answer(*world.TryLease(1), "yes"), IsOk());
  const auto pay = [&](int i) {
    return world->PayBonus({.job = job,
                            .worker = "platforms/p/workers/w1",
                            .amount_micros = 1,
                            .request_id = absl::StrCat("r", i),
                            .reason = "thanks"},
                           world.now());
  };
  for (int i = 0; i < 3; ++i) ASSERT_THAT(pay(i), IsOk());
  const absl::Status refused = pay(3);
  EXPECT_THAT(refused, StatusIs(StatusCode::kResourceExhausted));
  EXPECT_EQ(GetDetails(refused).reason, "BONUSES_MAX");
  EXPECT_THAT(pay(1), IsOk());
  EXPECT_EQ(world->Job(job)->ledger.bonus_micros, 3);
}

TEST_F(PartitionMoneyTest, MoneyThatComesFreeEndsThePauseThatTheLackOfItCaused) {
  CreateJob create = PartitionWorld::TwoClasses("a", 4'000, 1000);
  create.policy.quality = {.target_confidence = 0.8, .answers_min = 2, .answers_max = 4};
  const JobIndex job = world_.Create(create, 5);
  world_.AnswerAll("yes", 0, 10);
  world_.Pass(absl::Seconds(1));
  ASSERT_EQ(Job(job).pause_reasons, kPauseBudget);
  for (uint32_t sequence = 0; sequence < 2; ++sequence) {
    const AssignmentId id{job, sequence};
    for (ItemIndex i = 0; i < 5; ++i) {
      (void)world_->ReviewAnswer({.assignment = id, .item = i, .approve = false, .reason = "x"},
                                 world_.now());
    }
  }
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kRunning);
  EXPECT_TRUE(world_.TryLease(20).has_value());
}

// A pool's home may be another partition: what it pays is known only from who has seen it.
class FarPoolTest : public PartitionMoneyTest {
 protected:
  FarPoolTest() { far_.price_micros = 1000; }

  JobIndex CreateFar(Micros budget, std::vector<std::string> pools = {"far"}) {
    CreateJob create = PartitionWorld::TwoClasses("a", budget, /*price=*/0);
    create.policy.pools = std::move(pools);
    return world_.Create(create, 3);
  }
  std::optional<Lease> Ask(int worker) {
    LeaseRequest request = PartitionWorld::Ask(worker);
    request.pool = far_;
    return world_->RequestLease(request, world_.now()).value();
  }

  Pool far_{.id = "far"};
};

TEST_F(FarPoolTest, AJobThatItsPoolPricesPausesForLackOfMoneyOnceThePriceIsKnown) {
  const JobIndex job = CreateFar(999);
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kRunning);  // Nobody knows what an answer costs.
  EXPECT_FALSE(Ask(1).has_value());
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kPaused);
  EXPECT_EQ(Job(job).stall, StallReason::kOutOfBudget);
  EXPECT_TRUE(world_->Offers("far", world_.now()).empty());
}

TEST_F(FarPoolTest, AfterARestartNothingIsDecidedUntilThePriceIsSeenAgain) {
  const JobIndex job = CreateFar(1999);
  world_->SeePool("far", &far_);
  world_.Pass(absl::Seconds(1));
  ASSERT_EQ(Job(job).phase, JobPhase::kPaused);  // Two answers is what it takes at least.
  world_.Commit();
  const size_t records = world_.journal().size();
  world_.Crash(absl::Seconds(1));
  world_.Pass(absl::Seconds(1));
  world_.Commit();
  EXPECT_EQ(Job(job).phase, JobPhase::kPaused);
  EXPECT_EQ(world_.journal().size(), records + 1);  // The new owner's start.
  far_.price_micros = 999;
  world_->SeePool("far", &far_);
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kRunning);
  EXPECT_TRUE(Ask(1).has_value());
}

TEST_F(FarPoolTest, APoolThatIsGoneHasNoPriceAndIsNotTakenForOneThatPaysNothing) {
  const JobIndex job = CreateFar(500, {"far", "gone"});
  world_->SeePool("far", &far_);
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kRunning);  // The other may be cheaper.
  world_->SeePool("gone", nullptr);
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kPaused);
  // The same of one whose home is here.
  ASSERT_THAT(world_->PutPool({.id = "gone", .price_micros = 100}), IsOk());
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kRunning);
  ASSERT_THAT(world_->DeletePool("gone"), IsOk());
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(Job(job).phase, JobPhase::kPaused);
}

TEST_F(PartitionMoneyTest, WithApprovalOnAcceptanceMoneyIsTheWorkersAtOnceAndCannotBeRejected) {
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.approve_on_acceptance = true;
  const JobIndex job = world_.Create(create, 1);
  const Lease lease = *world_.TryLease(1);
  ASSERT_THAT(world_.Answer(lease, "yes"), IsOk());
  EXPECT_EQ(Job(job).ledger.approved_micros, 1000);
  EXPECT_THAT(world_->ReviewAnswer(
                  {.assignment = lease.assignment, .item = 0, .approve = false, .reason = "x"},
                  world_.now()),
              StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(PartitionMoneyTest, AnAnswerCanCostMillions) {
  const Micros price = 2'000'000'000'000;
  const JobIndex job =
      world_.Create(PartitionWorld::TwoClasses("a", /*budget=*/5 * price, price), 3);
  const Lease lease = *world_.TryLease(1);
  EXPECT_EQ(lease.price_micros, price);
  EXPECT_EQ(world_.Answer(lease, "yes")->earned_micros, price);
  world_.Commit();
  world_.WriteObjects(100);
  world_.Crash(absl::Seconds(1));
  EXPECT_EQ(world_->Item(job, lease.items[0]).cost_micros, price);
  ASSERT_THAT(world_->ReviewAnswer({.assignment = lease.assignment,
                                    .item = lease.items[0],
                                    .approve = false,
                                    .reason = "no"},
                                   world_.now()),
              IsOk());
  EXPECT_EQ(world_->Job(job)->ledger.rejected_micros, price);
  EXPECT_EQ(world_->Job(job)->ledger.remaining_micros(), 5 * price);
}

}  // namespace
}  // namespace tessera::core
