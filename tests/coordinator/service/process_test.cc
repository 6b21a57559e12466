// At stake: a coordinator ends as it is asked to, says why where it cannot go on, and finds
// everything again.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/operator_service.grpc.pb.h"
#include "tessera/v1/work_service.grpc.pb.h"
#include "tests/support/coordinator_process.h"
#include "tests/support/program.h"
#include "tests/support/redis_fixture.h"
#include "tests/support/temp_dir.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<grpc::ClientContext> Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  context->set_wait_for_ready(true);
  return context;
}

v1::CreateJobRequest GoodJob() {
  v1::CreateJobRequest request;
  request.set_parent("tenants/acme");
  request.set_request_id("one");
  v1::TaskTemplate& task = *request.mutable_job()->mutable_template_();
  task.set_title("Which?");
  v1::Field& field = *task.add_fields();
  field.set_name("which");
  field.mutable_choice()->add_classes()->set_value("this");
  field.mutable_choice()->add_classes()->set_value("that");
  request.mutable_job()->mutable_policy()->set_budget_micros(1'000'000);
  request.mutable_job()->mutable_policy()->set_currency_code("EUR");
  return request;
}

// Says Hello on a gateway's stream; the answer to it.
v1::WorkResponse Greet(grpc::ClientReaderWriterInterface<v1::WorkRequest, v1::WorkResponse>& work) {
  v1::WorkRequest hello;
  hello.mutable_hello()->set_gateway("g");
  hello.mutable_hello()->set_protocol_version(1);
  EXPECT_TRUE(work.Write(hello));
  v1::WorkResponse response;
  EXPECT_TRUE(work.Read(&response));
  return response;
}

TEST(ProcessTest, HelpIsPrintedAndNothingElseHappens) {
  const CoordinatorRun run = RunCoordinator({"--help"});
  EXPECT_EQ(run.exit_status, 0);
  EXPECT_THAT(run.out, HasSubstr("--listen"));
  EXPECT_EQ(run.err, "");
}

TEST(ProcessTest, ABadFlagIsToldByName) {
  for (const auto& [flags, word] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--bogus"}, "--bogus"},
           {{"--listen"}, "--listen"},
           {{"--partitions", "0"}, "--partitions"},
           {{"--drain-timeout", "soon"}, "--drain-timeout"},
           {{"--log-level", "loud"}, "--log-level"},
           {{"--redis-user", "u"}, "--redis"},
           {{"--redis", "h:1", "--redis-user", "u"}, "--redis-password-file"},
           {{"--redis", "h:1", "--redis-password-file", "/dev/null"}, "must be the password"},
           {{"--message-bytes-max", "4194303"}, "--message-bytes-max"},  // Less than Welcome says.
           {{"surplus"}, "surplus"}}) {
    const CoordinatorRun run = RunCoordinator(flags);
    EXPECT_EQ(run.exit_status, 2) << word;
    EXPECT_THAT(run.err, HasSubstr(word));
  }
}

TEST(ProcessTest, AnAddressThatIsTakenIsNotShared) {
  CoordinatorProcess first;
  const TempDir folder;
  const CoordinatorRun second =
      RunCoordinator({"--listen", first.address(), "--data-dir", folder.Join("data")});
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_THAT(second.err, HasSubstr("cannot listen on"));
  EXPECT_FALSE(std::filesystem::exists(folder.Join("data")));  // Nothing was begun.
}

TEST(ProcessTest, WhatGrpcSaysIsALogLineLikeOurs) {
  const TempDir folder;
  const CoordinatorRun run = RunCoordinator(
      {"--listen", "unix:" + folder.Join("no/such/socket"), "--data-dir", folder.Join("data")});
  EXPECT_EQ(run.exit_status, 1);
  EXPECT_THAT(run.err, HasSubstr("cannot listen on"));
  EXPECT_THAT(run.err, HasSubstr("msg=gRPC text="));
  for (const absl::string_view line : absl::StrSplit(run.err, '\n', absl::SkipEmpty())) {
    EXPECT_THAT(std::string(line), ::testing::StartsWith("time="));
  }
}

TEST(ProcessTest, ATakeoverSaysWhatItRead) {
  CoordinatorProcess coordinator;
  EXPECT_THAT(coordinator.log(), HasSubstr("msg=\"partition taken over\" partition=p0 epoch="));
  coordinator.Restart();
  // Of the one before.
  EXPECT_THAT(coordinator.log(), HasSubstr(" records="));
  EXPECT_THAT(coordinator.log(), HasSubstr(" seconds="));
}

TEST(ProcessTest, TwoDoNotShareOneFolder) {
  CoordinatorProcess first;
  const CoordinatorRun second =
      RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", first.Join("data")});
  EXPECT_EQ(second.exit_status, 1);
}

TEST(ProcessTest, TheNumberOfPartitionsStaysWhatItWas) {
  CoordinatorProcess first;
  EXPECT_EQ(first.Stop(), 0);
  const CoordinatorRun second = RunCoordinator(
      {"--listen", "127.0.0.1:0", "--data-dir", first.Join("data"), "--partitions", "2"});
  EXPECT_EQ(second.exit_status, 2);
  EXPECT_THAT(second.err, HasSubstr("--partitions 1"));
}

// One command to the private Redis of a coordinator that runs; an integer that it answers with.
int64_t Redis(const CoordinatorProcess& coordinator, const std::vector<std::string>& words) {
  redisContext* context = redisConnectUnix(coordinator.Join("data/redis.sock").c_str());
  TESSERA_CHECK(context != nullptr && context->err == 0);
  std::vector<const char*> argv;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    argv.push_back(word.data());
    sizes.push_back(word.size());
  }
  // Null where the server ends instead.
  auto* const reply = static_cast<redisReply*>(
      redisCommandArgv(context, static_cast<int>(argv.size()), argv.data(), sizes.data()));
  const int64_t number = reply == nullptr ? 0 : reply->integer;
  if (reply != nullptr) freeReplyObject(reply);
  redisFree(context);
  return number;
}

// Whoever starts it again and again has to be told that this does not help.
TEST(ProcessTest, ADamagedJournalEndsTheStartWithTheCodeForLostData) {
  for (const std::vector<std::string>& damage :
       {std::vector<std::string>{"XADD", "tessera:{p00}:log", "999999999-0", "r", "no record"},
        std::vector<std::string>{"DEL", "tessera:{p00}:log"}}) {
    CoordinatorProcess first;
    v1::Job job;
    ASSERT_TRUE(
        v1::JobService::NewStub(first.Channel())->CreateJob(Context().get(), GoodJob(), &job).ok());
    while (Redis(first, {"EXISTS", "tessera:{p00}:job:0"}) == 0) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    Redis(first, damage);
    first.Kill();
    const CoordinatorRun second =
        RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", first.Join("data")});
    EXPECT_EQ(second.exit_status, 4) << second.err;
    EXPECT_THAT(second.err, HasSubstr("cannot start"));
  }
}

// An empty folder looks like a new deployment, but for the mark.
TEST(ProcessTest, DataThatIsGoneOrAnotherDeploymentsIsNotTakenForANewDeployment) {
  CoordinatorProcess first;
  CoordinatorProcess other;
  const std::string data = first.Join("data");
  EXPECT_EQ(first.Stop(), 0);
  EXPECT_EQ(other.Stop(), 0);
  const auto run = [&] { return RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", data}); };

  std::filesystem::rename(data + "/appendonlydir", data + "/kept");
  const CoordinatorRun gone = run();
  EXPECT_EQ(gone.exit_status, 4) << gone.err;
  EXPECT_THAT(gone.err, HasSubstr(data + "/deployment"));
  EXPECT_THAT(gone.err, HasSubstr("the data is gone"));

  std::filesystem::remove_all(data + "/appendonlydir");
  std::filesystem::copy(other.Join("data/appendonlydir"), data + "/appendonlydir");
  const CoordinatorRun another = run();
  EXPECT_EQ(another.exit_status, 4) << another.err;
  EXPECT_THAT(another.err, HasSubstr("another deployment"));

  std::filesystem::remove_all(data + "/appendonlydir");
  std::filesystem::rename(data + "/kept", data + "/appendonlydir");
  first.Restart();  // Ends the test where it does not serve.

  // Who wants to begin anew can.
  EXPECT_EQ(first.Stop(), 0);
  std::filesystem::remove_all(data + "/appendonlydir");
  std::filesystem::remove(data + "/deployment");
  first.Restart();
}

// All ids that were given out rest on it, and a job that is created again would be another one.
TEST(ProcessTest, JournalsWithoutTheirDeploymentsKeyAreNotTakenOver) {
  CoordinatorProcess other;  // For its Redis.
  Redis(other, {"DEL", "tessera:deployment"});
  const CoordinatorRun run = RunCoordinator(
      {"--listen", "127.0.0.1:0", "--redis", absl::StrCat("unix:", other.Join("data/redis.sock"))});
  EXPECT_EQ(run.exit_status, 4) << run.err;
  EXPECT_THAT(run.err, HasSubstr("tessera:deployment"));
  EXPECT_EQ(Redis(other, {"EXISTS", "tessera:deployment"}), 0);
}

// A Redis that may evict the journal: trying again would not help.
TEST(ProcessTest, ARedisThatIsNotSetUpAsItHasToBeIsRefusedAtOnce) {
  CoordinatorProcess other;  // For its Redis.
  Redis(other, {"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  const CoordinatorRun run = RunCoordinator(
      {"--listen", "127.0.0.1:0", "--redis", absl::StrCat("unix:", other.Join("data/redis.sock"))});
  EXPECT_EQ(run.exit_status, 2);
  EXPECT_THAT(run.err, HasSubstr("noeviction"));
}

// Nor does it where the password is wrong.
TEST(ProcessTest, ARedisThatRefusesTheCredentialEndsTheStartAtOnce) {
  CoordinatorProcess other;  // For its Redis.
  Redis(other, {"CONFIG", "SET", "requirepass", "secret"});
  std::ofstream(other.Join("password")) << "wrong\n";
  std::vector<std::string> flags = {"--listen", "127.0.0.1:0", "--redis",
                                    absl::StrCat("unix:", other.Join("data/redis.sock"))};
  const CoordinatorRun without = RunCoordinator(flags);
  EXPECT_EQ(without.exit_status, 2);
  EXPECT_THAT(without.err, HasSubstr("NOAUTH"));
  flags.insert(flags.end(), {"--redis-password-file", other.Join("password")});
  const CoordinatorRun with = RunCoordinator(flags);
  EXPECT_EQ(with.exit_status, 2);
  EXPECT_THAT(with.err, HasSubstr("WRONGPASS"));
}

TEST(ProcessTest, TroubleWithTheStoreIsInTheLogWhenItBeginsAndWhenItEnds) {
  CoordinatorProcess coordinator;
  const auto jobs = v1::JobService::NewStub(coordinator.Channel());
  Redis(coordinator, {"CONFIG", "SET", "maxmemory", "1000"});
  const auto await = [&](absl::string_view text) {
    for (int i = 0; i < 2000 && !absl::StrContains(coordinator.log(), text); ++i) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_THAT(coordinator.log(), HasSubstr(std::string(text)));
  };
  const auto await_health = [&](const std::string& wanted) {
    for (int i = 0; i < 2000 && HealthOf(coordinator.Channel(), "") != wanted; ++i) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(HealthOf(coordinator.Channel(), ""), wanted);
  };
  std::thread caller([&] {
    v1::Job job;
    const grpc::Status status = jobs->CreateJob(Context().get(), GoodJob(), &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  await("msg=\"commits are suspended\" partition=p0 error=");
  // Who asks for a coordinator that can do its work is told, but not who wants to see what is wrong.
  const auto health = [&](const std::string& service) {
    return HealthOf(coordinator.Channel(), absl::StrCat("tessera.v1.", service));
  };
  await_health("NOT_SERVING");
  EXPECT_EQ(health("JobService"), "NOT_SERVING");
  EXPECT_EQ(health("WorkService"), "NOT_SERVING");
  EXPECT_EQ(health("OperatorService"), "SERVING");
  Redis(coordinator, {"CONFIG", "SET", "maxmemory", "0"});
  await("msg=\"commits go on\" partition=p0");
  await_health("SERVING");
  EXPECT_EQ(health("JobService"), "SERVING");
  EXPECT_EQ(health("WorkService"), "SERVING");
  caller.join();
  // All connections but the one that asks.
  Redis(coordinator, {"CLIENT", "KILL", "TYPE", "normal"});
  await("msg=\"no connection to the store\"");
  await("msg=\"connected to the store\"");
}

// With appendfsync always, a redis-server that cannot write its file exits.
TEST(ProcessTest, AFullDiskIsToldByACodeOfItsOwnAndLosesNothing) {
  // A limit on the size of its files stands for a disk that is full.
  const TempDir bin;
  {
    std::ofstream script(bin.Join("redis-server"));
    script << "#!/bin/bash\ntrap '' XFSZ\n[ -e " << bin.Join("full")
           << " ] && ulimit -f 64\nPATH=${PATH#*:} exec redis-server \"$@\"\n";
  }
  std::filesystem::permissions(bin.Join("redis-server"), std::filesystem::perms::owner_all);
  std::ofstream(bin.Join("full")).put('\n');
  const std::string path = std::getenv("PATH");
  setenv("PATH", absl::StrCat(bin.path(), ":", path).c_str(), 1);
  CoordinatorProcess coordinator;
  v1::Job job;
  const auto create = [&] {
    return v1::JobService::NewStub(coordinator.Channel())
        ->CreateJob(Context().get(), GoodJob(), &job);
  };
  ASSERT_TRUE(create().ok());
  const std::string name = job.name();
  Redis(coordinator, {"SET", "large", std::string(200'000, 'x')});
  EXPECT_EQ(coordinator.Wait(), 6);
  EXPECT_THAT(coordinator.log(), HasSubstr("disk is full"));
  std::filesystem::remove(bin.Join("full"));
  coordinator.Restart();
  ASSERT_TRUE(create().ok());
  EXPECT_EQ(job.name(), name);
  setenv("PATH", path.c_str(), 1);
}

TEST(ProcessTest, AMarkThatCannotBeWrittenEndsTheStartAtOnce) {
  CoordinatorProcess first;
  EXPECT_EQ(first.Stop(), 0);
  std::filesystem::remove(first.Join("data/deployment"));
  std::filesystem::create_symlink("/dev/full", first.Join("data/deployment.new"));
  const CoordinatorRun run =
      RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", first.Join("data")});
  EXPECT_EQ(run.exit_status, 6) << run.err;
}

// The lines of docs/redis.md that make the coordinator's user.
std::string DocumentedUser() {
  std::ifstream file(absl::StrCat(std::getenv("TESSERA_SOURCE_DIR"), "/docs/redis.md"));
  std::string command;
  for (std::string line; std::getline(file, line);) {
    absl::string_view text = line;
    if (!absl::ConsumePrefix(&text, "    ") ||
        (command.empty() && !absl::StartsWith(text, "ACL"))) {
      if (!command.empty()) break;
      continue;
    }
    absl::StrAppend(&command, command.empty() ? "" : " ", absl::StripAsciiWhitespace(text));
  }
  return absl::StrReplaceAll(command, {{"PASSWORD", "secret"}});
}

TEST(ProcessTest, ACoordinatorNeedsNoMoreThanTheUserOfTheDocuments) {
  RedisFixture redis;
  const TempDir folder;
  std::ofstream(folder.Join("password")) << "secret\n";
  ASSERT_EQ(redis.Command(DocumentedUser()), "OK");
  const std::vector<std::string> flags = {"--listen",
                                          "127.0.0.1:0",
                                          "--redis",
                                          absl::StrCat("unix:", redis.address().unix_path),
                                          "--redis-user",
                                          "tessera",
                                          "--redis-password-file",
                                          folder.Join("password")};
  {
    Program coordinator("tessera-coordinator", flags);
    const std::string line = coordinator.WaitForLine("serving on ");
    ASSERT_NE(line, "") << coordinator.err();
    const auto channel = grpc::CreateChannel(line.substr(11), grpc::InsecureChannelCredentials());
    v1::Job job;
    EXPECT_TRUE(v1::JobService::NewStub(channel)->CreateJob(Context().get(), GoodJob(), &job).ok());
    while (redis.Command("EXISTS tessera:{p00}:job:0") == "0") {
      absl::SleepFor(absl::Milliseconds(5));
    }
    coordinator.Signal(SIGTERM);
    EXPECT_EQ(coordinator.Wait().code, 0);
    EXPECT_EQ(redis.Command("ACL LOG"), "");
  }
  // Trying again would not help.
  ASSERT_EQ(redis.Command("ACL SETUSER tessera -hmget"), "OK");
  const CoordinatorRun refused = RunCoordinator(flags);
  EXPECT_EQ(refused.exit_status, 2) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("NOPERM"));
}

TEST(ProcessTest, ARedisThatForgetsIsWarnedOf) {
  RedisFixture redis;
  redis.Command("CONFIG SET appendonly no");
  Program coordinator("tessera-coordinator", {"--listen", "127.0.0.1:0", "--redis",
                                              absl::StrCat("unix:", redis.address().unix_path)});
  ASSERT_NE(coordinator.WaitForLine("serving on "), "") << coordinator.err();
  for (int i = 0; i < 2000 && !absl::StrContains(coordinator.err(), "level=warning"); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(coordinator.err(), HasSubstr("keeps no append-only file"));
}

// A power cut leaves that; so may a disk that has lost more.
TEST(ProcessTest, AFileThatWasCutIsToldOf) {
  CoordinatorProcess coordinator;
  v1::Job job;
  ASSERT_TRUE(v1::JobService::NewStub(coordinator.Channel())
                  ->CreateJob(Context().get(), GoodJob(), &job)
                  .ok());
  coordinator.Kill();
  EXPECT_THAT(coordinator.log(), Not(HasSubstr("broken end")));
  std::string file;
  for (const auto& entry :
       std::filesystem::directory_iterator(coordinator.Join("data/appendonlydir"))) {
    if (absl::EndsWith(entry.path().string(), ".incr.aof")) file = entry.path().string();
  }
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  coordinator.Restart();
  EXPECT_THAT(coordinator.log(), HasSubstr("broken end"));
}

// Ticks of the clock (10 ms, as a rule) that a process has used.
int64_t CpuTicks(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(file, text);
  // After the name, which is in parentheses: state, and utime and stime as the 12th and 13th.
  const std::vector<std::string> words = absl::StrSplit(text.substr(text.rfind(')') + 2), ' ');
  return std::stoll(words.at(11)) + std::stoll(words.at(12));
}

// It once never waited again when it had served anything.
TEST(ProcessTest, ACoordinatorWithNothingToDoSleeps) {
  CoordinatorProcess coordinator;
  v1::Job job;
  ASSERT_TRUE(v1::JobService::NewStub(coordinator.Channel())
                  ->CreateJob(Context().get(), GoodJob(), &job)
                  .ok());
  absl::SleepFor(absl::Milliseconds(500));  // What follows a commit may still go on.
  const int64_t before = CpuTicks(coordinator.pid());
  absl::SleepFor(absl::Seconds(1));
  EXPECT_LE(CpuTicks(coordinator.pid()) - before, 10);
}

TEST(ProcessTest, WhatWasAcknowledgedIsThereAfterAKill) {
  CoordinatorProcess coordinator;
  v1::Job job;
  ASSERT_TRUE(v1::JobService::NewStub(coordinator.Channel())
                  ->CreateJob(Context().get(), GoodJob(), &job)
                  .ok());
  coordinator.Restart();
  // The same request is a repeat, and its job the same one.
  v1::Job again;
  const grpc::Status status =
      v1::JobService::NewStub(coordinator.Channel())->CreateJob(Context().get(), GoodJob(), &again);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(again.name(), job.name());
  EXPECT_EQ(again.create_time().nanos(), job.create_time().nanos());
}

// Streams are told before they end: a watcher that it has to call again, a gateway that it should
// go.
TEST(ProcessTest, ATerminationDrainsStreamsAndEndsWithSuccess) {
  CoordinatorProcess coordinator({.flags = {"--drain-timeout", "20s"}});
  const auto channel = coordinator.Channel();
  v1::Job job;
  const auto jobs = v1::JobService::NewStub(channel);
  ASSERT_TRUE(jobs->CreateJob(Context().get(), GoodJob(), &job).ok());
  v1::WatchJobRequest watch;
  watch.set_name(job.name());
  const auto watch_context = Context();
  const auto statuses = jobs->WatchJob(watch_context.get(), watch);
  v1::JobStatus job_status;
  ASSERT_TRUE(statuses->Read(&job_status));

  const auto work_context = Context();
  const auto work = v1::WorkService::NewStub(channel)->Work(work_context.get());
  v1::WorkResponse response = Greet(*work);
  EXPECT_TRUE(response.has_welcome());

  coordinator.Signal(SIGTERM);
  while (statuses->Read(&job_status)) {
  }
  EXPECT_EQ(statuses->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  bool drained = false;
  while (!drained && work->Read(&response)) drained = response.has_drain();
  EXPECT_TRUE(drained);
  work->WritesDone();  // As a gateway does that is told to go.
  while (work->Read(&response)) {
  }
  EXPECT_TRUE(work->Finish().ok());
  EXPECT_EQ(coordinator.Wait(), 0);
}

// The end that was spoken of is no trouble, and comes when it was said to.
TEST(ProcessTest, AGatewayThatStaysIsToldWhenItsStreamEndsAndThatEndsWell) {
  CoordinatorProcess coordinator({.flags = {"--drain-timeout", "2s"}});
  const auto context = Context();
  const auto work = v1::WorkService::NewStub(coordinator.Channel())->Work(context.get());
  v1::WorkResponse response = Greet(*work);
  const int64_t before = absl::ToUnixSeconds(absl::Now());
  coordinator.Signal(SIGTERM);
  while (work->Read(&response)) {
    if (!response.has_drain()) continue;
    EXPECT_GE(response.drain().end_time().seconds(), before + 2);
    EXPECT_LE(response.drain().end_time().seconds(), absl::ToUnixSeconds(absl::Now()) + 2);
  }
  const grpc::Status status = work->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(coordinator.Wait(), 0);
}

TEST(ProcessTest, ACallThatWaitsForTheStoreDoesNotHoldTheEndUp) {
  CoordinatorProcess coordinator({.flags = {"--drain-timeout", "1s"}});
  Redis(coordinator, {"CONFIG", "SET", "maxmemory", "1000"});
  std::thread caller([channel = coordinator.Channel()] {
    v1::Job job;
    const grpc::Status status =
        v1::JobService::NewStub(channel)->CreateJob(Context().get(), GoodJob(), &job);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  });
  for (int i = 0; i < 2000 && !absl::StrContains(coordinator.log(), "are suspended"); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  coordinator.Signal(SIGTERM);
  EXPECT_EQ(coordinator.Wait(), 0);
  EXPECT_THAT(coordinator.log(), HasSubstr("calls that were not answered"));
  caller.join();
}

// Its Redis is not there, and it would wait for ten minutes.
TEST(ProcessTest, ASignalEndsAStartThatWaits) {
  const TempDir folder;
  Program program("tessera-coordinator", {"--listen", "127.0.0.1:0", "--redis",
                                          absl::StrCat("unix:", folder.Join("none.sock"))});
  for (int i = 0; i < 2000 && !absl::StrContains(program.err(), "no connection"); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Wait().code, 0);
}

TEST(ProcessTest, ASecondSignalEndsItAtOnce) {
  CoordinatorProcess coordinator({.flags = {"--drain-timeout", "1h"}});
  const auto context = Context();
  const auto work = v1::WorkService::NewStub(coordinator.Channel())->Work(context.get());
  v1::WorkResponse response = Greet(*work);
  coordinator.Signal(SIGTERM);
  bool drained = false;
  while (!drained && work->Read(&response)) drained = response.has_drain();
  EXPECT_TRUE(drained);
  coordinator.Signal(SIGINT);
  EXPECT_EQ(coordinator.Wait(), 5);
}

}  // namespace
}  // namespace tessera::testing
