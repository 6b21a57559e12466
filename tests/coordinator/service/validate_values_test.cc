// At stake: every name, text, number and time that comes from outside is what the contract says.
#include "coordinator/service/validate_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace tessera::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// What `check` complains of: `path: reason`, or nothing.
template <typename Check>
std::string Complaint(Check check) {
  Violations violations;
  check(FieldPath("field"), violations);
  if (violations.empty()) return "";
  return absl::StrCat(violations.fields()[0].field, ": ",
                      v1::ErrorReason_Name(violations.reason()));
}

TEST(FieldPathTest, APathIsWrittenAsInCode) {
  const FieldPath items("items");
  const FieldPath item = items.At(3);
  const FieldPath notes = item.Sub("metadata");
  EXPECT_EQ(notes.ToString(), "items[3].metadata");
  EXPECT_EQ(notes.Key("a").ToString(), "items[3].metadata[\"a\"]");
  EXPECT_EQ(FieldPath().Sub("name").ToString(), "name");
}

TEST(ViolationsTest, TheStatusNamesEveryFieldAndTheFirstReason) {
  Violations violations;
  violations.OutOfLimits(FieldPath("a"), "must be above 0");
  violations.Required(FieldPath("b"));
  const absl::Status status = violations.ToStatus();
  EXPECT_THAT(status, testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("a must be above 0 (and 1 more)")));
  EXPECT_THAT(status, testing::HasReason("FIELD_OUT_OF_LIMITS"));
  EXPECT_THAT(GetDetails(status).fields, ElementsAre(FieldViolation{"a", "must be above 0"},
                                                     FieldViolation{"b", "is required"}));
}

TEST(ViolationsTest, NothingWrongIsOk) { EXPECT_THAT(Violations().ToStatus(), testing::IsOk()); }

TEST(ViolationsTest, ManyAreCountedAndNotAllListed) {
  Violations violations;
  for (int i = 0; i < 1000; ++i) violations.Required(FieldPath("a"));
  EXPECT_TRUE(violations.full());
  EXPECT_EQ(violations.fields().size(), Violations::kFieldsMax);
  EXPECT_THAT(violations.ToStatus().message(), HasSubstr("999 more"));
}

TEST(ViolationsTest, WhatIsCutShortStaysUtf8) {
  EXPECT_EQ(Utf8Prefix("ab\xe4\xb8\xad", 5), "ab\xe4\xb8\xad");
  EXPECT_EQ(Utf8Prefix("ab\xe4\xb8\xad", 4), "ab");
  EXPECT_EQ(Utf8Prefix("ab\xe4\xb8\xad", 2), "ab");
  EXPECT_EQ(Utf8Prefix("\xe4\xb8\xad", 2), "");
}

TEST(NamesTest, AJobsNameHasItsTenant) {
  Violations violations;
  const auto parts = CheckJobName("tenants/acme/jobs/p0-1", FieldPath("name"), violations);
  ASSERT_TRUE(parts.has_value());
  EXPECT_EQ(parts->tenant, "acme");
  EXPECT_EQ(parts->job, "p0-1");
  for (const char* const bad :
       {"tenants/acme", "tenants/acme/jobs/", "tenants//jobs/1", "tenants/a/jobs/1/items/2",
        "tenants/A/jobs/1", "/tenants/a/jobs/1", "tenants/a/job/1"}) {
    EXPECT_EQ(Complaint([&](const FieldPath& path, Violations& v) { CheckJobName(bad, path, v); }),
              "field: FIELD_MALFORMED")
        << bad;
  }
  EXPECT_EQ(Complaint([](const FieldPath& path, Violations& v) { CheckJobName("", path, v); }),
            "field: FIELD_REQUIRED");
}

TEST(TextsTest, LanguageTagsAreJudgedByTheirForm) {
  const auto complaint = [](absl::string_view tag) {
    return Complaint([&](const FieldPath& path, Violations& v) { CheckLanguage(tag, path, v); });
  };
  for (const char* const good : {"", "en", "zh-Hans", "de-CH-1996", "x-own"}) {
    EXPECT_EQ(complaint(good), "") << good;
  }
  for (const char* const bad : {"-", "e_n", "en-", "1en", "englishmen", "en--US"}) {
    EXPECT_EQ(complaint(bad), "field: FIELD_MALFORMED") << bad;
  }
}

TEST(NumbersTest, ARealNumberIsFiniteAndWithinItsBounds) {
  const auto complaint = [](double value) {
    return Complaint(
        [&](const FieldPath& path, Violations& v) { CheckReal(value, 0, 1, path, v); });
  };
  EXPECT_EQ(complaint(0), "");
  EXPECT_EQ(complaint(1), "");
  for (const double bad : {-0.1, 1.1, kNan, HUGE_VAL, -HUGE_VAL}) {
    EXPECT_EQ(complaint(bad), "field: FIELD_OUT_OF_LIMITS") << bad;
  }
}

TEST(TimesTest, ADurationHasOneSignAndItsBounds) {
  const auto complaint = [](int64_t seconds, int32_t nanos) {
    return Complaint([&](const FieldPath& path, Violations& v) {
      google::protobuf::Duration duration;
      duration.set_seconds(seconds);
      duration.set_nanos(nanos);
      CheckDuration(duration, absl::ZeroDuration(), absl::Seconds(10), path, v);
    });
  };
  EXPECT_EQ(complaint(10, 0), "");
  EXPECT_EQ(complaint(10, 1), "field: FIELD_OUT_OF_LIMITS");
  EXPECT_EQ(complaint(0, -1), "field: FIELD_OUT_OF_LIMITS");
  EXPECT_EQ(complaint(1, -1), "field: FIELD_MALFORMED");
  EXPECT_EQ(complaint(0, 1'000'000'000), "field: FIELD_MALFORMED");
  EXPECT_EQ(complaint(std::numeric_limits<int64_t>::min(), 0), "field: FIELD_MALFORMED");
}

TEST(TimesTest, ATimestampIsOfTheYears1To9999) {
  const auto complaint = [](int64_t seconds, int32_t nanos) {
    return Complaint([&](const FieldPath& path, Violations& v) {
      google::protobuf::Timestamp time;
      time.set_seconds(seconds);
      time.set_nanos(nanos);
      CheckTime(time, path, v);
    });
  };
  EXPECT_EQ(complaint(0, 0), "");
  EXPECT_EQ(complaint(253'402'300'799, 999'999'999), "");
  EXPECT_EQ(complaint(253'402'300'800, 0), "field: FIELD_MALFORMED");
  EXPECT_EQ(complaint(0, -1), "field: FIELD_MALFORMED");
}

TEST(MaskTest, AMaskNamesOnlyWhatCanBeUpdated) {
  const auto reason = [](std::initializer_list<const char*> paths) {
    google::protobuf::FieldMask mask;
    for (const char* const path : paths) mask.add_paths(path);
    Violations violations;
    CheckMask(mask, {"a", "b.c"}, violations);
    return violations.empty() ? "" : v1::ErrorReason_Name(violations.reason());
  };
  EXPECT_EQ(reason({"a", "b.c"}), "");
  EXPECT_EQ(reason({}), "FIELD_REQUIRED");
  EXPECT_EQ(reason({"b"}), "FIELD_NOT_UPDATABLE");
  EXPECT_EQ(reason({"*"}), "FIELD_NOT_UPDATABLE");
}

}  // namespace
}  // namespace tessera::service
