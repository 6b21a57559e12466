// An error stops the function it occurs in, with nothing lost on the way up.
#include "common/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

#include "common/errors.h"
#include "tests/support/status_matchers.h"

namespace tessera {
namespace {

using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::IsOkAndHolds;
using ::tessera::testing::StatusIs;

absl::StatusOr<std::unique_ptr<int>> Make(bool ok) {
  if (!ok) return Error(absl::StatusCode::kNotFound, "NOT_THERE", "not there");
  return std::make_unique<int>(7);
}

absl::StatusOr<int> Twice(bool ok, int& reached) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<int> first, Make(ok));
  ++reached;
  TESSERA_ASSIGN_OR_RETURN(const auto second, Make(ok));
  return *first + *second;
}

absl::Status Check(absl::Status status, int& reached) {
  TESSERA_RETURN_IF_ERROR(status);
  ++reached;
  return absl::OkStatus();
}

TEST(StatusMacrosTest, AValueIsMovedOutAndTheFunctionGoesOn) {
  int reached = 0;
  EXPECT_THAT(Twice(true, reached), IsOkAndHolds(14));
  EXPECT_THAT(Check(absl::OkStatus(), reached), IsOk());
  EXPECT_EQ(reached, 2);
}

TEST(StatusMacrosTest, AnErrorReturnsAtOnceWithItsDetails) {
  int reached = 0;
  EXPECT_THAT(Twice(false, reached), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Twice(false, reached).status(), HasReason("NOT_THERE"));
  EXPECT_THAT(Check(absl::AbortedError(""), reached), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(reached, 0);
}

}  // namespace
}  // namespace tessera
