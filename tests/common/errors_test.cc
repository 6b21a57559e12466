// What was wrong with a request reaches the caller in a form that a program can read.
#include "common/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "tests/support/status_matchers.h"

namespace tessera {
namespace {

using ::tessera::testing::HasReason;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

absl::StatusOr<int> Refuse() {
  return Error(absl::StatusCode::kInvalidArgument, "ITEM_KEY_EMPTY", "an item has no key")
      .Field("items[3].key", "must not be empty")
      .Field("items[5].key", "must be UTF-8: \xff:7:")
      .Meta("job", "tenants/t/jobs/j");
}

TEST(ErrorsTest, DetailsComeBackAsTheyWereGiven) {
  const absl::Status status = Refuse().status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, "an item has no key"));
  EXPECT_THAT(status, HasReason("ITEM_KEY_EMPTY"));
  const ErrorDetails details = GetDetails(status);
  EXPECT_THAT(details.fields,
              ElementsAre(FieldViolation{"items[3].key", "must not be empty"},
                          FieldViolation{"items[5].key", "must be UTF-8: \xff:7:"}));
  EXPECT_THAT(details.metadata, ElementsAre(Pair("job", "tenants/t/jobs/j")));
}

TEST(ErrorsTest, AnErrorCanBeBuiltInALoop) {
  Error error(absl::StatusCode::kInvalidArgument, "LABELS_UNKNOWN", "labels are unknown");
  for (const char* field : {"labels[0]", "labels[1]"}) error.Field(field, "unknown");
  EXPECT_EQ(GetDetails(error).fields.size(), 2u);
}

TEST(ErrorsTest, AStatusWithoutDetailsHasEmptyOnes) {
  const ErrorDetails details = GetDetails(absl::NotFoundError("item 8"));
  EXPECT_EQ(details.reason, "");
  EXPECT_THAT(details.fields, IsEmpty());
  EXPECT_THAT(details.metadata, IsEmpty());
}

TEST(ErrorsTest, ADamagedPayloadIsReadAsFarAsItIsWhole) {
  for (const char* bytes : {"6:reason1:A0:5:field", "6:reason1:A0:9999:x", "6:reason1:A0:x", ""}) {
    absl::Status status = absl::InternalError("damaged");
    status.SetPayload("tessera/error-details", absl::Cord(bytes));
    const ErrorDetails details = GetDetails(status);
    EXPECT_EQ(details.reason, *bytes == '\0' ? "" : "A");
    EXPECT_THAT(details.fields, IsEmpty());
  }
}

TEST(ErrorsDeathTest, OkIsNoError) {
  EXPECT_DEATH(static_cast<void>(Error(absl::StatusCode::kOk, "FINE", "fine")),
               "check failed.*FINE");
}

}  // namespace
}  // namespace tessera
