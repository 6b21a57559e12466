// Calls and streams through a whole coordinator: what is acknowledged is durable, and the
// contract's errors, repeats and orders hold.
#include "coordinator/edge/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class CoordinatorTest : public ::testing::Test {
 protected:
  // A job of `items` items that take one worker each, sealed.
  std::string JobWith(int items, absl::string_view request_id = "r1",
                      absl::string_view tenant = "acme") {
    const std::string job = world_.Create(CoordinatorWorld::JobRequest(request_id, tenant));
    EXPECT_THAT(world_.Add(job, 0, items), IsOk());
    EXPECT_TRUE(world_.Seal(job).sealed());
    return job;
  }

  CoordinatorWorld world_;
  RecordingSink sink_;
};

TEST_F(CoordinatorTest, AJobGoesFromItsItemsToItsResults) {
  const std::string job = JobWith(4);
  EXPECT_THAT(job, StartsWith("tenants/acme/jobs/p0-"));
  const auto session = world_.Connect(sink_);
  ASSERT_TRUE(sink_.all.has_welcome());
  sink_.Take();

  for (const char* worker : {"ann", "bob"}) {
    v1::WorkRequest lease;
    CoordinatorWorld::AddLease(lease, 1, worker, 10);
    world_.Send(session, lease);
    v1::WorkResponse told = sink_.Take();
    ASSERT_THAT(told.assigned(), SizeIs(1));
    EXPECT_EQ(told.assigned(0).worker(), absl::StrCat("platforms/web/workers/", worker));
    ASSERT_THAT(told.assigned(0).items(), SizeIs(4));
    EXPECT_EQ(told.assigned(0).items(0).content(0).text(), "fine");
    v1::WorkRequest submit;
    CoordinatorWorld::AddSubmit(submit, told.assigned(0));
    world_.Send(session, submit);
    told = sink_.Take();
    ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
    EXPECT_EQ(told.committed(0).kind(), v1::WORK_KIND_SUBMIT);
    EXPECT_EQ(told.committed(0).earned_micros(), 40'000);
    EXPECT_EQ(told.committed(0).items_accepted(), 4);
    EXPECT_TRUE(told.committed(0).finished());
  }
  const v1::Job ended = world_.Job(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_FINALISED) << ended.DebugString();
  EXPECT_EQ(ended.counts().items_resolved(), 4);
  EXPECT_EQ(ended.ledger().earned_micros(), 80'000);

  v1::ListResultsRequest list;
  list.set_parent(job);
  const auto results = world_.Call(&Coordinator::ListResults, list);
  ASSERT_THAT(results, IsOk());
  ASSERT_THAT(results->results(), SizeIs(4));
  EXPECT_EQ(results->results(0).item_key(), "item0");
  EXPECT_EQ(results->results(0).value().fields(0).choice(), "yes");
  EXPECT_EQ(results->results(0).finality(), v1::FINALITY_FINAL);
}

}  // namespace
}  // namespace tessera::edge
