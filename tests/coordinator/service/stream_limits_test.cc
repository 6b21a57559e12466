// At stake: no client holds a stream's or a call's place for ever, none holds all of them, and what
// clients leave unread takes no more memory than it may.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/protobuf/text_format.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/work_service.grpc.pb.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

std::unique_ptr<grpc::ClientContext> Context(const char* token = kNobody, int seconds = 60) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  if (*token != 0) context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
  return context;
}

v1::WorkRequest Hello(const std::string& gateway) {
  v1::WorkRequest hello;
  hello.mutable_hello()->set_gateway(gateway);
  hello.mutable_hello()->set_protocol_version(1);
  return hello;
}

// Whether a gateway gets in now.
bool GetsIn(CoordinatorProcess& coordinator) {
  const auto stub = v1::WorkService::NewStub(coordinator.Channel());
  const auto context = Context();
  const auto work = stub->Work(context.get());
  v1::WorkResponse response;
  return work->Write(Hello("other")) && work->Read(&response) && response.has_welcome();
}

// A connection whose gRPC takes in, unasked, what the protocol says at least: well below one of the
// messages here.
std::shared_ptr<grpc::Channel> SmallChannel(const CoordinatorProcess& coordinator) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(coordinator.address(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

// Of the only place there is.
void ExpectADeafGatewayLosesItsPlace(std::vector<std::string> flags) {
  flags.insert(flags.end(), {"--streams-max", "1"});
  CoordinatorProcess coordinator({.flags = flags});
  const auto stub = v1::WorkService::NewStub(SmallChannel(coordinator));
  const auto context = Context(kNobody, 120);
  const auto work = stub->Work(context.get());
  v1::WorkResponse response;
  ASSERT_TRUE(work->Write(Hello("deaf")));
  ASSERT_TRUE(work->Read(&response));
  EXPECT_FALSE(GetsIn(coordinator));

  std::thread talks([&] {
    v1::WorkRequest request;
    for (int i = 0; i < 2000; ++i) {
      v1::Draft& draft = *request.add_drafts();
      draft.set_assignment("made-up");
      draft.set_item_key(std::string(200, 'k'));
      draft.set_edit(1);
      draft.mutable_answer()->add_fields()->set_choice("yes");
    }
    while (work->Write(request)) {
    }
  });
  bool free = false;
  const absl::Time limit = absl::Now() + absl::Seconds(40);
  while (!free && absl::Now() < limit) {
    free = GetsIn(coordinator);
    if (!free) absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_TRUE(free);
  context->TryCancel();  // Where the coordinator did not.
  talks.join();
  EXPECT_FALSE(work->Finish().ok());
}

TEST(StreamLimitsTest, AGatewayThatDoesNotReadLosesItsPlace) {
  ExpectADeafGatewayLosesItsPlace({"--stream-queue-max", "8388608"});
}

// However much each of them may leave unread.
TEST(StreamLimitsTest, SoDoesOneThatWouldTakeTheMemoryOfAll) {
  ExpectADeafGatewayLosesItsPlace(
      {"--stream-queue-max", absl::StrCat(1 << 30), "--queue-memory-max", "33554432"});
}

// A megabyte of them becomes a gigabyte before anybody has said who they are.
TEST(StreamLimitsTest, CompressedMessagesAreNotUnpacked) {
  CoordinatorProcess coordinator;
  const auto stub = v1::JobService::NewStub(coordinator.Channel());
  v1::GetJobRequest request;
  request.set_name(std::string(1 << 20, 'n'));
  v1::Job job;
  EXPECT_EQ(stub->GetJob(Context().get(), request, &job).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    const auto context = Context();
    context->set_compression_algorithm(algorithm);
    EXPECT_EQ(stub->GetJob(context.get(), request, &job).error_code(),
              grpc::StatusCode::UNIMPLEMENTED);
  }
}

constexpr int kLargeItems = 600;

// A job of 36 MB, twenty items in an assignment.
void CreateLargeJob(const CoordinatorProcess& coordinator) {
  const auto jobs = v1::JobService::NewStub(coordinator.Channel());
  v1::CreateJobRequest create;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat(kGoodJob, "request_id: 'large'"), &create));
  create.mutable_job()->mutable_policy()->mutable_split()->set_items_max(20);
  v1::Job job;
  ASSERT_TRUE(jobs->CreateJob(Context().get(), create, &job).ok());
  v1::AddItemsResponse added;
  const auto upload_context = Context();
  const auto upload = jobs->AddItems(upload_context.get(), &added);
  for (int i = 0; i < kLargeItems;) {
    v1::AddItemsRequest batch;
    batch.set_job(job.name());
    batch.set_offset(i);
    for (const int end = i + 50; i < end; ++i) {
      v1::Item& item = *batch.add_items();
      item.set_key(absl::StrCat("k", i));
      item.add_content()->set_name("t");
      item.mutable_content(0)->set_text(std::string(60'000, 'x'));
    }
    ASSERT_TRUE(upload->Write(batch));
  }
  upload->WritesDone();
  ASSERT_TRUE(upload->Finish().ok());
  v1::SealJobRequest seal;
  seal.set_name(job.name());
  ASSERT_TRUE(jobs->SealJob(Context().get(), seal, &job).ok());
}

v1::WorkRequest Wants(int assignments) {
  v1::WorkRequest request;
  for (int w = 0; w < assignments; ++w) {
    v1::Lease& lease = *request.add_leases();
    lease.set_demand_id(w + 1);
    lease.set_worker(absl::StrCat("w", w));
    lease.set_assignments_wanted(1);
  }
  return request;
}

// All that there is may be granted to one gateway: that is no reason to end its stream, neither then
// nor when it asks for all of it again.
TEST(StreamLimitsTest, AGatewayThatReadsIsSentAllThatItAskedFor) {
  CoordinatorProcess coordinator({.flags = {"--stream-queue-max", absl::StrCat(8 << 20)}});
  CreateLargeJob(coordinator);
  const auto stub = v1::WorkService::NewStub(coordinator.Channel());
  for (const bool again : {false, true}) {
    const auto context = Context();
    const auto work = stub->Work(context.get());
    v1::WorkRequest request = Hello("reads");
    request.mutable_hello()->set_resend_all(again);
    if (!again) request.MergeFrom(Wants(100));
    ASSERT_TRUE(work->Write(request));
    int items = 0;
    v1::WorkResponse response;
    while (items < kLargeItems && work->Read(&response)) {
      for (const v1::Assigned& assigned : response.assigned()) items += assigned.items_size();
    }
    EXPECT_EQ(items, kLargeItems);
    context->TryCancel();
    EXPECT_EQ(work->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

// What several leave unread together costs none of them its stream, and when they read it is theirs.
TEST(StreamLimitsTest, WhatSeveralGatewaysLeaveUnreadEndsNobodysStream) {
  CoordinatorProcess coordinator({.flags = {"--queue-memory-max", absl::StrCat(32 << 20)}});
  CreateLargeJob(coordinator);
  struct Gateway {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientReaderWriter<v1::WorkRequest, v1::WorkResponse>> work;
  };
  const auto stub = v1::WorkService::NewStub(SmallChannel(coordinator));
  std::vector<Gateway> gateways;
  for (int g = 0; g < 6; ++g) {
    Gateway gateway{.context = Context()};
    gateway.work = stub->Work(gateway.context.get());
    v1::WorkResponse response;
    ASSERT_TRUE(gateway.work->Write(Hello(absl::StrCat("g", g))));
    ASSERT_TRUE(gateway.work->Read(&response));
    ASSERT_TRUE(gateway.work->Write(Wants(100)));
    gateways.push_back(std::move(gateway));
  }
  std::atomic<int> items = 0;
  std::vector<std::thread> readers;
  for (Gateway& gateway : gateways) {
    readers.emplace_back([&] {
      v1::WorkResponse response;
      while (items < kLargeItems && gateway.work->Read(&response)) {
        for (const v1::Assigned& assigned : response.assigned()) items += assigned.items_size();
      }
      if (items < kLargeItems) return;
      for (Gateway& other : gateways) other.context->TryCancel();
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_GE(items, kLargeItems);
  for (Gateway& gateway : gateways) {
    const grpc::Status status = gateway.work->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED) << status.error_message();
  }
}

TEST(StreamLimitsTest, AReaderWhoDoesNotReadDoesNotHoldUpTheEnd) {
  CoordinatorProcess coordinator({.flags = {"--drain-timeout", "1h"}});
  const auto stub = v1::JobService::NewStub(SmallChannel(coordinator));
  v1::CreateJobRequest create;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat(kGoodJob, "request_id: 'unread'"), &create));
  v1::Job job;
  ASSERT_TRUE(stub->CreateJob(Context().get(), create, &job).ok());
  v1::AddItemsRequest batch;
  batch.set_job(job.name());
  for (int i = 0; i < 2000; ++i) {
    v1::Item& item = *batch.add_items();
    item.set_key(absl::StrCat(std::string(200, 'k'), i));
    item.add_content()->set_name("t");
    item.mutable_content(0)->set_text("x");
  }
  const auto upload_context = Context();
  v1::AddItemsResponse added;
  const auto upload = stub->AddItems(upload_context.get(), &added);
  ASSERT_TRUE(upload->Write(batch));
  upload->WritesDone();
  ASSERT_TRUE(upload->Finish().ok());
  v1::CancelJobRequest cancel;
  cancel.set_name(job.name());
  ASSERT_TRUE(stub->CancelJob(Context().get(), cancel, &job).ok());

  v1::StreamResultsRequest request;
  request.set_job(job.name());
  const auto context = Context();
  const auto results = stub->StreamResults(context.get(), request);
  results->WaitForInitialMetadata();  // Comes with the first message, which stays unread.
  coordinator.Signal(SIGTERM);
  EXPECT_EQ(coordinator.Wait(), 0);
  v1::StreamResultsResponse response;
  while (results->Read(&response)) {
  }
  const grpc::Status status = results->Finish();
  EXPECT_FALSE(status.ok());
  // It was not the reader who gave up.
  EXPECT_NE(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

// A call whose reply has come and stays unread, until Finish().
class UnreadCall {
 public:
  UnreadCall(v1::JobService::Stub& stub, const v1::GetJobRequest& request)
      : context_(Context()), job_(stub.AsyncGetJob(context_.get(), request, &queue_)) {
    job_->ReadInitialMetadata(this);  // Comes with the reply.
    WaitForOne();
  }
  ~UnreadCall() {
    queue_.Shutdown();
    WaitForOne();
  }

  grpc::Status Finish() {
    grpc::Status status;
    v1::Job job;
    job_->Finish(&job, &status, this);
    WaitForOne();
    return status;
  }

 private:
  void WaitForOne() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
  }

  std::unique_ptr<grpc::ClientContext> context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::Job>> job_;
};

// Creates a job whose template holds so many kilobytes, and gives what reads it.
v1::GetJobRequest CreateJobOf(const CoordinatorProcess& coordinator, int kilobytes) {
  v1::CreateJobRequest create;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat(kGoodJob, "request_id: 'kb", kilobytes, "'"), &create));
  for (; kilobytes > 0; kilobytes -= 50) {
    v1::TemplateExample& example = *create.mutable_job()->mutable_template_()->add_examples();
    example.add_content()->set_name("a");
    example.mutable_content(0)->set_text(std::string(50'000, 'x'));
    example.mutable_answer()->add_fields()->set_choice("yes");
  }
  const auto stub = v1::JobService::NewStub(coordinator.Channel());
  v1::Job job;
  const grpc::Status status = stub->CreateJob(Context().get(), create, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  v1::GetJobRequest get;
  get.set_name(job.name());
  return get;
}

TEST(StreamLimitsTest, AReplyThatIsNotReadKeepsItsPlaceAndLosesIt) {
  CoordinatorProcess coordinator({.flags = {"--calls-max", "1"}});
  const v1::GetJobRequest get = CreateJobOf(coordinator, 150);
  const auto deaf = v1::JobService::NewStub(SmallChannel(coordinator));
  UnreadCall unread(*deaf, get);
  const auto stub = v1::JobService::NewStub(coordinator.Channel());
  v1::Job job;
  grpc::Status status = stub->GetJob(Context().get(), get, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_details().find("RATE_LIMITED"), std::string::npos);
  const absl::Time limit = absl::Now() + absl::Seconds(40);
  while (!status.ok() && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(50));
    status = stub->GetJob(Context().get(), get, &job);
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(unread.Finish().ok());
}

TEST(StreamLimitsTest, RepliesThatAreNotReadTakeSoMuchMemoryAndNoMore) {
  CoordinatorProcess coordinator({.flags = {"--reply-memory-max", absl::StrCat(64 << 20)}});
  const v1::GetJobRequest large = CreateJobOf(coordinator, 1000);
  const v1::GetJobRequest small = CreateJobOf(coordinator, 0);
  const auto deaf = v1::JobService::NewStub(SmallChannel(coordinator));
  std::vector<std::unique_ptr<UnreadCall>> unread;
  // A megabyte each, and its copy.
  for (int i = 0; i < 33; ++i) unread.push_back(std::make_unique<UnreadCall>(*deaf, large));
  const auto stub = v1::JobService::NewStub(coordinator.Channel());
  v1::Job job;
  const grpc::Status status = stub->GetJob(Context().get(), large, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_details().find("RATE_LIMITED"), std::string::npos);
  EXPECT_TRUE(stub->GetJob(Context().get(), small, &job).ok());
  // So it is for what is streamed.
  v1::WatchJobRequest watch;
  watch.set_name(large.name());
  const auto context = Context();
  const auto watched = stub->WatchJob(context.get(), watch);
  v1::JobStatus told;
  EXPECT_FALSE(watched->Read(&told));
  const grpc::Status ended = watched->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(ended.error_details().find("RATE_LIMITED"), std::string::npos);

  for (const auto& call : unread) EXPECT_TRUE(call->Finish().ok());
  EXPECT_TRUE(stub->GetJob(Context().get(), large, &job).ok());
}

// They are all told in one turn, before anything that any of them reads is known to be read.
TEST(StreamLimitsTest, ManyWhoReadAreToldOneAfterAnotherWhereThereIsNoRoomForAll) {
  CoordinatorProcess coordinator({.flags = {"--reply-memory-max", absl::StrCat(64 << 20)}});
  const v1::GetJobRequest large = CreateJobOf(coordinator, 1000);
  v1::WatchJobRequest watch;
  watch.set_name(large.name());
  const auto stub = v1::JobService::NewStub(coordinator.Channel());
  std::atomic<int> begun = 0;
  std::atomic<int> paused = 0;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::thread> watchers;
  for (int i = 0; i < 50; ++i) {  // Two megabytes each.
    grpc::ClientContext* const context = contexts.emplace_back(Context()).get();
    watchers.emplace_back([&, context] {
      const auto watched = stub->WatchJob(context, watch);
      v1::JobStatus told;
      for (bool first = true; watched->Read(&told); first = false) {
        if (first) ++begun;
        if (told.job().state() != v1::JOB_STATE_PAUSED) continue;
        ++paused;
        break;
      }
      context->TryCancel();
      watched->Finish();
    });
  }
  while (begun < 50) absl::SleepFor(absl::Milliseconds(5));
  v1::PauseJobRequest pause;
  pause.set_name(large.name());
  v1::Job job;
  EXPECT_TRUE(stub->PauseJob(Context().get(), pause, &job).ok());
  for (std::thread& watcher : watchers) watcher.join();
  EXPECT_EQ(paused, 50);
}

TEST(StreamLimitsTest, AReplyThatIsNotReadDoesNotHoldUpTheEnd) {
  CoordinatorProcess coordinator({.flags = {"--drain-timeout", "1h"}});
  const v1::GetJobRequest get = CreateJobOf(coordinator, 1000);
  const auto deaf = v1::JobService::NewStub(SmallChannel(coordinator));
  UnreadCall unread(*deaf, get);
  coordinator.Signal(SIGTERM);
  EXPECT_EQ(coordinator.Wait(), 0);
  EXPECT_NE(unread.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(StreamLimitsTest, AnUploadThatBringsNothingEnds) {
  ServiceWorld world({"--upload-idle-max", "1s"});
  const Outcome created =
      world.Call(kAcme, "JobService/CreateJob", {kGoodJob, "request_id: 'idle'"});
  ASSERT_EQ(created.code, grpc::StatusCode::OK) << created.message;
  const auto stub = v1::JobService::NewStub(world.process().Channel());
  const auto context = Context(kAcme);
  v1::AddItemsResponse response;
  const auto upload = stub->AddItems(context.get(), &response);
  v1::AddItemsRequest batch;
  batch.set_job(created.reply<v1::Job>().name());
  v1::Item& item = *batch.add_items();
  item.set_key("k");
  item.add_content()->set_name("t");
  item.mutable_content(0)->set_text("x");
  ASSERT_TRUE(upload->Write(batch));
  const grpc::Status status = upload->Finish();  // Without saying that this is all.
  EXPECT_NE(status.error_details().find("STREAM_IDLE"), std::string::npos);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_NE(status.error_message().find("no batch came"), std::string::npos)
      << status.error_message();
}

// What is bounded makes the others wait, and not fail.
TEST(StreamLimitsTest, LargeBatchesOfManyPassThroughTheLeastMemory) {
  CoordinatorProcess coordinator({.flags = {"--receive-memory-max", absl::StrCat(64 << 20)}});
  std::vector<std::thread> uploads;
  for (int u = 0; u < 8; ++u) {
    uploads.emplace_back([&coordinator, u] {
      // A connection of its own, as another process would have.
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
      const auto stub = v1::JobService::NewStub(grpc::CreateCustomChannel(
          coordinator.address(), grpc::InsecureChannelCredentials(), arguments));
      v1::CreateJobRequest create;
      ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
          absl::StrCat(kGoodJob, "request_id: 'u", u, "'"), &create));
      v1::Job job;
      ASSERT_TRUE(stub->CreateJob(Context().get(), create, &job).ok());
      v1::AddItemsRequest batch;
      batch.set_job(job.name());
      for (int i = 0; i < 60; ++i) {
        v1::Item& item = *batch.add_items();
        item.set_key(absl::StrCat("k", i));
        item.add_content()->set_name("t");
        item.mutable_content(0)->set_text(std::string(60'000, 'x'));
      }
      // Where all come at once gRPC may refuse one, which then comes again, as clients do.
      grpc::Status status;
      v1::AddItemsResponse response;
      for (int tries = 0; tries < 20; ++tries) {
        const auto context = Context();
        const auto upload = stub->AddItems(context.get(), &response);
        for (int i = 0; i < 10 && upload->Write(batch); ++i) {  // All but one are repeats.
        }
        upload->WritesDone();
        status = upload->Finish();
        if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED &&
            status.error_code() != grpc::StatusCode::UNAVAILABLE) {
          break;
        }
      }
      EXPECT_TRUE(status.ok()) << status.error_code() << ": " << status.error_message();
      EXPECT_EQ(response.committed_offset(), 60);
    });
  }
  for (std::thread& upload : uploads) upload.join();
}

TEST(StreamLimitsTest, OneTenantLeavesStreamsToOthersAndAllLeaveSomeToGateways) {
  ServiceWorld world({"--streams-max", "8"});
  const auto stub = v1::JobService::NewStub(world.process().Channel());
  struct Watch {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientReader<v1::JobStatus>> reader;
  };
  std::vector<Watch> watches;
  // How often this caller may watch its job.
  const auto watch_all = [&](const char* token, const std::string& tenant) {
    const Outcome created =
        world.Call(token, "JobService/CreateJob",
                   {kGoodJob, absl::StrCat("request_id: 'w' parent: 'tenants/", tenant, "'")});
    EXPECT_EQ(created.code, grpc::StatusCode::OK) << created.message;
    v1::WatchJobRequest request;
    request.set_name(created.reply<v1::Job>().name());
    for (int count = 0;; ++count) {
      Watch watch{.context = Context(token)};
      watch.reader = stub->WatchJob(watch.context.get(), request);
      v1::JobStatus job;
      if (!watch.reader->Read(&job)) {
        EXPECT_EQ(watch.reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
        return count;
      }
      watches.push_back(std::move(watch));
    }
  };
  EXPECT_EQ(watch_all(kAcme, "acme"), 2);
  EXPECT_EQ(watch_all(kRival, "rival"), 2);
  EXPECT_EQ(watch_all(kEverybody, "acme"), 2);
  for (const char* const token : {kMarket, kElsewhere}) {
    const Outcome in = world.Work(token, {{kGoodHello}}, "welcome");
    EXPECT_EQ(in.code, grpc::StatusCode::OK) << in.message;
  }
  for (Watch& watch : watches) {
    watch.context->TryCancel();
    EXPECT_EQ(watch.reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

}  // namespace
}  // namespace tessera::testing
