// What disk, Redis and gRPC can do here, with nothing of ours on top: the limits that the pipeline
// is measured against, in the same run.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "coordinator/store/embedded_redis.h"
#include "hiredis/hiredis.h"
#include "tessera/v1/work_service.grpc.pb.h"
#include "tests/bench/data_folder.h"
#include "tests/bench/figures.h"
#include "tests/support/temp_dir.h"

ABSL_FLAG(int, syncs, 1000, "Appends that are synced one by one, and SETs.");
ABSL_FLAG(int, records, 2000, "Journal records.");
ABSL_FLAG(int, record_bytes, 32 << 10, "Bytes of a record.");
ABSL_FLAG(int, streams, 64, "Streams of the echo, each on a connection of its own.");
ABSL_FLAG(int, entries, 32, "Entries in a message of the echo.");
ABSL_FLAG(double, echo_seconds, 3, "For how long messages are echoed.");
ABSL_FLAG(bool, json, false, "Print one JSON object.");

namespace tessera::bench {
namespace {

using Clock = std::chrono::steady_clock;
double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// How long each of `count` calls took, in milliseconds.
template <typename Call>
std::vector<double> Time(int count, Call call) {
  std::vector<double> took;
  for (int i = 0; i < count; ++i) {
    const Clock::time_point start = Clock::now();
    call(i);
    took.push_back(1e3 * Seconds(Clock::now() - start));
  }
  return took;
}

void AddQuantiles(absl::string_view name, std::vector<double> took, Figures* figures) {
  figures->Add(absl::StrCat(name, "_p50"), "ms", Quantile(took, 0.50));
  figures->Add(absl::StrCat(name, "_p99"), "ms", Quantile(took, 0.99));
}

void MeasureDisk(const std::string& folder, Figures* figures) {
  const std::string path = absl::StrCat(folder, "/synced");
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  TESSERA_CHECK(fd >= 0);
  const std::string block(4096, 'x');
  AddQuantiles("fdatasync",
               Time(absl::GetFlag(FLAGS_syncs),
                    [&](int) {
                      TESSERA_CHECK(write(fd, block.data(), block.size()) == 4096);
                      TESSERA_CHECK(fdatasync(fd) == 0);
                    }),
               figures);
  close(fd);
}

void MeasureRedis(const std::string& folder, Figures* figures) {
  const auto redis =
      store::EmbeddedRedis::Start({.data_folder = absl::StrCat(folder, "/redis")}).value();
  const std::unique_ptr<redisContext, decltype(&redisFree)> context(
      redisConnectUnix(redis->address().unix_path.c_str()), &redisFree);
  TESSERA_CHECK(context != nullptr && context->err == 0);
  const auto command = [&](const std::vector<std::string>& words) {
    std::vector<const char*> arguments;
    std::vector<size_t> sizes;
    for (const std::string& word : words) {
      arguments.push_back(word.data());
      sizes.push_back(word.size());
    }
    auto* const reply = static_cast<redisReply*>(redisCommandArgv(
        context.get(), static_cast<int>(words.size()), arguments.data(), sizes.data()));
    TESSERA_CHECK(reply != nullptr && reply->type != REDIS_REPLY_ERROR);
    freeReplyObject(reply);
  };

  const std::string value(200, 'x');
  AddQuantiles("redis_set",
               Time(absl::GetFlag(FLAGS_syncs),
                    [&](int i) {
                      command({"SET", absl::StrCat("key", i), value});
                    }),
               figures);

  const int records = absl::GetFlag(FLAGS_records);
  const std::string record(static_cast<size_t>(absl::GetFlag(FLAGS_record_bytes)), 'x');
  const Clock::time_point start = Clock::now();
  std::vector<double> took = Time(records, [&](int i) {
    command({"XADD", "log", absl::StrCat("1-", i + 1), "r", record});
    // As the journal is, so that Redis reuses its memory.
    if (i % 64 == 63) command({"XTRIM", "log", "MINID", absl::StrCat("1-", i)});
  });
  const double seconds = Seconds(Clock::now() - start);
  figures->Add("redis_append", "records/s", records / seconds);
  figures->Add("redis_append_bytes", "MB/s",
               records * static_cast<double>(record.size()) / seconds / 1e6);
  AddQuantiles("redis_append", std::move(took), figures);
}

// --- gRPC ----------------------------------------------------------------------------------------

// Answers each message of so many submits with as many assignments of 200 bytes: what the work
// stream carries, and nothing done about it.
class EchoStream final : public grpc::ServerBidiReactor<v1::WorkRequest, v1::WorkResponse> {
 public:
  EchoStream() { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_.Clear();
    for (v1::Submit& submit : *request_.mutable_submits()) {
      v1::Assigned& assigned = *response_.add_assigned();
      assigned.mutable_assignment()->swap(*submit.mutable_assignment());
      v1::AssignedItem& item = *assigned.add_items();
      item.mutable_key()->swap(*submit.mutable_answers(0)->mutable_item_key());
      item.add_content()->set_text(kPayload);
    }
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  inline static const std::string kPayload = std::string(200, 'x');
  v1::WorkRequest request_;
  v1::WorkResponse response_;
};

class EchoService final : public v1::WorkService::CallbackService {
  grpc::ServerBidiReactor<v1::WorkRequest, v1::WorkResponse>* Work(
      grpc::CallbackServerContext*) override {
    return new EchoStream;
  }
};

class EchoClient final : public grpc::ClientBidiReactor<v1::WorkRequest, v1::WorkResponse> {
 public:
  EchoClient(const std::string& address, std::atomic<int64_t>* echoed, std::atomic<int>* done)
      : echoed_(*echoed), done_(*done) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = v1::WorkService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    for (int i = 0; i < absl::GetFlag(FLAGS_entries); ++i) {
      v1::Submit& submit = *request_.add_submits();
      submit.set_assignment(absl::StrCat("p00-0123456789abcdef-", 1'000'000 + i));
      v1::ItemAnswer& answer = *submit.add_answers();
      answer.set_item_key(absl::StrCat("t", 1'000'000 + i));
      answer.mutable_answer()->add_fields()->set_choice("yes");
    }
    stub_->async()->Work(&context_, this);
    StartRead(&response_);
    StartWrite(&request_);
    StartCall();
  }
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    echoed_.fetch_add(response_.assigned_size(), std::memory_order_relaxed);
    StartRead(&response_);
    WriteAgain();
  }
  void OnWriteDone(bool ok) override {
    if (ok) WriteAgain();
  }
  void OnDone(const grpc::Status&) override { ++done_; }

 private:
  // The echo may be here before the news that its message was written.
  void WriteAgain() {
    if (news_.fetch_add(1) % 2 == 1) StartWrite(&request_);
  }

  std::atomic<int64_t>& echoed_;
  std::atomic<int>& done_;
  std::atomic<int> news_{0};
  grpc::ClientContext context_;
  std::unique_ptr<v1::WorkService::Stub> stub_;
  v1::WorkRequest request_;
  v1::WorkResponse response_;
};

void MeasureGrpc(Figures* figures) {
  EchoService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  TESSERA_CHECK(server != nullptr);
  std::atomic<int64_t> echoed{0};
  std::atomic<int> done{0};
  std::vector<std::unique_ptr<EchoClient>> clients;
  const int streams = absl::GetFlag(FLAGS_streams);
  for (int i = 0; i < streams; ++i) {
    clients.push_back(
        std::make_unique<EchoClient>(absl::StrCat("127.0.0.1:", port), &echoed, &done));
  }
  absl::SleepFor(absl::Seconds(1));
  const int64_t before = echoed;
  const Clock::time_point start = Clock::now();
  absl::SleepFor(absl::Seconds(absl::GetFlag(FLAGS_echo_seconds)));
  figures->Add("grpc_echo", "entries/s",
               static_cast<double>(echoed - before) / Seconds(Clock::now() - start));
  for (const auto& client : clients) client->Cancel();
  while (done < streams) absl::SleepFor(absl::Milliseconds(5));
  server->Shutdown();
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  tessera::bench::UseDataFolder();
  tessera::bench::Figures figures;
  {
    const tessera::testing::TempDir data;
    tessera::bench::MeasureDisk(data.path(), &figures);
    tessera::bench::MeasureRedis(data.path(), &figures);
    tessera::bench::MeasureGrpc(&figures);
  }
  figures.Print("Limits", absl::GetFlag(FLAGS_json));
  return 0;
}
