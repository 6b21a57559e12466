// What is wrong with a request, field by field.
//
//   Violations violations;
//   const FieldPath items("items");
//   for (int i = 0; i < request.items_size(); ++i) Check(request.items(i), items.At(i),
//   violations); return violations.ToStatus();   // OK where nothing was found
//
// A path costs nothing until something is wrong: it is a chain of frames on the stack, and becomes
// text (`items[3].content[0].name`) only in a violation. Every field at fault is reported, up to a
// limit; the first gives the reason.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/errors.h"
#include "tessera/v1/errors.pb.h"

namespace tessera::service {

// Where a field is. Holds pointers: it must not outlive the path that it was made from.
class FieldPath {
 public:
  // The message itself; its fields are paths of one name.
  FieldPath() = default;
  explicit FieldPath(absl::string_view name) : name_(name) {}

  FieldPath Sub(absl::string_view name) const { return FieldPath(this, name, kNoIndex); }
  FieldPath At(int index) const { return FieldPath(this, {}, index); }
  FieldPath Key(absl::string_view key) const { return FieldPath(this, key, kIsKey); }

  std::string ToString() const;

 private:
  static constexpr int kNoIndex = -1;
  static constexpr int kIsKey = -2;
  FieldPath(const FieldPath* parent, absl::string_view name, int index)
      : parent_(parent), name_(name), index_(index) {}
  void AppendTo(std::string& out) const;

  const FieldPath* parent_ = nullptr;
  absl::string_view name_;
  int index_ = kNoIndex;
};

class Violations {
 public:
  // Reported at most. Finding more makes nobody wiser.
  static constexpr size_t kFieldsMax = 50;

  // `description` completes the sentence that the path begins: "must not be empty".
  void Add(v1::ErrorReason reason, const FieldPath& path, absl::string_view description);

  void Required(const FieldPath& path) { Add(v1::FIELD_REQUIRED, path, "is required"); }
  void Malformed(const FieldPath& path, absl::string_view description) {
    Add(v1::FIELD_MALFORMED, path, description);
  }
  void OutOfLimits(const FieldPath& path, absl::string_view description) {
    Add(v1::FIELD_OUT_OF_LIMITS, path, description);
  }
  void Conflict(const FieldPath& path, absl::string_view description) {
    Add(v1::FIELDS_CONFLICT, path, description);
  }
  void Duplicated(const FieldPath& path, absl::string_view description) {
    Add(v1::VALUE_DUPLICATED, path, description);
  }

  bool empty() const { return count_ == 0; }
  bool full() const { return count_ >= kFieldsMax; }
  const std::vector<FieldViolation>& fields() const { return fields_; }
  v1::ErrorReason reason() const { return reason_; }

  // INVALID_ARGUMENT with the first violation's reason and all fields, or OK.
  absl::Status ToStatus() const;

 private:
  v1::ErrorReason reason_ = v1::ERROR_REASON_UNSPECIFIED;
  size_t count_ = 0;
  std::vector<FieldViolation> fields_;
};

// The beginning of `utf8`, at most `bytes_max` bytes, without a part of a character at its end:
// what is not UTF-8 is not read by Protobuf in other languages.
absl::string_view Utf8Prefix(absl::string_view utf8, size_t bytes_max);

// A status with a reason of the contract.
Error ErrorWith(absl::StatusCode code, v1::ErrorReason reason, absl::string_view message);

}  // namespace tessera::service
