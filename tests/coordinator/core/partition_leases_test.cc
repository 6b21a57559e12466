// Who gets what, where items differ: the plan that a requester was shown is what is leased.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/partition.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using ::tessera::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Le;
using ::testing::SizeIs;

class PartitionLeasesTest : public ::testing::Test {
 protected:
  // Enough answers for everybody to be given everything, and none that ends an item early.
  static CreateJob Patient(Micros budget = 1'000'000'000) {
    CreateJob create = PartitionWorld::TwoClasses("a", budget, 10);
    create.policy.quality = {.target_confidence = 0.999, .answers_min = 2, .answers_max = 2};
    return create;
  }

  // Adds items with these traits behind those that are there.
  static void Add(PartitionWorld& world, JobIndex job, std::vector<ItemTraits> traits,
                  std::vector<std::string> new_strata = {}) {
    AddItems add{.job = job,
                 .offset = world->state().job(job)->head.committed_offset,
                 .size = static_cast<uint32_t>(traits.size()),
                 .fresh = static_cast<uint32_t>(traits.size())};
    add.traits = std::move(traits);
    add.new_strata = std::move(new_strata);
    EXPECT_THAT(world->AddItems(add, world.now()), IsOk());
  }
  JobIndex Create(const CreateJob& create, std::vector<ItemTraits> traits,
                  std::vector<std::string> new_strata = {}) {
    const JobIndex job = world_->CreateJob(create, world_.now()).value();
    Add(world_, job, std::move(traits), std::move(new_strata));
    return job;
  }

  // What worker after worker is given, until nothing waits for a first answer.
  std::vector<std::vector<ItemIndex>> FirstLeases(JobIndex job) {
    std::vector<std::vector<ItemIndex>> leases;
    for (int w = 0; world_->Job(job)->counts.waiting > 0; ++w) {
      const std::optional<Lease> lease = world_.TryLease(w);
      if (!lease.has_value()) break;
      // Now and then an item in progress comes first.
      if (leases.empty() || lease->items.front() != leases.front().front()) {
        leases.push_back(lease->items);
      }
    }
    return leases;
  }

  UpdateJob Update(JobIndex job, const QualityPolicy& quality) {
    const JobView view = world_->Job(job).value();
    return {.job = job,
            .document = "",
            .priority = view.policy.priority,
            .budget_micros = view.policy.budget_micros,
            .deadline = view.policy.deadline,
            .quality = quality};
  }

  PartitionWorld world_;
};

std::vector<ItemTraits> Importances(const std::vector<float>& importances) {
  std::vector<ItemTraits> traits;
  for (const float importance : importances) traits.push_back({.importance = importance});
  return traits;
}

std::vector<ItemTraits> Alike(size_t count, const ItemTraits& traits) {
  return std::vector<ItemTraits>(count, traits);
}

// --- Order and admission -------------------------------------------------------------------------

TEST_F(PartitionLeasesTest, AShortBudgetGoesToTheItemsThatThePlanAdmits) {
  const JobIndex job = Create(Patient(/*budget=*/20), Importances({1, 1, 2, 1, 3}));
  const SplitPlan plan = world_->PlanJob(job).value();
  ASSERT_EQ(plan.items_admitted, 1u);
  ASSERT_EQ(plan.order.front(), 4u);
  EXPECT_THAT(world_.TryLease(1)->items, ElementsAre(4));
}

TEST_F(PartitionLeasesTest, AHigherBudgetIsPlannedAnewAndReachesWhatIsWorthMostNext) {
  // Money for one item: the plan puts the others behind it, by importance.
  const JobIndex job = Create(Patient(/*budget=*/20), Importances({1, 3, 1, 2, 1}));
  ASSERT_THAT(world_.TryLease(1)->items, ElementsAre(1));
  UpdateJob update = Update(job, Patient().policy.quality);
  update.budget_micros = 1'000'000;  // All of them: the order of intake, as a restart would find.
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  EXPECT_THAT(world_.TryLease(2)->items, ElementsAre(0));
}

TEST_F(PartitionLeasesTest, StrataAreOfferedTheImportantFirst) {
  CreateJob create = Patient();
  create.policy.split.strategy = SplitStrategy::kStratified;
  const JobIndex job = Create(create,
                              {{.stratum = 1},
                               {.stratum = 2, .importance = 5},
                               {.stratum = 1},
                               {.stratum = 2, .importance = 5}},
                              {"later", "urgent"});
  EXPECT_THAT(FirstLeases(job),
              ElementsAre(ElementsAre(1), ElementsAre(3), ElementsAre(0), ElementsAre(2)));
}

TEST_F(PartitionLeasesTest, ItemsThatComeMeanwhileAreOfferedBehindUntilTheyAreATenth) {
  CreateJob create = Patient();
  create.policy.split.strategy = SplitStrategy::kStratified;
  const ItemTraits urgent{.stratum = 2, .importance = 5};
  const JobIndex job = Create(create, Alike(90, {.stratum = 1}), {"later", "urgent"});
  ASSERT_THAT(world_.TryLease(1)->items, ElementsAre(0));  // Planned.
  Add(world_, job, Alike(9, urgent));
  EXPECT_THAT(world_.TryLease(2)->items, ElementsAre(1));
  Add(world_, job, Alike(9, urgent));
  EXPECT_THAT(world_.TryLease(3)->items, ElementsAre(90));
}

TEST_F(PartitionLeasesTest, AnUpdateIsPlannedAnewWhereItSaysHowFarTheMoneyReaches) {
  CreateJob create = Patient();
  create.policy.split.strategy = SplitStrategy::kStratified;
  const JobIndex job = Create(create, Alike(90, {.stratum = 1}), {"later", "urgent"});
  ASSERT_THAT(world_.TryLease(1)->items, ElementsAre(0));
  Add(world_, job, Alike(9, {.stratum = 2, .importance = 5}));
  UpdateJob update = Update(job, create.policy.quality);
  update.document = "another name";
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  EXPECT_THAT(world_.TryLease(2)->items, ElementsAre(1));
  ++update.budget_micros;
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  EXPECT_THAT(world_.TryLease(3)->items, ElementsAre(90));
}

TEST_F(PartitionLeasesTest, AtTheSealEverythingIsPlanned) {
  CreateJob create = Patient();
  create.policy.split.strategy = SplitStrategy::kStratified;
  const JobIndex job = Create(create, Alike(90, {.stratum = 1}), {"later", "urgent"});
  ASSERT_THAT(world_.TryLease(1)->items, ElementsAre(0));
  Add(world_, job, {{.stratum = 2, .importance = 5}});
  ASSERT_THAT(world_.TryLease(2)->items, ElementsAre(1));
  ASSERT_THAT(world_->SealJob(job, world_.now()), IsOk());
  EXPECT_THAT(world_.TryLease(3)->items, ElementsAre(90));
}

TEST_F(PartitionLeasesTest, NoItemIsLeftOutHoweverIntakeAndLeasesAlternate) {
  CreateJob create = Patient();
  create.policy.split.strategy = SplitStrategy::kStratified;
  create.policy.split.random_order = true;
  const JobIndex job = Create(create, Alike(3, {.stratum = 1}), {"x", "y"});
  std::set<ItemIndex> got;
  const auto lease = [&] {
    LeaseRequest request = PartitionWorld::Ask(1);
    const std::optional<Lease> one = world_->RequestLease(request, world_.now()).value();
    if (one.has_value()) got.insert(one->items.begin(), one->items.end());
    return one.has_value();
  };
  for (int batch = 0; batch < 60; ++batch) {
    lease();
    Add(world_, job, {{.stratum = static_cast<uint16_t>(1 + batch % 2)}, {}});
  }
  while (lease()) continue;
  EXPECT_THAT(got, SizeIs(3 + 60 * 2));
}

// --- Bundles -------------------------------------------------------------------------------------

TEST_F(PartitionLeasesTest, ALeaseHoldsAsManyLongItemsAsThePlanSays) {
  CreateJob create = Patient();
  create.policy.split = {.items_max = 20, .cost = {5, 10, 0.05}};  // Cheapest: 10 units.
  const JobIndex job = Create(create, Alike(40, {.length = 5}));
  const SplitPlan plan = world_->PlanJob(job).value();
  ASSERT_EQ(plan.strata.front().bundle_items, 2u);
  EXPECT_THAT(world_.TryLease(1)->items, SizeIs(2));
}

// A plan takes the thread of everybody, so that of a large job is made of a sample.
class LargePlanTest : public PartitionLeasesTest,
                      public ::testing::WithParamInterface<SplitStrategy> {
 protected:
  static constexpr uint32_t kItems = 40'000;

  // A job in the middle of its work.
  static JobIndex Begin(PartitionWorld& world, Micros budget) {
    CreateJob create = Patient(budget);
    create.identity.id = absl::StrCat("with", budget);
    create.policy.quality.answers_max = 3;
    create.policy.split = {.strategy = GetParam(), .items_max = 20, .cost = {5, 10, 0.05}};
    // What comes every 40th time is never or always seen by who looks at every 40th.
    std::vector<ItemTraits> traits;
    for (uint32_t i = 0; i < kItems; ++i) {
      const bool first = i % 40 < 8;
      traits.push_back({.length = first ? 4.0f : 1.0f + static_cast<float>(i % 7),
                        .stratum = static_cast<uint16_t>(first ? 1 : 2),
                        .importance = first ? 2.0f : 1.0f + 0.75f * static_cast<float>(i % 3)});
    }
    for (const uint32_t i : {7u, 20'000u, 39'999u}) traits[i] = {.length = 9, .stratum = 3};
    const JobIndex job = world->CreateJob(create, world.now()).value();
    Add(world, job, std::move(traits), {"first", "second", "few"});
    for (int w = 0; w < 600; ++w) {
      const std::optional<Lease> lease = world.TryLease(w);
      if (lease.has_value() && w % 3 != 0) {
        EXPECT_THAT(world.Answer(*lease, "yes"), IsOk());
      }
    }
    return job;
  }
};

TEST_P(LargePlanTest, IsAsIfEachItemHadBeenLookedAt) {
  PartitionWorld whole_world({.plan_items_max = kItems});
  PartitionWorld world({.plan_items_max = 1'000});
  const auto near = [](double is, double should_be, double share) {
    EXPECT_NEAR(is, should_be, should_be * share);
  };
  for (const Micros budget : {100'000, 400'000, 10'000'000}) {
    const JobIndex job = Begin(whole_world, budget);
    ASSERT_EQ(Begin(world, budget), job);
    JobPolicy other = world->Job(job)->policy;
    other.split.strategy = SplitStrategy::kStratified;
    for (const JobPolicy* instead : std::initializer_list<const JobPolicy*>{nullptr, &other}) {
      SCOPED_TRACE(absl::StrCat(budget, instead == nullptr ? "" : " by stratum"));
      const SplitPlan plan = world->PlanJob(job, instead).value();
      const SplitPlan whole = whole_world->PlanJob(job, instead).value();
      EXPECT_TRUE(plan.order.empty());
      EXPECT_EQ(plan.items_begun, whole.items_begun);
      EXPECT_EQ(plan.budget_suffices, whole.budget_suffices);
      near(static_cast<double>(plan.items_admitted), static_cast<double>(whole.items_admitted),
           0.005);
      near(plan.answers_expected, whole.answers_expected, 0.005);
      near(static_cast<double>(plan.cost_micros), static_cast<double>(whole.cost_micros), 0.005);
      near(plan.worker_seconds, whole.worker_seconds, 0.05);
      ASSERT_EQ(plan.strata.size(), whole.strata.size());
      for (size_t s = 0; s < whole.strata.size(); ++s) {
        EXPECT_EQ(plan.strata[s].name, whole.strata[s].name);
        EXPECT_EQ(plan.strata[s].items, whole.strata[s].items);
        EXPECT_EQ(plan.strata[s].items_begun, whole.strata[s].items_begun);
        EXPECT_EQ(plan.strata[s].units, whole.strata[s].units);
        EXPECT_EQ(plan.strata[s].importance, whole.strata[s].importance);
        EXPECT_NEAR(static_cast<double>(plan.strata[s].items_admitted),
                    static_cast<double>(whole.strata[s].items_admitted),
                    static_cast<double>(whole.strata[s].items) * 0.03);
      }
    }
    for (PartitionWorld* each : {&world, &whole_world}) {
      ASSERT_THAT((*each)->CancelJob(job, each->now()), IsOk());
      each->Pass(absl::Hours(3));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, LargePlanTest,
                         ::testing::Values(SplitStrategy::kUniform, SplitStrategy::kStratified));

TEST_F(PartitionLeasesTest, LeasesAreOfTheSameSizeRatherThanLeavingARemnant) {
  CreateJob create = Patient();
  create.policy.split = {.items_max = 10, .cost = {5, 10, 0.05}};
  const JobIndex job = Create(create, Alike(21, {}));
  ASSERT_EQ(world_->PlanJob(job)->strata.front().bundle_items, 7u);
  EXPECT_THAT(FirstLeases(job), ElementsAre(SizeIs(7), SizeIs(7), SizeIs(7)));
}

TEST_F(PartitionLeasesTest, WhereLengthsDifferLeasesTakeNearlyTheSameTimeAsThePlanSays) {
  CreateJob create = Patient();
  create.policy.split = {.items_max = 20, .cost = {5, 10, 0.05}};
  std::vector<ItemTraits> traits = Alike(100, {.length = 1});
  traits.resize(200, {.length = 20});
  const JobIndex job = Create(create, traits);
  const Stratum plan = world_->PlanJob(job)->strata.front();
  double leases = 0;
  for (int w = 0; world_->Job(job)->counts.waiting > 0; ++w) {
    const uint64_t waiting = world_->Job(job)->counts.waiting;
    const std::vector<ItemIndex> items = world_.TryLease(w)->items;
    if (world_->Job(job)->counts.waiting == waiting) continue;  // Second answers.
    ++leases;
    const double units =
        std::accumulate(items.begin(), items.end(), 0.0,
                        [&](double sum, ItemIndex i) { return sum + traits[i].length; });
    EXPECT_THAT(units, Ge(9)) << "from item " << items.front();
    EXPECT_THAT(units, Le(21)) << "from item " << items.front();
  }
  EXPECT_EQ(plan.sittings, 2 * leases);
}

TEST_F(PartitionLeasesTest, EachStratumIsLeasedInBundlesOfItsOwnAndARestartChangesNothing) {
  CreateJob create = Patient();
  create.policy.split = {
      .strategy = SplitStrategy::kStratified, .items_max = 20, .cost = {5, 10, 0.05}};
  std::vector<ItemTraits> traits = Alike(20, {.length = 1, .stratum = 1});
  traits.resize(28, {.length = 5, .stratum = 2, .importance = 2});
  const JobIndex job = Create(create, traits, {"short", "long"});
  const SplitPlan plan = world_->PlanJob(job).value();
  ASSERT_THAT(plan.strata, SizeIs(2));
  ASSERT_EQ(plan.strata[0].bundle_items, 2u);
  ASSERT_EQ(plan.strata[1].bundle_items, 10u);
  EXPECT_THAT(world_.TryLease(1)->items, ElementsAre(20, 21));
  world_.Commit();
  world_.WriteObjects(100);
  world_.Crash(absl::Seconds(1));
  EXPECT_THAT(world_.TryLease(2)->items, ElementsAre(22, 23));
  EXPECT_THAT(world_.TryLease(3)->items, ElementsAre(24, 25));
  EXPECT_THAT(world_.TryLease(4)->items, ElementsAre(26, 27));
  EXPECT_THAT(world_.TryLease(5)->items, SizeIs(10));
}

TEST_F(PartitionLeasesTest, UniformTakesNeighboursOfDifferentStrataTogether) {
  CreateJob create = Patient();
  create.policy.split = {.items_max = 4, .cost = {5, 10, 0.05}};
  Create(create, {{.stratum = 1}, {.stratum = 2}, {.stratum = 1}, {.stratum = 2}}, {"x", "y"});
  EXPECT_THAT(world_.TryLease(1)->items, ElementsAre(0, 1, 2, 3));
}

TEST_F(PartitionLeasesTest, ItemsInProgressAreBundledByTheirLengthToo) {
  CreateJob create = Patient();
  create.policy.split = {
      .strategy = SplitStrategy::kStratified, .items_max = 20, .cost = {5, 10, 0.05}};
  std::vector<ItemTraits> traits = Alike(10, {.length = 1, .stratum = 1});
  traits.resize(12, {.length = 5, .stratum = 2, .importance = 2});
  const JobIndex job = Create(create, traits, {"short", "long"});
  while (world_->Job(job)->counts.waiting > 0) ASSERT_TRUE(world_.TryLease(1).has_value());
  // All want another answer; the long ones are worth most.
  std::vector<std::vector<ItemIndex>> leases;
  while (const auto lease = world_.TryLease(2)) leases.push_back(lease->items);
  for (const auto& items : leases) {
    const auto units = std::accumulate(items.begin(), items.end(), 0.0,
                                       [&](double sum, auto i) { return sum + traits[i].length; });
    EXPECT_THAT(units, Le(14)) << "of " << items.size() << " items";
  }
  EXPECT_THAT(leases, SizeIs(Le(3)));
}

TEST_F(PartitionLeasesTest, NamedItemsAreBundledByTheirLengthToo) {
  CreateJob create = Patient();
  create.policy.split = {.items_max = 20, .cost = {5, 10, 0.05}};
  const JobIndex job = Create(create, Alike(40, {.length = 5}));
  LeaseRequest request = PartitionWorld::Ask(1);
  request.only_job = job;
  request.only_items = {30, 31, 32, 33, 34, 35};
  EXPECT_THAT(world_->RequestLease(request, world_.now()).value()->items, ElementsAre(30, 31));
}

TEST_F(PartitionLeasesTest, AJobOfLongItemsIsRankedByTheirSecondsNotByTheirNumber) {
  CreateJob slow = Patient();
  slow.identity.id = "slow";
  slow.policy.split = {.items_max = 10, .cost = {5, 10, 0.05}};
  const JobIndex slow_job = Create(slow, Alike(10, {.length = 5}));
  CreateJob quick = slow;
  quick.identity.id = "quick";
  const JobIndex quick_job = Create(quick, Alike(10, {.length = 1}));
  ASSERT_LT(slow_job, quick_job);  // Among equals it would be first.
  EXPECT_EQ(world_.TryLease(1)->assignment.job, quick_job);
}

// --- A change of quality -------------------------------------------------------------------------

TEST_F(PartitionLeasesTest, LowerQualityBuysNoAnswerAboveTheNewCap) {
  CreateJob create = Patient();
  create.policy.quality = {.target_confidence = 0.999, .answers_min = 5, .answers_max = 10};
  const JobIndex job = Create(create, Alike(1, {}));
  ASSERT_THAT(world_.Answer(*world_.TryLease(1), "yes"), IsOk());
  ASSERT_TRUE(world_.TryLease(2).has_value());
  ASSERT_TRUE(world_.TryLease(3).has_value());
  const QualityPolicy lower{.target_confidence = 0.999, .answers_min = 2, .answers_max = 3};
  ASSERT_THAT(world_->UpdateJob(Update(job, lower), world_.now()), IsOk());
  EXPECT_FALSE(world_.TryLease(4).has_value());  // Before the sweep ...
  world_.Commit();
  EXPECT_THAT(world_->Offers("default", world_.now()), SizeIs(0));  // ... and after it.
  EXPECT_FALSE(world_.TryLease(4).has_value());
}

TEST_F(PartitionLeasesTest, MoreAnswersAreAskedForAtOnceWhenTheLeastNumberIsRaised) {
  CreateJob create = Patient();
  create.policy.quality = {.target_confidence = 0.999, .answers_min = 2, .answers_max = 10};
  const JobIndex job = Create(create, Alike(1, {}));
  ASSERT_TRUE(world_.TryLease(1).has_value());
  ASSERT_TRUE(world_.TryLease(2).has_value());
  ASSERT_FALSE(world_.TryLease(3).has_value());
  const QualityPolicy higher{.target_confidence = 0.999, .answers_min = 4, .answers_max = 10};
  ASSERT_THAT(world_->UpdateJob(Update(job, higher), world_.now()), IsOk());
  world_.Commit();
  EXPECT_TRUE(world_.TryLease(3).has_value());  // While both leases are open.
  EXPECT_TRUE(world_.TryLease(4).has_value());
  EXPECT_FALSE(world_.TryLease(5).has_value());
}

// --- Much that the worker had --------------------------------------------------------------------

TEST_F(PartitionLeasesTest, AWorkerWhoHadManyItemsIsFoundTheOneThatIsLeftAPartInEachRequest) {
  PartitionWorld world({.looks_max = 4});
  const JobIndex job = world.Create(Patient(), 39);
  for (int i = 0; i < 38; ++i) ASSERT_TRUE(world.TryLease(1).has_value()) << i;
  const std::optional<Lease> last = world.TryLease(2);
  ASSERT_TRUE(last.has_value());
  ASSERT_EQ(world->Job(job)->counts.waiting, 0u);
  // Only the item that the other worker had first is left, and it is worth no more than those that
  // this one had.
  world->TakeNotices();
  std::optional<Lease> found;
  int requests = 0;
  while (!found.has_value()) {
    ASSERT_LE(++requests, 2 * (39 / 4 + 1));
    found = world.TryLease(1);
    EXPECT_EQ(world->TakeNotices().work_appeared, !found.has_value()) << "request " << requests;
  }
  EXPECT_THAT(requests, Ge(2));  // One request looks at a few only.
  EXPECT_EQ(found->items, last->items);
}

TEST_F(PartitionLeasesTest, AWorkerWhoHadEverythingIsNotToldToAskAgainForEver) {
  PartitionWorld world({.looks_max = 4});
  const JobIndex job = world.Create(Patient(), 39);
  while (world->Job(job)->counts.waiting > 0) ASSERT_TRUE(world.TryLease(1).has_value());
  world->TakeNotices();
  int requests = 0;
  do {
    EXPECT_FALSE(world.TryLease(1).has_value());
    ASSERT_LE(++requests, 39 / 4 + 1);
  } while (world->TakeNotices().work_appeared);
}

TEST_F(PartitionLeasesTest, OfManyNamedItemsAFewAreComparedAndAllAreReached) {
  PartitionWorld world({.looks_max = 4});
  const JobIndex job = world->CreateJob(Patient(), world.now()).value();
  Add(world, job, Importances({1, 1, 1, 2, 3, 1, 1, 1, 1, 1}));
  LeaseRequest request = PartitionWorld::Ask(1);
  request.only_job = job;
  request.only_items = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::vector<ItemIndex> got;
  while (const auto lease = world->RequestLease(request, world.now()).value()) {
    got.insert(got.end(), lease->items.begin(), lease->items.end());
  }
  EXPECT_THAT(got, ElementsAre(3, 4, 0, 1, 2, 5, 6, 7, 8, 9));
}

// --- Time ----------------------------------------------------------------------------------------

TEST_F(PartitionLeasesTest, AJobIsLeasedFromItsStartTimeOnAndNextWakeNamesIt) {
  CreateJob create = Patient();
  create.policy.start_time = world_.now() + absl::Minutes(5);
  Create(create, Alike(2, {}));
  world_.Pass(absl::Seconds(1));
  EXPECT_EQ(world_->NextWake(), create.policy.start_time);
  EXPECT_FALSE(world_.TryLease(1).has_value());
  world_.Pass(absl::Minutes(5));
  EXPECT_TRUE(world_.TryLease(1).has_value());
}

TEST_F(PartitionLeasesTest, ADeadlinePausesAJobAtRestAndALaterOneLetsItGoOn) {
  CreateJob create = Patient();
  create.policy.deadline = world_.now() + absl::Hours(1);
  const JobIndex job = Create(create, Alike(2, {}));
  world_.Commit();
  world_.Crash(absl::Seconds(1));
  world_.Pass(absl::Seconds(1));
  UpdateJob update = Update(job, create.policy.quality);
  update.deadline = create.policy.deadline + absl::Hours(1);
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  world_.Commit();
  EXPECT_EQ(world_->NextWake(), update.deadline);
  world_.Pass(absl::Hours(1));
  EXPECT_EQ(world_->Job(job)->phase, JobPhase::kRunning);
  world_.Pass(absl::Hours(1));
  EXPECT_EQ(world_->Job(job)->pause_reasons, kPauseDeadline);
  EXPECT_FALSE(world_.TryLease(1).has_value());
  update.deadline = world_.now() + absl::Hours(1);
  ASSERT_THAT(world_->UpdateJob(update, world_.now()), IsOk());
  EXPECT_TRUE(world_.TryLease(1).has_value());
}

TEST_F(PartitionLeasesTest, AJobIsOfferedAgainWhenItsItemsComeBack) {
  const JobIndex job = Create(Patient(), Alike(1, {}));
  const Lease first = *world_.TryLease(1);
  ASSERT_TRUE(world_.TryLease(2).has_value());
  EXPECT_THAT(world_->Offers("default", world_.now()), SizeIs(0));
  ASSERT_THAT(world_->Return({.assignment = first.assignment, .items = {}}, world_.now()), IsOk());
  EXPECT_THAT(world_->Offers("default", world_.now()), SizeIs(1));
  ASSERT_THAT(world_->PauseJob(job, world_.now()), IsOk());
  EXPECT_THAT(world_->Offers("default", world_.now()), SizeIs(0));
  ASSERT_THAT(world_->ResumeJob(job, world_.now()), IsOk());
  EXPECT_TRUE(world_.TryLease(3).has_value());
}

// --- Much at once --------------------------------------------------------------------------------

TEST_F(PartitionLeasesTest, LeasesThatEndTogetherAreCarriedOutARecordAtATime) {
  PartitionWorld world({.tick_bytes_max = 2'000});
  const JobIndex job = world.Create(Patient(), 500);
  absl::Time deadline;
  for (int w = 0; w < 500; ++w) deadline = world.TryLease(w)->deadline;
  world.Commit();
  world.SetNow(deadline);
  int ticks = 0;
  do {
    world->Tick(world.now());
    EXPECT_LE(world->TakeEvents().size(), 3'000u);
    ASSERT_LE(++ticks, 500);
  } while (world->NextWake() <= world.now());
  EXPECT_GE(ticks, 5);
  EXPECT_THAT(world->TakeNotices().leases_ended, SizeIs(500));
  EXPECT_EQ(world->Job(job)->open_assignments, 500u);  // Their grace goes on.
}

}  // namespace
}  // namespace tessera::core
