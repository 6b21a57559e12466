// At stake: streams carry everything, in order, whatever the speed of the other end.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/text_format.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/operator_service.grpc.pb.h"
#include "tessera/v1/work_service.grpc.pb.h"
#include "tests/coordinator/service/service_world.h"
#include "tests/support/program.h"
#include "tests/support/redis_fixture.h"

namespace tessera::testing {
namespace {

class StreamsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { world_ = new ServiceWorld; }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }

  // A job of acme's with this request id; `more` goes on top of a good one.
  static std::string CreateJob(const std::string& request_id, const std::string& more = "") {
    const Outcome outcome =
        world_->Call(kAcme, "JobService/CreateJob",
                     {kGoodJob, absl::StrCat("request_id: '", request_id, "' ", more)});
    EXPECT_EQ(outcome.code, grpc::StatusCode::OK) << outcome.message;
    return outcome.reply<v1::Job>().name();
  }

  static std::string Batch(const std::string& job, int offset, int count) {
    std::string text = absl::StrCat("job: '", job, "' offset: ", offset);
    for (int i = offset; i < offset + count; ++i) {
      absl::StrAppend(&text, " items { key: 'k", i, "' content { name: 't' text: 'x' } }");
    }
    return text;
  }

  static std::unique_ptr<grpc::ClientContext> Context(const char* token) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
    return context;
  }

  static ServiceWorld* world_;
};

ServiceWorld* StreamsTest::world_ = nullptr;

// Bytes that are no Protobuf are refused like any other bad input, and never taken for the end of a
// stream: who sent them would believe that all was taken.
TEST_F(StreamsTest, BytesThatAreNoMessageAreRefusedByEveryKindOfMethod) {
  const std::string job = CreateJob("raw");
  const std::string bad = "\x0a\xff\xff\xff\xff\x0f";  // A name longer than the message.
  v1::AddItemsRequest batch;
  batch.set_job(job);
  v1::Item& item = *batch.add_items();
  item.set_key("k");
  item.add_content()->set_name("t");
  item.mutable_content(0)->set_text("x");
  v1::WorkRequest hello;
  hello.mutable_hello()->set_gateway("raw");
  hello.mutable_hello()->set_protocol_version(1);
  struct Case {
    const char* token;
    const char* method;
    std::vector<std::string> messages;
  };
  for (const Case& c : std::vector<Case>{
           {kAcme, "JobService/GetJob", {bad}},
           {kOperator, "OperatorService/ListPools", {bad}},
           {kAcme, "JobService/WatchJob", {bad}},
           {kAcme, "JobService/StreamResults", {bad}},
           {kAcme, "JobService/AddItems", {bad}},
           {kAcme, "JobService/AddItems", {batch.SerializeAsString(), bad}},
           {kMarket, "WorkService/Work", {bad}},
           {kMarket, "WorkService/Work", {hello.SerializeAsString(), bad}},
       }) {
    SCOPED_TRACE(c.method);
    const Outcome outcome = world_->CallRaw(c.token, c.method, c.messages);
    EXPECT_EQ(outcome.code, grpc::StatusCode::INVALID_ARGUMENT) << outcome.message;
    EXPECT_EQ(outcome.reason, "FIELD_MALFORMED");
    if (c.messages.size() == 2 && std::string(c.method) == "JobService/AddItems") {
      EXPECT_EQ(outcome.metadata.at("committed_offset"), "1");
    }
    // Who may not call is not told what is wrong with it.
    for (const char* token : {"", "unknown"}) {
      EXPECT_EQ(world_->CallRaw(token, c.method, c.messages).code,
                grpc::StatusCode::UNAUTHENTICATED);
    }
  }
}

// A library has a line to say of each.
TEST_F(StreamsTest, StrangersDoNotFillTheLog) {
  constexpr int kCalls = 50;
  for (int i = 0; i < kCalls; ++i) {
    world_->CallRaw("", "JobService/GetJob", {"\x0a\x02\xc3\x28"});  // A name that is not UTF-8.
  }
  const std::vector<std::string> lines = absl::StrSplit(world_->process().log(), '\n');
  EXPECT_LT(std::count_if(lines.begin(), lines.end(),
                          [](const std::string& line) { return absl::StrContains(line, "UTF-8"); }),
            kCalls / 2);
}

// Clients that are told nothing else accept 4 MiB.
TEST_F(StreamsTest, NoAssignmentIsTooLargeForAClientWithoutSettings) {
  const std::string job =
      CreateJob("large", "job { policy { split { items_min: 1000 items_max: 1000 } } }");
  std::vector<ServiceWorld::Texts> batches;
  for (int b = 0; b < 3; ++b) {
    std::string text = absl::StrCat("job: '", job, "' offset: ", b * 60);
    for (int i = 0; i < 60; ++i) {
      absl::StrAppend(&text, " items { key: 'k", b * 60 + i, "' content { name: 't' text: '",
                      std::string(60'000, 'x'), "' } }");
    }
    batches.push_back({text});
  }
  ASSERT_EQ(world_->CallStream(kAcme, "JobService/AddItems", batches).code, grpc::StatusCode::OK);
  const Outcome outcome = world_->Work(
      kMarket,
      {{"hello { gateway: 'large' protocol_version: 1 }"},
       {absl::StrCat("leases { demand_id: 1 worker: 'ann' assignments_wanted: 1 only_job: '", job,
                     "' }")}},
      "assigned");
  ASSERT_EQ(outcome.code, grpc::StatusCode::OK) << outcome.message;
  ASSERT_FALSE(outcome.replies.empty());
  const v1::WorkResponse& response = outcome.reply<v1::WorkResponse>();
  ASSERT_EQ(response.assigned_size(), 1);
  EXPECT_GE(response.assigned(0).items_size(), 40);
}

TEST_F(StreamsTest, ManyBatchesAreAddedInOrderAndSummedUp) {
  const std::string job = CreateJob("batches");
  std::vector<ServiceWorld::Texts> batches;
  for (int i = 0; i < 40; ++i) batches.push_back({Batch(job, i * 25, 25)});
  batches.push_back({Batch(job, 0, 25)});  // A repeat.
  const Outcome outcome = world_->CallStream(kAcme, "JobService/AddItems", batches);
  ASSERT_EQ(outcome.code, grpc::StatusCode::OK) << outcome.message;
  const auto& response = outcome.reply<v1::AddItemsResponse>();
  EXPECT_EQ(response.committed_offset(), 1000);
  EXPECT_EQ(response.added(), 1000);
  EXPECT_EQ(response.present(), 25);
}

TEST_F(StreamsTest, BatchesBeforeTheFailingOneStay) {
  const std::string job = CreateJob("failing");
  const Outcome outcome =
      world_->CallStream(kAcme, "JobService/AddItems",
                         {{Batch(job, 0, 10)},
                          {Batch(job, 10, 10)},
                          {absl::StrCat("offset: 20 items { key: 'bad key is empty' }")},
                          {Batch(job, 21, 10)}});
  EXPECT_EQ(outcome.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(outcome.reason, "FIELD_REQUIRED");
  EXPECT_EQ(outcome.metadata.at("committed_offset"), "20");
}

// A coordinator on a Redis that can be stopped for a while.
class PausedStoreTest : public ::testing::Test {
 protected:
  explicit PausedStoreTest(int partitions = 1)
      : coordinator_("tessera-coordinator", {"--listen", "127.0.0.1:0", "--redis",
                                             absl::StrCat("unix:", redis_.address().unix_path),
                                             "--partitions", absl::StrCat(partitions)}) {
    const std::string line = coordinator_.WaitForLine("serving on ");
    EXPECT_NE(line, "") << coordinator_.err();
    channel_ = grpc::CreateChannel(line.substr(std::min<size_t>(line.size(), 11)),
                                   grpc::InsecureChannelCredentials());
    jobs_ = v1::JobService::NewStub(channel_);
  }
  ~PausedStoreTest() override {
    coordinator_.Signal(SIGTERM);
    EXPECT_EQ(coordinator_.Wait().code, 0);
  }

  v1::Job Create(absl::string_view request_id) {
    v1::CreateJobRequest create;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
        absl::StrCat(kGoodJob, "request_id: '", request_id, "'"), &create));
    v1::Job job;
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    EXPECT_TRUE(jobs_->CreateJob(&context, create, &job).ok());
    return job;
  }

  static v1::AddItemsRequest BatchOf(const v1::Job& job, int64_t offset, absl::string_view key,
                                     absl::string_view text = "x") {
    v1::AddItemsRequest batch;
    batch.set_job(job.name());
    batch.set_offset(offset);
    v1::Item& item = *batch.add_items();
    item.set_key(std::string(key));
    item.add_content()->set_name("t");
    item.mutable_content(0)->set_text(std::string(text));
    return batch;
  }

  // Returns when what was written before has been taken in: each of these goes the same way behind
  // it, and waits for no commit.
  void AwaitTakenIn() {
    const auto operators = v1::OperatorService::NewStub(channel_);
    for (int i = 0; i < 20; ++i) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
      v1::GetPartitionRequest nowhere;
      nowhere.set_name("partitions/p77");
      v1::Partition partition;
      EXPECT_EQ(operators->GetPartition(&context, nowhere, &partition).error_code(),
                grpc::StatusCode::NOT_FOUND);
    }
  }

  int64_t CommittedOffset(const v1::Job& job) {
    grpc::ClientContext context;
    v1::GetJobRequest get;
    get.set_name(job.name());
    v1::Job now;
    EXPECT_TRUE(jobs_->GetJob(&context, get, &now).ok());
    return now.committed_offset();
  }

  RedisFixture redis_;
  Program coordinator_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
};

// What a refusal rests on is committed before it is told, and the batch behind it has come by then:
// it fits the offset, and must not be added all the same.
TEST_F(PausedStoreTest, WhatFollowsARefusedBatchIsHeldBackWhileACommitIsUnderWay) {
  const v1::Job job = Create("held");
  redis_.Pause();
  grpc::ClientContext adding;
  v1::AddItemsResponse response;
  const auto upload = jobs_->AddItems(&adding, &response);
  for (const auto& [offset, key] : {std::pair(0, "a"), {0, "other"}, {1, "b"}}) {
    ASSERT_TRUE(upload->Write(BatchOf(job, offset, key)));
  }
  AwaitTakenIn();
  redis_.Resume();
  upload->WritesDone();
  EXPECT_EQ(upload->Finish().error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(CommittedOffset(job), 1);
}

class FullStoreTest : public PausedStoreTest {
 protected:
  FullStoreTest() : PausedStoreTest(/*partitions=*/4) {}  // The less may wait in each.
};

// A batch that waits for room behind others' uploads stands before the one that fails.
TEST_F(FullStoreTest, BatchesBeforeTheFailingOneStayAlsoWhereTheyHadToWait) {
  std::map<std::string, std::vector<v1::Job>> by_partition;
  std::vector<v1::Job> jobs;
  for (int i = 0; jobs.size() < 2; ++i) {
    const v1::Job job = Create(absl::StrCat("r", i));
    const std::string id = job.name().substr(job.name().rfind('/') + 1);
    jobs = by_partition[id.substr(0, id.find('-'))];
    jobs.push_back(job);
    by_partition[id.substr(0, id.find('-'))] = jobs;
  }
  redis_.Pause();
  grpc::ClientContext filling, adding;
  v1::AddItemsResponse filled, added;
  const auto fill = jobs_->AddItems(&filling, &filled);
  int items = 0;
  for (int batch = 0; batch < 4; ++batch) {
    v1::AddItemsRequest large = BatchOf(jobs[0], items, absl::StrCat("k", items));
    for (++items; items % 50 != 0; ++items) {
      *large.add_items() =
          BatchOf(jobs[0], 0, absl::StrCat("k", items), std::string(60'000, 'x')).items(0);
    }
    ASSERT_TRUE(fill->Write(large));
  }
  AwaitTakenIn();
  const auto upload = jobs_->AddItems(&adding, &added);
  ASSERT_TRUE(upload->Write(BatchOf(jobs[1], 0, "a")));
  ASSERT_TRUE(upload->Write(BatchOf(jobs[1], 1, "")));
  AwaitTakenIn();
  redis_.Resume();
  const grpc::Status failed = upload->Finish();
  EXPECT_EQ(failed.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(CommittedOffset(jobs[1]), 1);
  fill->WritesDone();
  EXPECT_TRUE(fill->Finish().ok());
  EXPECT_EQ(CommittedOffset(jobs[0]), items);
}

TEST_F(StreamsTest, AWatchEndsWithTheJob) {
  const std::string job = CreateJob("watched");
  const auto stub = v1::JobService::NewStub(world_->process().Channel());
  v1::WatchJobRequest request;
  request.set_name(job);
  const auto context = Context(kAcme);
  const auto reader = stub->WatchJob(context.get(), request);
  v1::JobStatus status;
  ASSERT_TRUE(reader->Read(&status));
  EXPECT_EQ(status.job().state(), v1::JOB_STATE_RUNNING);
  ASSERT_EQ(world_->Call(kAcme, "JobService/CancelJob", {absl::StrCat("name: '", job, "'")}).code,
            grpc::StatusCode::OK);
  while (reader->Read(&status)) {
  }
  EXPECT_EQ(status.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(StreamsTest, AWatcherWhoGoesAwayHoldsNothing) {
  const std::string job = CreateJob("left");
  const auto stub = v1::JobService::NewStub(world_->process().Channel());
  v1::WatchJobRequest request;
  request.set_name(job);
  for (int i = 0; i < 20; ++i) {
    const auto context = Context(kAcme);
    const auto reader = stub->WatchJob(context.get(), request);
    v1::JobStatus status;
    ASSERT_TRUE(reader->Read(&status));
    context->TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_EQ(world_->Call(kAcme, "JobService/GetJob", {absl::StrCat("name: '", job, "'")}).code,
            grpc::StatusCode::OK);
}

// The whole path, over the wire: items in, answers bought, results out.
TEST_F(StreamsTest, AJobIsDoneAndItsResultsAreStreamed) {
  constexpr int kItems = 30;
  const std::string job = CreateJob(
      "whole",
      "job { policy { quality { answers_min: 2 answers_max: 2 } split { items_max: 5 } } }");
  ASSERT_EQ(world_->Call(kAcme, "JobService/AddItems", {Batch(job, 0, kItems)}).code,
            grpc::StatusCode::OK);
  ASSERT_EQ(world_->Call(kAcme, "JobService/SealJob", {absl::StrCat("name: '", job, "'")}).code,
            grpc::StatusCode::OK);

  const auto jobs = v1::JobService::NewStub(world_->process().Channel());
  v1::StreamResultsRequest follow;
  follow.set_job(job);
  follow.set_follow(true);
  const auto results_context = Context(kAcme);
  const auto results = jobs->StreamResults(results_context.get(), follow);

  const auto context = Context(kMarket);
  const auto work = v1::WorkService::NewStub(world_->process().Channel())->Work(context.get());
  v1::WorkRequest request;
  request.mutable_hello()->set_gateway("crowd");
  request.mutable_hello()->set_protocol_version(1);
  uint64_t demand = 0;
  for (const char* const worker : {"ann", "bob"}) {
    v1::Lease& lease = *request.add_leases();
    lease.set_demand_id(++demand);
    lease.set_worker(worker);
    lease.set_assignments_wanted(100);
    lease.set_only_job(job);
  }
  ASSERT_TRUE(work->Write(request));
  int64_t accepted = 0;
  v1::WorkResponse response;
  bool templates = false;
  while (accepted < 2 * kItems && work->Read(&response)) {
    v1::WorkRequest submits;
    templates |= !response.templates().empty();
    for (const v1::Assigned& assigned : response.assigned()) {
      EXPECT_TRUE(templates);
      EXPECT_LE(assigned.items_size(), 5);
      v1::Submit& submit = *submits.add_submits();
      submit.set_assignment(assigned.assignment());
      for (const v1::AssignedItem& item : assigned.items()) {
        v1::ItemAnswer& answer = *submit.add_answers();
        answer.set_item_key(item.key());
        answer.mutable_answer()->add_fields()->set_choice("yes");
      }
    }
    for (const v1::Committed& committed : response.committed())
      accepted += committed.items_accepted();
    EXPECT_TRUE(response.rejected().empty()) << response.rejected(0).message();
    if (!submits.submits().empty()) {
      ASSERT_TRUE(work->Write(submits));
    }
  }
  EXPECT_EQ(accepted, 2 * kItems);
  work->WritesDone();
  while (work->Read(&response)) {
  }
  EXPECT_TRUE(work->Finish().ok());

  std::map<std::string, v1::Result> latest;
  v1::StreamResultsResponse page;
  while (results->Read(&page)) {
    for (const v1::Result& result : page.results()) latest[result.item_key()] = result;
  }
  const grpc::Status finished = results->Finish();
  EXPECT_TRUE(finished.ok()) << finished.error_message();
  EXPECT_EQ(latest.size(), static_cast<size_t>(kItems));
  for (const auto& [key, result] : latest) {
    EXPECT_EQ(result.value().fields(0).choice(), "yes") << key;
    EXPECT_EQ(result.answers(), 2) << key;
  }
  // Whether the end changed a result, and it came once more, is up to the last fit. By now all are
  // final.
  const Outcome listed = world_->Call(kAcme, "JobService/ListResults",
                                      {absl::StrCat("parent: '", job, "' page_size: 100")});
  ASSERT_EQ(listed.code, grpc::StatusCode::OK);
  const v1::ListResultsResponse& all = listed.reply<v1::ListResultsResponse>();
  EXPECT_EQ(all.results_size(), kItems);
  for (const v1::Result& result : all.results()) {
    EXPECT_EQ(result.finality(), v1::FINALITY_FINAL) << result.item_key();
    EXPECT_NEAR(result.confidence(), latest[result.item_key()].confidence(), 0.001);
  }
}

// What was sent before the half-close is answered before the end.
TEST_F(StreamsTest, AHalfCloseWaitsForTheAnswers) {
  std::vector<ServiceWorld::Texts> requests = {
      {"hello { gateway: 'closing' protocol_version: 1 }"}};
  std::string drafts;
  for (int i = 1; i <= 500; ++i) {
    absl::StrAppend(&drafts, "drafts { assignment: 'made-up' item_key: 'k' edit: 1 tag: ", i,
                    " answer { fields { choice: 'yes' } } } ");
  }
  for (int i = 0; i < 8; ++i) requests.push_back({drafts});
  const Outcome outcome = world_->Work(kMarket, requests, "");
  EXPECT_EQ(outcome.code, grpc::StatusCode::OK) << outcome.message;
  int answered = 0;
  for (const auto& reply : outcome.replies) {
    answered += dynamic_cast<const v1::WorkResponse&>(*reply).rejected_size();
  }
  EXPECT_EQ(answered, 8 * 500);
}

TEST_F(StreamsTest, ASecondStreamOfAGatewayReplacesTheFirst) {
  const auto stub = v1::WorkService::NewStub(world_->process().Channel());
  v1::WorkRequest hello;
  hello.mutable_hello()->set_gateway("twin");
  hello.mutable_hello()->set_protocol_version(1);
  const auto first_context = Context(kMarket);
  const auto first = stub->Work(first_context.get());
  v1::WorkResponse response;
  ASSERT_TRUE(first->Write(hello));
  ASSERT_TRUE(first->Read(&response));
  const auto second_context = Context(kMarket);
  const auto second = stub->Work(second_context.get());
  ASSERT_TRUE(second->Write(hello));
  ASSERT_TRUE(second->Read(&response));
  while (first->Read(&response)) {
  }
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::ABORTED);
  second->WritesDone();
  while (second->Read(&response)) {
  }
  EXPECT_TRUE(second->Finish().ok());
}

}  // namespace
}  // namespace tessera::testing
