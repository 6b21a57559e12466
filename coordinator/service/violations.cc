#include "coordinator/service/violations.h"

#include "absl/strings/str_cat.h"

namespace tessera::service {

std::string FieldPath::ToString() const {
  std::string out;
  AppendTo(out);
  return out;
}

void FieldPath::AppendTo(std::string& out) const {
  if (parent_ != nullptr) parent_->AppendTo(out);
  if (index_ >= 0) {
    absl::StrAppend(&out, "[", index_, "]");
  } else if (index_ == kIsKey) {
    absl::StrAppend(&out, "[\"", Utf8Prefix(name_, 64), "\"]");
  } else if (!name_.empty()) {
    absl::StrAppend(&out, out.empty() ? "" : ".", name_);
  }
}

void Violations::Add(v1::ErrorReason reason, const FieldPath& path, absl::string_view description) {
  if (count_ == 0) reason_ = reason;
  if (count_++ >= kFieldsMax) return;
  fields_.push_back({path.ToString(), std::string(description)});
}

absl::Status Violations::ToStatus() const {
  if (empty()) return absl::OkStatus();
  std::string message = absl::StrCat(fields_[0].field, " ", fields_[0].description);
  if (count_ > 1) absl::StrAppend(&message, " (and ", count_ - 1, " more)");
  Error error = ErrorWith(absl::StatusCode::kInvalidArgument, reason_, message);
  for (const FieldViolation& field : fields_) error.Field(field.field, field.description);
  return error;
}

absl::string_view Utf8Prefix(absl::string_view utf8, size_t bytes_max) {
  if (utf8.size() <= bytes_max) return utf8;
  size_t size = bytes_max;
  while (size > 0 && (static_cast<unsigned char>(utf8[size]) & 0xc0) == 0x80) --size;
  return utf8.substr(0, size);
}

Error ErrorWith(absl::StatusCode code, v1::ErrorReason reason, absl::string_view message) {
  return Error(code, v1::ErrorReason_Name(reason), message);
}

}  // namespace tessera::service
