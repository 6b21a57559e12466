// At stake: what a job would cost is told before it is paid for, however large the job, and in a time
// that nobody notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/core/split.h"
#include "coordinator/edge/convert.h"
#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using ::tessera::testing::IsOk;
using ::testing::SizeIs;

constexpr int64_t kPrice = 1000;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    request_.set_parent("tenants/acme");
    const v1::CreateJobRequest job = CoordinatorWorld::JobRequest();
    *draft().mutable_template_() = job.job().template_();
    policy() = job.job().policy();
    policy().mutable_price()->set_price_per_item_micros(kPrice);
    policy().set_budget_micros(int64_t{1} << 50);
    policy().mutable_split()->set_strategy(v1::SPLIT_STRATEGY_STRATIFIED);
  }

  v1::JobDraft& draft() { return *request_.mutable_draft(); }
  v1::Policy& policy() { return *draft().mutable_policy(); }
  void Add(const std::string& name, int64_t items, double length = 1, double importance = 1) {
    v1::StratumStatistics& stratum = *draft().add_strata();
    stratum.set_stratum(name);
    stratum.set_items(items);
    stratum.set_length_mean(length);
    stratum.set_importance_mean(importance);
  }
  v1::SplitPlan Plan() {
    absl::StatusOr<v1::SplitPlan> plan = world_.Call(&Coordinator::PlanJob, request_);
    EXPECT_THAT(plan, IsOk());
    return *std::move(plan);
  }
  // The same with every single item.
  v1::SplitPlan PlanWhole() {
    const core::JobPolicy policy = PolicyFromProto(draft().policy(), 1, "policy").value();
    std::vector<core::ItemTraits> traits;
    std::vector<std::string> names = {""};
    for (const v1::StratumStatistics& stratum : draft().strata()) {
      names.push_back(stratum.stratum());
      traits.insert(traits.end(), static_cast<size_t>(stratum.items()),
                    {.length = static_cast<float>(stratum.length_mean()),
                     .stratum = static_cast<uint16_t>(names.size() - 1),
                     .importance = static_cast<float>(stratum.importance_mean())});
    }
    const core::SplitPlan plan =
        core::PlanSplit(policy.split, policy.quality,
                        {.items = traits.size(),
                         .traits = traits,
                         .strata_names = names,
                         .price_micros = kPrice,
                         .answers_per_item = core::GuessAnswersPerItem(policy.quality, 2),
                         .budget_micros = policy.budget_micros,
                         .cost = policy.split.cost});
    return PlanToProto(plan, policy, policy.split.cost, kPrice, policy.budget_micros);
  }

  CoordinatorWorld world_;
  v1::PlanJobRequest request_;
};

void ExpectNear(double is, double should_be) { EXPECT_NEAR(is, should_be, should_be / 1000); }

TEST_F(PlanTest, ALargeDraftIsPlannedAsIfEachItemWereLookedAt) {
  Add("first", 170'003, 3, 5);
  Add("second", 60'001, 1, 2);
  Add("third", 77'777, 10, 1);
  const int64_t full = Plan().full_cost_micros();
  for (const v1::SplitStrategy strategy :
       {v1::SPLIT_STRATEGY_UNIFORM, v1::SPLIT_STRATEGY_STRATIFIED}) {
    for (const double part : {0.2, 0.7, 0.9, 1.0, 1.5}) {
      SCOPED_TRACE(absl::StrCat(v1::SplitStrategy_Name(strategy), " with ", part));
      policy().mutable_split()->set_strategy(strategy);
      policy().set_budget_micros(static_cast<int64_t>(static_cast<double>(full) * part) + 1);
      const v1::SplitPlan plan = Plan();
      const v1::SplitPlan whole = PlanWhole();
      EXPECT_EQ(plan.items(), whole.items());
      EXPECT_EQ(plan.budget_suffices(), whole.budget_suffices());
      ExpectNear(static_cast<double>(plan.items_admitted()),
                 static_cast<double>(whole.items_admitted()));
      ExpectNear(plan.expected_answers(), whole.expected_answers());
      ExpectNear(static_cast<double>(plan.expected_cost_micros()),
                 static_cast<double>(whole.expected_cost_micros()));
      ExpectNear(static_cast<double>(plan.full_cost_micros()),
                 static_cast<double>(whole.full_cost_micros()));
      ExpectNear(plan.expected_worker_seconds(), whole.expected_worker_seconds());
      ExpectNear(static_cast<double>(plan.expected_microtasks()),
                 static_cast<double>(whole.expected_microtasks()));
      ASSERT_THAT(plan.strata(), SizeIs(whole.strata_size()));
      for (int i = 0; i < whole.strata_size(); ++i) {
        EXPECT_EQ(plan.strata(i).stratum(), whole.strata(i).stratum());
        EXPECT_EQ(plan.strata(i).items(), whole.strata(i).items());
        EXPECT_EQ(plan.strata(i).items_per_microtask(), whole.strata(i).items_per_microtask());
      }
    }
  }
}

// A hundred items are what they are, be the other stratum a hundred thousand times as large.
TEST_F(PlanTest, ASmallStratumBesideALargeOneKeepsItsFigures) {
  Add("small", 100, 2, 3);
  const v1::SplitPlan alone = Plan();
  Add("large", 10'000'000);
  const v1::SplitPlan both = Plan();
  EXPECT_EQ(both.items(), 10'000'100);
  EXPECT_EQ(both.items_admitted(), 10'000'100);
  ASSERT_THAT(both.strata(), SizeIs(2));
  const v1::PlannedStratum& small = both.strata(0);
  EXPECT_EQ(small.stratum(), "small");
  EXPECT_EQ(small.items(), 100);
  EXPECT_EQ(small.items_admitted(), 100);
  EXPECT_EQ(small.items_per_microtask(), alone.strata(0).items_per_microtask());
  EXPECT_EQ(small.expected_microtasks(), alone.strata(0).expected_microtasks());
  EXPECT_EQ(small.expected_cost_micros(), alone.strata(0).expected_cost_micros());
}

TEST_F(PlanTest, ABudgetThatJustSufficesDoesSoHoweverManyItemsThereAre) {
  policy().mutable_quality()->set_answers_min(3);
  policy().mutable_quality()->set_answers_max(3);
  Add("a", 50'001);
  Add("b", 7);
  policy().set_budget_micros(50'008 * 3 * kPrice);
  const v1::SplitPlan plan = Plan();
  EXPECT_TRUE(plan.budget_suffices());
  EXPECT_EQ(plan.items_admitted(), 50'008);
  EXPECT_EQ(plan.expected_cost_micros(), 50'008 * 3 * kPrice);
  policy().set_budget_micros(50'008 * 3 * kPrice / 100 * 99);
  EXPECT_FALSE(Plan().budget_suffices());
}

}  // namespace
}  // namespace tessera::edge
