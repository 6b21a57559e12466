// At stake: good requests pass, limits hold at their very edge, and nothing is judged twice as long
// as it is. What is refused, and how, is in bad_requests_*.cc.
#include "coordinator/service/validate_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/edge/message_size.h"
#include "coordinator/service/validate_operators.h"
#include "google/protobuf/text_format.h"
#include "tessera/v1/work_service.pb.h"
#include "tests/support/status_matchers.h"

namespace tessera::service {
namespace {

using testing::HasReason;
using testing::IsOk;

const ItemLimits kLimits;

template <typename Request>
Request Parse(const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

v1::CreateJobRequest Create(const std::string& policy = "", const std::string& task = "") {
  return Parse<v1::CreateJobRequest>(
      absl::StrCat("parent: 'tenants/acme' request_id: 'r' job { template { title: 't' fields { "
                   "name: 'f' choice "
                   "{ classes { value: 'a' } classes { value: 'b' } } } ",
                   task, " } policy { budget_micros: 1 currency_code: 'EUR' ", policy, " } }"));
}

TEST(ValidateJobsTest, ASmallJobIsGood) { EXPECT_THAT(Validate(Create(), kLimits), IsOk()); }

TEST(ValidateJobsTest, APolicyWithEverythingIsGood) {
  EXPECT_THAT(
      Validate(Create("priority: 1000 value_micros: 5 deadline { seconds: 1000000001 } "
                      "start_time { seconds: 1000000000 } "
                      "quality { target_confidence: 0.999 answers_min: 1000 answers_max: 1000 } "
                      "price { price_per_item_micros: 0 pool_prices { pool: 'pools/p' } } "
                      "split { strategy: SPLIT_STRATEGY_ADAPTIVE items_min: 1000 items_max: 1000 "
                      "startup_seconds: 0 unit_seconds: 86400 segments { length_max: 2 overlap: 1 "
                      "} } "
                      "lease { base {} per_item { nanos: 1 } late_grace { seconds: 604800 } } "
                      "eligibility { pools: 'pools/p' languages: 'en' required_skills: 's' "
                      "qualifications { qualification: 'q' comparator: COMPARATOR_IN values: [1, "
                      "2] } excluded_workers: 'platforms/p/workers/A' } "
                      "gold { rate: 0.5 } review { mode: REVIEW_MODE_MANUAL } "
                      "rate { assignments_per_second_max: 0.5 } retention { seconds: 3600 }"),
               kLimits),
      IsOk());
}

TEST(ValidateJobsTest, AllTypesOfFieldsAreGood) {
  EXPECT_THAT(
      Validate(
          Create("",
                 "fields { name: 'm' multi_choice { classes { value: 'a' } classes { value: 'b' } "
                 "chosen_min: 1 chosen_max: 2 } } "
                 "fields { name: 's' scale { point_min: -50 point_max: 50 captions { point: -50 "
                 "caption: 'never' } } } "
                 "fields { name: 'n' number { number_min: 1 number_max: 1 } } "
                 "fields { name: 'p' pairwise { left_part: 'a' right_part: 'b' } } "
                 "fields { name: 'sp' spans { part: 'a' } } "
                 "fields { name: 'bo' boxes { part: 'a' classes { value: 'car' } } } "
                 "fields { name: 't' text { bytes_min: 5 bytes_max: 5 } } "
                 "examples { content { name: 'a' text: 't' } answer { fields { field: 'f' choice: "
                 "'a' } fields { field: 'n' number: 1 } } }"),
          kLimits),
      IsOk());
}

// Clients of gRPC take 4 MiB unless told otherwise, and one job must not shut gateways out.
TEST(ValidateJobsTest, TheLargestJobFitsInAMessage) {
  v1::CreateJobRequest request = Create();
  v1::Job& job = *request.mutable_job();
  job.set_name(absl::StrCat("tenants/", std::string(63, 't'), "/jobs/", std::string(63, 'j')));
  job.set_display_name(std::string(200, 'd'));
  for (int i = 0; i < 64; ++i) {
    (*job.mutable_labels())[absl::StrCat(100 + i, std::string(61, 'k'))] = std::string(1024, 'v');
  }
  v1::EligibilityPolicy& eligibility = *job.mutable_policy()->mutable_eligibility();
  for (int i = 0; i < 100; ++i) {
    const std::string pool = absl::StrCat("pools/", 100 + i, std::string(60, 'p'));
    eligibility.add_pools(pool);
    job.mutable_policy()->mutable_price()->add_pool_prices()->set_pool(pool);
  }
  for (int i = 0; i < 10'000; ++i) {
    eligibility.add_excluded_workers(absl::StrCat("platforms/", std::string(63, 'p'), "/workers/",
                                                  100'000 + i, std::string(57, 'w')));
  }
  v1::TaskTemplate& task = *job.mutable_template_();
  for (int i = 0; i < 20; ++i) {
    v1::TemplateExample& example = *task.add_examples();
    example.add_content()->set_name("a");
    example.mutable_content(0)->set_text(std::string(52'000, 'x'));
    example.mutable_answer()->add_fields()->set_choice("a");
  }
  task.set_instructions(std::string((1 << 20) - task.ByteSizeLong() - 3, 'i'));
  ASSERT_EQ(task.ByteSizeLong(), 1u << 20);
  EXPECT_THAT(Validate(request, kLimits), IsOk());
  EXPECT_LT(job.ByteSizeLong(), edge::kMessageBytesMax - (256 << 10));
  v1::JobTemplate told;
  told.set_job(job.name());
  *told.mutable_template_() = task;
  EXPECT_LT(told.ByteSizeLong(), edge::kMessageBytesMax - (256 << 10));

  task.mutable_instructions()->push_back('i');
  EXPECT_THAT(Validate(request, kLimits), HasReason("FIELD_OUT_OF_LIMITS"));
}

// Whether it is a repeat is not known here.
TEST(ValidateJobsTest, ADeadlineThatHasPassedIsWellFormed) {
  EXPECT_THAT(Validate(Create("deadline { seconds: 1 }"), kLimits), IsOk());
}

TEST(ValidateJobsTest, OutputOnlyFieldsAreIgnored) {
  v1::CreateJobRequest request = Create();
  request.mutable_job()->set_name("anything at all");
  request.mutable_job()->set_state(static_cast<v1::JobState>(99));
  EXPECT_THAT(Validate(request, kLimits), IsOk());
}

TEST(ValidateJobsTest, AnUpdateIsJudgedByItsMaskAlone) {
  const std::string job =
      "job { name: 'tenants/a/jobs/1' policy { priority: -1 budget_micros: 7 } } ";
  EXPECT_THAT(Validate(Parse<v1::UpdateJobRequest>(
                           absl::StrCat(job, "update_mask { paths: 'policy.budget_micros' }")),
                       kLimits),
              IsOk());
  EXPECT_THAT(Validate(Parse<v1::UpdateJobRequest>(
                           absl::StrCat(job, "update_mask { paths: 'policy.priority' }")),
                       kLimits),
              HasReason("FIELD_OUT_OF_LIMITS"));
}

// A batch with this as its only item.
absl::Status Batch(const std::string& item) {
  const auto request =
      Parse<v1::AddItemsRequest>(absl::StrCat("job: 'tenants/a/jobs/1' items { ", item, " }"));
  return ValidateBatch(request, "tenants/a/jobs/1", kLimits);
}

TEST(ValidateJobsTest, AnItemIsGoodUpToItsSize) {
  v1::AddItemsRequest request;
  request.set_job("tenants/a/jobs/1");
  v1::Item& item = *request.add_items();
  item.set_key("k");
  v1::Part& part = *item.add_content();
  part.set_name("t");
  part.set_text("x");
  const size_t rest = item.ByteSizeLong() - 1;
  // The lengths before text and part take two more bytes each, once they are long.
  part.set_text(std::string(65536 - rest - 4, 'x'));
  ASSERT_EQ(item.ByteSizeLong(), 65536u);
  EXPECT_THAT(ValidateBatch(request, request.job(), kLimits), IsOk());
  part.mutable_text()->push_back('x');
  EXPECT_THAT(ValidateBatch(request, request.job(), kLimits), HasReason("FIELD_OUT_OF_LIMITS"));
}

TEST(ValidateJobsTest, ABatchThatIsTooLargeAsAWholeIsToldSo) {
  v1::AddItemsRequest request;
  request.set_job("tenants/a/jobs/1");
  for (int i = 0; i < 70; ++i) {
    v1::Item& item = *request.add_items();
    item.set_key(absl::StrCat(i));
    v1::Part& part = *item.add_content();
    part.set_name("t");
    part.set_text(std::string(60'000, 'x'));
  }
  const absl::Status status = ValidateBatch(request, request.job(), kLimits);
  EXPECT_THAT(status, testing::StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(status, HasReason("MESSAGE_TOO_LARGE"));
}

TEST(ValidateJobsTest, ItemsWithEveryKindOfContentAndAnswerAreGood) {
  EXPECT_THAT(
      Batch("key: '\xe4\xb8\xad' content { name: 'a' text: '' } content { name: 'b' link { uri: "
            "'https://x/y.png' media_type: 'image/png' } } content { name: 'c' inline { data: 'x' "
            "media_type: 'audio/wav' } } length: 1e6 importance: 0.001 stratum: 'hard' language: "
            "'en' metadata { key: 'k' value: '' } gold { fields { field: 'f' choice: 'a' } }"),
      IsOk());
  EXPECT_THAT(Batch("key: 'k' content { name: 'a' text: 't' } gold { fields { field: 'a' choices "
                    "{} } fields { field: 'b' boxes { boxes { x: 0.5 width: 0.5 height: 1 } } } "
                    "fields { field: 'c' spans { spans { end: 1 } } } fields { field: 'd' "
                    "preference: PREFERENCE_TIE } }"),
              IsOk());
}

TEST(ValidateJobsTest, ManyBadItemsAreNotAllLookedAt) {
  v1::AddItemsRequest request;
  request.set_job("tenants/a/jobs/1");
  for (int i = 0; i < 10'000; ++i) request.add_items();
  const absl::Status status = ValidateBatch(request, request.job(), kLimits);
  EXPECT_EQ(GetDetails(status).fields.size(), Violations::kFieldsMax);
}

TEST(ValidateOperatorsTest, AllPlatformsAreMeantByADash) {
  EXPECT_THAT(Validate(Parse<v1::ListWorkersRequest>("parent: 'platforms/-'"), kLimits), IsOk());
}

TEST(ValidateOperatorsTest, ABlockNeedsItsReasonOnlyWhereItIsMeant) {
  const std::string worker = "worker { name: 'platforms/p/workers/w' blocked: true } ";
  EXPECT_THAT(Validate(Parse<v1::UpdateWorkerRequest>(
                           absl::StrCat(worker, "update_mask { paths: 'skills' }")),
                       kLimits),
              IsOk());
  EXPECT_THAT(Validate(Parse<v1::UpdateWorkerRequest>(
                           absl::StrCat(worker, "update_mask { paths: 'blocked' }")),
                       kLimits),
              HasReason("FIELD_REQUIRED"));
}

}  // namespace
}  // namespace tessera::service
