// At stake: an operator hears of a certificate's end in time, and not more often than it helps.
#include "coordinator/service/certificate_watch.h"

#include <gtest/gtest.h>

namespace tessera::service {
namespace {

constexpr absl::Time kEnd = absl::FromUnixSeconds(1'700'000'000);
const absl::Duration kDay = absl::Hours(24);

TEST(CertificateWatchTest, FromTwoWeeksBeforeTheEndItWarnsOnceADay) {
  CertificateWatch watch(kEnd);
  EXPECT_FALSE(watch.Due(kEnd - 15 * kDay));
  EXPECT_FALSE(watch.Due(kEnd - 14 * kDay - absl::Seconds(1)));
  EXPECT_TRUE(watch.Due(kEnd - 14 * kDay));
  EXPECT_FALSE(watch.Due(kEnd - 13 * kDay - absl::Seconds(1)));
  EXPECT_TRUE(watch.Due(kEnd - 13 * kDay));
  EXPECT_TRUE(watch.Due(kEnd + kDay));  // Now it is urgent.
}

TEST(CertificateWatchTest, WithoutACertificateThereIsNothingToSay) {
  EXPECT_FALSE(CertificateWatch(absl::InfiniteFuture()).Due(kEnd));
}

}  // namespace
}  // namespace tessera::service
