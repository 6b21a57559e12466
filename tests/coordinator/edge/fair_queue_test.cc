// No tenant gets more than its share, within a bound that is stated, whatever the others do.
#include "coordinator/edge/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace tessera::edge {
namespace {

using ::testing::DoubleNear;
using ::testing::Le;

class FairQueueTest : public ::testing::Test {
 protected:
  // Serves one of these tenants at this cost; gives its name.
  std::string Serve(const std::vector<std::string>& tenants, double seconds) {
    std::vector<FairQueue::Candidate> candidates;
    for (const std::string& t : tenants) candidates.push_back({t});
    const std::string& chosen = tenants[queue_.Choose(candidates)];
    queue_.Charge(chosen, seconds);
    return chosen;
  }

  FairQueue queue_;
};

TEST_F(FairQueueTest, TenantsOfOneWeightTakeTurns) {
  std::string order;
  for (int i = 0; i < 6; ++i) order += Serve({"a", "b", "c"}, 10);
  EXPECT_EQ(order, "abcabc");
}

TEST_F(FairQueueTest, SharesAreOfSecondsAndNotOfTurns) {
  std::map<std::string, double> seconds;
  for (int i = 0; i < 1100; ++i) {
    std::vector<FairQueue::Candidate> candidates = {{"long"}, {"short"}};
    const std::string chosen(candidates[queue_.Choose(candidates)].tenant);
    const double cost = chosen == "long" ? 100 : 10;
    queue_.Charge(chosen, cost);
    seconds[chosen] += cost;
  }
  EXPECT_THAT(seconds["long"] - seconds["short"], DoubleNear(0, 110));
}

TEST_F(FairQueueTest, AWeightIsAShare) {
  std::map<std::string, int> turns;
  const auto serve = [&](double weight_of_big) {
    const std::vector<FairQueue::Candidate> candidates = {{"big"}, {"small"}};
    const std::string chosen(candidates[queue_.Choose(candidates)].tenant);
    queue_.Charge(chosen, 7, chosen == "big" ? weight_of_big : 1);
    ++turns[chosen];
  };
  for (int i = 0; i < 400; ++i) serve(3);
  EXPECT_THAT(turns["big"], ::testing::AllOf(::testing::Ge(299), Le(301)));
  // One that changes holds from then on.
  turns.clear();
  for (int i = 0; i < 400; ++i) serve(0.25);
  EXPECT_THAT(turns["big"], ::testing::AllOf(::testing::Ge(79), Le(81)));
}

TEST_F(FairQueueTest, WhoWantedNothingHasNoClaimOnThePast) {
  for (int i = 0; i < 100; ++i) Serve({"busy"}, 10);
  std::string order;
  for (int i = 0; i < 6; ++i) order += Serve({"busy", "idle"}, 10) == "busy" ? "b" : "i";
  // Not a hundred turns for the one that comes late; from here on they alternate.
  EXPECT_EQ(order, "ibibib");
}

TEST_F(FairQueueTest, TiesGoToTheBetterOfferAndThenByName) {
  std::vector<FairQueue::Candidate> candidates = {{"b", 1}, {"a", 1}, {"c", 2}};
  EXPECT_EQ(candidates[queue_.Choose(candidates)].tenant, "c");
  candidates.pop_back();
  EXPECT_EQ(candidates[queue_.Choose(candidates)].tenant, "a");
}

// The bound of the header, on every interval of a long run with arbitrary costs and weights, while
// a third tenant comes and goes.
TEST_F(FairQueueTest, TheGapBetweenTwoThatAlwaysWantIsWithinOneChargeEach) {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    const auto uniform = [&](double low, double high) {
      return low + (high - low) * static_cast<double>(random() % 10'000) / 10'000;
    };
    FairQueue queue;
    std::map<std::string, double> weight = {
        {"f", uniform(0.1, 5)}, {"m", uniform(0.1, 5)}, {"x", 1}};
    std::map<std::string, double> cost_max = {
        {"f", uniform(1, 500)}, {"m", uniform(1, 500)}, {"x", 50}};
    double gap = 0;
    double gap_min = 0;
    double gap_max = 0;
    for (int i = 0; i < 3000; ++i) {
      std::vector<FairQueue::Candidate> candidates = {{"f"}, {"m"}};
      if (random() % 3 == 0) candidates.push_back({"x"});
      const std::string chosen(candidates[queue.Choose(candidates)].tenant);
      const double cost = uniform(0, cost_max[chosen]);
      queue.Charge(chosen, cost, weight[chosen]);
      if (chosen == "f") gap += cost / weight["f"];
      if (chosen == "m") gap -= cost / weight["m"];
      gap_min = std::min(gap_min, gap);
      gap_max = std::max(gap_max, gap);
    }
    // The largest gap over an interval is the difference of the extremes of the running one.
    EXPECT_THAT(gap_max - gap_min,
                Le(cost_max["f"] / weight["f"] + cost_max["m"] / weight["m"] + 1e-6))
        << "seed " << seed;
  }
}

TEST_F(FairQueueTest, WhatWasChargedTooMuchOrTooLittleIsMadeUpFor) {
  // "slow" is expected to take 10 seconds and takes 30, each time.
  std::map<std::string, double> worked;
  for (int i = 0; i < 4000; ++i) {
    const std::string chosen = Serve({"slow", "true"}, 10);
    const double actual = chosen == "slow" ? 30 : 10;
    queue_.Correct(chosen, 10, actual);
    worked[chosen] += actual;
  }
  EXPECT_THAT(worked["slow"] - worked["true"], DoubleNear(0, 100));
}

TEST_F(FairQueueTest, WhatTookNoTimeIsGivenBack) {
  // "quick" returns everything at once: it pays nothing, so it is served until others are behind.
  std::map<std::string, int> turns;
  for (int i = 0; i < 100; ++i) {
    const std::string chosen = Serve({"quick", "true"}, 10);
    if (chosen == "quick") queue_.Correct(chosen, 10, 0);
    ++turns[chosen];
  }
  EXPECT_GT(turns["quick"], 90);
}

TEST_F(FairQueueTest, OneOddSittingDoesNotStarveATenant) {
  Serve({"odd"}, 10);
  queue_.Correct("odd", 10, 1e9);
  int others = 0;
  while (Serve({"odd", "other"}, 10) != "odd") ++others;
  others = 0;
  while (Serve({"odd", "other"}, 10) != "odd") ++others;
  EXPECT_LE(others, FairQueue::kCorrectionMax + 2);
}

TEST_F(FairQueueTest, TenantsThatVirtualTimeHasPassedAreForgotten) {
  for (int i = 0; i < 10'000; ++i) {
    for (int turn = 0; turn < 2; ++turn) {
      const std::string chosen = Serve({"always", absl::StrCat("once", i)}, 1);
      queue_.Correct(chosen, 1, i % 3);  // Hardly ever what was expected.
    }
  }
  EXPECT_LT(queue_.tenants_known(), 200);
}

// The rules of the header by somebody who forgets nobody.
class NeverForgets {
 public:
  double StartTag(const std::string& tenant) const {
    const auto found = tenants_.find(tenant);
    return found == tenants_.end() ? v_ : std::max(v_, found->second.finish);
  }
  void Charge(const std::string& tenant, double seconds) {
    Tenant& t = Present(tenant);
    const double start = std::max(v_, t.finish);
    const double owed = seconds + t.carried;
    t.carried = std::min(0.0, owed);
    t.finish = start + std::max(0.0, owed);
    v_ = start;
  }
  void Correct(const std::string& tenant, double charged, double actual) {
    Present(tenant).carried +=
        std::clamp(actual - charged, -charged, FairQueue::kCorrectionMax * charged);
  }
  size_t tenants_known() const { return tenants_.size(); }

 private:
  struct Tenant {
    double finish = 0;
    double carried = 0;
  };
  Tenant& Present(const std::string& tenant) {
    Tenant& t = tenants_[tenant];
    if (t.finish + std::max(0.0, t.carried) < v_) t = {.finish = v_};
    return t;
  }
  std::map<std::string, Tenant> tenants_;
  double v_ = 0;
};

TEST_F(FairQueueTest, ForgettingChangesNothingForAnybody) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    FairQueue queue;
    NeverForgets all;
    size_t most = 0;
    std::vector<std::string> served;
    for (int i = 0; i < 5000; ++i) {
      // Some want something always, others come and go, and most never come back.
      std::vector<std::string> names = {"always", absl::StrCat("often", random() % 20),
                                        absl::StrCat("seldom", random() % 3000)};
      std::vector<FairQueue::Candidate> candidates;
      for (const std::string& name : names) {
        candidates.push_back({name});
        ASSERT_EQ(queue.StartTag(name), all.StartTag(name)) << seed << ", " << i;
      }
      const std::string chosen = names[queue.Choose(candidates)];
      const double seconds = 1 + random() % 20;
      queue.Charge(chosen, seconds);
      all.Charge(chosen, seconds);
      served.push_back(chosen);
      // Corrections come late, and of tenants that are long gone.
      const std::string& corrected = served[served.size() - 1 - random() % served.size()];
      const double actual = static_cast<double>(random() % 60);
      queue.Correct(corrected, 10, actual);
      all.Correct(corrected, 10, actual);
      most = std::max(most, queue.tenants_known());
    }
    EXPECT_GT(all.tenants_known(), 1000);
    EXPECT_LT(most, all.tenants_known() / 2) << seed;
  }
}

}  // namespace
}  // namespace tessera::edge
