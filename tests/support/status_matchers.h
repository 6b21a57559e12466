// Matchers for absl::Status and absl::StatusOr, named as upstream names them.
//
//   EXPECT_THAT(partition.Open(), IsOk());
//   EXPECT_THAT(partition.Find(7), IsOkAndHolds(Field(&Item::label, 3)));
//   EXPECT_THAT(partition.Find(8), StatusIs(absl::StatusCode::kNotFound));
//   EXPECT_THAT(partition.Find(8), StatusIs(absl::StatusCode::kNotFound, HasSubstr("item 8")));
//   EXPECT_THAT(status, HasReason("ITEM_KEY_EMPTY"));
//
// Assert the exact code, never just "not OK". IsOk and StatusIs take a grpc::Status too.
#pragma once

#include <gmock/gmock.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/errors.h"

namespace tessera::testing {

namespace status_internal {

// An absl::Status from any of the three kinds.
inline const absl::Status& ToStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& ToStatus(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}
template <typename GrpcStatus>
requires requires(const GrpcStatus& status) { status.error_code(); }
absl::Status ToStatus(const GrpcStatus& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace status_internal

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  const absl::Status status = status_internal::ToStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.ok();
}

MATCHER_P(StatusIs, code,
          std::string(negation ? "is not " : "is ") + absl::StatusCodeToString(code)) {
  const absl::Status status = status_internal::ToStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.code() == code;
}

MATCHER_P2(StatusIs, code, message_matcher,
           std::string(negation ? "is not " : "is ") + absl::StatusCodeToString(code) +
               ", with a message that " +
               ::testing::DescribeMatcher<std::string>(message_matcher, negation)) {
  const absl::Status status = status_internal::ToStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.code() == code &&
         ::testing::Matches(message_matcher)(std::string(status.message()));
}

MATCHER_P(HasReason, reason,
          std::string(negation ? "has not" : "has") + " the reason " + std::string(reason)) {
  const absl::Status status = status_internal::ToStatus(arg);
  *result_listener << "which is " << status.ToString();
  return GetDetails(status).reason == reason;
}

MATCHER_P(IsOkAndHolds, value_matcher, "is OK and holds what it should") {
  if (!arg.ok()) {
    *result_listener << "which is " << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(value_matcher, *arg, result_listener);
}

}  // namespace tessera::testing
