// At stake: strangers do not fill the log, and it says how much it does not show.
#include "coordinator/service/line_limit.h"

#include <gtest/gtest.h>

namespace tessera::service {
namespace {

TEST(LineLimitTest, APlaceWritesSoManyLinesAMinuteAndThenTellsWhatWasLeftOut) {
  LineLimit limit;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  for (int64_t i = 0; i < LineLimit::kLinesMax; ++i) EXPECT_EQ(limit.Take("parse.cc:1", now), 0);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(limit.Take("parse.cc:1", now), std::nullopt);
  EXPECT_EQ(limit.Take("tls.cc:1", now), 0);  // Another place is not kept from speaking.
  now += LineLimit::kInterval;
  EXPECT_EQ(limit.Take("parse.cc:1", now), 7);
  EXPECT_EQ(limit.Take("parse.cc:1", now), 0);
}

}  // namespace
}  // namespace tessera::service
