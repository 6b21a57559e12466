// The whole command against a real coordinator: what a stranger types in the first hour works.
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tests/support/program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;
using tessera::testing::Ended;
using tessera::testing::Program;
using tessera::testing::RunProgram;

constexpr int kItems = 40;
constexpr int kWorkers = 8;

// One `tessera up` for all tests: each has jobs of its own.
class CliTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new tessera::testing::TempDir();
    up_ = Start("127.0.0.1:0");
    // Forty pairs, and eight people who answered all of them: five are right, three say yes.
    std::ofstream items(folder_->Join("pairs.csv"));
    std::ofstream votes(folder_->Join("votes.csv"));
    items << "item,text,hypothesis\n";
    votes << "item,worker,label,seconds\n";
    for (int i = 0; i < kItems; ++i) {
      items << "p" << i << ",\"text, " << i << "\",it follows\n";
      for (int w = 0; w < kWorkers; ++w) {
        votes << "p" << i << ",w" << w << "," << (w < 5 ? (i % 2 == 0 ? "yes" : "no") : "yes")
              << "," << 1 + (i + w) % 5 << "\n";
      }
    }
  }

  static void TearDownTestSuite() {
    up_->Signal(SIGINT);  // As Ctrl-C does.
    const Ended ended = up_->Wait();
    EXPECT_EQ(ended.code, 0) << ended.err;
    delete up_;
    delete folder_;
  }

  // Starts `tessera up` on the suite's data folder and says its address to the others.
  static Program* Start(const std::string& listen) {
    auto* up = new Program(
        "tessera", {"up", "--json", "--data-dir", folder_->Join("data"), "--listen", listen});
    const std::string line = up->WaitForLine("address");
    if (line.empty()) {
      ADD_FAILURE() << "tessera up did not come up: " << up->Wait(absl::ZeroDuration()).err;
      return up;
    }
    const Json json = Json::parse(line);
    address_ = json["address"];
    coordinator_ = json["pid"];
    setenv("TESSERA_SERVER", address_.c_str(), 1);
    return up;
  }

  static Ended Tessera(const std::vector<std::string>& words) {
    return RunProgram("tessera", words);
  }

  static Json TesseraJson(std::vector<std::string> words) {
    words.push_back("--json");
    const Ended ended = Tessera(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return ended.code == 0 ? Json::parse(ended.out) : Json();
  }

  static std::vector<Json> Lines(const std::string& text) {
    std::vector<Json> lines;
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      lines.push_back(Json::parse(std::string(line)));
    }
    return lines;
  }

  static std::string File(const std::string& name, const std::string& text) {
    const std::string path = folder_->Join(name);
    std::ofstream(path) << text;
    return path;
  }

  // Submits the pairs and returns the job's name.
  static std::string Submit(std::vector<std::string> more = {}) {
    std::vector<std::string> words = {
        "submit", folder_->Join("pairs.csv"), "--classes", "no,yes", "--budget", "10", "--price",
        "0.01"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = Tessera(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.out, StartsWith("tenants/default/jobs/"));
    return std::string(absl::StripTrailingAsciiWhitespace(ended.out));
  }

  static std::string Votes() { return folder_->Join("votes.csv"); }

  static inline tessera::testing::TempDir* folder_ = nullptr;
  static inline Program* up_ = nullptr;
  static inline std::string address_;
  static inline pid_t coordinator_ = -1;
};

TEST_F(CliTest, AJobGoesFromFileToResults) {
  const Json plan = TesseraJson({"plan", folder_->Join("pairs.csv"), "--classes", "no,yes",
                                 "--budget", "10", "--price", "0.01"});
  EXPECT_EQ(plan["items"], kItems);
  EXPECT_EQ(plan["currency_code"], "USD");
  EXPECT_TRUE(plan["budget_suffices"].get<bool>());

  const std::string job = Submit({"--name", "first", "--request-id", "first-job"});
  EXPECT_EQ(Submit({"--name", "first", "--request-id", "first-job"}), job);  // A repeat.
  const Json planned = TesseraJson({"plan", job});
  EXPECT_EQ(planned["items"], kItems);
  EXPECT_THAT(Tessera({"plan", job}).out, HasSubstr("40 items"));

  Program watch("tessera", {"watch", job, "--json"});
  const Json replay = TesseraJson({"replay", job, Votes(), "--speed", "200", "--seed", "3"});
  EXPECT_EQ(replay["end"], "job_ended");
  const Ended watched = watch.Wait();
  EXPECT_EQ(watched.code, 0) << watched.err;
  const std::vector<Json> statuses = Lines(watched.out);
  ASSERT_FALSE(statuses.empty());
  const Json last = statuses.back()["job"];
  EXPECT_EQ(last["state"], "JOB_STATE_FINALISED");
  EXPECT_EQ(last["counts"]["items_resolved"], kItems);
  EXPECT_EQ(last["counts"]["answers"], replay["answers_accepted"]);
  const Json& ledger = last["ledger"];
  EXPECT_EQ(ledger["approved_micros"].get<int64_t>() + ledger["earned_micros"].get<int64_t>() +
                ledger["settled_micros"].get<int64_t>(),
            replay["earned_micros"].get<int64_t>());
  EXPECT_EQ(replay["earned_micros"], 10'000 * replay["answers_accepted"].get<int64_t>());

  const Ended csv = Tessera({"results", job});
  EXPECT_EQ(csv.code, 0);
  const std::vector<std::string> lines = absl::StrSplit(csv.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 1u + kItems);
  EXPECT_THAT(lines[0], StartsWith("item_key,value,confidence,"));
  int right = 0;
  for (int i = 0; i < kItems; ++i) {
    EXPECT_THAT(lines[1 + static_cast<size_t>(i)],
                AllOf(StartsWith(absl::StrCat("p", i, ",")), HasSubstr(",final,")));
    right += absl::StrContains(lines[1 + static_cast<size_t>(i)],
                               absl::StrCat("p", i, i % 2 == 0 ? ",yes," : ",no,"));
  }
  EXPECT_GE(right, kItems * 9 / 10);

  const Json story = TesseraJson({"explain", job, "p1"});
  EXPECT_EQ(story["item"]["key"], "p1");
  EXPECT_EQ(story["answers"].size(), story["result"]["answers"].get<size_t>());
  EXPECT_THAT(Tessera({"explain", job, "p1"}).out, HasSubstr("posterior = prior x exp"));

  const std::string id = job.substr(job.rfind('/') + 1);
  EXPECT_THAT(Tessera({"jobs"}).out,
              AllOf(HasSubstr(id), HasSubstr("first"), HasSubstr("finalised")));
  EXPECT_EQ(TesseraJson({"jobs", id})["name"], job);
  const Json workers = TesseraJson({"workers", "--job", id});
  EXPECT_EQ(workers["workers"].size(), static_cast<size_t>(last["counts"]["workers"]));
  EXPECT_THAT(Tessera({"watch", id}).out, HasSubstr("finalised"));  // Plain lines into a pipe.

  EXPECT_EQ(Tessera({"delete", id}).code, 0);
  EXPECT_EQ(Tessera({"delete", id}).code, 3);
}

TEST_F(CliTest, ResultsAreFollowedAndResumed) {
  const std::string job = Submit({"--paused"});
  Program follow("tessera", {"results", job, "--follow", "--json"});
  EXPECT_THAT(Tessera({"resume", job}).out, HasSubstr("is running"));
  TesseraJson({"replay", job, Votes(), "--speed", "max"});
  const Ended followed = follow.Wait();
  EXPECT_EQ(followed.code, 0) << followed.err;
  std::map<std::string, Json> newest;
  for (const Json& result : Lines(followed.out)) {
    Json& kept = newest[result["item_key"]];
    // As docs/cli.md says; an item may end without another revision.
    if (kept.is_null() || kept["revision"] <= result["revision"]) kept = result;
  }
  EXPECT_EQ(newest.size(), static_cast<size_t>(kItems));
  for (const Json& result : Lines(Tessera({"results", job, "--json"}).out)) {
    const Json& streamed = newest[result["item_key"]];
    EXPECT_EQ(streamed["revision"], result["revision"]);
    EXPECT_EQ(streamed["value"], result["value"]);
    EXPECT_EQ(result["finality"], "FINALITY_FINAL");
  }

  const std::string token = Json::parse(followed.err)["resume_token"];
  const Ended rest = Tessera({"results", job, "--resume-token", token, "--json"});
  EXPECT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(rest.out, "");  // Nothing is newer.
}

TEST_F(CliTest, AJobsCourseIsChanged) {
  const std::string job = Submit();
  EXPECT_THAT(Tessera({"pause", job}).out, HasSubstr("is paused: requested"));
  EXPECT_EQ(TesseraJson(
                {"update", job, "--budget", "2.50", "--priority", "3"})["policy"]["budget_micros"],
            2'500'000);
  EXPECT_THAT(Tessera({"resume", job}).out, HasSubstr("is running"));
  EXPECT_EQ(Tessera({"delete", job}).code, 5);
  EXPECT_THAT(Tessera({"cancel", job, "--wait"}).out, HasSubstr("is cancelled"));
  EXPECT_EQ(Tessera({"watch", job}).code, 5);
  EXPECT_EQ(Tessera({"resume", job}).code, 5);

  const std::string other = Submit();
  EXPECT_THAT(Tessera({"finalise", other, "--wait"}).out, HasSubstr("is finalised"));
  const Ended unresolved = Tessera({"results", other, "--state", "unresolved"});
  EXPECT_EQ(std::count(unresolved.out.begin(), unresolved.out.end(), '\n'), 1 + kItems);
}

TEST_F(CliTest, JsonLinesAndTemplatesAreTakenToo) {
  const std::string items = File("items.jsonl",
                                 "{\"key\":\"a\",\"content\":[{\"name\":\"t\",\"text\":\"x\"}]}\n"
                                 "{\"id\":\"b\",\"text\":\"y\"}\n");
  const std::string task = File(
      "task.json",
      R"({"title":"Is it so?","fields":[{"name":"f","choice":{"classes":[{"value":"no"},{"value":"yes"}]}}]})");
  const Json job = TesseraJson({"submit", items, "--template", task, "--budget", "1"});
  EXPECT_EQ(job["counts"]["items"], 2);
  EXPECT_EQ(job["template"]["title"], "Is it so?");
  EXPECT_TRUE(job["sealed"].get<bool>());
}

// What a stranger wrote does not command the terminal of whoever looks at it.
TEST_F(CliTest, TextOfOthersIsShownAndNotObeyed) {
  const std::string items = File(
      "evil.jsonl", "{\"key\":\"a\",\"content\":[{\"name\":\"t\",\"text\":\"x\\u001b[2J\"}]}\n");
  const std::string task = File(
      "evil.json",
      R"({"title":"Is \u202eit?","version":"1\u202e2","fields":[{"name":"f","choice":{"classes":[{"value":"no"},{"value":"yes"}]}}]})");
  const Json job = TesseraJson({"submit", items, "--template", task, "--budget", "1"});
  EXPECT_EQ(job["template"]["version"], "1\u202e2");
  EXPECT_THAT(Tessera({"jobs", job["name"]}).out, HasSubstr("template Is �it?, version 1�2\n"));
  EXPECT_THAT(Tessera({"explain", job["name"], "a"}).out, HasSubstr("  t: x�[2J\n"));
}

TEST_F(CliTest, WrongInputsEndWithTheCodeThatSaysWhatToDo) {
  const std::string job = Submit();
  const struct {
    std::vector<std::string> words;
    int code;
    const char* message;
  } cases[] = {
      {{"watch", "0-nothing"}, 3, "tessera jobs"},
      {{"explain", job, "nothing"}, 3, "tessera results"},
      {{"results", job, "--resume-token", "nonsense"}, 2, "RESUME_TOKEN_INVALID"},
      {{"update", job, "--name", "a\x1b[2J"}, 2, "must be one line, without control characters"},
      {{"update", job, "--target", "2"}, 2, "--target: '2' must be above 0.5 and below 1"},
      {{"submit", File("empty.csv", "id,a\n"), "--classes", "a,b", "--budget", "1"}, 2, "no items"},
      {{"submit", File("bad.csv", "id,a\n1,\"x\n"), "--classes", "a,b", "--budget", "1"},
       2,
       "line 2: the quote that opens here is never closed"},
      {{"submit", folder_->Join("pairs.csv"), "--classes", "a,a", "--budget", "1"}, 2, "classes"},
      {{"submit", folder_->Join("pairs.csv"), "--classes", "a,b", "--budget", "1", "--pool", "x"},
       5,
       "POOL_NOT_FOUND"},
      {{"submit", File("twice.csv", "id,a\n1,x\n1,y\n"), "--classes", "a,b", "--budget", "1"},
       2,
       "twice.csv: line 3: the key '1' stands in line 2 already, with another content"},
      {{"submit", File("tab.csv", "id,a\n1,x\n\"2\t\",y\n"), "--classes", "a,b", "--budget", "1"},
       2,
       "tab.csv: line 3: the key '2\\t' has a control character"},
      {{"submit",
        File("large.jsonl", absl::StrCat("{\"id\":1,\"a\":\"", std::string(70'000, 'x'), "\"}\n")),
        "--classes", "a,b", "--budget", "1"},
       2,
       "large.jsonl: line 1: the item has"},
      {{"submit", File("gold.csv", "id,a,g\n1,x,c\n"), "--gold-column", "g", "--classes", "a,b",
        "--budget", "1"},
       2,
       "gold.csv: line 2: the gold answer 'c' is none of the job's classes"},
      {{"replay", job, File("v.csv", "item,worker,label\np0,w0,maybe\np1,w0,yes\np2,w1,perhaps\n")},
       2,
       "v.csv: 2 of 3 recorded answers fit none of the job's classes (no, yes), such as maybe, "
       "perhaps\nnext: mend the recording, or leave those answers out with --skip-unfit"},
      {{"replay", job, File("w.csv", "item,worker,label\np0,w0,maybe\n"), "--skip-unfit"},
       2,
       "is it the right recording"},
      {{"replay", job, File("u.csv", "item,worker,label\nq0,w0,yes\nq1,w0,yes\n")},
       3,
       "none of the 2 recorded items, such as 'q"},
      {{"workers", "local/nobody"}, 3, ""},
      {{"partitions", "0"}, 3, "their ids are p0, p1"},
  };
  const size_t jobs = TesseraJson({"jobs"})["jobs"].size();
  for (const auto& c : cases) {
    const Ended ended = Tessera(c.words);
    EXPECT_EQ(ended.code, c.code) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(c.message));
    EXPECT_EQ(ended.out, "");
  }
  EXPECT_EQ(TesseraJson({"jobs"})["jobs"].size(), jobs);  // Nothing was left behind.
}

// An item that only the server finds too large: the job that was begun is finished or taken away.
TEST_F(CliTest, ASubmissionThatBreaksOffSaysHowToGoOnAndHowToCleanUp) {
  std::string text = "id,a\n1,x\n2,y\n";
  const std::string good = text + "3,z\n";
  absl::StrAppend(&text, "3,", std::string(70'000, 'z'), "\n");
  const std::string file = File("broken.csv", text);
  std::vector<std::string> words = {"submit", file,       "--classes", "a,b",   "--deadline",
                                    "2h",     "--budget", "1",         "--json"};
  words.insert(words.end(), {"--item-bytes-max", "100000"});
  const Ended broken = Tessera(words);
  EXPECT_EQ(broken.code, 2) << broken.err;
  const Json error = Json::parse(broken.err)["error"];
  EXPECT_THAT(std::string(error["message"]),
              AllOf(HasSubstr("broken.csv: line 4: "), HasSubstr("is not sealed")));
  const std::string next = error["next"];
  ASSERT_THAT(next, AllOf(HasSubstr("--request-id "), HasSubstr("--deadline "),
                          HasSubstr("tessera cancel "), HasSubstr("tessera delete ")));

  // As it says: the file is mended, and the same job goes on.
  File("broken.csv", good);
  std::vector<std::string> following = {"submit", file, "--classes", "a,b", "--budget", "1"};
  for (const char* flag : {"--request-id", "--deadline"}) {
    const std::string rest = next.substr(next.find(flag) + std::strlen(flag) + 1);
    following.insert(following.end(), {flag, rest.substr(0, rest.find(' '))});
  }
  const Json job = TesseraJson(following);
  EXPECT_THAT(std::string(error["message"]), HasSubstr(std::string(job["name"])));
  EXPECT_TRUE(job["sealed"].get<bool>());
  EXPECT_EQ(job["counts"]["items"], 3);
  EXPECT_EQ(Tessera({"cancel", job["name"], "--wait"}).code, 0);
  EXPECT_EQ(Tessera({"delete", job["name"]}).code, 0);
}

// The first Ctrl-C is heard while items are being sent, and what is left behind is told.
TEST_F(CliTest, ASubmissionThatIsInterruptedStopsAndSaysWhatItLeaves) {
  const std::string file = folder_->Join("many.csv");
  {
    std::ofstream items(file);
    items << "id,a\n";
    for (int i = 0; i < 500'000; ++i) items << i << ",x\n";
  }
  Program submit("tessera",
                 {"submit", file, "--classes", "a,b", "--budget", "1", "--name", "interrupted"});
  const auto job = [] {
    const Json jobs = TesseraJson({"jobs"});
    for (const Json& each : jobs["jobs"]) {
      if (each["display_name"] == "interrupted") return each;
    }
    return Json();
  };
  while (job().is_null() && submit.Running()) {
  }
  submit.Signal(SIGINT);
  const Ended ended = submit.Wait();
  EXPECT_EQ(ended.code, 130) << ended.err;
  EXPECT_EQ(ended.out, "");
  const std::string name = job()["name"];
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr(absl::StrCat("the job ", name, " is there, holds ")),
                    HasSubstr("is not sealed"), HasSubstr("next: the same command with "),
                    HasSubstr("--request-id ")));
  EXPECT_FALSE(job()["sealed"].get<bool>());
  EXPECT_EQ(Tessera({"cancel", name, "--wait"}).code, 0);
  EXPECT_EQ(Tessera({"delete", name}).code, 0);
}

// A repeat with another file must not be told that its items are in the job.
TEST_F(CliTest, AJobIsSealedWithTheFilesOwnCountOnly) {
  const std::vector<std::string> more = {"--classes", "a,b",          "--budget",
                                         "1",         "--request-id", "counted-job"};
  const auto submit = [&](const std::string& text) {
    std::vector<std::string> words = {"submit", File("counted.csv", text)};
    words.insert(words.end(), more.begin(), more.end());
    return Tessera(words);
  };
  const std::string three = "id,a\n1,x\n2,y\n2,y\n";  // One of them twice.
  const Ended first = submit(three);
  EXPECT_EQ(first.code, 0) << first.err;
  const Ended shorter = submit("id,a\n1,x\n");
  EXPECT_EQ(shorter.code, 5) << shorter.err;
  EXPECT_EQ(shorter.out, "");
  EXPECT_THAT(shorter.err, AllOf(HasSubstr("ITEM_COUNT_DIFFERS"), HasSubstr("and is sealed"),
                                 HasSubstr("give the file that the job was made of")));
  EXPECT_EQ(submit(three).out, first.out);
}

// Nor with as many items as that one has, whichever of them is another.
TEST_F(CliTest, ARepeatIsComparedAndRefusesAnotherFile) {
  const auto words = [&](const std::string& text) {
    return std::vector<std::string>{
        "submit", File("same.csv", text), "--classes", "a,b", "--budget", "1", "--price",
        "0.01",   "--request-id",         "same-job"};
  };
  const std::string file = "id,a\n1,x\n2,y\n3,z\n";
  const Ended first = Tessera(words(file));
  EXPECT_EQ(first.code, 0) << first.err;
  const Ended again = Tessera(words(file));
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(again.err, first.err);

  for (const auto& [text, line] : {std::pair("id,a\n4,x\n2,y\n3,z\n", "line 2: "),
                                   std::pair("id,a\n1,x\n2,other\n3,z\n", "line 3: "),
                                   std::pair("id,a\n1,x\n2,y\n4,z\n", "line 4: ")}) {
    const Ended other = Tessera(words(text));
    EXPECT_EQ(other.code, 5) << other.err;
    EXPECT_EQ(other.out, "");
    EXPECT_THAT(other.err,
                AllOf(HasSubstr(line), HasSubstr("ITEM_DIFFERS"), HasSubstr("and is sealed"),
                      HasSubstr("next: give the file that the job was made of"),
                      HasSubstr("another --request-id, or none, makes a new job")));
  }
}

// Which name a file has is not what makes it another one, unless the job is named.
TEST_F(CliTest, AMendedFileMayHaveAnotherName) {
  const auto submit = [&](const std::string& name, const std::string& text,
                          std::vector<std::string> more) {
    std::vector<std::string> words = {"submit",       File(name, text),   "--classes",
                                      "a,b",          "--item-bytes-max", "100000",
                                      "--request-id", "mended-job"};
    words.insert(words.end(), more.begin(), more.end());
    return Tessera(words);
  };
  const std::string begun = "id,a\n1,x\n";
  const Ended broken = submit(
      "first.csv", absl::StrCat(begun, "2,", std::string(70'000, 'x'), "\n"), {"--budget", "1"});
  ASSERT_EQ(broken.code, 2) << broken.err;

  const std::string mended = begun + "2,y\n";
  const Ended other = submit("second.csv", mended, {"--budget", "2", "--json"});
  EXPECT_EQ(other.code, 5) << other.err;
  const Json error = Json::parse(other.err)["error"];
  EXPECT_EQ(error["reason"], "REQUEST_ID_REUSED");
  EXPECT_THAT(std::string(error["next"]), AllOf(HasSubstr("--name"), HasSubstr("second job")));
  const std::string job = error["metadata"]["job"];
  EXPECT_EQ(TesseraJson({"jobs", job})["display_name"], "first");
  EXPECT_EQ(submit("second.csv", mended, {"--budget", "1", "--name", "second"}).code, 5);

  const Ended gone_on = submit("second.csv", mended, {"--budget", "1"});
  EXPECT_EQ(gone_on.code, 0) << gone_on.err;
  EXPECT_EQ(gone_on.out, job + "\n");
  EXPECT_EQ(TesseraJson({"jobs", job})["counts"]["items"], 2);
}

// A submission that broke off is not gone on with by another file: the one would be mixed into the
// other, and the job sealed with both.
TEST_F(CliTest, AnInterruptedSubmissionIsGoneOnWithByItsOwnFileOnly) {
  std::string text = "id,a\n";
  for (int i = 0; i < 1'200; ++i) absl::StrAppend(&text, i, ",x\n");
  const auto words = [&](const std::string& all) {
    return std::vector<std::string>{
        "submit", File("mixed.csv", all), "--classes", "a,b",          "--budget",
        "1",      "--item-bytes-max",     "100000",    "--request-id", "mixed-job"};
  };
  // The first batch is in; the second one is refused.
  const Ended broken = Tessera(words(absl::StrCat(text, "bad,", std::string(70'000, 'x'), "\n")));
  ASSERT_EQ(broken.code, 2) << broken.err;
  ASSERT_THAT(broken.err, AllOf(HasSubstr("mixed.csv: line 1202: "), HasSubstr("holds 1,000 items"),
                                HasSubstr("is not sealed")));
  std::string other = text;
  other.replace(other.find("\n500,x"), 6, "\n500,y");
  const Ended mixed = Tessera(words(other));
  EXPECT_EQ(mixed.code, 5) << mixed.err;
  EXPECT_THAT(mixed.err, AllOf(HasSubstr("mixed.csv: line 502: "), HasSubstr("ITEM_DIFFERS"),
                               HasSubstr("holds 1,000 items and is not sealed"),
                               HasSubstr("next: give the file that the job was made of")));
  std::vector<std::string> mended = words(text);
  mended.emplace_back("--json");
  const Ended whole = Tessera(mended);
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(Json::parse(whole.out)["counts"]["items"], 1'200);
}

TEST_F(CliTest, AKeyThatBeginsWithADashIsExplainedAfterTwoDashes) {
  const Ended submitted =
      Tessera({"submit", File("dash.csv", "id,a\n-7,x\n"), "--classes", "a,b", "--budget", "1"});
  const std::string job(absl::StripTrailingAsciiWhitespace(submitted.out));
  const Ended story = Tessera({"explain", job, "--json", "--", "-7"});
  EXPECT_EQ(story.code, 0) << story.err;
  EXPECT_EQ(Json::parse(story.out)["item"]["key"], "-7");
}

// Items whose answer is known are asked like the others, so they cost like the others.
TEST_F(CliTest, GoldIsPlannedForAsItIsAsked) {
  const std::string file = File("gold.csv", "id,a,g\n1,x,a\n2,y,\n");
  const Json plan = TesseraJson(
      {"plan", file, "--gold-column", "g", "--classes", "a,b", "--budget", "1", "--price", "0.01"});
  EXPECT_EQ(plan["items"], 2);
  const Json job = TesseraJson({"submit", file, "--gold-column", "g", "--classes", "a,b",
                                "--budget", "1", "--price", "0.01"});
  EXPECT_EQ(TesseraJson({"plan", job["name"]})["items"], 2);
}

TEST_F(CliTest, ABudgetThatBringsNoItemToItsEndIsWarnedOf) {
  const auto with = [](std::vector<std::string> words) {
    words.insert(words.begin() + 1,
                 {folder_->Join("pairs.csv"), "--classes", "no,yes", "--price", "0.01"});
    return words;
  };
  EXPECT_THAT(Tessera(with({"plan", "--budget", "0.01"})).err,
              HasSubstr("warning: the budget left, 0.01 USD, brings no item to its end: one takes "
                        "at least 2 answers at 0.01 USD"));
  EXPECT_EQ(Tessera(with({"plan", "--budget", "10"})).err, "");
  EXPECT_EQ(TesseraJson(with({"plan", "--budget", "0.01"}))["warnings"].size(), 1u);
  EXPECT_TRUE(TesseraJson(with({"plan", "--budget", "10"}))["warnings"].empty());
  EXPECT_TRUE(
      TesseraJson(with({"plan", "--budget", "0.01", "--answers-max", "1"}))["warnings"].empty());

  const Ended submitted = Tessera(with({"submit", "--budget", "0.01"}));
  EXPECT_EQ(submitted.code, 0);
  EXPECT_THAT(submitted.err, HasSubstr("warning: the budget left, 0.01 USD, brings no item"));
  const Json job = TesseraJson(with({"submit", "--budget", "0.01"}));
  EXPECT_EQ(job["warnings"].size(), 1u);
  EXPECT_EQ(TesseraJson({"plan", job["name"]})["warnings"].size(), 1u);
  EXPECT_TRUE(TesseraJson({"plan", job["name"], "--budget", "1"})["warnings"].empty());
  const std::string twice = File("repeated.csv", "id,a\n1,x\n1,x\n2,y\n");
  EXPECT_THAT(Tessera({"submit", twice, "--classes", "a,b", "--budget", "1"}).err,
              AllOf(HasSubstr("warning: 1 item more than once in the file"),
                    HasSubstr("warning: workers are paid nothing"), HasSubstr("\n2 items; next:")));
  // A plan counts what a job would have, and warns of the same.
  const Json plan = TesseraJson({"plan", twice, "--classes", "a,b", "--price", "0.01"});
  EXPECT_EQ(plan["items"], 2);
  ASSERT_EQ(plan["warnings"].size(), 1u);
  EXPECT_THAT(std::string(plan["warnings"][0]), StartsWith("1 item more than once in the file"));
  const std::string umlaut = File("umlaut.csv", "id,größe\n1,x\n");
  EXPECT_THAT(Tessera({"plan", umlaut, "--classes", "a,b", "--price", "0.01"}).err,
              HasSubstr("warning: the column 'größe' is shown as 'gre': "));
  // Without a budget of one's own, none is spoken of.
  EXPECT_THAT(Tessera(with({"plan"})).out, HasSubstr("no budget is given; "));
  EXPECT_FALSE(TesseraJson(with({"plan"})).contains("remaining_micros"));
  EXPECT_TRUE(TesseraJson(with({"plan", "--budget", "10"})).contains("remaining_micros"));
}

TEST_F(CliTest, OperatorsSeePoolsWorkersAndPartitions) {
  EXPECT_EQ(TesseraJson({"pools"})["pools"][0]["name"], "pools/default");
  EXPECT_THAT(Tessera({"pools"}).out, HasSubstr("default"));
  const Json partitions = TesseraJson({"partitions"})["partitions"];
  ASSERT_FALSE(partitions.empty());
  const std::string name = partitions[0]["name"];
  const Json one = TesseraJson({"partitions", name});
  EXPECT_FALSE(one["state_digest"].get<std::string>().empty());
  EXPECT_THAT(Tessera({"partitions", name}).out, HasSubstr("digest"));
  EXPECT_EQ(Tessera({"workers"}).code, 0);
}

// What the job cannot use is left out, and what it does not want any more is not waited for.
TEST_F(CliTest, AReplayEndsByItselfWhateverItsRecordingHolds) {
  const std::string job = Submit();
  const std::string votes =
      File("some.csv", "item,worker,label\np0,w0,yes\np1,w0,maybe\nq0,w0,yes\np2,w1,no\n");
  const Json replay = TesseraJson({"replay", job, votes, "--speed", "max", "--skip-unfit"});
  EXPECT_EQ(replay["end"], "nothing_left");
  EXPECT_EQ(replay["answers_accepted"], 2);
  EXPECT_EQ(replay["answers_of_other_labels"], 1);
  EXPECT_EQ(replay["answers_of_other_items"], 1);
  // The same for people.
  const Ended again = Tessera({"replay", Submit(), votes, "--speed", "max", "--skip-unfit"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err,
              AllOf(HasSubstr("1 recorded answer fits none of the job's classes, and is left"),
                    HasSubstr("1 of 3 recorded items is not in the job, and is left")));
  EXPECT_THAT(again.out, HasSubstr("2 answers accepted"));
}

// What a crowd that was sent home holds stays open; the next one of the same name goes on with it.
TEST_F(CliTest, AReplayThatIsInterruptedSaysWhatStaysOpenAndIsGoneOnWith) {
  const std::string job = Submit({"--answers-max", "2"});
  const auto open = [&job] {
    return TesseraJson({"jobs", job})["counts"]["assignments_open"].get<int>();
  };
  Program replay("tessera", {"replay", job, Votes(), "--speed", "0.01", "--arrival-window", "0"});
  while (open() == 0 && replay.Running()) {
  }
  replay.Signal(SIGTERM);
  const Ended stopped = replay.Wait();
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_THAT(stopped.out,
              AllOf(HasSubstr(" open until 2"), HasSubstr("the same command goes on")));
  EXPECT_GT(open(), 0);
  EXPECT_EQ(TesseraJson({"replay", job, Votes(), "--speed", "max"})["end"], "job_ended");

  // Whoever waits for an end is told what for, and whoever comes too early for it, too.
  const std::string other = Submit({"--answers-max", "2"});
  Program again("tessera", {"replay", other, Votes(), "--speed", "0.01", "--arrival-window", "0"});
  while (TesseraJson({"jobs", other})["counts"]["assignments_open"] == 0 && again.Running()) {
  }
  Program cancel("tessera", {"cancel", other, "--wait"});
  while (TesseraJson({"jobs", other})["state"] != "JOB_STATE_CLOSING" && cancel.Running()) {
  }
  const Ended early = Tessera({"delete", other});
  EXPECT_EQ(early.code, 5);
  EXPECT_THAT(early.err, AllOf(HasSubstr("next: it is ending: waiting for "),
                               HasSubstr(" at the latest; `tessera watch ")));
  while (!absl::StrContains(cancel.err(), "closing") && cancel.Running()) {
  }
  cancel.Signal(SIGINT);
  EXPECT_THAT(cancel.Wait().err, AllOf(HasSubstr("waiting for "), HasSubstr(" open assignment"),
                                       HasSubstr(" at the latest\n")));
  again.Signal(SIGINT);
  EXPECT_EQ(again.Wait().code, 130);
}

// A crowd at work, its coordinator killed again and again: the job ends, and what was acknowledged
// to the gateway is what the job has.
TEST_F(CliTest, AReplaySurvivesACoordinatorThatIsKilled) {
  const std::string job = Submit();
  Program replay("tessera",
                 {"replay", job, Votes(), "--speed", "25", "--json", "--items-max", "3"});
  const std::string listen = address_;
  for (int round = 0; round < 2; ++round) {
    // Not a moment but an event: some answers more than before are committed.
    const int64_t before = TesseraJson({"jobs", job})["counts"]["answers"];
    for (int tries = 0; tries < 500; ++tries) {
      const Json now = TesseraJson({"jobs", job});
      if (now["counts"]["answers"] > before || now["state"] != "JOB_STATE_RUNNING") break;
    }
    kill(coordinator_, SIGKILL);
    EXPECT_EQ(up_->Wait().code, 1);  // It says so, and ends.
    delete up_;
    up_ = Start(listen);
  }
  const Ended ended = replay.Wait();
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json outcome = Json::parse(ended.out);
  EXPECT_EQ(outcome["end"], "job_ended") << ended.err;
  EXPECT_GE(outcome["reconnects"], 1);
  const Json last = TesseraJson({"jobs", job});
  EXPECT_EQ(last["state"], "JOB_STATE_FINALISED");
  EXPECT_EQ(last["counts"]["items_resolved"], kItems);
  EXPECT_EQ(last["counts"]["answers"], outcome["answers_accepted"]);
}

}  // namespace
}  // namespace tessera::client
