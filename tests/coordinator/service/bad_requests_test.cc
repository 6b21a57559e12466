// At stake: bad input gets its code, its reason and the field at fault, and changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/work_service.pb.h"
#include "tests/coordinator/service/bad_requests.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

class BadRequestsTest : public ::testing::Test {
 protected:
  // One coordinator for all rows: that they leave no trace is the point.
  static void SetUpTestSuite() {
    world_ = new ServiceWorld;
    CreateJob("MAIN", "main");
    std::string items = "job: '$MAIN' offset: 0";
    for (int i = 0; i < 10; ++i) {
      absl::StrAppend(&items, " items { key: 'k", i, "' content { name: 'text' text: 'of it' } }");
    }
    Must(world_->Call(kAcme, "JobService/AddItems", {items}));
    CreateJob("SEALED", "sealed");
    Must(world_->Call(
        kAcme, "JobService/AddItems",
        {"job: '$SEALED' offset: 0 items { key: 'k' content { name: 'text' text: 't' } }"}));
    Must(world_->Call(kAcme, "JobService/SealJob", {"name: '$SEALED'"}));
    Must(world_->Call(kAcme, "JobService/PauseJob", {"name: '$SEALED'"}));
    CreateJob("ENDED", "ended");
    Must(world_->Call(kAcme, "JobService/CancelJob", {"name: '$ENDED'"}));
    Must(world_->Call(kOperator, "OperatorService/CreatePool",
                      {"pool_id: 'experts' pool { display_name: 'Experts' }"}));
    GrantAllBonuses();
    LeaseToAnn();
    Outcome page = world_->Call(kAcme, "JobService/ListResults", {"parent: '$MAIN' page_size: 2"});
    Must(page);
    world_->Define("PAGE_TOKEN", page.reply<v1::ListResultsResponse>().next_page_token());
    Outcome results = world_->Call(kAcme, "JobService/StreamResults", {"job: '$MAIN'"});
    Must(results);
    world_->Define("RESUME_TOKEN", results.reply<v1::StreamResultsResponse>().resume_token());
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }

  static void Must(const Outcome& outcome) {
    TESSERA_CHECK(outcome.code == grpc::StatusCode::OK)
        << outcome.reason << ": " << outcome.message << "\n"
        << world_->process().log();
  }

  static void CreateJob(const std::string& variable, const std::string& request_id) {
    const Outcome outcome = world_->Call(kAcme, "JobService/CreateJob",
                                         {kGoodJob, absl::StrCat("request_id: '", request_id,
                                                                 "' job { policy { split { "
                                                                 "items_max: 2 } } }")});
    Must(outcome);
    world_->Define(variable, outcome.reply<v1::Job>().name());
  }

  static void LeaseToAnn() {
    const Outcome outcome =
        world_->Work(kMarket,
                     {{"hello { gateway: 'setup' protocol_version: 1 }"},
                      {"leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 items_max: 2 "
                       "only_job: '$MAIN' }"}},
                     "assigned");
    ASSERT_FALSE(outcome.replies.empty()) << outcome.reason << ": " << outcome.message;
    const auto& response = outcome.reply<v1::WorkResponse>();
    ASSERT_EQ(response.assigned_size(), 1) << outcome.message;
    const v1::Assigned& assigned = response.assigned(0);
    ASSERT_GE(assigned.items_size(), 1);
    world_->Define("ASSIGNMENT", assigned.assignment());
    world_->Define("ITEM", assigned.items(0).key());
    for (int i = 9; i >= 0; --i) {
      const std::string key = absl::StrCat("k", i);
      bool held = false;
      for (const auto& item : assigned.items()) held |= item.key() == key;
      if (!held) world_->Define("OTHER_ITEM", key);
    }
  }

  static void GrantAllBonuses() {
    CreateJob("GENEROUS", "generous");
    Must(world_->Call(
        kAcme, "JobService/AddItems",
        {"job: '$GENEROUS' offset: 0 items { key: 'k' content { name: 'text' text: 't' } }"}));
    const Outcome leased = world_->Work(kMarket,
                                        {{"hello { gateway: 'generous' protocol_version: 1 }"},
                                         {"leases { demand_id: 1 worker: 'ann' "
                                          "assignments_wanted: 1 only_job: '$GENEROUS' }"}},
                                        "assigned");
    ASSERT_FALSE(leased.replies.empty()) << leased.reason << ": " << leased.message;
    world_->Define("GIFT", leased.reply<v1::WorkResponse>().assigned(0).assignment());
    const Outcome answered =
        world_->Work(kMarket,
                     {{"hello { gateway: 'generous' protocol_version: 1 held { assignment: "
                       "'$GIFT' } }"},
                      {"submits { assignment: '$GIFT' answers { item_key: 'k' answer { fields { "
                       "choice: 'yes' } } } }"}},
                     "committed");
    ASSERT_FALSE(answered.replies.empty()) << answered.reason << ": " << answered.message;
    world_->CallMany(kAcme, "JobService/PayBonus", 10'000, [](int i) {
      return absl::StrCat("job: '$GENEROUS' worker: 'platforms/market/workers/ann' ",
                          "amount_micros: 1 reason: 'thanks' request_id: 'bonus", i, "'");
    });
    // The same again is no other one.
    Must(world_->Call(kAcme, "JobService/PayBonus",
                      {"job: '$GENEROUS' worker: 'platforms/market/workers/ann' amount_micros: 1 "
                       "reason: 'thanks' request_id: 'bonus7'"}));
  }

  static void Check(const std::vector<BadRequest>& rows) {
    for (const BadRequest& row : rows) {
      const std::string before = world_->StateDigest();
      const core::RecordId last = world_->LastRecord();
      SCOPED_TRACE(absl::StrCat(row.method, ": ", row.name));
      const bool work = std::string(row.method) == "WorkService/Work";
      const Outcome outcome = work ? world_->Work(row.token, row.messages)
                                   : world_->CallStream(row.token, row.method, row.messages);
      EXPECT_EQ(outcome.code, row.code) << outcome.reason << ": " << outcome.message;
      EXPECT_EQ(outcome.reason, row.reason) << outcome.message;
      if (*row.field != '\0') {
        EXPECT_TRUE(outcome.HasField(row.field))
            << row.field << " is not among " << absl::StrJoin(outcome.fields, ", ") << ": "
            << outcome.message;
      }
      EXPECT_FALSE(outcome.message.empty());
      // The same state; or, as while a lease is open there is a tick each second, nothing that was
      // decided.
      if (world_->StateDigest() != before) {
        EXPECT_THAT(world_->ChangesAfter(last), IsEmpty());
      }
    }
  }

  static ServiceWorld* world_;
};

ServiceWorld* BadRequestsTest::world_ = nullptr;

TEST_F(BadRequestsTest, OthersLearnNothingAndChangeNothing) { Check(RequestsOfOthers()); }

TEST_F(BadRequestsTest, BadJobsAreRefused) { Check(BadJobRequests()); }

TEST_F(BadRequestsTest, BadItemsAreRefused) { Check(BadItemRequests()); }

TEST_F(BadRequestsTest, BadWorkIsRejected) { Check(BadWorkRequests()); }

TEST_F(BadRequestsTest, BadOperationsAreRefused) { Check(BadOperatorRequests()); }

// That nothing changed would be seen by the same look that sees a change.
TEST_F(BadRequestsTest, AGoodRequestIsSeenToChangeSomething) {
  const std::string before = world_->StateDigest();
  const core::RecordId last = world_->LastRecord();
  Must(world_->Call(kAcme, "JobService/PauseJob", {"name: '$MAIN'"}));
  Must(world_->Call(kAcme, "JobService/ResumeJob", {"name: '$MAIN'"}));
  EXPECT_NE(world_->StateDigest(), before);
  EXPECT_THAT(world_->ChangesAfter(last), Not(IsEmpty()));
}

TEST_F(BadRequestsTest, ThereAreManyOfThem) {
  EXPECT_GE(BadJobRequests().size() + BadItemRequests().size() + BadWorkRequests().size() +
                BadOperatorRequests().size(),
            80u);
}

// What the client needs to go on is in the details.
TEST_F(BadRequestsTest, AFailedBatchTellsTheCommittedOffset) {
  for (const char* const batch :
       {"job: '$MAIN' offset: 11 items { key: 'new' content { name: 'text' text: 't' } }",
        "job: '$MAIN' offset: 10 items { content { name: 'text' text: 't' } }"}) {
    const Outcome outcome = world_->Call(kAcme, "JobService/AddItems", {batch});
    EXPECT_EQ(outcome.metadata.count("committed_offset"), 1u) << outcome.message;
    if (outcome.metadata.count("committed_offset") > 0) {
      EXPECT_EQ(outcome.metadata.at("committed_offset"), "10");
    }
  }
}

// One bad entry is answered for itself: the rest of its message, and the stream, go on.
TEST_F(BadRequestsTest, ABadEntryDoesNotHarmItsNeighbours) {
  const Outcome outcome =
      world_->Work(kMarket,
                   {{"hello { gateway: 'mixed' protocol_version: 1 }"},
                    {"drafts { assignment: '$ASSIGNMENT' item_key: '$ITEM' edit: 0 tag: 7 }"
                     "drafts { assignment: 'made-up' item_key: '$ITEM' edit: 1 tag: 8 }"}},
                   "");
  // Both are answered, and then the stream ends with OK, as the gateway has half-closed.
  EXPECT_EQ(outcome.code, grpc::StatusCode::OK) << outcome.message;
  std::vector<uint64_t> tags;
  for (const auto& reply : outcome.replies) {
    for (const auto& rejected : dynamic_cast<const v1::WorkResponse&>(*reply).rejected()) {
      tags.push_back(rejected.tag());
    }
  }
  std::sort(tags.begin(), tags.end());
  EXPECT_EQ(tags, (std::vector<uint64_t>{7, 8}));
}

}  // namespace
}  // namespace tessera::testing
