#include "coordinator/service/validate_values.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/contract_text.h"

namespace tessera::service {
namespace {

constexpr size_t kTokenBytesMax = 1024;  // Of a page or resume token; ours are much shorter.
constexpr absl::string_view kIdForm = "must match [a-z0-9][a-z0-9_.-]{0,62}";

bool IsVisibleAscii(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool CheckOpaque(absl::string_view text, size_t bytes_max, const FieldPath& path,
                 Violations& violations) {
  if (text.empty()) {
    violations.Required(path);
    return false;
  }
  if (text.size() > bytes_max) {
    violations.OutOfLimits(path, absl::StrCat("must have at most ", bytes_max, " characters"));
    return false;
  }
  if (!IsVisibleAscii(text)) {
    violations.Malformed(path, "must be printable ASCII without spaces");
    return false;
  }
  return true;
}

// Calls `check(text, path)` for each, and complains of too many and of repeats.
void CheckList(const Texts& texts, int count_max, const FieldPath& path, Violations& violations,
               const auto& check) {
  if (texts.size() > count_max) {
    violations.OutOfLimits(path, absl::StrCat("must have at most ", count_max, " entries"));
    return;
  }
  absl::flat_hash_set<absl::string_view> seen;
  for (int i = 0; i < texts.size(); ++i) {
    const FieldPath at = path.At(i);
    if (!check(texts[i], at)) continue;
    if (!seen.insert(texts[i]).second) violations.Duplicated(at, "is there twice");
  }
}

}  // namespace

std::optional<absl::string_view> CheckName(absl::string_view collection, absl::string_view name,
                                           const FieldPath& path, Violations& violations) {
  if (name.empty()) {
    violations.Required(path);
    return std::nullopt;
  }
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, collection) || !absl::ConsumePrefix(&id, "/") || !IsId(id)) {
    violations.Malformed(path, absl::StrCat("must be ", collection, "/ and an id that matches ",
                                            "[a-z0-9][a-z0-9_.-]{0,62}"));
    return std::nullopt;
  }
  return id;
}

std::optional<JobParts> CheckJobName(absl::string_view name, const FieldPath& path,
                                     Violations& violations) {
  if (name.empty()) {
    violations.Required(path);
    return std::nullopt;
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 4));
  if (parts.size() != 4 || parts[0] != "tenants" || parts[2] != "jobs" || !IsId(parts[1]) ||
      !IsId(parts[3])) {
    violations.Malformed(path, "must be tenants/{tenant}/jobs/{job}");
    return std::nullopt;
  }
  return JobParts{.tenant = parts[1], .job = parts[3]};
}

std::optional<WorkerParts> CheckWorkerName(absl::string_view name, const FieldPath& path,
                                           Violations& violations) {
  if (name.empty()) {
    violations.Required(path);
    return std::nullopt;
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 4));
  if (parts.size() != 4 || parts[0] != "platforms" || parts[2] != "workers" || !IsId(parts[1]) ||
      !IsWorkerId(parts[3])) {
    violations.Malformed(path, "must be platforms/{platform}/workers/{worker}");
    return std::nullopt;
  }
  return WorkerParts{.platform = parts[1], .worker = parts[3]};
}

bool CheckId(absl::string_view text, const FieldPath& path, Violations& violations) {
  if (text.empty()) {
    violations.Required(path);
    return false;
  }
  if (!IsId(text)) {
    violations.Malformed(path, kIdForm);
    return false;
  }
  return true;
}

bool CheckRequestId(absl::string_view text, const FieldPath& path, Violations& violations) {
  return CheckOpaque(text, 64, path, violations);
}

bool CheckAssignment(absl::string_view text, const FieldPath& path, Violations& violations) {
  return CheckOpaque(text, 128, path, violations);
}

bool CheckItemKey(absl::string_view text, const FieldPath& path, Violations& violations) {
  return CheckRequiredLine(text, 256, path, violations);
}

bool CheckClassValue(absl::string_view text, const FieldPath& path, Violations& violations) {
  return CheckRequiredLine(text, 256, path, violations);
}

bool CheckText(absl::string_view text, size_t bytes_max, const FieldPath& path,
               Violations& violations) {
  if (text.size() <= bytes_max) return true;
  violations.OutOfLimits(path, absl::StrCat("must have at most ", bytes_max, " bytes"));
  return false;
}

bool CheckRequiredText(absl::string_view text, size_t bytes_max, const FieldPath& path,
                       Violations& violations) {
  if (!text.empty()) return CheckText(text, bytes_max, path, violations);
  violations.Required(path);
  return false;
}

bool CheckLine(absl::string_view text, size_t bytes_max, const FieldPath& path,
               Violations& violations) {
  if (!CheckText(text, bytes_max, path, violations)) return false;
  if (!HasControlCharacter(text)) return true;
  violations.Malformed(path, "must be one line, without control characters");
  return false;
}

bool CheckRequiredLine(absl::string_view text, size_t bytes_max, const FieldPath& path,
                       Violations& violations) {
  if (!text.empty()) return CheckLine(text, bytes_max, path, violations);
  violations.Required(path);
  return false;
}

bool CheckLanguage(absl::string_view tag, const FieldPath& path, Violations& violations) {
  if (tag.empty()) return true;
  bool first = true;
  bool good = tag.size() <= 64;
  for (const absl::string_view subtag : absl::StrSplit(tag, '-')) {
    good &= !subtag.empty() && subtag.size() <= 8;
    for (const char c : subtag) good &= first ? absl::ascii_isalpha(c) : absl::ascii_isalnum(c);
    first = false;
  }
  if (!good) violations.Malformed(path, "must be a BCP 47 tag, such as en or zh-Hans");
  return good;
}

bool CheckMediaType(absl::string_view type, const FieldPath& path, Violations& violations) {
  if (!CheckRequiredText(type, 127, path, violations)) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(type, absl::MaxSplits('/', 1));
  if (parts.size() == 2 && !parts[0].empty() && !parts[1].empty() &&
      std::all_of(type.begin(), type.end(), [](char c) { return c >= 0x20 && c < 0x7f; })) {
    return true;
  }
  violations.Malformed(path, "must be a media type, such as image/png");
  return false;
}

void CheckIds(const Texts& ids, int count_max, const FieldPath& path, Violations& violations) {
  CheckList(ids, count_max, path, violations,
            [&](absl::string_view id, const FieldPath& at) { return CheckId(id, at, violations); });
}

void CheckLanguages(const Texts& tags, int count_max, const FieldPath& path,
                    Violations& violations) {
  CheckList(tags, count_max, path, violations, [&](absl::string_view tag, const FieldPath& at) {
    if (!tag.empty()) return CheckLanguage(tag, at, violations);
    violations.Required(at);
    return false;
  });
}

void CheckPools(const Texts& pools, int count_max, const FieldPath& path, Violations& violations) {
  CheckList(pools, count_max, path, violations, [&](absl::string_view pool, const FieldPath& at) {
    return CheckName("pools", pool, at, violations).has_value();
  });
}

void CheckNotes(const google::protobuf::Map<std::string, std::string>& notes, const FieldPath& path,
                Violations& violations) {
  if (notes.size() > 64) violations.OutOfLimits(path, "must have at most 64 entries");
  for (const auto& [key, value] : notes) {
    const FieldPath at = path.Key(key);
    CheckRequiredText(key, 64, at, violations);
    CheckText(value, 1024, at, violations);
    if (violations.full()) return;
  }
}

bool CheckRange(int64_t value, int64_t low, int64_t high, const FieldPath& path,
                Violations& violations) {
  if (value >= low && value <= high) return true;
  violations.OutOfLimits(path, absl::StrCat("must be from ", low, " to ", high));
  return false;
}

bool CheckReal(double value, double low, double high, const FieldPath& path,
               Violations& violations) {
  if (std::isfinite(value) && value >= low && value <= high) return true;
  violations.OutOfLimits(path, absl::StrCat("must be a number from ", low, " to ", high));
  return false;
}

bool CheckEnum(bool is_valid, const FieldPath& path, Violations& violations) {
  if (!is_valid) violations.OutOfLimits(path, "must be one of the values of its enum");
  return is_valid;
}

std::optional<absl::Duration> CheckDuration(const google::protobuf::Duration& duration,
                                            absl::Duration low, absl::Duration high,
                                            const FieldPath& path, Violations& violations) {
  constexpr int64_t kSecondsMax = 315'576'000'000;  // 10,000 years: Protobuf's own limit.
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  if (seconds < -kSecondsMax || seconds > kSecondsMax || nanos <= -1'000'000'000 ||
      nanos >= 1'000'000'000 || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) {
    violations.Malformed(path, "must be a valid duration");
    return std::nullopt;
  }
  const absl::Duration value = absl::Seconds(seconds) + absl::Nanoseconds(nanos);
  if (value < low || value > high) {
    violations.OutOfLimits(path, absl::StrCat("must be from ", absl::FormatDuration(low), " to ",
                                              absl::FormatDuration(high)));
    return std::nullopt;
  }
  return value;
}

std::optional<absl::Time> CheckTime(const google::protobuf::Timestamp& time, const FieldPath& path,
                                    Violations& violations) {
  constexpr int64_t kYear1 = -62'135'596'800;
  constexpr int64_t kYear9999End = 253'402'300'799;
  if (time.seconds() < kYear1 || time.seconds() > kYear9999End || time.nanos() < 0 ||
      time.nanos() >= 1'000'000'000) {
    violations.Malformed(path, "must be a valid timestamp");
    return std::nullopt;
  }
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

void CheckPage(int32_t page_size, absl::string_view page_token, Violations& violations) {
  if (page_size < 0) violations.OutOfLimits(FieldPath("page_size"), "must not be negative");
  if (page_token.size() > kTokenBytesMax) {
    violations.Add(v1::PAGE_TOKEN_INVALID, FieldPath("page_token"), "is not of this list");
  }
}

void CheckStates(const google::protobuf::RepeatedField<int>& states, bool (*is_valid)(int),
                 Violations& violations) {
  const FieldPath path("states");
  absl::flat_hash_set<int> seen;
  for (int i = 0; i < states.size() && !violations.full(); ++i) {
    const FieldPath at = path.At(i);
    if (CheckEnum(states[i] != 0 && is_valid(states[i]), at, violations) &&
        !seen.insert(states[i]).second) {
      violations.Duplicated(at, "is there twice");
    }
  }
}

void CheckMask(const google::protobuf::FieldMask& mask,
               const absl::flat_hash_set<absl::string_view>& updatable, Violations& violations) {
  const FieldPath path("update_mask");
  if (mask.paths().empty()) violations.Required(path);
  absl::flat_hash_set<absl::string_view> seen;
  for (const std::string& field : mask.paths()) {
    if (violations.full()) return;
    if (!updatable.contains(field)) {
      violations.Add(v1::FIELD_NOT_UPDATABLE, path,
                     absl::StrCat("names ", Utf8Prefix(field, 100), ", which cannot be updated"));
    } else if (!seen.insert(field).second) {
      violations.Duplicated(path, absl::StrCat("names ", field, " twice"));
    }
  }
}

bool MaskHas(const google::protobuf::FieldMask& mask, absl::string_view path) {
  return std::find(mask.paths().begin(), mask.paths().end(), path) != mask.paths().end();
}

}  // namespace tessera::service
