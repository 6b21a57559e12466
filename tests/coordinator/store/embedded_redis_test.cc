// Whoever runs one coordinator and no Redis trusts this: the server is there when it is needed, is
// gone when its owner is, however that ended, and never loses what was acknowledged.
#include "coordinator/store/embedded_redis.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

extern char** environ;

namespace tessera::store {
namespace {

using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::tessera::testing::TempDir;
using ::testing::HasSubstr;

// One command to the server at `address`; the reply as text.
std::string Command(const RedisAddress& address, const char* command) {
  redisContext* context = redisConnectUnix(address.unix_path.c_str());
  TESSERA_CHECK(context != nullptr && context->err == 0);
  auto* reply = static_cast<redisReply*>(redisCommand(context, command));
  TESSERA_CHECK(reply != nullptr);
  std::string text;
  if (reply->type == REDIS_REPLY_INTEGER) text = absl::StrCat(reply->integer);
  if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) text = reply->element[1]->str;
  if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) text = reply->str;
  freeReplyObject(reply);
  redisFree(context);
  return text;
}

std::unique_ptr<EmbeddedRedis> StartIn(const std::string& folder) {
  auto redis = EmbeddedRedis::Start({.data_folder = folder});
  TESSERA_CHECK_OK(redis);
  return *std::move(redis);
}

// A process of its own that owns an embedded server: this program, called with --own.
class Owner {
 public:
  explicit Owner(const std::string& folder) {
    std::array<int, 2> fds;
    TESSERA_CHECK(pipe2(fds.data(), O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    std::string program = "/proc/self/exe";
    std::string flag = "--own";
    std::string argument = folder;
    std::array<char*, 4> argv = {program.data(), flag.data(), argument.data(), nullptr};
    TESSERA_CHECK(posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ) ==
                  0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    output_ = fds[0];
  }
  ~Owner() {
    Kill();
    close(output_);
  }

  // Until its server answers; that server's process.
  pid_t AwaitServer() {
    std::string line;
    char byte;
    while (read(output_, &byte, 1) == 1 && byte != '\n') line.push_back(byte);
    pid_t server = 0;
    TESSERA_CHECK(absl::SimpleAtoi(line, &server)) << line;
    return server;
  }

  // Until then, or not as long.
  void AwaitServerFor(int millis) {
    pollfd watched{.fd = output_, .events = POLLIN};
    poll(&watched, 1, millis);
  }

  void Kill() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  int output_ = -1;
};

// A process that is not our child, watched until it ends.
class ProcessWatch {
 public:
  explicit ProcessWatch(pid_t pid) : fd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {
    TESSERA_CHECK(fd_ >= 0);
  }
  ~ProcessWatch() { close(fd_); }
  bool EndsWithin(int millis) {
    pollfd watched{.fd = fd_, .events = POLLIN};
    return poll(&watched, 1, millis) == 1;
  }

 private:
  int fd_;
};

TEST(EmbeddedRedisTest, ItIsPrivateDurableAndNeverForgets) {
  TempDir folder;
  const auto redis = StartIn(folder.Join("data"));
  EXPECT_TRUE(redis->running());
  EXPECT_EQ(redis->address().unix_path, folder.Join("data/redis.sock"));
  EXPECT_EQ(Command(redis->address(), "CONFIG GET port"), "0");
  EXPECT_EQ(Command(redis->address(), "CONFIG GET appendonly"), "yes");
  EXPECT_EQ(Command(redis->address(), "CONFIG GET appendfsync"), "always");
  EXPECT_EQ(Command(redis->address(), "CONFIG GET save"), "");
  EXPECT_EQ(Command(redis->address(), "CONFIG GET maxmemory-policy"), "noeviction");
  namespace fs = std::filesystem;
  EXPECT_EQ(fs::status(folder.Join("data")).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(folder.Join("data/redis.sock")).permissions(), fs::perms::owner_all);
}

TEST(EmbeddedRedisTest, WhatWasAcknowledgedIsThereAfterAStopAndAfterAKill) {
  TempDir folder;
  auto redis = StartIn(folder.path());
  EXPECT_EQ(Command(redis->address(), "INCR n"), "1");
  redis->Stop();
  EXPECT_FALSE(redis->running());
  redis->Stop();
  redis.reset();
  redis = StartIn(folder.path());
  EXPECT_EQ(Command(redis->address(), "INCR n"), "2");
  redis->Kill();
  EXPECT_FALSE(redis->running());
  redis.reset();
  redis = StartIn(folder.path());
  EXPECT_EQ(Command(redis->address(), "INCR n"), "3");
}

TEST(EmbeddedRedisTest, AFolderHasOneOwner) {
  TempDir folder;
  auto redis = StartIn(folder.path());
  const EmbeddedRedis::Options options = {.data_folder = folder.path(),
                                          .owner_timeout = absl::ZeroDuration()};
  EXPECT_THAT(EmbeddedRedis::Start(options),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(absl::StrCat(getpid()))));
  EXPECT_TRUE(redis->running());
  redis.reset();
  EXPECT_THAT(EmbeddedRedis::Start(options), IsOk());
}

TEST(EmbeddedRedisTest, APathTooLongForASocketWorks) {
  TempDir folder;
  const std::string deep =
      folder.Join(absl::StrCat(std::string(90, 'a'), "/", std::string(90, 'b')));
  const auto redis = StartIn(deep);
  EXPECT_LE(redis->address().unix_path.size(), 107u);
  EXPECT_EQ(Command(redis->address(), "INCR n"), "1");
  EXPECT_TRUE(std::filesystem::exists(absl::StrCat(deep, "/redis.sock")));
}

TEST(EmbeddedRedisTest, BadOptionsAreNamed) {
  TempDir folder;
  EXPECT_THAT(EmbeddedRedis::Start({}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(EmbeddedRedis::Start({.data_folder = folder.path(), .appendfsync = "sometimes"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sometimes")));
  EXPECT_THAT(EmbeddedRedis::Start({.data_folder = folder.path(), .server_path = "/nowhere/redis"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/redis")));
  EXPECT_THAT(EmbeddedRedis::Start({.data_folder = "/proc/nowhere"}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("/proc/nowhere")));
}

TEST(EmbeddedRedisTest, AServerThatEndsAtOnceIsReportedWithItsLog) {
  TempDir folder;
  const std::string server = folder.Join("redis-server");
  std::ofstream(server) << "#!/bin/sh\necho no room for anything\nexit 3\n";
  std::filesystem::permissions(server, std::filesystem::perms::owner_all);
  EXPECT_THAT(EmbeddedRedis::Start({.data_folder = folder.Join("data"), .server_path = server}),
              StatusIs(absl::StatusCode::kUnavailable,
                       ::testing::AllOf(HasSubstr("status 3"), HasSubstr("no room for anything"))));
  EXPECT_THAT(EmbeddedRedis::Start({.data_folder = folder.Join("data")}), IsOk());
}

TEST(EmbeddedRedisTest, TheEndOfALongLogBeginsWithALine) {
  TempDir folder;
  const std::string server = folder.Join("redis-server");
  std::ofstream(server)
      << "#!/bin/sh\nfor i in $(seq 1000 1999); do echo a line $i; done\nexit 3\n";
  std::filesystem::permissions(server, std::filesystem::perms::owner_all);
  EXPECT_THAT(EmbeddedRedis::Start({.data_folder = folder.Join("data"), .server_path = server}),
              StatusIs(absl::StatusCode::kUnavailable,
                       ::testing::AllOf(HasSubstr("the end of its log:\na line 1"),
                                        HasSubstr("\na line 1999\n"))));
}

TEST(EmbeddedRedisTest, AnUnexpectedEndIsTold) {
  TempDir folder;
  const auto redis = StartIn(folder.path());
  std::mutex mutex;
  std::condition_variable changed;
  absl::Status told;
  redis->OnUnexpectedEnd([&](absl::Status why) {
    const std::lock_guard lock(mutex);
    told = std::move(why);
    changed.notify_all();
  });
  kill(redis->pid(), SIGKILL);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !told.ok(); });
  }
  EXPECT_THAT(told, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("signal 9")));
  EXPECT_FALSE(redis->running());
  absl::Status told_late;
  redis->OnUnexpectedEnd([&](absl::Status why) { told_late = std::move(why); });
  EXPECT_EQ(told_late, told);
}

TEST(EmbeddedRedisTest, AnEndThatWasAskedForIsNotTold) {
  TempDir folder;
  const auto redis = StartIn(folder.path());
  redis->OnUnexpectedEnd([](const absl::Status& why) { ADD_FAILURE() << why; });
  redis->Stop();
  EXPECT_FALSE(redis->running());  // It did end; nobody was told.
}

TEST(EmbeddedRedisTest, ItEndsWithAnOwnerThatIsKilled) {
  TempDir folder;
  Owner owner(folder.path());
  ProcessWatch server(owner.AwaitServer());
  EXPECT_FALSE(server.EndsWithin(0));
  owner.Kill();
  EXPECT_TRUE(server.EndsWithin(50'000));
}

TEST(EmbeddedRedisTest, OwnersMayBeKilledAgainAndAgain) {
  TempDir folder;
  for (int round = 1; round <= 5; ++round) {
    {
      Owner owner(folder.path());
      owner.AwaitServer();
      // Killed with the server at work, which then still has its file to close.
    }
    const auto redis = StartIn(folder.path());
    EXPECT_EQ(Command(redis->address(), "INCR n"), absl::StrCat(round));
  }
}

TEST(EmbeddedRedisTest, OwnersMayBeKilledWhileTheyStart) {
  TempDir folder;
  for (int round = 1; round <= 8; ++round) {
    {
      Owner owner(folder.path());
      // Somewhere between its first instruction and a server that answers.
      owner.AwaitServerFor(4 * round);
    }
    const auto redis = StartIn(folder.path());
    EXPECT_EQ(Command(redis->address(), "INCR n"), absl::StrCat(round));
  }
}

TEST(EmbeddedRedisTest, AnOrphanThatDoesNotEndIsEnded) {
  TempDir folder;
  Owner owner(folder.path());
  const pid_t orphan = owner.AwaitServer();
  ProcessWatch watch(orphan);
  kill(orphan, SIGSTOP);  // Deaf to SIGTERM.
  owner.Kill();
  EXPECT_FALSE(watch.EndsWithin(0));
  EXPECT_THAT(EmbeddedRedis::Start(
                  {.data_folder = folder.path(), .predecessor_timeout = absl::Milliseconds(100)}),
              IsOk());
  EXPECT_TRUE(watch.EndsWithin(0));
}

}  // namespace
}  // namespace tessera::store

int main(int argc, char** argv) {
  if (argc == 3 && absl::string_view(argv[1]) == "--own") {
    const auto redis = tessera::store::EmbeddedRedis::Start({.data_folder = argv[2]});
    TESSERA_CHECK_OK(redis);
    std::cout << (*redis)->pid() << std::endl;
    while (true) pause();
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
