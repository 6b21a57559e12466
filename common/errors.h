// Errors that a program can read.
//
// An error is an absl::Status: a code that says what to do, a message for people, and (from here)
// details for programs: a reason, the fields that were wrong, and facts as key and value.
//
//   return Error(absl::StatusCode::kInvalidArgument, "ITEM_KEY_EMPTY", "an item has no key")
//       .Field("items[3].key", "must not be empty")
//       .Meta("job", job_name);
//
//   ErrorDetails details = GetDetails(status);
//   details.reason;  // "ITEM_KEY_EMPTY"
//
// The details ride inside the Status and survive copies and returns. They mention no wire format:
// the service turns them into google.rpc.ErrorInfo and BadRequest.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tessera {

struct FieldViolation {
  std::string field;        // A path into the request: `items[3].key`.
  std::string description;  // What is wrong with it.

  friend bool operator==(const FieldViolation&, const FieldViolation&) = default;
};

struct ErrorDetails {
  std::string reason;  // UPPER_SNAKE_CASE, at most 63 characters; empty if the Status has none.
  std::vector<FieldViolation> fields;                         // In the order of Field() calls.
  std::vector<std::pair<std::string, std::string>> metadata;  // In the order of Meta() calls.
};

// Builds a Status with details. Converts to absl::Status, and so to any absl::StatusOr.
class [[nodiscard]] Error {
 public:
  // `code` is not kOk. `reason` is a constant, UPPER_SNAKE_CASE: callers compare it.
  Error(absl::StatusCode code, absl::string_view reason, absl::string_view message);

  Error& Field(absl::string_view field, absl::string_view description) &;
  Error&& Field(absl::string_view field, absl::string_view description) &&;
  Error& Meta(absl::string_view key, absl::string_view value) &;
  Error&& Meta(absl::string_view key, absl::string_view value) &&;

  operator absl::Status() const;  // NOLINT(google-explicit-constructor): the point of the class.

 private:
  absl::StatusCode code_;
  std::string message_;
  ErrorDetails details_;
};

// The details that `status` carries; all empty if it has none.
ErrorDetails GetDetails(const absl::Status& status);

// `status` with `details` in place of any that it had. An OK status stays OK.
absl::Status WithDetails(absl::Status status, const ErrorDetails& details);

}  // namespace tessera
