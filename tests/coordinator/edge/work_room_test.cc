// A gateway is given as much as it reads, however much there is to give; and a turn's work becomes
// records that the store can take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/edge/work_world.h"

namespace tessera::edge {
namespace {

using ::tessera::testing::IsOk;
using ::testing::IsEmpty;

constexpr size_t kItemBytes = 50'000;
constexpr size_t kRoom = 1'000'000;

class WorkRoomTest : public WorkTest {
 protected:
  // A job of `items` items, one in an assignment.
  std::string SingleJob(int items, size_t item_bytes) {
    v1::CreateJobRequest create = CoordinatorWorld::JobRequest();
    create.mutable_job()->mutable_policy()->mutable_split()->set_items_max(1);
    create.mutable_job()->mutable_policy()->mutable_quality()->set_answers_min(1);
    create.mutable_job()->mutable_policy()->mutable_quality()->set_answers_max(1);
    std::string job = world_.Create(create);
    for (int i = 0; i < items; ++i) {
      v1::AddItemsRequest add;
      add.set_job(job);
      add.set_offset(i);
      *add.add_items() =
          CoordinatorWorld::TextItem(absl::StrCat("item", i), std::string(item_bytes, 'x'));
      EXPECT_THAT(world_.Call(&Coordinator::AddItems, add), IsOk());
    }
    EXPECT_TRUE(world_.Seal(job).sealed());
    return job;
  }

  size_t Open() {
    size_t open = 0;
    const core::PartitionState& state = *world_->state(0);
    for (uint32_t j = 0; j < state.jobs(); ++j) {
      open += state.job(core::JobIndex(j))->head.open_assignments;
    }
    return open;
  }

  // The gateway has read what it was sent.
  void Read(RecordingSink& sink) {
    sink.room_left = kRoom;
    world_.Turn();
    world_.Settle();
  }
};

TEST_F(WorkRoomTest, AGatewayIsGivenAsMuchAsItReads) {
  SingleJob(100, kItemBytes);
  sink_.room_left = kRoom;
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 30);
  for (int w = 0; w < 60; ++w) CoordinatorWorld::AddLease(request, 2 + w, absl::StrCat("w", w));
  world_.Send(session_, request);
  size_t given = 0;
  size_t others = 0;
  for (int reads = 0; given < 90; ++reads) {
    ASSERT_LT(reads, 20);
    const v1::WorkResponse told = sink_.Take();
    EXPECT_FALSE(told.assigned().empty());
    EXPECT_LE(told.ByteSizeLong(), kRoom + 2 * kItemBytes);
    given += static_cast<size_t>(told.assigned_size());
    EXPECT_EQ(Open(), given + others) << "more is leased than was sent";
    EXPECT_EQ(sink_.on_the_way, 0) << "nothing is on its way any more";
    if (reads == 0) {
      // Others go on meanwhile.
      RecordingSink& other = world_.NewSink();
      v1::WorkRequest asks;
      CoordinatorWorld::AddLease(asks, 1, "eve");
      world_.Send(world_.Connect(other, "g2"), asks);
      EXPECT_EQ(other.Take().assigned_size(), 1);
      ++others;
    }
    world_.Pass(absl::Seconds(1));
    EXPECT_THAT(sink_.Take().assigned(), IsEmpty()) << "it has read nothing";
    Read(sink_);
  }
  EXPECT_FALSE(sink_.closed.has_value());
}

TEST_F(WorkRoomTest, WhatIsSentAgainComesAsItIsRead) {
  SingleJob(80, kItemBytes);
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 80);
  world_.Send(session_, request);
  ASSERT_EQ(sink_.Take().assigned_size(), 80);

  RecordingSink& again = world_.NewSink();
  again.room_left = kRoom;
  v1::Hello hello;
  hello.set_resend_all(true);
  const auto session = world_.Connect(again, "g1", "web", hello);
  ASSERT_FALSE(again.messages.empty());
  EXPECT_TRUE(again.messages.front().has_welcome());
  v1::WorkRequest answer;
  std::map<std::string, int> sent;
  for (int reads = 0; sent.size() < 80; ++reads) {
    ASSERT_LT(reads, 20);
    const v1::WorkResponse told = again.Take();
    EXPECT_LE(told.ByteSizeLong(), kRoom + 2 * kItemBytes);
    for (const v1::Assigned& assigned : told.assigned()) ++sent[assigned.assignment()];
    ASSERT_FALSE(told.assigned().empty());
    // What is finished meanwhile, here the one that was sent first, changes nothing.
    if (reads == 0) {
      CoordinatorWorld::AddSubmit(answer, told.assigned(0));
      world_.Send(session, answer);
    }
    Read(again);
  }
  for (const auto& [assignment, times] : sent) EXPECT_EQ(times, 1) << assignment;
  EXPECT_FALSE(again.closed.has_value());
}

// Templates are content as well: jobs with little else must not fill the stream in one turn.
TEST_F(WorkRoomTest, TemplatesTakeRoom) {
  for (int j = 0; j < 40; ++j) {
    v1::CreateJobRequest create = CoordinatorWorld::JobRequest(absl::StrCat("r", j));
    create.mutable_job()->mutable_template_()->set_instructions(std::string(kItemBytes, 'i'));
    const std::string job = world_.Create(create);
    EXPECT_THAT(world_.Add(job, 0, 1), IsOk());
    EXPECT_TRUE(world_.Seal(job).sealed());
  }
  sink_.room_left = kRoom;
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 40);
  world_.Send(session_, request);
  const v1::WorkResponse told = sink_.Take();
  EXPECT_GT(told.assigned_size(), 10);
  EXPECT_LE(told.ByteSizeLong(), kRoom + 3 * kItemBytes);
}

// --- Records -------------------------------------------------------------------------------------

class WorkRecordsTest : public WorkRoomTest {
 protected:
  static constexpr size_t kRecord = 2000;
  // What one entry takes in a record.
  static constexpr size_t kEntry = 500;

  void OpenWith(size_t unflushed_bytes_max) {
    world_.options().host.record_bytes_max = kRecord;
    world_.options().host.unflushed_bytes_max = unflushed_bytes_max;
    world_.options().host.trim = false;
    world_.Restart();
    session_ = world_.Connect(gateway_);
  }
  void ExpectSmallRecords() {
    for (const auto& [id, bytes] : world_.disk().journal()) {
      EXPECT_LE(bytes.size(), kRecord + kEntry) << id.ToString();
    }
  }
  RecordingSink& gateway_ = world_.NewSink();
};

TEST_F(WorkRecordsTest, ATurnsLeasesAndAnswersAreRecordsOfTheSizeThatOneMayHave) {
  OpenWith(1 << 20);
  SingleJob(100, 10);
  v1::WorkRequest request;
  for (int w = 0; w < 100; ++w) CoordinatorWorld::AddLease(request, 1 + w, absl::StrCat("w", w));
  world_.Send(session_, request);
  const v1::WorkResponse told = gateway_.Take();
  ASSERT_EQ(told.assigned_size(), 100);
  ExpectSmallRecords();

  v1::WorkRequest answers;
  for (const v1::Assigned& assigned : told.assigned()) {
    CoordinatorWorld::AddSubmit(answers, assigned);
  }
  world_.Turn([&] { world_->OnWork(session_, answers); });
  EXPECT_THAT(gateway_.Take().committed(), IsEmpty()) << "before its commit";
  world_.Settle();
  EXPECT_EQ(gateway_.Take().committed_size(), 100);
  ExpectSmallRecords();
}

TEST_F(WorkRecordsTest, ATurnTakesNoMoreThanMayWaitForTheStore) {
  OpenWith(4 * kRecord);
  SingleJob(300, 10);
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann", 300);
  world_.Turn([&] { world_->OnWork(session_, request); });
  const size_t first = Open();
  EXPECT_GT(first, 10);
  EXPECT_LT(first, 200);
  world_.Settle();
  world_.Pass(absl::Seconds(60));  // It is tried again.
  EXPECT_EQ(gateway_.Take().assigned_size(), 300);
}

}  // namespace
}  // namespace tessera::edge
