// Demands are served fairly and soon, and those that wait cost nothing while there is nothing for
// them.
#include "coordinator/edge/broker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace tessera::edge {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// Work by tenant and pool, some of it for some workers only.
class FakeMarket final : public Market {
 public:
  std::vector<Offer> Offers(absl::string_view pool) override {
    ++offers_asked;
    std::vector<Offer> offers;
    for (const auto& [key, count] : work) {
      if (key.first == pool && count > 0) {
        offers.push_back({.tenant = key.second, .partition = 0, .jobs = jobs});
      }
    }
    return offers;
  }
  Purchase Buy(Demand& demand, absl::string_view tenant, uint32_t) override {
    ++asked;
    if (blocked.contains(demand.worker)) return {.end = End::kBlocked};
    int& left = work[{demand.pool, std::string(tenant)}];
    if (left == 0 || ineligible.contains(demand.worker)) return {};
    --left;
    granted.push_back({demand.worker, std::string(tenant)});
    return {.granted = true, .seconds = seconds};
  }
  bool HasRoom(uint64_t session) override { return !full.contains(session); }
  void Ended(const Demand& demand, End end) override { ended.push_back({demand.id, end}); }

  std::map<std::pair<std::string, std::string>, int> work;
  std::set<std::string> ineligible, blocked;
  std::set<uint64_t> full;
  size_t jobs = 1;
  double seconds = 10;
  int asked = 0;
  int offers_asked = 0;
  std::vector<std::pair<std::string, std::string>> granted;
  std::vector<std::pair<uint64_t, End>> ended;
};

class BrokerTest : public ::testing::Test {
 protected:
  Demand Wants(uint64_t id, absl::string_view worker, uint32_t wanted = 1) {
    return {.session = 1, .id = id, .worker = std::string(worker), .pool = "p", .wanted = wanted};
  }
  void Run(int turns = 1) {
    for (int i = 0; i < turns; ++i) broker_.Run(now_);
  }

  FakeMarket market_;
  Broker broker_{&market_};
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

TEST_F(BrokerTest, ADemandStandsUntilItsCreditIsUsedUp) {
  market_.work[{"p", "acme"}] = 2;
  broker_.Put(Wants(1, "ann", 3));
  Run();
  EXPECT_THAT(market_.granted, ElementsAre(Pair("ann", "acme"), Pair("ann", "acme")));
  EXPECT_EQ(broker_.demands(), 1);
  market_.work[{"p", "acme"}] = 5;
  broker_.WorkAppeared();
  Run();
  EXPECT_EQ(market_.granted.size(), 3);
  EXPECT_EQ(broker_.demands(), 0);
  EXPECT_THAT(market_.ended, IsEmpty());
}

TEST_F(BrokerTest, TenantsShareAPoolEvenly) {
  market_.work[{"p", "acme"}] = 1000;
  market_.work[{"p", "zoo"}] = 1000;
  for (uint64_t id = 1; id <= 20; ++id) broker_.Put(Wants(id, absl::StrCat("w", id)));
  Run();
  std::map<std::string, int> by_tenant;
  for (const auto& [worker, tenant] : market_.granted) ++by_tenant[tenant];
  EXPECT_THAT(by_tenant, ElementsAre(Pair("acme", 10), Pair("zoo", 10)));
}

TEST_F(BrokerTest, WorkThatNobodyHereMayDoIsLeftAndTheNextTenantAsked) {
  market_.work[{"p", "acme"}] = 1;
  market_.work[{"p", "zoo"}] = 1;
  market_.ineligible = {"bob"};
  broker_.Put(Wants(1, "bob"));
  Run();
  EXPECT_EQ(market_.asked, 2);  // Both said NONE.
  Run(100);
  EXPECT_EQ(market_.asked, 2);  // And are not asked again while nothing has appeared.
  broker_.WorkAppeared();
  Run(100);
  EXPECT_EQ(market_.asked, 4);
}

TEST_F(BrokerTest, TenThousandParkedDemandsCostNothingWhileThereIsNothing) {
  for (uint64_t id = 1; id <= 10'000; ++id) broker_.Put(Wants(id, absl::StrCat("w", id)));
  Run(100);
  EXPECT_EQ(market_.asked, 0);
  for (int i = 0; i < 100; ++i) {
    broker_.WorkAppeared();  // Somewhere else.
    Run();
  }
  EXPECT_EQ(market_.asked, 0);
}

TEST_F(BrokerTest, OneItemAmongTenThousandParkedDemandsIsGivenAtOnceAndAskedForSeldom) {
  for (uint64_t id = 1; id <= 10'000; ++id) broker_.Put(Wants(id, absl::StrCat("w", id)));
  Run(100);
  market_.work[{"p", "acme"}] = 1;
  broker_.WorkAppeared();
  Run(100);
  EXPECT_EQ(market_.granted.size(), 1);
  // One hit, and the misses after which the offer was found to be gone.
  EXPECT_LE(market_.asked, 1 + Broker::kNonesToRefresh);
}

TEST_F(BrokerTest, ATurnIsBoundedAndTheOnlyEligibleWorkerIsReached) {
  for (uint64_t id = 1; id <= 10'000; ++id) {
    broker_.Put(Wants(id, absl::StrCat("w", id)));
    if (id != 7777) market_.ineligible.insert(absl::StrCat("w", id));
  }
  Run(100);
  market_.work[{"p", "acme"}] = 1;
  broker_.WorkAppeared();
  int turns = 0;
  while (market_.granted.empty() && turns < 1000) {
    const int before = market_.asked;
    Run();
    ++turns;
    EXPECT_LE(market_.asked - before, Broker::kParkedTriesMax + 1);
    EXPECT_TRUE(broker_.more() || !market_.granted.empty()) << "it would go to sleep";
  }
  EXPECT_THAT(market_.granted, ElementsAre(Pair("w7777", "acme")));
  EXPECT_LE(turns, 10'000 / Broker::kParkedTriesMax + 1);
}

TEST_F(BrokerTest, NewDemandsAreTriedEvenBehindManyParkedOnes) {
  for (uint64_t id = 1; id <= 5000; ++id) {
    broker_.Put(Wants(id, absl::StrCat("w", id)));
    market_.ineligible.insert(absl::StrCat("w", id));
  }
  Run(100);
  market_.work[{"p", "acme"}] = 1;
  broker_.WorkAppeared();
  broker_.Put(Wants(9999, "new"));
  Run();
  EXPECT_THAT(market_.granted, ElementsAre(Pair("new", "acme")));
}

TEST_F(BrokerTest, TheSameDemandAgainReplacesTheFirst) {
  broker_.Put(Wants(1, "ann", 5));
  broker_.Put(Wants(1, "ann", 1));
  EXPECT_EQ(broker_.demands(), 1);
  market_.work[{"p", "acme"}] = 9;
  Run();
  EXPECT_EQ(market_.granted.size(), 1);
}

TEST_F(BrokerTest, WithdrawnAndDroppedDemandsGetNothing) {
  broker_.Put(Wants(1, "ann", 2));
  broker_.Put(Wants(2, "bob"));
  broker_.Withdraw(1, 1);
  broker_.Withdraw(1, 77);
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kWithdrawn)));
  broker_.DropSession(1);
  EXPECT_EQ(broker_.demands(), 0);
  market_.work[{"p", "acme"}] = 9;
  Run();
  EXPECT_EQ(market_.asked, 0);
}

TEST_F(BrokerTest, ADemandEndsWhenItsTimeIsOver) {
  Demand demand = Wants(1, "ann", 2);
  demand.until = now_ + absl::Seconds(3);
  broker_.Put(demand);
  Run();
  EXPECT_THAT(market_.ended, IsEmpty());
  EXPECT_LE(broker_.NextWake(), now_ + absl::Seconds(3));
  now_ += absl::Seconds(3);
  Run();
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kNoWork)));
}

TEST_F(BrokerTest, ADemandWithoutPatienceTakesWhatThereIsAndEnds) {
  market_.work[{"p", "acme"}] = 1;
  Demand demand = Wants(1, "ann", 2);
  demand.until = absl::InfinitePast();
  broker_.Put(demand);
  Run();
  EXPECT_EQ(market_.granted.size(), 1);
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kNoWork)));
}

TEST_F(BrokerTest, ABlockedWorkersDemandEnds) {
  market_.work[{"p", "acme"}] = 1;
  market_.blocked = {"ann"};
  broker_.Put(Wants(1, "ann"));
  Run();
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kBlocked)));
  EXPECT_EQ(broker_.demands(), 0);
}

TEST_F(BrokerTest, ADemandForOneJobAsksItsTenantOnlyAndEndsWithTheJob) {
  market_.work[{"p", "acme"}] = 1;
  market_.work[{"p", "zoo"}] = 1;
  Demand demand = Wants(1, "ann", 2);
  demand.only_job = JobRef{0, core::JobIndex(3)};
  demand.only_tenant = "zoo";
  broker_.Put(demand);
  Run();
  EXPECT_THAT(market_.granted, ElementsAre(Pair("ann", "zoo")));
  broker_.JobDone({0, core::JobIndex(4)});
  EXPECT_THAT(market_.ended, IsEmpty());
  broker_.JobDone({0, core::JobIndex(3)});
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kJobDone)));
}

TEST_F(BrokerTest, WorkThatNobodyAnnouncedIsFoundAllTheSame) {
  broker_.Put(Wants(1, "ann"));
  Run();
  market_.work[{"p", "acme"}] = 1;  // A job whose start time has come, say.
  Run();
  EXPECT_THAT(market_.granted, IsEmpty());
  now_ += Broker::kRetryInterval;
  EXPECT_LE(broker_.NextWake(), now_);
  Run();
  EXPECT_EQ(market_.granted.size(), 1);
}

TEST_F(BrokerTest, DemandsOfAGatewayThatDoesNotReadAreHeldUpAndNobodyElses) {
  market_.work[{"p", "acme"}] = 500;
  market_.full = {1};
  for (uint64_t id = 1; id <= 200; ++id) broker_.Put(Wants(id, "ann"));
  Demand other = Wants(1, "bob");
  other.session = 2;
  broker_.Put(other);
  Run(3);
  EXPECT_THAT(market_.granted, ElementsAre(Pair("bob", "acme")));
  EXPECT_FALSE(broker_.more()) << "it would spin";
  broker_.Withdraw(1, 200);
  market_.full.clear();
  EXPECT_TRUE(broker_.more());
  Run(200 / Broker::kResumedMax + 1);
  EXPECT_EQ(market_.granted.size(), 1 + 199);
  EXPECT_EQ(broker_.demands(), 0);
  Run();
  EXPECT_FALSE(broker_.more());
}

TEST_F(BrokerTest, ADemandWithoutPatienceThatIsHeldUpWasNotRefused) {
  market_.work[{"p", "acme"}] = 1;
  market_.full = {1};
  Demand demand = Wants(1, "ann");
  demand.until = absl::InfinitePast();
  broker_.Put(demand);
  Demand other = Wants(1, "bob", 2);
  other.session = 2;
  other.until = absl::InfinitePast();
  broker_.Put(other);
  Run();
  EXPECT_THAT(market_.granted, ElementsAre(Pair("bob", "acme")));
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kNoWork)));
  EXPECT_TRUE(broker_.Stands(1, 1));
  market_.work[{"p", "acme"}] = 1;
  market_.full.clear();
  Run();
  EXPECT_EQ(market_.granted.size(), 2);
  EXPECT_EQ(broker_.demands(), 0);
}

TEST_F(BrokerTest, ADemandThatIsHeldUpUntilItsTimeIsOverIsTriedOnce) {
  market_.full = {1};
  for (const uint64_t id : {1, 2}) {
    Demand demand = Wants(id, "ann");
    demand.until = now_ + absl::Seconds(3);
    broker_.Put(demand);
  }
  Run();
  now_ += absl::Seconds(4);
  Run();
  EXPECT_GT(broker_.NextWake(), now_) << "it would spin";
  EXPECT_THAT(market_.ended, IsEmpty());
  market_.work[{"p", "acme"}] = 1;
  market_.full.clear();
  Run();
  EXPECT_THAT(market_.granted, ElementsAre(Pair("ann", "acme")));
  EXPECT_THAT(market_.ended, ElementsAre(Pair(2, Market::End::kNoWork)));
}

TEST_F(BrokerTest, ADemandThatWasTriedAndIsHeldUpWhenItsTimeIsOverIsTriedAgain) {
  Demand demand = Wants(1, "ann", 2);
  demand.until = now_ + absl::Seconds(3);
  broker_.Put(demand);
  market_.work[{"p", "acme"}] = 1;
  Run();  // One is granted, and then there is no more.
  ASSERT_EQ(market_.granted.size(), 1);
  market_.full = {1};
  market_.work[{"p", "acme"}] = 1;
  broker_.WorkAppeared();
  Run();
  now_ += absl::Seconds(4);
  Run();
  EXPECT_GT(broker_.NextWake(), now_) << "it would spin";
  EXPECT_THAT(market_.ended, IsEmpty());
  market_.full.clear();
  Run();
  EXPECT_EQ(market_.granted.size(), 2);
  EXPECT_THAT(market_.ended, IsEmpty());
}

TEST_F(BrokerTest, ADemandThatGoesOnInTimeEndsWhenItsTimeIsOver) {
  Demand demand = Wants(1, "ann");
  demand.until = now_ + absl::Seconds(3);
  market_.full = {1};
  broker_.Put(demand);
  Run();
  market_.full.clear();
  Run();
  EXPECT_LE(broker_.NextWake(), now_ + absl::Seconds(3));
  now_ += absl::Seconds(3);
  Run();
  EXPECT_THAT(market_.ended, ElementsAre(Pair(1, Market::End::kNoWork)));
}

TEST_F(BrokerTest, ATurnIsShortWhereATenantHasThousandsOfJobs) {
  market_.jobs = 5000;
  market_.work[{"p", "acme"}] = 1;
  for (uint64_t id = 1; id <= 50; ++id) {
    broker_.Put(Wants(id, absl::StrCat("w", id)));
    market_.ineligible.insert(absl::StrCat("w", id));
  }
  for (int turns = 0; turns < 100; ++turns) Run();
  market_.work[{"p", "acme"}] = 50;
  broker_.WorkAppeared();
  for (uint64_t id = 101; id <= 120; ++id) broker_.Put(Wants(id, absl::StrCat("w", id)));
  int turns = 0;
  do {
    const int before = market_.asked;
    const int offers_before = market_.offers_asked;
    Run();
    ++turns;
    // The last question may go beyond the limit.
    const int looks = (market_.asked - before + market_.offers_asked - offers_before) * 5000;
    EXPECT_LE(looks, static_cast<int>(Broker::kWorkMax) + 2 * 5000);
  } while (broker_.more() && turns < 1000);
  EXPECT_EQ(market_.granted.size(), 20);
  EXPECT_LE(turns, 50);
}

TEST_F(BrokerTest, APoolWithMuchWorkDoesNotKeepTheOthersFromTheirTurn) {
  market_.jobs = Broker::kWorkMax;
  for (const char* pool : {"a", "b", "c"}) {
    market_.work[{pool, "acme"}] = 100;
    for (uint64_t id = 1; id <= 10; ++id) {
      Demand demand = Wants(id, pool);
      demand.session = static_cast<uint64_t>(*pool);
      demand.pool = pool;
      broker_.Put(demand);
    }
  }
  Run(9);
  std::map<std::string, int> by_pool;
  for (const auto& [worker, tenant] : market_.granted) ++by_pool[worker];
  EXPECT_THAT(by_pool, ElementsAre(Pair("a", 3), Pair("b", 3), Pair("c", 3)));
}

TEST_F(BrokerTest, PoolsDoNotWaitForEachOther) {
  market_.work[{"q", "acme"}] = 1;
  broker_.Put(Wants(1, "ann"));
  Demand other = Wants(2, "bob");
  other.pool = "q";
  broker_.Put(other);
  Run();
  EXPECT_THAT(market_.granted, ElementsAre(Pair("bob", "acme")));
}

}  // namespace
}  // namespace tessera::edge
