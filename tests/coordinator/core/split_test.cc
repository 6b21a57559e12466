// A plan is a promise about cost and order: it must be the cheapest, the same everywhere, and keep
// neighbours together.
#include "coordinator/core/split.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Micros kMost = std::numeric_limits<Micros>::max();

// Sums of a small linear congruential sequence: arbitrary, the same everywhere.
class Arbitrary {
 public:
  explicit Arbitrary(uint64_t seed) : state_(seed) {}
  uint64_t Below(uint64_t bound) {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return (state_ >> 33) % bound;
  }

 private:
  uint64_t state_;
};

std::vector<ItemIndex> OrderOf(const SplitPlan& plan, uint64_t items) {
  if (!plan.order.empty()) return plan.order;
  std::vector<ItemIndex> order(items);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

bool IsPermutation(std::vector<ItemIndex> order, uint64_t items) {
  std::sort(order.begin(), order.end());
  std::vector<ItemIndex> all(items);
  std::iota(all.begin(), all.end(), 0);
  return order == all;
}

TEST(CheapestLengthTest, NoLengthOnAGridIsCheaperPerUnit) {
  for (const double startup : {0.0, 1.0, 5.0, 60.0}) {
    for (const double fatigue : {0.01, 0.05, 0.7}) {
      const CostModel model = {
          .startup_seconds = startup, .seconds_per_unit = 3, .fatigue_seconds = fatigue};
      const double best = CheapestLength(model, 1, 40);
      const double cost = SittingSeconds(model, best) / best;
      for (double units = 1; units <= 40; units += 0.01) {
        EXPECT_LE(cost, SittingSeconds(model, units) / units + 1e-9) << startup << " " << units;
      }
    }
  }
}

TEST(CheapestLengthTest, WithoutFatigueTheLongestIsCheapest) {
  EXPECT_EQ(CheapestLength({.startup_seconds = 5, .fatigue_seconds = 0}, 1, 20), 20);
}

TEST(PlanSplitTest, NoItemsGiveAnEmptyPlan) {
  const SplitPlan plan = PlanSplit({}, {}, {});
  EXPECT_THAT(plan.strata, IsEmpty());
  EXPECT_TRUE(plan.budget_suffices);
  EXPECT_EQ(plan.cost_micros, 0);
}

TEST(PlanSplitTest, UniformPartsAreEqualAndInTheOrderOfIntake) {
  const SplitPlan plan = PlanSplit({.items_max = 10}, {},
                                   {.items = 21,
                                    .price_micros = 100,
                                    .answers_per_item = 3,
                                    .budget_micros = 6300,
                                    .cost = {5, 10, 0.05}});
  EXPECT_THAT(plan.order, IsEmpty());
  ASSERT_EQ(plan.strata.size(), 1);
  EXPECT_EQ(plan.strata[0].bundle_items, 7);  // Three of 7, not two of 10 and one of 1.
  EXPECT_EQ(plan.items_admitted, 21);
  EXPECT_EQ(plan.cost_micros, 6300);
  EXPECT_TRUE(plan.budget_suffices);
  EXPECT_NEAR(plan.worker_seconds, 9 * (5 + 10 * 7 + 0.05 * 49), 1e-9);
}

TEST(PlanSplitTest, BundlesShrinkAsItemsGrowAndStayInTheirBounds) {
  const std::vector<ItemTraits> traits(1000, ItemTraits{.length = 4});
  const SplitInput input = {.items = 1000, .traits = traits, .cost = {20, 10, 0.05}};  // 20 units.
  EXPECT_EQ(PlanSplit({}, {}, input).strata[0].bundle_items, 5);
  EXPECT_EQ(PlanSplit({.items_max = 4}, {}, input).strata[0].bundle_items, 4);
  EXPECT_EQ(PlanSplit({.items_min = 8}, {}, input).strata[0].bundle_items, 8);
}

TEST(PlanSplitTest, StrataComeMostImportantFirstThenByNameAndKeepNeighboursTogether) {
  const std::vector<std::string> names = {"", "b", "a", "urgent"};
  std::vector<ItemTraits> traits;
  for (const uint16_t stratum : {1, 2, 3, 1, 2, 3, 2, 1}) {
    traits.push_back({.stratum = stratum, .importance = stratum == 3 ? 2.0f : 1.0f});
  }
  const SplitPlan plan = PlanSplit({.strategy = SplitStrategy::kStratified}, {},
                                   {.items = 8, .traits = traits, .strata_names = names});
  ASSERT_EQ(plan.strata.size(), 3);
  EXPECT_EQ(plan.strata[0].name, "urgent");
  EXPECT_EQ(plan.strata[1].name, "a");
  EXPECT_EQ(plan.strata[2].name, "b");
  EXPECT_THAT(plan.order, ElementsAre(2, 5, 1, 4, 6, 0, 3, 7));
}

TEST(PlanSplitTest, EachStratumIsBundledByItsOwnLength) {
  const std::vector<std::string> names = {"short", "long"};
  std::vector<ItemTraits> traits(200);
  for (size_t i = 100; i < 200; ++i) traits[i] = {.length = 5, .stratum = 1};
  const SplitPlan plan =
      PlanSplit({.strategy = SplitStrategy::kStratified}, {},
                {.items = 200, .traits = traits, .strata_names = names, .cost = {5, 10, 0.05}});
  ASSERT_EQ(plan.strata.size(), 2);
  EXPECT_EQ(plan.strata[0].name, "long");
  EXPECT_EQ(plan.strata[0].bundle_items, 2);
  EXPECT_EQ(plan.strata[1].bundle_items, 10);
}

TEST(PlanSplitTest, PartsOfUnequalItemsTakeNearlyTheSameTime) {
  std::vector<ItemTraits> traits(100, ItemTraits{.length = 2});
  traits.resize(200, ItemTraits{.length = 8});
  const CostModel cost = {5, 10, 0.05};  // Cheapest: 10 units, which is two items of 5.
  const SplitPlan plan = PlanSplit({}, {}, {.items = 200, .traits = traits, .cost = cost});
  const Stratum& all = plan.strata[0];
  // A hundred short ones in parts of five, and the long ones one by one.
  EXPECT_NEAR(all.sittings, plan.answers_per_item * (20 + 100), plan.answers_per_item * 8);
  EXPECT_EQ(all.bundle_items, 2);
  EXPECT_NEAR(all.worker_seconds / all.sittings, SittingSeconds(cost, 1000 / 120.0), 5);
}

TEST(SittingTest, IsFilledAsNearToItsUnitsAsWholeItemsAllow) {
  const auto items = [](const SplitPolicy& policy, std::vector<double> lengths) {
    // Ten units are cheapest, and are what 2 items of the mean length have.
    Sitting sitting(policy, {5, 10, 0.05}, /*mean_units=*/5, /*items=*/100);
    for (const double length : lengths) {
      if (!sitting.Take(length)) break;
    }
    return sitting.items();
  };
  EXPECT_EQ(items({}, {5, 5, 5}), 2);
  EXPECT_EQ(items({}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), 10);
  EXPECT_EQ(items({}, {4, 4, 4, 4}), 3);  // 12 are nearer than 8.
  EXPECT_EQ(items({}, {6, 9, 9}), 1);     // 6 are nearer than 15.
  EXPECT_EQ(items({}, {100, 1}), 1);
  EXPECT_EQ(items({.items_max = 4}, {1, 1, 1, 1, 1}), 4);
  EXPECT_EQ(items({.items_min = 2}, {100, 100, 100}), 2);
}

TEST(PlanSplitTest, AdmissionIsWithinOneItemOfTheBestSubset) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Arbitrary arbitrary(seed);
    const size_t count = 1 + arbitrary.Below(10);
    std::vector<ItemTraits> traits(count);
    for (ItemTraits& item : traits) {
      item.importance = 1 + static_cast<float>(arbitrary.Below(5));
      item.stratum = static_cast<uint16_t>(arbitrary.Below(2));
    }
    const Micros budget = static_cast<Micros>(arbitrary.Below(700));
    const std::vector<std::string> names = {"", "other"};
    const SplitPlan plan = PlanSplit({.strategy = SplitStrategy::kStratified}, {},
                                     {.items = count,
                                      .traits = traits,
                                      .strata_names = names,
                                      .price_micros = 30,
                                      .answers_per_item = 2.5,
                                      .budget_micros = budget});
    const std::vector<ItemIndex> order = OrderOf(plan, count);
    ASSERT_TRUE(IsPermutation(order, count));
    EXPECT_LE(plan.cost_micros, budget);
    double value = 0;
    for (uint64_t i = 0; i < plan.items_admitted; ++i) value += traits[order[i]].importance;

    double best = 0;
    for (unsigned subset = 0; subset < (1u << count); ++subset) {
      double cost = 0;
      double sum = 0;
      for (size_t i = 0; i < count; ++i) {
        if (!(subset >> i & 1)) continue;
        cost += 75;
        sum += traits[i].importance;
      }
      if (cost <= static_cast<double>(budget)) best = std::max(best, sum);
    }
    EXPECT_EQ(value, best) << "seed " << seed;  // All cost the same: greedy is optimal in full.
    // Nor would a part of the next item add as much as the whole of it.
    const double spare = static_cast<double>(budget - plan.cost_micros);
    EXPECT_TRUE(plan.budget_suffices || spare < 75) << "seed " << seed;
  }
}

TEST(PlanSplitTest, OfEqualValueTheEarlierItemsAreAdmitted) {
  const SplitPlan plan = PlanSplit(
      {}, {}, {.items = 10, .price_micros = 10, .answers_per_item = 2, .budget_micros = 79});
  EXPECT_EQ(plan.items_admitted, 3);
  EXPECT_FALSE(plan.budget_suffices);
  EXPECT_THAT(plan.order, IsEmpty());
}

TEST(PlanSplitTest, WhatMoreMoneyWouldReachNextComesNext) {
  std::vector<ItemTraits> traits(5);
  traits[4].importance = 3;
  traits[2].importance = 2;
  const SplitPlan plan = PlanSplit({}, {},
                                   {.items = 5,
                                    .traits = traits,
                                    .price_micros = 10,
                                    .answers_per_item = 2,
                                    .budget_micros = 20});
  EXPECT_EQ(plan.items_admitted, 1);
  EXPECT_THAT(plan.order, ElementsAre(4, 2, 0, 1, 3));
}

TEST(PlanSplitTest, RandomOrderIsAPermutationThatDependsOnTheSeedOnly) {
  const auto plan = [](uint64_t seed) {
    return PlanSplit({.random_order = true, .seed = seed}, {}, {.items = 1000}).order;
  };
  EXPECT_TRUE(IsPermutation(plan(1), 1000));
  EXPECT_EQ(plan(1), plan(1));
  EXPECT_NE(plan(1), plan(2));
}

TEST(PlanSplitTest, RandomOrderIsTheSameOnEveryMachine) {
  const SplitPlan plan = PlanSplit({.random_order = true, .seed = 42}, {}, {.items = 8});
  EXPECT_THAT(plan.order, ElementsAre(3, 6, 0, 7, 1, 2, 5, 4));
}

TEST(PlanSplitTest, RandomOrderStaysWithinTheStratum) {
  const std::vector<std::string> names = {"a", "b"};
  std::vector<ItemTraits> traits(100);
  for (size_t i = 0; i < 100; i += 2) traits[i].stratum = 1;
  const SplitPlan plan = PlanSplit({.strategy = SplitStrategy::kStratified, .random_order = true},
                                   {}, {.items = 100, .traits = traits, .strata_names = names});
  ASSERT_TRUE(IsPermutation(plan.order, 100));
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(traits[plan.order[i]].stratum, i < 50 ? 0 : 1);
}

TEST(PlanSplitTest, MoneySaturatesInsteadOfOverflowing) {
  const std::vector<std::string> names = {"a", "b"};
  std::vector<ItemTraits> traits(1000);
  for (size_t i = 0; i < 500; ++i) traits[i].stratum = 1;
  const SplitInput input = {.items = 1000,
                            .traits = traits,
                            .strata_names = names,
                            .price_micros = kMost / 8,
                            .answers_per_item = 10,
                            .budget_micros = kMost};
  const SplitPlan poor = PlanSplit({.strategy = SplitStrategy::kStratified}, {}, input);
  EXPECT_EQ(poor.items_admitted, 0);
  EXPECT_EQ(poor.cost_micros, 0);
  const SplitPlan single = PlanSplit(
      {}, {},
      {.items = 1, .price_micros = kMost / 2, .answers_per_item = 2, .budget_micros = kMost});
  EXPECT_EQ(single.items_admitted, 1);
  EXPECT_EQ(single.cost_micros, kMost);
}

TEST(PlanSplitTest, ASpentOrOverdrawnBudgetAdmitsNothing) {
  for (const Micros budget : {Micros{0}, Micros{-5}}) {
    const SplitPlan plan = PlanSplit(
        {}, {}, {.items = 10, .price_micros = 10, .answers_per_item = 2, .budget_micros = budget});
    EXPECT_EQ(plan.items_admitted, 0);
    EXPECT_FALSE(plan.budget_suffices);
  }
}

TEST(GuessAnswersTest, RisesWithTheTargetAndStaysInItsBounds) {
  for (const uint32_t classes : {2u, 3u, 10u, 1000u}) {
    double before = 0;
    for (const double target : {0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.999999999, 1.0}) {
      const double guess = GuessAnswersPerItem({.target_confidence = target}, classes);
      EXPECT_GE(guess, before);
      EXPECT_GE(guess, 2);
      EXPECT_LE(guess, 10);
      before = guess;
    }
    EXPECT_EQ(before, 10);
    EXPECT_EQ(GuessAnswersPerItem({.answers_min = 5, .answers_max = 5}, classes), 5);
  }
}

TEST(GuessAnswersTest, IsWhatTheRecordedPeopleTook) {
  // The demo: 800 questions with two answers to choose from, 4.1 answers each in the mean.
  const QualityPolicy demo = {.target_confidence = 0.98, .answers_min = 2, .answers_max = 10};
  EXPECT_NEAR(GuessAnswersPerItem(demo, 2), 4.1, 0.41);
}

TEST(GuessAnswersTest, IsTheLengthOfTheTestWhereAnswersAreDrawn) {
  constexpr double kRight = 0.84;
  Arbitrary arbitrary(7);
  for (const uint32_t classes : {2u, 4u}) {
    for (const double target : {0.9, 0.98, 0.9995}) {
      const QualityPolicy quality = {
          .target_confidence = target, .answers_min = 3, .answers_max = 12};
      const double ratio = kRight * (classes - 1) / (1 - kRight);
      uint64_t answers = 0;
      constexpr int kItems = 20'000;
      for (int i = 0; i < kItems; ++i) {
        std::vector<double> weight(classes, 1);
        for (uint32_t n = 1; n <= quality.answers_max; ++n) {
          ++answers;
          const double draw = static_cast<double>(arbitrary.Below(1'000'000)) / 1e6;
          weight[draw < kRight ? 0 : 1 + arbitrary.Below(classes - 1)] *= ratio;
          const double all = std::accumulate(weight.begin(), weight.end(), 0.0);
          const double best = *std::max_element(weight.begin(), weight.end());
          if (n >= quality.answers_min && best / all >= target) break;
        }
      }
      EXPECT_NEAR(GuessAnswersPerItem(quality, classes), static_cast<double>(answers) / kItems,
                  classes == 2 ? 0.05 : 0.4)
          << classes << " classes, " << target;
    }
  }
}

void ExpectNear(const CostModel& a, const CostModel& b, double within) {
  EXPECT_NEAR(a.startup_seconds, b.startup_seconds, within * b.startup_seconds);
  EXPECT_NEAR(a.seconds_per_unit, b.seconds_per_unit, within * b.seconds_per_unit);
  EXPECT_NEAR(a.fatigue_seconds, b.fatigue_seconds, within * b.fatigue_seconds);
}

TEST(LearnCostTest, NothingSeenLeavesTheGuess) {
  ExpectNear(LearnCost({}, {5, 10, 0.05}), {5, 10, 0.05}, 0);
}

TEST(LearnCostTest, RecoversAKnownModel) {
  const CostModel truth = {30, 6, 0.2};
  CostMoments moments;
  for (int i = 0; i < 4000; ++i) moments.Add(1 + i % 20, SittingSeconds(truth, 1 + i % 20));
  ExpectNear(LearnCost(moments, {5, 10, 0.05}), truth, 0.05);
}

TEST(LearnCostTest, WhereAllSittingsAreOfOneLengthTheTimeIsLearntAndNothingIsNegative) {
  CostMoments moments;
  for (int i = 0; i < 1000; ++i) moments.Add(10, 50);
  const CostModel learnt = LearnCost(moments, {5, 10, 0.05});
  EXPECT_NEAR(SittingSeconds(learnt, 10), 50, 2);
  EXPECT_GE(learnt.startup_seconds, 0);
  EXPECT_GE(learnt.seconds_per_unit, 0);
  EXPECT_GE(learnt.fatigue_seconds, 0);
}

TEST(LearnCostTest, AFewOddSittingsCannotBendIt) {
  const CostModel truth = {5, 10, 0.05};
  CostMoments moments;
  for (int i = 0; i < 1000; ++i) {
    const double units = 1 + i % 20;
    moments.Add(units, SittingSeconds(truth, units) * (i % 100 == 50 ? 50 : 1));
  }
  const CostModel learnt = LearnCost(moments, truth);
  for (const double units : {1.0, 10.0, 20.0}) {
    const double seconds = SittingSeconds(truth, units);
    EXPECT_NEAR(SittingSeconds(learnt, units), seconds, 0.15 * seconds) << units;
  }
}

TEST(LearnCostTest, TheVeryFirstSittingsOnlyNudgeTheGuess) {
  CostMoments moments;
  moments.Add(5, 60);
  moments.Add(5, 600);
  const CostModel guess = {5, 10, 0.05};
  EXPECT_LT(SittingSeconds(LearnCost(moments, guess), 5), 1.5 * SittingSeconds(guess, 5));
}

TEST(LearnCostTest, IsNeverNegative) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Arbitrary arbitrary(seed);
    CostMoments moments;
    for (uint64_t i = 0; i < 3 + seed; ++i) {
      moments.Add(1 + static_cast<double>(arbitrary.Below(20)),
                  static_cast<double>(arbitrary.Below(500)));
    }
    const CostModel learnt = LearnCost(moments, {5, 10, 0.05});
    EXPECT_GE(learnt.startup_seconds, 0);
    EXPECT_GE(learnt.seconds_per_unit, 0);
    EXPECT_GE(learnt.fatigue_seconds, 0);
    EXPECT_TRUE(std::isfinite(SittingSeconds(learnt, 20)));
  }
}

}  // namespace
}  // namespace tessera::core
