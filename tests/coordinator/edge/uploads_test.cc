// Uploads leave room for everybody else.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using ::tessera::testing::IsOk;

// Together they would fill what may wait for commits, and everybody else would be refused.
TEST(UploadsTest, TheyWaitForOneAnotherAndLeaveRoomForAllElse) {
  CoordinatorWorld world;
  world.options().host.record_bytes_max = 4'000;
  world.options().host.unflushed_bytes_max = 40'000;
  world.Restart();
  constexpr int kBatch = 100;  // Some 3 KB.
  std::vector<std::string> jobs;
  for (int j = 0; j < 4; ++j) {
    jobs.push_back(world.Create(CoordinatorWorld::JobRequest(absl::StrCat("r", j))));
  }
  int begun = 0;
  int added = 0;
  const auto upload = [&](const std::string& job, int batch) {
    v1::AddItemsRequest request;
    request.set_job(job);
    request.set_offset(batch * kBatch);
    for (int i = 0; i < kBatch; ++i) {
      *request.add_items() = CoordinatorWorld::TextItem(absl::StrCat("item", batch * kBatch + i));
    }
    world->WhenUploadRoom(job, [&, request] {
      ++begun;
      world->AddItems(request, [&](const absl::StatusOr<v1::AddItemsResponse>& response) {
        EXPECT_THAT(response, IsOk());
        ++added;
      });
    });
  };
  world.Turn([&] {
    for (int batch = 0; batch < 10; ++batch) {
      for (const std::string& job : jobs) upload(job, batch);
    }
  });
  EXPECT_GT(begun, 0);
  EXPECT_LT(begun, 20);
  EXPECT_GT(world->NextWake(), world.now()) << "it would spin";
  v1::GetJobRequest get;
  get.set_name(jobs[3]);
  EXPECT_THAT(world.Call(&Coordinator::GetJob, get), IsOk());
  world.Settle();
  EXPECT_EQ(added, 40);
  for (const std::string& job : jobs) EXPECT_EQ(world.Job(job).counts().items(), 10 * kBatch);
}

}  // namespace
}  // namespace tessera::edge
