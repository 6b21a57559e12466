// A call outlives bad luck and is never made twice in effect: against a server that fails on
// demand.
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/address.h"
#include "client/client.h"
#include "client/retry.h"
#include "common/errors.h"
#include "common/mutex.h"
#include "google/protobuf/empty.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tests/support/certificate.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using testing::HasReason;
using testing::IsOk;
using testing::MakeCertificate;
using testing::StatusIs;

// Jobs with an intake, and a list of errors that the next calls end with.
class FakeJobs final : public v1::JobService::Service {
 public:
  std::deque<grpc::Status> failures;    // Of CreateJob, GetJob, DeleteJob.
  std::deque<grpc::Status> refusals;    // Of AddItems, before it reads anything.
  std::deque<int> batches_until_break;  // Of AddItems; then UNAVAILABLE.
  std::set<std::string> request_ids;
  std::string authorization;
  int creates = 0;

  // What AddItems was brought so far, by handlers that have returned.
  std::vector<std::string>& keys() {
    const MutexLock lock(&returned_);
    return keys_;
  }

  grpc::Status CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request,
                         v1::Job* response) override {
    ++creates;
    const auto found = context->client_metadata().find("authorization");
    if (found != context->client_metadata().end()) {
      authorization = std::string(found->second.data(), found->second.size());
    }
    request_ids.insert(request->request_id());
    if (const grpc::Status failure = Take(); !failure.ok()) return failure;
    response->set_name(absl::StrCat(request->parent(), "/jobs/1"));
    return grpc::Status::OK;
  }

  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    if (const grpc::Status failure = Take(); !failure.ok()) return failure;
    while (silent && !context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    if (!there) return {grpc::StatusCode::NOT_FOUND, "no such job"};
    response->set_name(request->name());
    response->set_committed_offset(static_cast<int64_t>(keys_.size()));
    response->set_display_name(std::string(reply_bytes, 'x'));
    return grpc::Status::OK;
  }
  size_t reply_bytes = 0;  // Of GetJob, beside the rest.
  bool silent = false;     // GetJob is not answered.

  grpc::Status ListResults(grpc::ServerContext*, const v1::ListResultsRequest* request,
                           v1::ListResultsResponse* response) override {
    if (const grpc::Status failure = Take(); !failure.ok()) return failure;
    const int page = request->page_token().empty() ? 0 : std::stoi(request->page_token());
    response->add_results()->set_item_key(absl::StrCat("k", page));
    if (page < 4) response->set_next_page_token(absl::StrCat(page + 1));
    return grpc::Status::OK;
  }

  std::vector<int64_t> offsets;        // Of the batches.
  std::function<void()> on_add_items;  // Then AddItems is not answered.
  absl::Duration break_after;          // From the last batch to the break ...
  std::function<void()> on_break;      // ... at which this happens.

  grpc::Status AddItems(grpc::ServerContext* context,
                        grpc::ServerReader<v1::AddItemsRequest>* reader,
                        v1::AddItemsResponse* response) override {
    if (on_add_items) {
      on_add_items();
      while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
      return {grpc::StatusCode::CANCELLED, "cancelled"};
    }
    if (!refusals.empty()) {
      const grpc::Status refusal = refusals.front();
      refusals.pop_front();
      return refusal;
    }
    const Returning returning{&returned_};
    v1::AddItemsRequest request;
    int batches = batches_until_break.empty() ? -1 : batches_until_break.front();
    if (batches >= 0) batches_until_break.pop_front();
    while (reader->Read(&request)) {
      if (batches-- == 0) {
        absl::SleepFor(break_after);
        if (on_break) std::exchange(on_break, nullptr)();
        return {grpc::StatusCode::UNAVAILABLE, "broke"};
      }
      const auto committed = static_cast<int64_t>(keys_.size());
      offsets.push_back(request.offset());
      batch_bytes_max = std::max(batch_bytes_max, request.ByteSizeLong());
      if (request.offset() + request.items_size() <= committed) {
        for (int i = 0; i < request.items_size(); ++i) {
          if (request.items(i).key() == keys_[static_cast<size_t>(request.offset() + i)]) continue;
          return Differs(i);
        }
        response->set_present(response->present() + request.items_size());
        continue;
      }
      if (request.offset() != committed) return {grpc::StatusCode::OUT_OF_RANGE, "offset"};
      for (const v1::Item& item : request.items()) keys_.push_back(item.key());
      response->set_added(response->added() + request.items_size());
    }
    response->set_committed_offset(static_cast<int64_t>(keys_.size()));
    return grpc::Status::OK;
  }

  size_t batch_bytes_max = 0;  // Of those that came.

  // Item `i` of a batch is not the one that is there.
  static grpc::Status Differs(int i) {
    google::rpc::Status rich = Because("ITEM_DIFFERS");
    google::rpc::BadRequest bad;
    bad.add_field_violations()->set_field(absl::StrCat("items[", i, "].key"));
    rich.add_details()->PackFrom(bad);
    return {grpc::StatusCode::ALREADY_EXISTS, "differs", rich.SerializeAsString()};
  }

  static google::rpc::Status Because(const std::string& reason) {
    google::rpc::Status rich;
    google::rpc::ErrorInfo info;
    info.set_domain("tessera");
    info.set_reason(reason);
    rich.add_details()->PackFrom(info);
    return rich;
  }

  // The first call deletes, and its reply is lost.
  grpc::Status DeleteJob(grpc::ServerContext*, const v1::DeleteJobRequest*,
                         google::protobuf::Empty*) override {
    if (const grpc::Status failure = Take(); !failure.ok()) return failure;
    if (std::exchange(there, false)) return {grpc::StatusCode::UNAVAILABLE, "lost"};
    return {grpc::StatusCode::NOT_FOUND, "no such job"};
  }
  bool there = true;

  absl::Duration quiet_before_break;  // Of WatchJob and StreamResults.

  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::JobStatus>* writer) override {
    v1::JobStatus status;
    status.mutable_job()->mutable_counts()->set_answers(++watches);
    writer->Write(status);
    absl::SleepFor(quiet_before_break);
    return watches < 3 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "broke") : grpc::Status::OK;
  }
  int watches = 0;

  grpc::Status StreamResults(grpc::ServerContext*, const v1::StreamResultsRequest* request,
                             grpc::ServerWriter<v1::StreamResultsResponse>* writer) override {
    tokens.push_back(request->resume_token());
    v1::StreamResultsResponse response;
    response.set_resume_token(absl::StrCat("t", tokens.size()));
    writer->Write(response);
    absl::SleepFor(quiet_before_break);
    return tokens.size() < 3 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "broke")
                             : grpc::Status::OK;
  }
  std::vector<std::string> tokens;

 private:
  // Lets who reads afterwards know that this came before.
  struct Returning {
    ~Returning() { const MutexLock lock(mutex); }
    Mutex* const mutex;
  };

  grpc::Status Take() {
    if (failures.empty()) return grpc::Status::OK;
    const grpc::Status failure = failures.front();
    failures.pop_front();
    return failure;
  }

  Mutex returned_;
  std::vector<std::string> keys_;
};

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&jobs_);
    server_ = builder.BuildAndStart();
    client_ = Connect({});
  }

  std::unique_ptr<Client> Connect(ConnectOptions options) {
    options.address = absl::StrCat("127.0.0.1:", port_);
    options.backoff_first = absl::Milliseconds(1);
    options.backoff_max = absl::Milliseconds(5);
    return std::move(*Client::Connect(std::move(options)));
  }

  FakeJobs jobs_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ConnectionTest, ACreateIsTriedAgainWithTheSameRequestId) {
  jobs_.failures = {{grpc::StatusCode::UNAVAILABLE, "1"},
                    {grpc::StatusCode::DEADLINE_EXCEEDED, "2"}};
  const absl::StatusOr<v1::Job> job = client_->CreateJob({});
  ASSERT_THAT(job, IsOk());
  EXPECT_EQ(job->name(), "tenants/default/jobs/1");
  EXPECT_EQ(jobs_.creates, 3);
  EXPECT_EQ(jobs_.request_ids.size(), 1u);
  EXPECT_THAT(client_->CreateJob({}), IsOk());
  EXPECT_EQ(jobs_.request_ids.size(), 2u);  // Another create is another job.
}

TEST_F(ConnectionTest, AnErrorThatTimeDoesNotHealComesBackAtOnceWithItsDetails) {
  google::rpc::Status rich;
  rich.set_code(3);
  google::rpc::ErrorInfo info;
  info.set_domain("tessera");
  info.set_reason("FIELD_REQUIRED");
  (*info.mutable_metadata())["a"] = "b";
  rich.add_details()->PackFrom(info);
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("job.template");
  rich.add_details()->PackFrom(bad);
  jobs_.failures = {{grpc::StatusCode::INVALID_ARGUMENT, "no", rich.SerializeAsString()}};
  const absl::Status status = client_->CreateJob({}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(status, HasReason("FIELD_REQUIRED"));
  EXPECT_EQ(GetDetails(status).fields[0].field, "job.template");
  EXPECT_EQ(GetDetails(status).metadata[0].second, "b");
  EXPECT_EQ(jobs_.creates, 1);
}

TEST_F(ConnectionTest, TryingAgainEndsWhenItsTimeIsOver) {
  const auto client = Connect({.retry_for = absl::Milliseconds(300)});
  jobs_.failures.assign(1000, {grpc::StatusCode::UNAVAILABLE, "still"});
  EXPECT_THAT(client->GetJob("1").status(), StatusIs(absl::StatusCode::kUnavailable, "still"));
}

// A try may take longer than there is time left; the call may not.
TEST_F(ConnectionTest, ACallThatIsNotAnsweredEndsWhenItsTimeIsOver) {
  const auto client =
      Connect({.try_timeout = absl::Hours(1), .retry_for = absl::Milliseconds(300)});
  jobs_.silent = true;
  EXPECT_THAT(client->GetJob("1"), StatusIs(absl::StatusCode::kDeadlineExceeded));
  // What the tries before the last one ended with says more than that no time was left.
  jobs_.failures = {{grpc::StatusCode::UNAVAILABLE, "why"}};
  EXPECT_THAT(client->GetJob("1"), StatusIs(absl::StatusCode::kUnavailable, "why"));
}

// Only whoever stops a call may take it for stopped.
TEST_F(ConnectionTest, ACallThatTheServerCutOffIsTriedAgainAndIsNoInterruption) {
  jobs_.failures = {{grpc::StatusCode::CANCELLED, "gone"}};
  EXPECT_THAT(client_->GetJob("1"), IsOk());
  const auto client = Connect({.retry_for = absl::Milliseconds(300)});
  jobs_.failures.assign(1000, {grpc::StatusCode::CANCELLED, "gone"});
  EXPECT_THAT(client->GetJob("1"), StatusIs(absl::StatusCode::kUnavailable, "gone"));
}

TEST_F(ConnectionTest, TheTokenIsSent) {
  EXPECT_THAT(Connect({.token = "secret"})->CreateJob({}), IsOk());
  EXPECT_EQ(jobs_.authorization, "Bearer secret");
}

// gRPC prints a header that it cannot send, and ends the process.
TEST(TokenTest, WhatNoHeaderCanHoldIsRefusedAndNotRepeated) {
  for (const char* token : {"secret1\nsecret2", "secret1 secret2", "secret\t", "secret\x7f",
                            "secret\xc3\xa4", "\x01secret"}) {
    const absl::Status status = Client::Connect({.token = token}).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(status.message()), ::testing::Not(::testing::HasSubstr("secret")));
  }
  EXPECT_THAT(Client::Connect({.token = "!secret~"}), IsOk());
}

TEST(TlsTest, WhatHoldsNoCertificateIsRefusedBeforeItIsTried) {
  EXPECT_THAT(Client::Connect({.tls_ca_pem = "junk"}),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("--tls-ca")));
  const auto valid_until = [](absl::Time end) {
    return MakeCertificate(end - absl::Hours(48), end).certificate;
  };
  const std::string expired = valid_until(absl::Now() - absl::Hours(24));
  EXPECT_THAT(Client::Connect({.tls_ca_pem = expired}),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("expired on ")));
  EXPECT_THAT(Client::Connect({.tls_ca_pem = expired + valid_until(absl::Now() + absl::Hours(24))}),
              IsOk());
}

TEST(TokenTest, OneLeavesThisMachineWithTlsOnly) {
  EXPECT_THAT(Client::Connect({.address = "tessera.example:7070", .token = "secret"}),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("in the clear")));
  EXPECT_THAT(Client::Connect({.address = "tessera.example:7070"}), IsOk());
  EXPECT_THAT(Client::Connect({.address = "tessera.example:7070", .token = "secret", .tls = true}),
              IsOk());
  for (const char* local : {"localhost:7070", "dns:///localhost:7070", "unix:/run/tessera"}) {
    EXPECT_THAT(Client::Connect({.address = local, .token = "secret"}), IsOk()) << local;
  }
}

// As it was created, or is with so many items.
v1::Job TheJob(int64_t committed_offset = 0) {
  v1::Job job;
  job.set_name("1");
  job.set_committed_offset(committed_offset);
  return job;
}

std::vector<v1::Item> MakeItems(int count) {
  std::vector<v1::Item> items(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) items[static_cast<size_t>(i)].set_key(absl::StrCat("k", i));
  return items;
}

TEST_F(ConnectionTest, AnIntakeThatBreaksGoesOnFromWhatIsCommitted) {
  jobs_.batches_until_break = {3, 0, 1};
  ItemList items(MakeItems(20'500));
  std::vector<int64_t> progress;
  const auto added =
      client_->AddItems(TheJob(), &items, [&](int64_t at) { progress.push_back(at); });
  ASSERT_THAT(added, IsOk());
  EXPECT_EQ(added->committed_offset(), 20'500);
  ASSERT_EQ(jobs_.keys().size(), 20'500u);
  for (size_t i = 0; i < jobs_.keys().size(); ++i) ASSERT_EQ(jobs_.keys()[i], absl::StrCat("k", i));
  EXPECT_EQ(progress.back(), 20'500);
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
}

TEST_F(ConnectionTest, AnIntakeThatGoesOnHasTimeHoweverOftenItBreaks) {
  const auto client = Connect({.retry_for = absl::Seconds(2)});
  jobs_.break_after = absl::Milliseconds(800);
  jobs_.batches_until_break = {1, 1, 1};  // 2.4 s, in which three batches are committed.
  ItemList items(MakeItems(5'000));
  EXPECT_THAT(client->AddItems(TheJob(), &items), IsOk());
  EXPECT_EQ(jobs_.keys().size(), 5'000u);
}

// To ask where to go on is a part of the same try: it has no time of its own beside `retry_for`, and
// what ended the intake is what is told.
TEST_F(ConnectionTest, AnIntakeAgainstAServerThatSaysNothingMoreEndsWithItsOwnError) {
  const auto client =
      Connect({.try_timeout = absl::Milliseconds(50), .retry_for = absl::Milliseconds(300)});
  jobs_.batches_until_break.assign(1000, 0);
  jobs_.silent = true;
  ItemList items(MakeItems(1));
  EXPECT_THAT(client->AddItems(TheJob(), &items),
              StatusIs(absl::StatusCode::kUnavailable, "broke"));
}

// As a large file does, which is read from its start again.
class SlowToGoBack final : public ItemSource {
 public:
  SlowToGoBack(std::vector<v1::Item> items, absl::Duration time)
      : items_(std::move(items)), time_(time) {}
  absl::StatusOr<bool> Next(v1::Item* item) override { return items_.Next(item); }
  absl::Status Seek(int64_t offset) override {
    absl::SleepFor(time_);
    return items_.Seek(offset);
  }
  int64_t line() const override { return items_.line(); }
  absl::Status At(const absl::Status& problem) const override { return items_.At(problem); }

 private:
  ItemList items_;
  const absl::Duration time_;
};

TEST_F(ConnectionTest, ReadingAFileAgainTakesNothingOfTheTimeForTries) {
  const auto client = Connect({.retry_for = absl::Seconds(2)});
  jobs_.batches_until_break = {1};
  SlowToGoBack items(MakeItems(3'000), absl::Seconds(2.1));
  EXPECT_THAT(client->AddItems(TheJob(), &items), IsOk());
  EXPECT_EQ(jobs_.keys().size(), 3'000u);
}

// What a coordinator that keeps less than `always` has lost is no other client's doing.
TEST_F(ConnectionTest, WhatAStoreHasLostIsSentAgain) {
  ItemList items(MakeItems(9'000));
  const auto lose = [&](int64_t) {
    if (jobs_.keys().size() == 8'000) jobs_.keys().resize(7'500);
  };
  EXPECT_THAT(client_->AddItems(TheJob(), &items, lose), IsOk());
  EXPECT_EQ(jobs_.keys().size(), 9'000u);
  EXPECT_EQ(jobs_.keys().back(), "k8999");
}

TEST_F(ConnectionTest, WhatIsRefusedForWantOfMemoryIsSentAgainAndAFullJobIsNot) {
  const grpc::Status no_memory = {grpc::StatusCode::RESOURCE_EXHAUSTED, "no memory"};
  jobs_.refusals = {no_memory};
  jobs_.failures = {no_memory};  // Of the question where to go on.
  ItemList items(MakeItems(3'000));
  EXPECT_THAT(client_->AddItems(TheJob(), &items), IsOk());
  EXPECT_EQ(jobs_.keys().size(), 3'000u);

  jobs_.refusals.assign(2, {grpc::StatusCode::RESOURCE_EXHAUSTED, "full",
                            FakeJobs::Because("ITEMS_MAX").SerializeAsString()});
  ASSERT_THAT(items.Seek(0), IsOk());
  EXPECT_THAT(client_->AddItems(TheJob(), &items),
              StatusIs(absl::StatusCode::kResourceExhausted, "full"));
  EXPECT_EQ(jobs_.refusals.size(), 1u);
}

// A deployment may take less than a batch; what it takes at the least is taken by all.
TEST(IntakeSizeTest, ABatchThatIsTooLargeForAServerComesInSmallerOnes) {
  constexpr int kLeast = 64 << 10;
  FakeJobs jobs;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&jobs);
  builder.SetMaxReceiveMessageSize(kLeast);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const auto client = *Client::Connect({.address = absl::StrCat("127.0.0.1:", port)});
  std::vector<v1::Item> large = MakeItems(300);
  for (v1::Item& item : large) item.add_content()->set_text(std::string(10'000, 'x'));
  ItemList items(std::move(large));
  EXPECT_THAT(client->AddItems(TheJob(), &items), IsOk());
  EXPECT_EQ(jobs.keys().size(), 300u);
  EXPECT_GT(jobs.batch_bytes_max, kLeast / 4);  // And no smaller than they have to be.
}

TEST_F(ConnectionTest, AStopEndsAnIntakeBetweenPieces) {
  std::stop_source stop;
  ItemList items(MakeItems(20'500));
  EXPECT_THAT(client_->AddItems(
                  TheJob(), &items, [&](int64_t) { stop.request_stop(); }, stop.get_token()),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(jobs_.keys().size(), 8'000u);  // A piece.
}

TEST_F(ConnectionTest, AStopEndsAnIntakeThatIsNotAnswered) {
  std::stop_source stop;
  jobs_.on_add_items = [&] { stop.request_stop(); };
  ItemList items(MakeItems(20'500));
  EXPECT_THAT(client_->AddItems(TheJob(), &items, nullptr, stop.get_token()),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ConnectionTest, AllPagesOfResultsComeUntilThereIsAReasonToEnd) {
  jobs_.failures = {{grpc::StatusCode::UNAVAILABLE, "1"}};
  std::vector<std::string> keys;
  const auto take = [&](const v1::ListResultsResponse& page) {
    keys.push_back(page.results(0).item_key());
    return true;
  };
  EXPECT_THAT(client_->ListResults({}, {}, take), IsOk());
  EXPECT_THAT(keys, ::testing::ElementsAre("k0", "k1", "k2", "k3", "k4"));
  int pages = 0;
  EXPECT_THAT(client_->ListResults({}, {}, [&](const auto&) { return ++pages < 2; }), IsOk());
  EXPECT_EQ(pages, 2);
  std::stop_source stop;
  EXPECT_THAT(
      client_->ListResults({}, stop.get_token(), [&](const auto&) { return stop.request_stop(); }),
      StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ConnectionTest, WhatIsThereAlreadyIsPresent) {
  ItemList items(MakeItems(1500));
  ASSERT_THAT(client_->AddItems(TheJob(), &items), IsOk());
  ASSERT_THAT(items.Seek(0), IsOk());
  const auto again = client_->AddItems(TheJob(1500), &items);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->added(), 0);
  EXPECT_EQ(again->present(), 1500);
}

// The items that a job has from an earlier time are compared, all of them, and the others added.
TEST_F(ConnectionTest, WhatIsThereFromEarlierIsComparedAcrossBreaksAndGoneOnBehind) {
  for (const v1::Item& item : MakeItems(10'300)) jobs_.keys().push_back(item.key());
  jobs_.batches_until_break = {8, 1};  // The second stream breaks while it compares.
  ItemList items(MakeItems(12'000));
  std::vector<int64_t> progress;
  const auto added =
      client_->AddItems(TheJob(10'300), &items, [&](int64_t at) { progress.push_back(at); });
  ASSERT_THAT(added, IsOk());
  EXPECT_EQ(added->added(), 1'700);
  EXPECT_EQ(jobs_.keys().size(), 12'000u);
  EXPECT_THAT(jobs_.offsets,
              ::testing::ElementsAre(0, 1'000, 2'000, 3'000, 4'000, 5'000, 6'000, 7'000, 8'000,
                                     8'000, 9'000, 10'000, 10'300, 11'300));
  EXPECT_THAT(progress, ::testing::ElementsAre(8'000, 8'000, 12'000));
}

TEST_F(ConnectionTest, AnItemThatIsAnotherThanEarlierIsFoundWhereverItStands) {
  for (const int64_t other : {0, 1'999, 9'500, 10'299}) {
    jobs_.keys().clear();
    for (const v1::Item& item : MakeItems(10'300)) jobs_.keys().push_back(item.key());
    jobs_.keys()[static_cast<size_t>(other)] = "other";
    ItemList items(MakeItems(12'000));
    const absl::Status status = client_->AddItems(TheJob(10'300), &items).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kAlreadyExists,
                                 absl::StrCat("item ", other + 1, ": differs")));
    EXPECT_THAT(status, HasReason("ITEM_DIFFERS"));
    EXPECT_EQ(jobs_.keys().size(), 10'300u);
  }
}

// Whoever adds to the same job at the same time must bring the same items.
TEST_F(ConnectionTest, WhatSomebodyElseAddedMeanwhileIsCompared) {
  jobs_.keys() = {"k0", "other"};
  ItemList items(MakeItems(3));
  EXPECT_THAT(client_->AddItems(TheJob(), &items),
              StatusIs(absl::StatusCode::kAlreadyExists, "item 2: differs"));
  jobs_.keys() = {"k0", "k1"};
  ASSERT_THAT(items.Seek(0), IsOk());
  EXPECT_THAT(client_->AddItems(TheJob(), &items), IsOk());
  EXPECT_THAT(jobs_.keys(), ::testing::ElementsAre("k0", "k1", "k2"));
}

// A break hides whose items are in the job: beyond what was sent they cannot be ours.
TEST_F(ConnectionTest, WhatSomebodyElseAddedDuringABreakIsCompared) {
  jobs_.batches_until_break = {1};
  jobs_.on_break = [&] {
    for (size_t i = jobs_.keys().size(); i < 8'500; ++i)
      jobs_.keys().push_back(absl::StrCat("k", i));
    jobs_.keys()[8'200] = "other";
  };
  ItemList items(MakeItems(9'000));
  EXPECT_THAT(client_->AddItems(TheJob(), &items),
              StatusIs(absl::StatusCode::kAlreadyExists, "item 8201: differs"));
}

TEST_F(ConnectionTest, AWatchGoesOnAfterABreakAndAStreamOfResultsFromItsToken) {
  std::vector<int64_t> seen;
  EXPECT_THAT(client_->WatchJob("1", {},
                                [&](const v1::JobStatus& status) {
                                  seen.push_back(status.job().counts().answers());
                                  return true;
                                }),
              IsOk());
  EXPECT_THAT(seen, ::testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(client_->StreamResults({}, {}, [](const auto&) { return true; }), IsOk());
  EXPECT_THAT(jobs_.tokens, ::testing::ElementsAre("", "t1", "t2"));
}

// How long an outage may take is counted from its beginning.
TEST_F(ConnectionTest, AStreamThatWasQuietForLongIsTriedAgainWhenItBreaks) {
  const auto client = Connect({.retry_for = absl::Milliseconds(100)});
  jobs_.quiet_before_break = absl::Milliseconds(200);
  EXPECT_THAT(client->WatchJob("1", {}, [](const auto&) { return true; }), IsOk());
  EXPECT_EQ(jobs_.watches, 3);
  EXPECT_THAT(client->StreamResults({}, {}, [](const auto&) { return true; }), IsOk());
  EXPECT_EQ(jobs_.tokens.size(), 3u);
}

TEST_F(ConnectionTest, ADeletionWhoseReplyWasLostIsNoError) {
  EXPECT_THAT(client_->DeleteJob("1"), IsOk());
  EXPECT_THAT(client_->DeleteJob("1"), StatusIs(absl::StatusCode::kNotFound));
}

// A try that failed need not have reached anybody.
TEST_F(ConnectionTest, AJobThatWasNeverThereIsNotDeletedByAnOutage) {
  jobs_.there = false;
  jobs_.failures = {{grpc::StatusCode::UNAVAILABLE, "outage"}};
  EXPECT_THAT(client_->DeleteJob("typo"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ConnectionTest, AStopEndsAWatch) {
  std::stop_source stop;
  EXPECT_THAT(client_->WatchJob("1", stop.get_token(),
                                [&](const v1::JobStatus&) {
                                  stop.request_stop();
                                  return true;
                                }),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ConnectionTest, AStopEndsACallThatIsNotAnswered) {
  jobs_.silent = true;
  std::stop_source stop;
  const std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_THAT(client_->GetJob("1", stop.get_token()), StatusIs(absl::StatusCode::kCancelled));
}

// As an assignment of 1,000 items of 64 KiB, and all that goes with it.
TEST_F(ConnectionTest, AReplyAsLargeAsALargeAssignmentIsTaken) {
  jobs_.reply_bytes = 100 << 20;
  const absl::StatusOr<v1::Job> job = client_->GetJob("1");
  ASSERT_THAT(job, IsOk());
  EXPECT_EQ(job->display_name().size(), jobs_.reply_bytes);
}

// Whoever waits between two tries waits for the connection: else gRPC would look at an attempt after
// five seconds only, and nobody else is there to do so.
TEST(ChannelWaitTest, AChannelGoesOnConnectingWhileItIsWaitedOn) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 10), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const auto client =
      std::move(*Client::Connect({.address = absl::StrCat("127.0.0.1:", ntohs(address.sin_port))}));
  std::stop_source stop;
  std::jthread door([&] {
    for (int i = 0; i < 4; ++i) close(accept(listener, nullptr, nullptr));
    stop.request_stop();
  });
  const bool waited = client->retry().wait(absl::Seconds(4.5), stop.get_token());
  EXPECT_FALSE(waited) << "there were fewer than four attempts";
  shutdown(listener, SHUT_RDWR);  // Whoever still listens there.
  door.join();
  close(listener);
}

// gRPC would take port 65536 + 7070 for 7070, and a missing one for 443.
TEST(AddressTest, WhatCannotBeAnAddressIsRefusedBeforeItIsTried) {
  for (const char* address : {"127.0.0.1:7070", "tessera.example:1", "[::1]:65535",
                              "dns:///tessera.example:7070", "unix:/run/tessera"}) {
    EXPECT_THAT(CheckAddress(address), IsOk());
    EXPECT_THAT(Client::Connect({.address = address}), IsOk());
  }
  for (const char* address :
       {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:72606",
        "127.0.0.1:99999999999", "127.0.0.1:http", "127.0.0.1:-1", ":7070", "::1:7070", "[::1]",
        "dns:///tessera.example"}) {
    EXPECT_THAT(Client::Connect({.address = address}), StatusIs(absl::StatusCode::kInvalidArgument))
        << address;
  }
}

TEST(BackoffTest, ItDoublesUpToItsCeilingAndIsDrawnFromAllOfIt) {
  const RetryOptions options = {.backoff_first = absl::Milliseconds(100),
                                .backoff_max = absl::Seconds(1)};
  EXPECT_EQ(Backoff(options, 0, 0), absl::ZeroDuration());
  EXPECT_EQ(Backoff(options, 0, 0.5), absl::Milliseconds(50));
  EXPECT_EQ(Backoff(options, 2, 0.5), absl::Milliseconds(200));
  EXPECT_EQ(Backoff(options, 100, 0.5), absl::Milliseconds(500));
}

TEST(RequestIdTest, IdsAreRandomUuids) {
  EXPECT_NE(RandomRequestId(), RandomRequestId());
  EXPECT_THAT(RandomRequestId(),
              ::testing::MatchesRegex(
                  "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

}  // namespace
}  // namespace tessera::client
