#include "common/errors.h"

#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tessera {
namespace {

// The payload is a sequence of netstrings, `length:bytes`, in threes: what it is ("reason",
// "field" or "meta"), and two values. It never leaves the process.
constexpr absl::string_view kTypeUrl = "tessera/error-details";

void Put(absl::string_view bytes, std::string& out) {
  absl::StrAppend(&out, bytes.size(), ":", bytes);
}

void PutEntry(absl::string_view kind, absl::string_view a, absl::string_view b, std::string& out) {
  Put(kind, out);
  Put(a, out);
  Put(b, out);
}

std::optional<std::string> Take(absl::string_view& in) {
  const size_t colon = in.find(':');
  size_t size = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(in.substr(0, colon), &size)) {
    return std::nullopt;
  }
  in.remove_prefix(colon + 1);
  if (size > in.size()) return std::nullopt;
  std::string bytes(in.substr(0, size));
  in.remove_prefix(size);
  return bytes;
}

}  // namespace

Error::Error(absl::StatusCode code, absl::string_view reason, absl::string_view message)
    : code_(code), message_(message) {
  TESSERA_CHECK(code != absl::StatusCode::kOk) << reason;
  details_.reason = std::string(reason);
}

Error& Error::Field(absl::string_view field, absl::string_view description) & {
  details_.fields.push_back({std::string(field), std::string(description)});
  return *this;
}

Error&& Error::Field(absl::string_view field, absl::string_view description) && {
  return std::move(Field(field, description));
}

Error& Error::Meta(absl::string_view key, absl::string_view value) & {
  details_.metadata.emplace_back(std::string(key), std::string(value));
  return *this;
}

Error&& Error::Meta(absl::string_view key, absl::string_view value) && {
  return std::move(Meta(key, value));
}

Error::operator absl::Status() const {
  return WithDetails(absl::Status(code_, message_), details_);
}

ErrorDetails GetDetails(const absl::Status& status) {
  ErrorDetails details;
  const absl::optional<absl::Cord> payload = status.GetPayload(kTypeUrl);
  if (!payload.has_value()) return details;
  const std::string bytes(*payload);
  absl::string_view rest = bytes;
  while (!rest.empty()) {
    std::optional<std::string> kind = Take(rest);
    std::optional<std::string> a = kind ? Take(rest) : std::nullopt;
    std::optional<std::string> b = a ? Take(rest) : std::nullopt;
    if (!b) break;
    if (*kind == "reason") {
      details.reason = *std::move(a);
    } else if (*kind == "field") {
      details.fields.push_back({*std::move(a), *std::move(b)});
    } else if (*kind == "meta") {
      details.metadata.emplace_back(*std::move(a), *std::move(b));
    }
  }
  return details;
}

absl::Status WithDetails(absl::Status status, const ErrorDetails& details) {
  std::string bytes;
  PutEntry("reason", details.reason, "", bytes);
  for (const FieldViolation& violation : details.fields) {
    PutEntry("field", violation.field, violation.description, bytes);
  }
  for (const auto& [key, value] : details.metadata) PutEntry("meta", key, value, bytes);
  status.SetPayload(kTypeUrl, absl::Cord(bytes));
  return status;
}

}  // namespace tessera
