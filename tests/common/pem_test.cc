// At stake: a certificate that no client takes is found out before somebody depends on it.
#include "common/pem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/certificate.h"
#include "tests/support/status_matchers.h"

namespace tessera {
namespace {

using ::tessera::testing::IsOk;
using ::tessera::testing::MakeCertificate;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Time kBegin = absl::FromUnixSeconds(1'700'000'000);  // 2023-11-14T22:13:20Z
const absl::Time kEnd = kBegin + absl::Hours(24);

TEST(PemTest, TheTimeOfEachCertificateIsRead) {
  const std::string first = MakeCertificate(kBegin, kEnd).certificate;
  const std::string second = MakeCertificate(kEnd, kEnd + absl::Hours(1)).certificate;
  EXPECT_THAT(CheckCertificates(first + second), IsOk());
  EXPECT_THAT(ValiditiesOf(first + second),
              ElementsAre(Validity{kBegin, kEnd}, Validity{kEnd, kEnd + absl::Hours(1)}));
  EXPECT_THAT(ValiditiesOf("junk"), ElementsAre());
}

TEST(PemTest, ACertificateIsTakenInItsTimeOnly) {
  const Validity validity = {kBegin, kEnd};
  const absl::Duration second = absl::Seconds(1);
  EXPECT_THAT(
      CheckTime(validity, kBegin - second),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not valid before 2023-11-14T22:13")));
  EXPECT_THAT(CheckTime(validity, kBegin), IsOk());
  EXPECT_THAT(CheckTime(validity, kEnd), IsOk());
  EXPECT_THAT(
      CheckTime(validity, kEnd + second),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expired on 2023-11-15T22:13")));
}

}  // namespace
}  // namespace tessera
