// What requesters and gateways are told when the store has lost something, or does not answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "coordinator/core/record.h"
#include "coordinator/edge/names.h"
#include "coordinator/edge/tokens.h"
#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::SizeIs;

using Fault = FaultyStore::Fault;

class LossesTest : public ::testing::Test {
 protected:
  LossesTest() {
    // Payloads come from the store each time.
    world_.options().host.payload_cache_bytes = 0;
    world_.Restart();
  }

  // A job of `items` items, ten in an assignment, whose payloads are in pages of the store.
  std::string JobWith(int items, absl::string_view request_id = "r1") {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest(request_id);
    request.mutable_job()->mutable_policy()->mutable_split()->set_items_max(10);
    const std::string job = world_.Create(request);
    EXPECT_THAT(world_.Add(job, 0, items), IsOk());
    EXPECT_TRUE(world_.Seal(job).sealed());
    world_.Pass(absl::Seconds(2));
    return job;
  }

  absl::Status Hello(uint64_t epoch, uint64_t sequence) {
    v1::Hello hello;
    v1::CommitPosition& seen = *hello.add_positions();
    seen.set_partition("partitions/p0");
    seen.set_epoch(epoch);
    seen.set_sequence(sequence);
    RecordingSink& sink = world_.NewSink();
    world_.Connect(sink, absl::StrCat("g", epoch, "-", sequence), "web", hello);
    return sink.closed.value_or(absl::OkStatus());
  }

  // The first message of a stream of results.
  absl::StatusOr<v1::StreamResultsResponse> ResultsAfter(const std::string& job,
                                                         const std::string& token) {
    v1::StreamResultsRequest request;
    request.set_job(job);
    request.set_resume_token(token);
    absl::StatusOr<v1::StreamResultsResponse> first = absl::UnknownError("no answer");
    world_.Turn([&] {
      world_->WaitResults(request, false,
                          [&](absl::StatusOr<v1::StreamResultsResponse> response, bool) {
                            first = std::move(response);
                          });
    });
    world_.Settle();
    return first;
  }

  absl::StatusOr<v1::ListResultsResponse> Results(const std::string& job) {
    v1::ListResultsRequest request;
    request.set_parent(job);
    return world_.Call(&Coordinator::ListResults, request);
  }

  // Runs `read` until its payloads have been asked for, deletes the job, and lets it end.
  void DeleteMeanwhile(const std::string& job, const std::function<void()>& read) {
    v1::CancelJobRequest cancel;
    cancel.set_name(job);
    ASSERT_THAT(world_.Call(&Coordinator::CancelJob, cancel), IsOk());
    world_.Pass(absl::Seconds(2));
    world_.Turn(read);
    v1::DeleteJobRequest remove;
    remove.set_name(job);
    world_.Turn(
        [&] { world_->DeleteJob(remove, [](const auto& reply) { EXPECT_THAT(reply, IsOk()); }); });
    world_.Settle();
  }

  CoordinatorWorld world_;
};

TEST_F(LossesTest, TheEndOfTheOwnerBeforeIsNotHiddenByTheNextOnesFence) {
  // The owner before ours ended here, and nothing of it is lost.
  const auto& journal = world_.disk().journal();
  const core::RecordId fence{world_.disk().last_id().epoch, 0};
  const core::RecordId end = std::prev(journal.lower_bound(fence))->first;
  ASSERT_EQ(end.epoch + 1, fence.epoch);
  EXPECT_THAT(Hello(end.epoch, end.sequence), IsOk());
  EXPECT_THAT(Hello(fence.epoch, 0), IsOk());
  EXPECT_THAT(Hello(end.epoch, end.sequence + 1), StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(Hello(fence.epoch, 1'000'000), StatusIs(StatusCode::kDataLoss));
  // It stays so, however far we get.
  JobWith(10);
  EXPECT_THAT(Hello(end.epoch, end.sequence + 1), HasReason("HISTORY_LOST"));
}

// What was committed behind the copy is lost, however far the next owners get, and whatever they
// number their records and assignments.
TEST_F(LossesTest, AnOlderCopyOfTheDataIsNotTakenForWhatItWas) {
  const std::string job = JobWith(3);
  testing::FaultyDisk& disk = world_.disk();
  const core::RecordId kept = disk.last_id();
  const auto journal = disk.journal();
  const auto objects = disk.objects();
  world_.options().host.epoch_step = 7;
  world_.Restart();
  JobWith(3, "r2");
  const core::RecordId lost = disk.last_id();
  EXPECT_THAT(Hello(lost.epoch, lost.sequence), IsOk());
  const std::string token = ResultsAfter(job, "")->resume_token();
  EXPECT_THAT(ResultsAfter(job, token), IsOk());

  disk.mutable_journal() = journal;
  disk.mutable_objects() = objects;
  disk.LoseLastRecords(0);  // Sets its last id.
  world_.options().host.epoch_step = 5;
  world_.Restart();
  for (int i = 0; i < 30; ++i) JobWith(3, absl::StrCat("r3-", i));
  ASSERT_GT(disk.last_id().sequence, lost.sequence);
  for (int restart = 0; restart < 2; ++restart) {
    EXPECT_THAT(Hello(lost.epoch, lost.sequence), HasReason("HISTORY_LOST"));
    EXPECT_THAT(Hello(lost.epoch, 0), HasReason("HISTORY_LOST"));
    EXPECT_THAT(ResultsAfter(job, token), HasReason("HISTORY_LOST"));
    EXPECT_THAT(Hello(kept.epoch, kept.sequence), IsOk());
    EXPECT_THAT(Hello(kept.epoch, kept.sequence + 1), HasReason("HISTORY_LOST"));
    world_.Restart();
  }
}

// An owner that was replaced while nothing happened to its partition does not know that it was.
TEST_F(LossesTest, WhatTheNextOwnerCommittedIsNotCalledLost) {
  JobWith(3);
  const core::RecordId end = world_.disk().last_id();
  v1::Hello by_position;
  v1::CommitPosition& seen = *by_position.add_positions();
  seen.set_partition("partitions/p0");
  seen.set_epoch(end.epoch + 1);
  seen.set_sequence(3);
  v1::Hello by_assignment;
  const IdMaker ids({.low = 17, .high = 4}, 1);
  by_assignment.add_held()->set_assignment(ids.Assignment(0, {core::JobIndex(0), 5}));
  FaultyStore next(&world_.disk());
  next.Append({end.epoch + 1, 0}, core::EncodeRecord({.nonce = 4711, .follows = end}),
              [](const absl::Status& status) { EXPECT_THAT(status, IsOk()); });
  next.DeliverAll();

  std::vector<RecordingSink*> sinks;
  world_.Turn([&] {
    for (v1::Hello* hello : {&by_position, &by_assignment}) {
      hello->set_gateway(absl::StrCat("g", sinks.size()));
      hello->set_protocol_version(1);
      sinks.push_back(&world_.NewSink());
      const Coordinator::SessionId session = world_->OpenSession("web", sinks.back());
      v1::WorkRequest request;
      *request.mutable_hello() = *hello;
      world_->OnWork(session, request);
      // Nor is it heard any more, before it is known or after.
      v1::WorkRequest more;
      CoordinatorWorld::AddLease(more, 1, "ann");
      world_->OnWork(session, more);
    }
  });
  world_.Settle();
  for (const RecordingSink* sink : sinks) {
    ASSERT_TRUE(sink->closed.has_value());
    EXPECT_THAT(*sink->closed, StatusIs(StatusCode::kUnavailable));
    EXPECT_THAT(*sink->closed, HasReason("PARTITION_UNOWNED"));
    EXPECT_THAT(sink->messages, ::testing::IsEmpty());
  }
  EXPECT_THAT(world_->failure(), StatusIs(StatusCode::kAborted));
}

// What is an end to a caller, such as that there is no such job.
TEST_F(LossesTest, NothingIsRefusedByAnOwnerThatWasReplaced) {
  const std::string job = JobWith(3);
  const IdMaker ids({.low = 17, .high = 4}, 1);
  RecordingSink& sink = world_.NewSink();
  const Coordinator::SessionId session = world_.Connect(sink);
  sink.messages.clear();
  world_.disk().mutable_objects().erase("payload:0:0");  // As if the next one had deleted the job.
  const core::RecordId end = world_.disk().last_id();
  FaultyStore next(&world_.disk());
  next.Append({end.epoch + 1, 0}, core::EncodeRecord({.nonce = 4711, .follows = end}),
              [](const absl::Status& status) { EXPECT_THAT(status, IsOk()); });
  next.DeliverAll();

  std::vector<absl::Status> told;
  const auto tell = [&](const auto& reply) { told.push_back(reply.status()); };
  world_.Turn([&] {
    v1::StreamResultsRequest results;
    results.set_job(job);
    results.set_resume_token(EncodeToken(ids, "results", absl::StrCat(job, " 0"),
                                         ResultsCursor{.seen = {end.epoch + 1, 3}}));
    world_->WaitResults(results, false, [&](const auto& reply, bool) { tell(reply); });
    results.set_resume_token(EncodeToken(ids, "results", absl::StrCat(job, " 1"), ResultsCursor()));
    world_->WaitResults(results, false, [&](const auto& reply, bool) { tell(reply); });
    const std::string other =
        JobName{.tenant = "acme", .job = ids.JobId("acme", "another")}.ToString();
    world_->WaitJob(other, 0, [&](const auto& reply, uint64_t) { tell(reply); });
    v1::GetJobRequest get;
    get.set_name(other);
    world_->GetJob(get, tell);
    v1::DeleteJobRequest remove;
    remove.set_name(other);
    remove.set_allow_missing(true);
    world_->DeleteJob(remove, tell);
    v1::ExplainItemRequest explain;
    explain.set_job(job);
    explain.set_item_key("another");
    world_->ExplainItem(explain, tell);
    v1::ListResultsRequest list;
    list.set_parent(job);
    world_->ListResults(list, tell);
    v1::WorkRequest work;
    CoordinatorWorld::AddLease(work, 1, "ann");
    work.mutable_leases(0)->set_only_job(other);
    world_->OnWork(session, work);
  });
  EXPECT_THAT(told, ::testing::IsEmpty());
  world_.Settle();
  EXPECT_THAT(told, SizeIs(7));
  for (const absl::Status& status : told) {
    EXPECT_THAT(status, StatusIs(StatusCode::kUnavailable));
    EXPECT_THAT(status, HasReason("PARTITION_UNOWNED"));
  }
  ASSERT_TRUE(sink.closed.has_value());
  EXPECT_THAT(*sink.closed, HasReason("PARTITION_UNOWNED"));
  EXPECT_THAT(sink.messages, ::testing::IsEmpty());
}

// Names that are made up may be many.
TEST_F(LossesTest, ARefusalWritesNothing) {
  const IdMaker ids({.low = 17, .high = 4}, 1);
  const core::RecordId end = world_.disk().last_id();
  v1::GetJobRequest get;
  get.set_name(JobName{.tenant = "acme", .job = ids.JobId("acme", "made up")}.ToString());
  EXPECT_THAT(world_.Call(&Coordinator::GetJob, get), StatusIs(StatusCode::kNotFound));
  EXPECT_EQ(world_.disk().last_id(), end);
}

TEST_F(LossesTest, AnEpochThatNobodyWroteIsLost) {
  const core::RecordId end = world_.disk().last_id();
  EXPECT_THAT(Hello(end.epoch + 1, 0), StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(world_->failure(), IsOk());
}

TEST_F(LossesTest, OneLostPageCostsItsAssignmentsAndNeitherTheStreamNorTheOthers) {
  JobWith(128);  // Two pages of 64.
  world_.disk().mutable_objects().erase("payload:0:0");
  RecordingSink& sink = world_.NewSink();
  const auto session = world_.Connect(sink);
  v1::WorkRequest request;
  for (int w = 0; w < 13; ++w) CoordinatorWorld::AddLease(request, 1 + w, absl::StrCat("w", w));
  world_.Send(session, request);
  EXPECT_FALSE(sink.closed.has_value()) << *sink.closed;
  const v1::WorkResponse told = sink.Take();
  EXPECT_THAT(told.assigned(), ::testing::Not(::testing::IsEmpty()));
  EXPECT_LT(told.assigned_size(), 13);
  EXPECT_THAT(world_->damage(0), StatusIs(StatusCode::kDataLoss));
  // Nor does a Hello that asks for all of them end the next stream.
  RecordingSink& again = world_.NewSink();
  v1::Hello hello;
  hello.set_resend_all(true);
  world_.Connect(again, "g1", "web", hello);
  EXPECT_FALSE(again.closed.has_value()) << *again.closed;
  EXPECT_THAT(again.all.assigned(), SizeIs(told.assigned_size()));
}

TEST_F(LossesTest, AStoreThatDoesNotAnswerForAMomentEndsNoStreamAndNoCall) {
  const std::string job = JobWith(20);
  RecordingSink& sink = world_.NewSink();
  const auto session = world_.Connect(sink);
  v1::WorkRequest request;
  CoordinatorWorld::AddLease(request, 1, "ann");
  world_.store().FailNext(Fault::kRefuse);  // The read of the items, which comes first.
  world_.Send(session, request);
  EXPECT_FALSE(sink.closed.has_value());
  world_.Pass(absl::Seconds(1));
  EXPECT_THAT(sink.all.assigned(), SizeIs(1));

  std::optional<absl::Status> answer;
  world_.store().FailNext(Fault::kLoseRequest);
  v1::ListResultsRequest results;
  results.set_parent(job);
  world_.Turn(
      [&] { world_->ListResults(results, [&](const auto& reply) { answer = reply.status(); }); });
  world_.Settle();
  EXPECT_FALSE(answer.has_value());
  world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer, IsOk());
}

TEST_F(LossesTest, CallsThatNeedALostPageSayThatRetryingDoesNotHelp) {
  const std::string job = JobWith(20);
  world_.disk().mutable_objects().erase("payload:0:0");
  EXPECT_THAT(Results(job), StatusIs(StatusCode::kDataLoss));
  v1::ExplainItemRequest explain;
  explain.set_job(job);
  explain.set_item_key("item3");
  const auto explained = world_.Call(&Coordinator::ExplainItem, explain);
  EXPECT_THAT(explained, StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(explained.status(), HasReason("HISTORY_LOST"));
}

TEST_F(LossesTest, AJobThatIsDeletedDuringACallIsNotFound) {
  const std::string job = JobWith(20);
  std::optional<absl::Status> listed;
  std::optional<absl::Status> explained;
  DeleteMeanwhile(job, [&] {
    v1::ListResultsRequest list;
    list.set_parent(job);
    world_->ListResults(list, [&](const auto& reply) { listed = reply.status(); });
    v1::ExplainItemRequest explain;
    explain.set_job(job);
    explain.set_item_key("item3");
    world_->ExplainItem(explain, [&](const auto& reply) { explained = reply.status(); });
  });
  ASSERT_TRUE(listed.has_value() && explained.has_value());
  EXPECT_THAT(*listed, StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(*explained, HasReason("JOB_NOT_FOUND"));
}

}  // namespace
}  // namespace tessera::edge
