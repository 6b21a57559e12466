// The command where its coordinator is a special one, or none at all.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "tests/support/program.h"
#include "tests/support/redis_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;
using tessera::testing::Ended;
using tessera::testing::Program;
using tessera::testing::RunProgram;

// What is not there is said; it does not look like a journal without records.
TEST(CliInspectTest, WhatIsNotThereIsNotShownAsEmpty) {
  const tessera::testing::TempDir folder;
  const std::string data = folder.Join("data");
  const auto inspect = [&data](std::vector<std::string> words) {
    words.insert(words.begin(), {"inspect", "--data-dir", data});
    return RunProgram("tessera", words);
  };
  EXPECT_EQ(inspect({}).code, 3);
  {
    Program up("tessera", {"up", "--json", "--data-dir", data, "--listen", "127.0.0.1:0"});
    const std::string line = up.WaitForLine("address");
    ASSERT_NE(line, "") << up.Wait(absl::ZeroDuration()).err;
    std::ofstream(folder.Join("items.csv")) << "id,t\na,x\n";
    EXPECT_EQ(RunProgram("tessera", {"submit", folder.Join("items.csv"), "--classes", "no,yes",
                                     "--budget", "1", "--server", Json::parse(line)["address"]})
                  .code,
              0);
    up.Signal(SIGINT);
    EXPECT_EQ(up.Wait().code, 0);
  }
  EXPECT_THAT(inspect({"--pages"}).out, HasSubstr("bytes"));
  const Ended partition = inspect({"--partition", "4000"});
  EXPECT_EQ(partition.code, 3);
  EXPECT_THAT(partition.err, HasSubstr("there is no partition 4000: the deployment has "));
  const Ended beyond = inspect({"--from", "999999999-0"});
  EXPECT_EQ(beyond.code, 3);
  EXPECT_EQ(beyond.out, "");
  EXPECT_THAT(beyond.err, HasSubstr("no record from 999999999-0 on: the journal ends with "));
}

// Redis before 7 keeps one file: the snapshot, if any, with what came after it. That is the same
// data.
TEST(CliInspectTest, TheFileOfAnOlderRedisIsADataFolderAsWell) {
  const tessera::testing::TempDir folder;
  const std::string data = folder.Join("data");
  {
    Program up("tessera", {"up", "--json", "--data-dir", data, "--listen", "127.0.0.1:0"});
    ASSERT_NE(up.WaitForLine("address"), "") << up.Wait(absl::ZeroDuration()).err;
    up.Signal(SIGINT);
    EXPECT_EQ(up.Wait().code, 0);
  }
  const auto inspect = [&data] { return RunProgram("tessera", {"inspect", "--data-dir", data}); };
  const Ended before = inspect();
  EXPECT_EQ(before.code, 0) << before.err;
  if (std::filesystem::exists(data + "/appendonlydir")) {
    std::ofstream one(data + "/appendonly.aof", std::ios::binary);
    for (const char* part : {".base.rdb", ".incr.aof"}) {
      for (const auto& file : std::filesystem::directory_iterator(data + "/appendonlydir")) {
        if (!absl::EndsWith(file.path().string(), part)) continue;
        one << std::ifstream(file.path(), std::ios::binary).rdbuf();
      }
    }
    one.close();
    std::filesystem::remove_all(data + "/appendonlydir");
  }
  const Ended after = inspect();
  EXPECT_EQ(after.code, 0) << after.err;
  EXPECT_EQ(after.out, before.out);
}

// Such a coordinator leaves no mark in its folder. And the redis-server of a folder asks nobody who
// they are, whatever the environment has for a Redis of one's own.
TEST(CliInspectTest, AFolderThatIsSyncedEverySecondIsReadWithoutAPassword) {
  const tessera::testing::TempDir folder;
  const std::string data = folder.Join("data");
  {
    Program up("tessera", {"up", "--json", "--data-dir", data, "--listen", "127.0.0.1:0", "--",
                           "--appendfsync", "everysec"});
    ASSERT_NE(up.WaitForLine("address"), "") << up.Wait(absl::ZeroDuration()).err;
    up.Signal(SIGINT);
    EXPECT_EQ(up.Wait().code, 0);
  }
  setenv("TESSERA_REDIS_USER", "reader", 1);
  setenv("TESSERA_REDIS_PASSWORD", "secret", 1);
  const Ended read = RunProgram("tessera", {"inspect", "--data-dir", data, "--digest"});
  unsetenv("TESSERA_REDIS_USER");
  unsetenv("TESSERA_REDIS_PASSWORD");
  EXPECT_EQ(read.code, 0) << read.err;
}

// A Redis of one's own has users, and the one of the documents is not the default one.
TEST(CliInspectTest, ARedisIsReadAsTheUserThatIsNamed) {
  tessera::testing::RedisFixture redis;
  const std::string address = absl::StrCat("unix:", redis.address().unix_path);
  ASSERT_EQ(redis.Command("HSET tessera:deployment partitions 1"), "1");
  ASSERT_EQ(redis.Command("ACL SETUSER reader on >secret ~* &* +@all"), "OK");
  setenv("TESSERA_REDIS_PASSWORD", "secret", 1);
  EXPECT_EQ(RunProgram("tessera", {"inspect", "--redis", address, "--redis-user", "reader"}).code,
            0);
  setenv("TESSERA_REDIS_USER", "reader", 1);
  EXPECT_EQ(RunProgram("tessera", {"inspect", "--redis", address}).code, 0);
  // What Redis refuses is nothing that a coordinator could mend.
  ASSERT_EQ(redis.Command("ACL SETUSER reader -hget"), "OK");
  const Ended refused = RunProgram("tessera", {"inspect", "--redis", address});
  unsetenv("TESSERA_REDIS_USER");
  unsetenv("TESSERA_REDIS_PASSWORD");
  EXPECT_EQ(refused.code, 4);
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("NOPERM"), HasSubstr("next: is a Redis serving at unix:"),
                    HasSubstr("--redis-user"), Not(HasSubstr("a coordinator"))));
}

// A shell that runs a script has its background jobs ignore Ctrl-C.
TEST(CliInterruptTest, ABackgroundJobOfAScriptIsInterruptedToo) {
  const tessera::testing::TempDir folder;
  const std::string file = folder.Join("items.csv");
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  Program submit("/bin/sh", {"-c", "trap '' INT; exec \"$0\" \"$@\"",
                             absl::StrCat(std::getenv("TESSERA_BIN_DIR"), "/tessera"), "submit",
                             file, "--classes", "a,b", "--budget", "1"});
  const int writer = open(file.c_str(), O_WRONLY | O_CLOEXEC);  // Once it reads.
  ASSERT_GE(writer, 0);
  submit.Signal(SIGINT);
  EXPECT_EQ(submit.Wait().code, 130);
  close(writer);
}

// Names of files may be any bytes; what programs read is text all the same.
TEST(CliUpTest, AFolderWhoseNameIsNotUtf8IsServedAndSaid) {
  const tessera::testing::TempDir folder;
  Program up("tessera",
             {"up", "--json", "--data-dir", folder.Join("\xff"), "--listen", "127.0.0.1:0"});
  const std::string line = up.WaitForLine("address");
  ASSERT_NE(line, "") << up.Wait(absl::ZeroDuration()).err;
  EXPECT_THAT(std::string(Json::parse(line)["data_dir"]), HasSubstr("\xef\xbf\xbd"));
  up.Signal(SIGINT);
  EXPECT_EQ(up.Wait().code, 0);
}

// How `up` ends is how its coordinator ended.
TEST(CliUpTest, ItEndsWithTheStatusOfItsCoordinator) {
  const tessera::testing::TempDir folder;
  const auto words = [&folder](const std::string& data, const std::string& listen) {
    return std::vector<std::string>{"up",       "--json", "--data-dir", folder.Join(data),
                                    "--listen", listen};
  };
  Program up("tessera", words("data", "127.0.0.1:0"));
  const std::string line = up.WaitForLine("address");
  ASSERT_NE(line, "") << up.Wait(absl::ZeroDuration()).err;
  const Ended taken = RunProgram("tessera", words("other", Json::parse(line)["address"]));
  EXPECT_EQ(taken.code, 1);
  EXPECT_THAT(taken.err, HasSubstr("Address already in use"));
  EXPECT_FALSE(std::filesystem::exists(folder.Join("other")));  // Nothing was begun.
  EXPECT_EQ(RunProgram("tessera", words("data", "127.0.0.1:0")).code, 1);
  EXPECT_EQ(RunProgram("tessera", words("other", "nonsense")).code, 2);
  // Its Redis is gone: the store has failed.
  const std::string log = up.err();
  const size_t at = log.find(" pid=");
  ASSERT_NE(at, std::string::npos) << log;
  kill(std::stoi(log.substr(at + 5)), SIGKILL);
  EXPECT_EQ(up.Wait().code, 4);
}

// As its coordinator does: who sends it to the one means the other.
TEST(CliUpTest, AHangUpIsForItsCoordinator) {
  const tessera::testing::TempDir folder;
  std::ofstream(folder.Join("tokens")) << "";
  Program up("tessera", {"up", "--json", "--data-dir", folder.Join("data"), "--listen",
                         "127.0.0.1:0", "--", "--tokens-file", folder.Join("tokens")});
  ASSERT_NE(up.WaitForLine("address"), "") << up.Wait(absl::ZeroDuration()).err;
  up.Signal(SIGHUP);
  while (!absl::StrContains(up.err(), "tokens read again") && up.Running()) {
  }
  EXPECT_TRUE(up.Running());
  up.Signal(SIGINT);
  EXPECT_EQ(up.Wait().code, 0);
}

TEST(CliUpTest, AHangUpDuringTheStartIsForItsCoordinatorToo) {
  const tessera::testing::TempDir folder;
  std::ofstream(folder.Join("tokens")) << "";
  tessera::testing::RedisFixture redis;
  redis.Stop();
  Program up("tessera", {"up", "--json", "--data-dir", folder.Join("data"), "--listen",
                         "127.0.0.1:0", "--", "--tokens-file", folder.Join("tokens"), "--redis",
                         absl::StrCat("unix:", redis.address().unix_path)});
  while (!absl::StrContains(up.err(), "no connection") && up.Running()) {
  }
  up.Signal(SIGHUP);
  redis.Restart();
  ASSERT_NE(up.WaitForLine("address"), "") << up.Wait(absl::ZeroDuration()).err;
  for (int i = 0; i < 2000 && !absl::StrContains(up.err(), "tokens read again"); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(up.err(), HasSubstr("tokens read again"));
  up.Signal(SIGINT);
  EXPECT_EQ(up.Wait().code, 0);
}

// Denied, one reads which role is missing and where a token gets it.
TEST(CliWithTokensTest, AReplayTakesARequesterAndAGateway) {
  const tessera::testing::TempDir folder;
  const auto file = [&folder](const std::string& name, const std::string& text) {
    std::ofstream(folder.Join(name)) << text;
    return folder.Join(name);
  };
  const std::string tokens =
      file("tokens",
           // SHA-256 of `requester`, `gateway` and `both`.
           "sha256:2591c674ea8032f0f8ce8298598954bd208929f7a61bcdfcef96940b8deb603a "
           "requester *\n"
           "sha256:4ea5ee68fea05586106890ded5733820bb77d919cda27bc4b8139b7cd33b8889 "
           "gateway *\n"
           "sha256:ff7772053abf7d817d6eec229a09e14f0d1552f1cb0aeedb2ac73784ac2d2e39 "
           "requester,gateway *\n");
  Program up("tessera", {"up", "--json", "--data-dir", folder.Join("data"), "--listen",
                         "127.0.0.1:0", "--", "--tokens-file", tokens});
  const std::string line = up.WaitForLine("address");
  ASSERT_NE(line, "") << up.Wait(absl::ZeroDuration()).err;
  const std::string address = Json::parse(line)["address"];
  const auto run = [&](const std::string& token, std::vector<std::string> words) {
    words.insert(words.end(), {"--server", address, "--token-file", file(token, token)});
    return RunProgram("tessera", words);
  };
  const Ended submitted = run("both", {"submit", file("items.csv", "id,t\na,x\n"), "--classes",
                                       "no,yes", "--budget", "1", "--answers-max", "1"});
  ASSERT_EQ(submitted.code, 0) << submitted.err;
  const std::string job(absl::StripTrailingAsciiWhitespace(submitted.out));
  const std::string votes = file("votes.csv", "item,worker,label\na,w,yes\n");
  for (const auto& [token, missing] :
       {std::pair("requester", "gateway"), {"gateway", "requester"}}) {
    const Ended denied = run(token, {"replay", job, votes, "--speed", "max"});
    EXPECT_EQ(denied.code, 6) << denied.err;
    EXPECT_THAT(denied.err, AllOf(HasSubstr(absl::StrCat("the role ", missing)),
                                  HasSubstr("`requester,gateway *`"), HasSubstr("--token-file")));
  }
  const Ended replayed = run("both", {"replay", job, votes, "--speed", "max"});
  EXPECT_EQ(replayed.code, 0) << replayed.err;
  EXPECT_THAT(replayed.out, HasSubstr("the job has ended"));
  up.Signal(SIGINT);
  EXPECT_EQ(up.Wait().code, 0);
}

TEST(CliWithoutACoordinatorTest, OneProgramNeedsNoOther) {
  EXPECT_EQ(RunProgram("tessera", {"--help"}).code, 0);
  const Ended down = RunProgram("tessera", {"jobs", "--server", "127.0.0.1:1", "--timeout", "0.1"});
  EXPECT_EQ(down.code, 4);
  EXPECT_THAT(down.err, HasSubstr("tessera up"));
}

}  // namespace
}  // namespace tessera::client
