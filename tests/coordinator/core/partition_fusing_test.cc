// What is learnt from answers: fits of a bounded size, and confidences that are the same wherever
// they are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "coordinator/core/partition.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using ::tessera::testing::IsOk;

// A job at every documented limit must not end the coordinator of all others.
TEST(PartitionFusingTest, AJobWithAThousandClassesIsResolvedAndNoRecordIsLarge) {
  PartitionWorld world;
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.identity.classes.clear();
  for (int c = 0; c < 1000; ++c) create.identity.classes.push_back(absl::StrCat("class", c));
  create.policy.quality = {.target_confidence = 0.99, .answers_min = 3, .answers_max = 30};
  create.policy.split.items_max = 20;
  const JobIndex job = world.Create(create, 40);
  int answers = 0;
  for (int worker = 0; worker < 30; ++worker) {
    while (const auto lease = world.TryLease(worker)) {
      Submit submit{.assignment = lease->assignment};
      for (const ItemIndex i : lease->items) {
        const ItemIndex says = worker % 4 == 0 ? 500 + static_cast<ItemIndex>(worker) : i;
        submit.answers.push_back({i, absl::StrCat("class", says)});
        ++answers;
      }
      ASSERT_THAT(world->Submit(submit, world.now()), IsOk());
      world.Commit();
    }
  }
  EXPECT_GE(answers, 120);
  const JobView view = world->Job(job).value();
  EXPECT_EQ(view.phase, JobPhase::kFinalised);
  EXPECT_EQ(view.counts.resolved, 40u);
  EXPECT_GE(view.fit, 1u);
  for (ItemIndex i = 0; i < 40; ++i) EXPECT_EQ(world->Item(job, i).value, i);
  size_t largest = 0;
  for (const auto& [id, events] : world.journal()) largest = std::max(largest, events.size());
  EXPECT_GT(largest, size_t{4} << 20);  // A fit was written ...
  EXPECT_LT(largest, size_t{9} << 20);  // ... with two workers of its thirty.
}

// A requester who follows the stream ends with what a read says, however slowly it came about.
TEST(PartitionFusingTest, AConfidenceThatDriftsInSmallStepsIsStreamed) {
  PartitionWorld world({.refit_growth = 0, .refit_answers_min = 1});
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.8, .answers_min = 2, .answers_max = 10};
  create.policy.finalise = FinaliseMode::kManual;
  const JobIndex job = world.Create(create, 100);
  ASSERT_THAT(world.Answer(*world.TryLease(1), "yes"), IsOk());
  LeaseRequest second = PartitionWorld::Ask(2);
  second.only_job = job;
  second.only_items = {0};
  ASSERT_THAT(world.Answer(**world->RequestLease(second, world.now()), "yes"), IsOk());
  ASSERT_EQ(world->Item(job, 0).state, ItemState::kResolved);
  uint32_t last = 0;
  float streamed = 0;
  const auto follow = [&] {
    for (const ItemView& item : world->Revisions(job, last, 1000)) {
      last = item.revision;
      if (item.item == 0) streamed = item.confidence;
    }
  };
  follow();
  const float first = streamed;
  EXPECT_GT(first, 0.8f);
  double right = 0.7;
  for (int step = 0; step < 30; ++step) {
    ASSERT_THAT(world.Answer(*world.TryLease(10 + step), "yes"), IsOk());
    std::vector<FitWork> work = world->TakeFitWork();
    ASSERT_EQ(work.size(), 1u);
    right += 0.0005;  // In the confidence of two answers 0.0004 to 0.0009.
    Fit fit = PriorFit(2, {.confusion_diagonal = right});
    fit.number = work[0].number;
    world->FitComputed(job, std::move(fit), world.now());
    const float before = world->Item(job, 0).confidence;
    world.Commit(/*fits=*/false);
    world.Pass(absl::ZeroDuration());
    const float after = world->Item(job, 0).confidence;
    EXPECT_GT(after, before);
    EXPECT_LT(after, before + 0.001f);
    follow();
    EXPECT_LT(std::abs(streamed - after), 0.001f);
  }
  EXPECT_GT(streamed, first + 0.008f);
}

// As many answers as before are not the same answers.
TEST(PartitionFusingTest, AnAnswerThatWasBoughtForARejectedOneIsInTheLastFit) {
  PartitionWorld world;
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.policy.quality = {.target_confidence = 0.9, .answers_min = 2, .answers_max = 2};
  create.policy.finalise = FinaliseMode::kManual;
  const JobIndex job = world.Create(create, 10);
  const Lease first = *world.TryLease(0);
  ASSERT_THAT(world.Answer(first, "no"), IsOk());
  world.AnswerAll("yes", 1, 9);
  const JobView fitted = world->Job(job).value();
  ASSERT_EQ(fitted.counts.resolved, 10u);
  ASSERT_EQ(fitted.fit, 1u);
  ASSERT_THAT(world->ReviewAnswer({.assignment = first.assignment,
                                   .item = first.items[0],
                                   .approve = false,
                                   .reason = "not looked at"},
                                  world.now()),
              IsOk());
  ASSERT_EQ(world.AnswerAll("yes", 20, 1), 1);
  EXPECT_EQ(world->Job(job)->answers, fitted.answers);
  EXPECT_EQ(world->Job(job)->fit, 2u);
}

class SweepTest : public ::testing::Test {
 protected:
  JobIndex Create(const std::string& tenant, const std::string& id) {
    CreateJob create = PartitionWorld::TwoClasses(id);
    create.identity.tenant = tenant;
    const JobIndex job = world_.Create(create, 3 * kItemsPerPage);
    while (world_->NextWake() <= world_.now()) world_.Pass(absl::ZeroDuration());
    return job;
  }
  void Update(JobIndex job, double target, std::string document = "") {
    const JobPolicy policy = world_->Job(job)->policy;
    const UpdateJob update{.job = job,
                           .document = std::move(document),
                           .priority = policy.priority,
                           .budget_micros = policy.budget_micros,
                           .deadline = policy.deadline,
                           .quality = {.target_confidence = target}};
    EXPECT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  }
  // A job that is to end does so when its sweep is over.
  bool Ended(JobIndex job) { return world_->Job(job)->phase == JobPhase::kFinalised; }

  PartitionWorld world_{{.refit_pages_per_step = 1}};
};

TEST_F(SweepTest, WhoBeginsSweepAfterSweepKeepsNobodyElseFromEnding) {
  const JobIndex restless = Create("acme", "a");
  const std::vector<JobIndex> others = {Create("acme", "b"), Create("zeta", "a")};
  for (const JobIndex job : others) {
    Update(job, 0.9);
    ASSERT_THAT(world_->FinaliseJob(job, world_.now()), IsOk());
    EXPECT_FALSE(Ended(job));
  }
  // Three pages each: every second one is acme's, and of these every second one its other job's.
  for (int step = 0; step < 12; ++step) {
    Update(restless, step % 2 == 0 ? 0.8 : 0.9);
    world_.Pass(absl::ZeroDuration());
    if (step == 6) {
      EXPECT_TRUE(Ended(others[1]));
    }
  }
  EXPECT_TRUE(Ended(others[0]));
}

TEST_F(SweepTest, AnUpdateOfSomethingElseThanTheQualityBeginsNone) {
  const JobIndex job = Create("acme", "a");
  Update(job, 0.9);
  ASSERT_LE(world_->NextWake(), world_.now());
  for (int step = 0; step < 3; ++step) {
    Update(job, 0.9, absl::StrCat("its name is ", step));
    world_.Pass(absl::ZeroDuration());
  }
  EXPECT_GT(world_->NextWake(), world_.now());
  Update(job, 0.9, "its name is 4");
  EXPECT_GT(world_->NextWake(), world_.now());
}

// Each fit writes all items anew, so a large job cannot have one for each so many answers.
TEST(PartitionFusingTest, AJobWithManyAnswersIsFittedLessOften) {
  PartitionWorld world({.refit_growth = 0.5,
                        .refit_growth_large = 2,
                        .refit_answers_large = 10,
                        .refit_answers_min = 1});
  const JobIndex job = world.Create(PartitionWorld::TwoClasses("a"), 100);
  std::vector<size_t> fitted;
  for (int answers = 1; answers <= 60; ++answers) {
    ASSERT_THAT(world.Answer(*world.TryLease(answers), "yes"), IsOk());
    for (FitWork& work : world->TakeFitWork()) {
      fitted.push_back(work.votes.votes.size());
      world->FitComputed(job, ComputeFit(work.votes, work.number), world.now());
    }
    world.Commit(/*fits=*/false);
    world.Pass(absl::ZeroDuration());
  }
  EXPECT_THAT(fitted, ::testing::ElementsAre(1, 2, 3, 4, 6, 9, 13, 39));
}

}  // namespace
}  // namespace tessera::core
