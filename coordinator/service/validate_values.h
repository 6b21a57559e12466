// Values that occur all over the contract: names, texts, tags, numbers, times, pages.
//
// Each function adds to `violations` what is wrong with one field, and returns whether it is good.
// Names and limits are those of the comments in proto/tessera/v1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/service/violations.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/field_mask.pb.h"
#include "google/protobuf/map.h"
#include "google/protobuf/repeated_field.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "google/protobuf/timestamp.pb.h"

namespace tessera::service {

using Texts = google::protobuf::RepeatedPtrField<std::string>;

// --- Names ---------------------------------------------------------------------------------------

// `{collection}/{id}`, `tenants/{tenant}/jobs/{job}`, `platforms/{platform}/workers/{worker}`.
// Empty is FIELD_REQUIRED. The views point into `name`.
struct JobParts {
  absl::string_view tenant;
  absl::string_view job;
};
struct WorkerParts {
  absl::string_view platform;
  absl::string_view worker;
};
std::optional<absl::string_view> CheckName(absl::string_view collection, absl::string_view name,
                                           const FieldPath& path, Violations& violations);
std::optional<JobParts> CheckJobName(absl::string_view name, const FieldPath& path,
                                     Violations& violations);
std::optional<WorkerParts> CheckWorkerName(absl::string_view name, const FieldPath& path,
                                           Violations& violations);

// An id of [a-z0-9][a-z0-9_.-]{0,62} that must be there.
bool CheckId(absl::string_view text, const FieldPath& path, Violations& violations);
// 1 to 64 printable ASCII characters without spaces.
bool CheckRequestId(absl::string_view text, const FieldPath& path, Violations& violations);
// An assignment's id: 1 to 128 printable ASCII characters without spaces.
bool CheckAssignment(absl::string_view text, const FieldPath& path, Violations& violations);
// An item's key: UTF-8, 1 to 256 bytes, no control characters.
bool CheckItemKey(absl::string_view text, const FieldPath& path, Violations& violations);
// A class's value: the same.
bool CheckClassValue(absl::string_view text, const FieldPath& path, Violations& violations);

// --- Texts ---------------------------------------------------------------------------------------

// At most `bytes_max` bytes. Protobuf has seen to it that it is UTF-8.
bool CheckText(absl::string_view text, size_t bytes_max, const FieldPath& path,
               Violations& violations);
// The same, and not empty.
bool CheckRequiredText(absl::string_view text, size_t bytes_max, const FieldPath& path,
                       Violations& violations);
// At most `bytes_max` bytes and no control characters: what is shown in the midst of other things,
// and must not break their lines or command a terminal.
bool CheckLine(absl::string_view text, size_t bytes_max, const FieldPath& path,
               Violations& violations);
// The same, and not empty.
bool CheckRequiredLine(absl::string_view text, size_t bytes_max, const FieldPath& path,
                       Violations& violations);
// A BCP 47 tag, by its form; empty is good.
bool CheckLanguage(absl::string_view tag, const FieldPath& path, Violations& violations);
// `type/subtype`, at most 127 bytes.
bool CheckMediaType(absl::string_view type, const FieldPath& path, Violations& violations);

// Lists of ids or tags: at most `count_max`, distinct.
void CheckIds(const Texts& ids, int count_max, const FieldPath& path, Violations& violations);
void CheckLanguages(const Texts& tags, int count_max, const FieldPath& path,
                    Violations& violations);
void CheckPools(const Texts& pools, int count_max, const FieldPath& path, Violations& violations);
// A requester's notes: at most 64 entries, a key 1 to 64 bytes, a value at most 1,024 bytes.
void CheckNotes(const google::protobuf::Map<std::string, std::string>& notes, const FieldPath& path,
                Violations& violations);

// --- Numbers and times ---------------------------------------------------------------------------

// In micros. Above 2^31 - 1 only whole thousands are prices, which the edge looks after.
inline constexpr int64_t kPriceMax = 2'147'483'647'000;

bool CheckRange(int64_t value, int64_t low, int64_t high, const FieldPath& path,
                Violations& violations);
// Finite, and low <= value <= high.
bool CheckReal(double value, double low, double high, const FieldPath& path,
               Violations& violations);
// An enum's number that is one of its values.
bool CheckEnum(bool is_valid, const FieldPath& path, Violations& violations);
// A valid google.protobuf.Duration between the two, ends included. The value where it is good.
std::optional<absl::Duration> CheckDuration(const google::protobuf::Duration& duration,
                                            absl::Duration low, absl::Duration high,
                                            const FieldPath& path, Violations& violations);
// A valid google.protobuf.Timestamp (years 1 to 9999). The value where it is good.
std::optional<absl::Time> CheckTime(const google::protobuf::Timestamp& time, const FieldPath& path,
                                    Violations& violations);

// --- Pages and masks -----------------------------------------------------------------------------

void CheckPage(int32_t page_size, absl::string_view page_token, Violations& violations);
// The `states` that a list is filtered by: distinct, each set and, as `is_valid` says, known.
void CheckStates(const google::protobuf::RepeatedField<int>& states, bool (*is_valid)(int),
                 Violations& violations);

// Not empty, and every path one of `updatable`, once. FIELD_NOT_UPDATABLE, VALUE_DUPLICATED.
void CheckMask(const google::protobuf::FieldMask& mask,
               const absl::flat_hash_set<absl::string_view>& updatable, Violations& violations);
bool MaskHas(const google::protobuf::FieldMask& mask, absl::string_view path);

}  // namespace tessera::service
