// At stake: a coordinator that others can reach knows who they are, or does not start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/service/server.h"
#include "tests/support/status_matchers.h"

namespace tessera::service {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

absl::Status Doors(const char* listen, TlsFiles tls, bool tokens) {
  return CheckDoors({.listen = listen, .tls = std::move(tls)}, tokens);
}

TEST(ServerAddressTest, OthersAreLetInOnlyWithTlsAndACredential) {
  const TlsFiles none;
  const TlsFiles tls = {.certificate = "c", .key = "k"};
  const TlsFiles both = {.certificate = "c", .key = "k", .client_ca = "a"};
  EXPECT_THAT(Doors("127.0.0.1:1", none, false), IsOk());
  EXPECT_THAT(Doors("127.0.0.1:1", none, true), IsOk());
  EXPECT_THAT(Doors("0.0.0.0:1", tls, true), IsOk());
  EXPECT_THAT(Doors("0.0.0.0:1", both, false), IsOk());
  EXPECT_THAT(Doors("0.0.0.0:1", none, false),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--tls-cert")));
  EXPECT_THAT(Doors("0.0.0.0:1", none, true),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("in the clear")));
  EXPECT_THAT(Doors("0.0.0.0:1", tls, false),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--tokens-file")));
  EXPECT_THAT(Doors("127.0.0.1:1", {.certificate = "c"}, false),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--tls-key")));
  EXPECT_THAT(Doors("127.0.0.1:1", {.client_ca = "a"}, false),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tessera::service
