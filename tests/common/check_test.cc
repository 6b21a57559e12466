// A broken invariant ends the process, in release builds too, and says where.
#include "common/check.h"

#include <gtest/gtest.h>

#include "absl/status/statusor.h"

namespace tessera {
namespace {

TEST(CheckDeathTest, AFailedCheckSaysWhereAndWhatAndAborts) {
  const int open_count = 3;
  EXPECT_DEATH(TESSERA_CHECK(open_count < 3) << "open: " << open_count,
               "check_test.cc:[0-9]+: check failed: open_count < 3 open: 3");
}

TEST(CheckDeathTest, AFailedCheckOkPrintsTheStatus) {
  const absl::StatusOr<int> found = absl::NotFoundError("item 8");
  EXPECT_DEATH(TESSERA_CHECK_OK(found) << "at start", "NOT_FOUND: item 8 at start");
}

TEST(CheckTest, APassedCheckEvaluatesItsConditionOnceAndItsMessageNever) {
  int conditions = 0;
  int messages = 0;
  TESSERA_CHECK(++conditions == 1) << ++messages;
  TESSERA_CHECK_OK(absl::OkStatus()) << ++messages;
  EXPECT_EQ(conditions, 1);
  EXPECT_EQ(messages, 0);
}

}  // namespace
}  // namespace tessera
