// The claim of act 1: over ten seeds, at least 91.5 % right with at most 5.0 answers per item on
// average. The majority of all ten answers is right in 89.7 %.
#include "nlohmann/json.hpp"
#include "tests/support/program.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

TEST(DemoClaimTest, FiveAnswersAnItemBeatTheMajorityOfTen) {
  const tessera::testing::Ended ended = tessera::testing::RunProgram(
      "tessera", {"demo", "--json", "--speed", "max", "--seed", "1", "--seeds", "10"});
  ASSERT_EQ(ended.code, 0) << ended.out << ended.err;
  const auto demo = nlohmann::json::parse(ended.out);
  EXPECT_EQ(demo["runs"].size(), 10u);
  EXPECT_GE(demo["accuracy"], 0.915) << demo.dump();
  EXPECT_LE(demo["answers_per_item"], 5.0) << demo.dump();
  EXPECT_LT(demo["all_answers"]["majority_accuracy"], demo["accuracy"]);
}

}  // namespace
}  // namespace tessera::client
