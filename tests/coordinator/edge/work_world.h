// A coordinator with one gateway's stream, and what gateways do: for tests of the work desk.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {

class WorkTest : public ::testing::Test {
 protected:
  std::string JobWith(int items, absl::string_view request_id = "r1",
                      absl::string_view tenant = "acme") {
    const std::string job = world_.Create(CoordinatorWorld::JobRequest(request_id, tenant));
    EXPECT_THAT(world_.Add(job, 0, items), testing::IsOk());
    EXPECT_TRUE(world_.Seal(job).sealed());
    return job;
  }

  // A new coordinator over the same disks, and the gateway there again: what it is told.
  v1::WorkResponse Restart(const v1::Hello& hello = {}) {
    world_.Restart();
    sink_ = RecordingSink();
    session_ = world_.Connect(sink_, "g1", "web", hello);
    return sink_.Take();
  }

  v1::Assigned Lease(uint64_t demand, absl::string_view worker) {
    v1::WorkRequest request;
    CoordinatorWorld::AddLease(request, demand, worker);
    world_.Send(session_, request);
    const v1::WorkResponse told = sink_.Take();
    EXPECT_THAT(told.assigned(), ::testing::SizeIs(1)) << told.DebugString();
    return told.assigned().empty() ? v1::Assigned() : told.assigned(0);
  }

  v1::WorkResponse Draft(const v1::Assigned& assigned, int item, int64_t edit,
                         absl::string_view choice) {
    v1::WorkRequest request;
    v1::Draft& draft = *request.add_drafts();
    draft.set_assignment(assigned.assignment());
    draft.set_item_key(assigned.items(item).key());
    draft.set_edit(edit);
    draft.set_tag(7);
    if (!choice.empty()) *draft.mutable_answer() = CoordinatorWorld::Choice(choice);
    world_.Send(session_, request);
    return sink_.Take();
  }

  v1::WorkResponse Submit(const v1::Assigned& assigned, absl::string_view choice = "yes") {
    v1::WorkRequest request;
    CoordinatorWorld::AddSubmit(request, assigned, choice);
    world_.Send(session_, request);
    return sink_.Take();
  }

  CoordinatorWorld world_;
  RecordingSink& sink_ = world_.NewSink();
  Coordinator::SessionId session_ = world_.Connect(sink_);
};

}  // namespace tessera::edge
