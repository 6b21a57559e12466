// The demo does what the product claims: with half of the recorded answers it is right more often
// than the majority of all of them.
#include <cstdlib>

#include "nlohmann/json.hpp"
#include "tests/support/program.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using Json = nlohmann::json;
using tessera::testing::Ended;
using tessera::testing::RunProgram;

Json Demo(std::vector<std::string> words) {
  words.insert(words.begin(), {"demo", "--json", "--speed", "max"});
  const Ended ended = RunProgram("tessera", words);
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  return Json::parse(ended.out, nullptr, /*allow_exceptions=*/false);
}

TEST(DemoTest, OneRunIsPlausibleAndKeepsItsPromises) {
  const Json demo = Demo({"--seed", "1"});
  ASSERT_TRUE(demo.is_object());
  EXPECT_GE(demo["accuracy"], 0.90);
  EXPECT_LE(demo["answers_per_item"], 5.2);
  EXPECT_TRUE(demo["promises_hold"].get<bool>()) << demo.dump();
  EXPECT_LE(demo["cost_micros"], demo["budget_micros"]);
  EXPECT_LT(demo["seconds"], 120);
}

}  // namespace
}  // namespace tessera::client
