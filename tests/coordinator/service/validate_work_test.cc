// At stake: what is wrong with an entry costs the entry and not the stream.
#include "coordinator/service/validate_work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "google/protobuf/text_format.h"
#include "tests/support/status_matchers.h"

namespace tessera::service {
namespace {

using testing::HasReason;
using testing::IsOk;

v1::WorkRequest Parse(const std::string& text) {
  v1::WorkRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

TEST(ValidateWorkTest, HelloComesFirstAndOnlyThere) {
  const v1::WorkRequest hello = Parse("hello { gateway: 'g' protocol_version: 1 }");
  EXPECT_THAT(ValidateMessage(hello, true, {}), IsOk());
  EXPECT_THAT(ValidateMessage(hello, false, {}), HasReason("HELLO_MISPLACED"));
  EXPECT_THAT(ValidateMessage({}, true, {}), HasReason("HELLO_MISPLACED"));
  EXPECT_THAT(ValidateMessage({}, false, {}), IsOk());  // A heartbeat.
}

TEST(ValidateWorkTest, MalformedEntriesAreTakenOutAndTheOthersKeepTheirOrder) {
  v1::WorkRequest request = Parse(
      "drafts { assignment: 'a' item_key: 'k1' edit: 1 tag: 1 }"
      "drafts { assignment: 'a' item_key: 'k2' edit: 0 tag: 2 }"
      "drafts { assignment: 'a' item_key: 'k3' edit: 1 tag: 3 }"
      "submits { tag: 4 }"
      "leases { demand_id: 9 worker: '!' assignments_wanted: 1 }");
  v1::WorkResponse response;
  TakeMalformed(request, {}, {}, response);
  ASSERT_EQ(request.drafts_size(), 2);
  EXPECT_EQ(request.drafts(0).tag(), 1u);
  EXPECT_EQ(request.drafts(1).tag(), 3u);
  EXPECT_EQ(request.submits_size(), 0);
  EXPECT_EQ(request.leases_size(), 0);
  ASSERT_EQ(response.rejected_size(), 3);
  EXPECT_EQ(response.rejected(0).kind(), v1::WORK_KIND_LEASE);
  EXPECT_EQ(response.rejected(0).demand_id(), 9u);
  EXPECT_EQ(response.rejected(1).kind(), v1::WORK_KIND_DRAFT);
  EXPECT_EQ(response.rejected(1).item_key(), "k2");
  EXPECT_EQ(response.rejected(1).tag(), 2u);
  EXPECT_EQ(response.rejected(1).code(), 3);
  EXPECT_EQ(response.rejected(1).field(), "edit");
  EXPECT_EQ(response.rejected(2).kind(), v1::WORK_KIND_SUBMIT);
  EXPECT_EQ(response.rejected(2).reason(), "FIELD_REQUIRED");
}

TEST(ValidateWorkTest, ARequestAboveTheLimitsEndsTheStreamAndOneDemandAboveThemDoesNot) {
  const edge::WorkLimits limits{.request_bytes_max = 100, .entries_max = 2, .credit_max = 5};
  EXPECT_THAT(ValidateMessage(Parse("leases {} drafts {}"), false, limits), IsOk());
  EXPECT_THAT(ValidateMessage(Parse("leases {} drafts {} extends {}"), false, limits),
              HasReason("STREAM_LIMIT"));
  v1::WorkRequest request;
  request.add_drafts()->set_item_key(std::string(100, 'k'));
  EXPECT_THAT(ValidateMessage(request, false, limits), HasReason("MESSAGE_TOO_LARGE"));

  request = Parse(
      "leases { demand_id: 1 worker: 'a' assignments_wanted: 5 }"
      "leases { demand_id: 2 worker: 'a' assignments_wanted: 6 }");
  v1::WorkResponse response;
  TakeMalformed(request, limits, {}, response);
  ASSERT_EQ(request.leases_size(), 1);
  EXPECT_EQ(request.leases(0).demand_id(), 1u);
  ASSERT_EQ(response.rejected_size(), 1);
  EXPECT_EQ(response.rejected(0).reason(), "STREAM_LIMIT");
  EXPECT_EQ(response.rejected(0).field(), "assignments_wanted");
}

TEST(ValidateWorkTest, OnlyWhatIsAnsweredOnceIsCounted) {
  EXPECT_EQ(AnswerableEntries(Parse("leases {} drafts {} submits {} returns {} extends {}")), 4);
  v1::WorkResponse response;
  response.add_committed()->set_kind(v1::WORK_KIND_SUBMIT);
  response.add_committed()->set_kind(v1::WORK_KIND_EXPIRY);
  response.add_rejected()->set_kind(v1::WORK_KIND_DRAFT);
  response.add_rejected()->set_kind(v1::WORK_KIND_LEASE);
  EXPECT_EQ(AnswersIn(response), 2);
}

}  // namespace
}  // namespace tessera::service
