// The command's frame: what is typed is understood or refused with a way on, and scripts can rely
// on exit codes, formats and help.
#include "client/cli/command.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <streambuf>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/cli/demo.h"
#include "client/cli/job_flags.h"
#include "client/cli/money.h"
#include "common/errors.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran Call(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream err;
  Ran ran;
  ran.code = RunCommand(words, out, err);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

TEST(MoneyTest, AmountsAreExact) {
  EXPECT_THAT(ParseMoney("12.50"), IsOkAndHolds(12'500'000));
  EXPECT_THAT(ParseMoney("0.000001"), IsOkAndHolds(1));
  EXPECT_THAT(ParseMoney("40"), IsOkAndHolds(40'000'000));
  EXPECT_THAT(ParseMoney(".5"), IsOkAndHolds(500'000));
  EXPECT_THAT(ParseMoney("1000000000"), IsOkAndHolds(1'000'000'000'000'000));
  for (const char* text : {"", ".", "-1", "1e3", "1,5", "1.2.3", "0.0000001", "1000000001", "$5",
                           "99999999999999999999999"}) {
    EXPECT_THAT(ParseMoney(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(MoneyTest, AmountsAreWrittenWithAsManyDecimalsAsItTakes) {
  EXPECT_EQ(FormatMoney(12'500'000, "USD"), "12.50 USD");
  EXPECT_EQ(FormatMoney(5'000), "0.005");
  EXPECT_EQ(FormatMoney(0), "0.00");
  EXPECT_EQ(FormatMoney(-3'000'000), "-3.00");
  EXPECT_EQ(FormatMoney(std::numeric_limits<int64_t>::min()), "-9223372036854.775808");
  EXPECT_EQ(FormatCount(1'234'567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatCount(999), "999");
}

TEST(CommandTest, EveryCommandHasHelpWithAnExample) {
  for (const Command& command : Commands()) {
    const Ran ran = Call({std::string(command.name), "--help"});
    EXPECT_EQ(ran.code, kExitOk);
    EXPECT_THAT(ran.out, AllOf(HasSubstr("usage: tessera " + std::string(command.name)),
                               HasSubstr("Example:\n  tessera " + std::string(command.name)),
                               HasSubstr("--server")))
        << command.name;
    EXPECT_EQ(Call({"help", std::string(command.name)}).out, ran.out);
    for (const Flag& flag : command.flags) {
      EXPECT_THAT(ran.out, HasSubstr(absl::StrCat("  --", flag.name)));
    }
  }
  for (const Command& command : Commands()) {
    EXPECT_THAT(Call({"--help"}).out, HasSubstr(absl::StrCat("\n  ", command.name, " ")));
  }
}

TEST(CommandTest, TheHelpKnowsEveryExitCode) {
  for (const int code : {0, 1, 2, 3, 4, 5, 6, 130}) {
    EXPECT_THAT(HelpText(), HasSubstr(absl::StrCat(code, ": ")));
  }
}

TEST(CommandTest, HelpFitsOnALine) {
  std::istringstream all(HelpText());
  std::string each;
  while (std::getline(all, each)) EXPECT_LE(each.size(), 100u) << each;
  for (const Command& command : Commands()) {
    std::istringstream help(CommandHelp(command));
    std::string line;
    while (std::getline(help, line)) EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST(CommandTest, ACommandLineThatIsNotUnderstoodEndsWithTwoAndSaysTheNextStep) {
  const struct {
    std::vector<std::string> words;
    const char* message;
  } cases[] = {
      {{"wach", "j"}, "there is no command 'wach'; did you mean watch?"},
      {{"xyzzy"}, "there is no command 'xyzzy'\n"},
      {{"watch"}, "something is missing; usage: tessera watch JOB"},
      {{"watch", "a", "b"}, "that is too much; usage: tessera watch JOB"},
      {{"watch", "a", "--jsom"}, "has no flag --jsom; did you mean --json?"},
      {{"watch", "a", "-v"}, "what is '-v'?"},
      {{"watch", "a", "--server"}, "--server needs a value: --server HOST:PORT"},
      {{"watch", "a", "--json=1"}, "--json takes no value"},
      {{"watch", "a", "--tenant=a", "--tenant", "b"}, "--tenant is given twice"},
      {{"submit", "a.csv", "--budget", "1"}, "either --template FILE or --classes"},
      {{"submit", "a.csv", "--classes", "a"}, "--classes needs two or more"},
      {{"submit", "a.csv", "--classes", "a,b"}, "say what it may cost: --budget"},
      {{"submit", "a.csv", "--classes", "a,b", "--budget", "x"}, "--budget: 'x' is no amount"},
      {{"submit", "a.csv", "--classes", "a,b", "--budget", "1", "--split", "x"}, "--split: 'x'"},
      {{"submit", "a.csv", "--classes", "a,b", "--budget", "1", "--target", "x"}, "--target: 'x'"},
      {{"submit", "a.csv", "--classes", "a,b", "--budget", "1", "--deadline", "x"},
       "--deadline: 'x' is no instant"},
      {{"submit", "a.csv", "--classes", "a,b", "--budget", "1", "--pool-price", "x"},
       "'x' is not POOL=MONEY"},
      {{"results", "j", "--format", "xml"}, "neither csv nor jsonl"},
      {{"results", "j", "--state", "done"}, "there is no state 'done'"},
      {{"jobs", "--state", "open"}, "there is no state 'open'"},
      {{"update", "j"}, "say what to change"},
      {{"workers", "--block", "x"}, "which worker?"},
      {{"workers", "ann"}, "write PLATFORM/WORKER"},
      {{"replay", "j", "v.csv", "--speed", "0"}, "--speed: '0' is neither"},
      {{"demo", "--seeds", "0"}, "--seeds: '0' must be from 1 to 1000"},
      {{"completion", "ksh"}, "there is bash, zsh and fish"},
      {{"jobs", "--timeout", "soon"}, "--timeout: 'soon' is no duration"},
  };
  for (const auto& c : cases) {
    const Ran ran = Call(c.words);
    EXPECT_EQ(ran.code, kExitUsage) << c.message;
    EXPECT_EQ(ran.out, "") << c.message;
    EXPECT_THAT(ran.err, AllOf(HasSubstr(c.message), HasSubstr("--help`")));
  }
}

// Taken as "not given", they would become defaults behind the back of whoever wrote them.
TEST(CommandTest, ZeroAndNothingAreRefusedWhereTheyMeanNothing) {
  const struct {
    std::vector<std::string> more;  // After `submit a.csv --classes a,b --budget 1`.
    const char* message;
  } cases[] = {
      {{"--pool="}, "--pool is empty: write --pool POOL, or leave it out"},
      {{"--pool", ","}, "--pool is empty"},
      {{"--skill", ""}, "--skill is empty"},
      {{"--name="}, "--name is empty"},
      {{"--request-id="}, "--request-id is empty"},
      {{"--key-column="}, "--key-column is empty"},
      {{"--target", "0"}, "--target: '0' must be above 0.5 and below 1"},
      {{"--target", "0.5"}, "--target: '0.5' must be above 0.5"},
      {{"--target", "1"}, "--target: '1' must be above 0.5 and below 1"},
      {{"--target", "95"}, "--target: '95' must be"},
      {{"--target", "nan"}, "--target: 'nan' must be"},
      {{"--answers-min", "0"}, "--answers-min: '0' must be from 1 to 1000"},
      {{"--answers-max", "0"}, "--answers-max: '0' must be from 1 to 1000"},
      {{"--answers-max", "4294967298"}, "--answers-max: '4294967298' must be from 1 to 1000"},
      {{"--answers-min", "3", "--answers-max", "2"}, "must not be below --answers-min"},
      {{"--answers-per-worker-max", "0"}, "--answers-per-worker-max: '0' must be from 1"},
      {{"--bundle-max", "0"}, "--bundle-max: '0' must be from 1 to 1000"},
      {{"--priority", "0"}, "--priority: '0' must be above 0, at most 1000"},
      {{"--priority", "-1"}, "--priority: '-1' must be"},
      {{"--value", "0"}, "--value: '0' must be 0.000001 or more"},
      {{"--pool-price", "=1"}, "is not POOL=MONEY"},
      {{"--pool-price", "a=1,pools/a=2"}, "'pools/a=2' gives that pool a second price"},
      {{"--timeout", "0"}, "--timeout: '0' must be above 0"},
      {{"--server", ""}, "--server is empty"},
      {{"--token-file="}, "--token-file is empty"},
  };
  const tessera::testing::TempDir folder;
  const std::string file = folder.Join("a.csv");
  std::ofstream(file) << "id,a\n1,x\n";
  for (const auto& c : cases) {
    std::vector<std::string> words = {"submit", file, "--classes", "a,b", "--budget", "1"};
    words.insert(words.end(), c.more.begin(), c.more.end());
    const Ran ran = Call(words);
    EXPECT_EQ(ran.code, kExitUsage) << c.message;
    EXPECT_THAT(ran.err, HasSubstr(c.message));
  }
  for (const auto& [words, message] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"submit", "a.csv", "--classes", "a,b", "--budget", "0"}, "--budget: '0' must be"},
           {{"plan", "a.csv", "--classes", "a,b", "--budget", "0"}, "--budget: '0' must be"},
           {{"update", "j", "--budget", "0"}, "--budget: '0' must be"},
           {{"update", "j", "--target", "0"}, "--target: '0' must be"},
           {{"update", "j", "--answers-max", "0"}, "--answers-max: '0' must be"},
           {{"update", "j", "--deadline="}, "--deadline is empty"},
           {{"replay", "j", "v.csv", "--items-max", "0"}, "--items-max: '0' must be"},
           {{"replay", "j", "v.csv", "--gateway="}, "--gateway is empty"},
           {{"results", "j", "--state="}, "--state is empty"},
           {{"jobs", "--tenant", ""}, "--tenant is empty"},
           {{"inspect", "--limit", "0"}, "--limit: '0' must be 1 or more"},
           {{"inspect", "--redis-user", "u"}, "say which one with --redis ADDRESS"},
           {{"inspect", "--redis", "h:1", "--redis-user", "u"}, "TESSERA_REDIS_PASSWORD"},
           {{"inspect", "--redis", "h:1", "--data-dir", "d"}, "not both"}}) {
    const Ran ran = Call(words);
    EXPECT_EQ(ran.code, kExitUsage) << message;
    EXPECT_THAT(ran.err, HasSubstr(message));
  }
}

TEST(CommandTest, WordsAfterTwoDashesAreArguments) {
  std::ostringstream out;
  Invocation call(&out, &out);
  ASSERT_THAT(call.Parse(*FindCommand("explain"), {"--json", "job", "--", "-7"}), testing::IsOk());
  EXPECT_THAT(call.arguments(), ElementsAre("job", "-7"));
  EXPECT_EQ(Call({"explain", "job", "--", "-7", "more"}).code, kExitUsage);
  EXPECT_THAT(Call({"explain", "job", "-7"}).err, HasSubstr("stands after --"));
  Invocation up(&out, &out);
  ASSERT_THAT(up.Parse(*FindCommand("up"), {"--", "--no-trim"}), testing::IsOk());
  EXPECT_THAT(up.rest(), ElementsAre("--no-trim"));
}

// As /dev/full does.
class FullBuffer : public std::streambuf {
  int_type overflow(int_type) override { return traits_type::eof(); }
};

TEST(CommandTest, OutputThatCouldNotBeWrittenIsAFailure) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--help"}, {"completion", "bash"}, {"jobs", "--help", "--json"}}) {
    FullBuffer full;
    std::ostream out(&full);
    std::ostringstream err;
    EXPECT_EQ(RunCommand(words, out, err), kExitFailed);
    EXPECT_THAT(err.str(), HasSubstr("the output could not be written"));
  }
}

TEST(CommandTest, NothingToDoShowsTheHelpAndIsAUsageError) {
  const Ran ran = Call({});
  EXPECT_EQ(ran.code, kExitUsage);
  EXPECT_EQ(ran.err, HelpText());
}

TEST(CommandTest, ErrorsAreOneJsonObjectWithJson) {
  const Ran ran = Call({"watch", "--json"});
  EXPECT_EQ(ran.code, kExitUsage);
  const auto json = nlohmann::json::parse(ran.err);
  EXPECT_EQ(json["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(json["error"]["exit_code"], 2);
  EXPECT_EQ(json["error"]["next"], "see `tessera watch --help`");
}

TEST(CommandTest, AFileThatIsNotThereEndsWithThree) {
  const Ran ran = Call({"submit", "/nowhere/a.csv", "--classes", "a,b", "--budget", "1"});
  EXPECT_EQ(ran.code, kExitNotFound);
  EXPECT_THAT(ran.err, HasSubstr("cannot read '/nowhere/a.csv'"));
}

TEST(CommandTest, ACoordinatorThatIsNotThereEndsWithFourAndSaysWhatToTry) {
  const Ran ran = Call({"jobs", "--server", "127.0.0.1:1", "--timeout", "0.2"});
  EXPECT_EQ(ran.code, kExitUnavailable);
  EXPECT_THAT(ran.err, HasSubstr("next: is a coordinator serving at 127.0.0.1:1? `tessera up`"));
}

TEST(CommandTest, EveryCodeOfAnErrorHasItsExitCode) {
  using Code = absl::StatusCode;
  const std::pair<Code, ExitCode> cases[] = {
      {Code::kOk, kExitOk},
      {Code::kCancelled, kExitInterrupted},
      {Code::kUnknown, kExitFailed},
      {Code::kInvalidArgument, kExitUsage},
      {Code::kDeadlineExceeded, kExitUnavailable},
      {Code::kNotFound, kExitNotFound},
      {Code::kAlreadyExists, kExitRefused},
      {Code::kPermissionDenied, kExitDenied},
      {Code::kResourceExhausted, kExitUnavailable},
      {Code::kFailedPrecondition, kExitRefused},
      {Code::kAborted, kExitFailed},
      {Code::kOutOfRange, kExitRefused},
      {Code::kUnimplemented, kExitUsage},
      {Code::kInternal, kExitFailed},
      {Code::kUnavailable, kExitUnavailable},
      {Code::kDataLoss, kExitFailed},
      {Code::kUnauthenticated, kExitDenied},
  };
  for (const auto& [code, exit_code] : cases) {
    EXPECT_EQ(ExitCodeOf(absl::Status(code, "")), exit_code) << absl::StatusCodeToString(code);
  }
}

TEST(CommandTest, AReasonSaysMoreThanItsCode) {
  EXPECT_THAT(NextStep(Error(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", ""), ""),
              HasSubstr("tessera jobs"));
}

// What helps is the token; --tenant only where it is about a tenant.
TEST(CommandTest, WhoeverIsDeniedIsPointedAtTheirToken) {
  const auto next = [](const char* reason) {
    return NextStep(Error(absl::StatusCode::kPermissionDenied, reason, ""), "");
  };
  EXPECT_THAT(next("ROLE_DENIED"), AllOf(HasSubstr("role"), HasSubstr("--token-file"),
                                         HasSubstr("--tokens-file"), Not(HasSubstr("--tenant"))));
  EXPECT_THAT(next("PLATFORM_DENIED"),
              AllOf(HasSubstr("platform"), HasSubstr("--token-file"), Not(HasSubstr("--tenant"))));
  EXPECT_THAT(next("TENANT_DENIED"), AllOf(HasSubstr("--tenant"), HasSubstr("--token-file")));
  EXPECT_THAT(next("OF_A_NEWER_SERVER"),
              AllOf(HasSubstr("--token-file"), Not(HasSubstr("--tenant"))));
  EXPECT_THAT(NextStep(Error(absl::StatusCode::kUnauthenticated, "CREDENTIAL_UNKNOWN", ""), ""),
              HasSubstr("--tokens-file"));
}

TEST(CommandTest, AConnectionThatComesToNothingSaysWhatMayBeWrongWithIt) {
  const auto next = [](absl::string_view why) {
    return NextStep(absl::UnavailableError(absl::StrCat(
                        "failed to connect to all addresses; last error: UNKNOWN: ", why)),
                    "host:1");
  };
  EXPECT_THAT(next("Ssl handshake failed: certificate verify failed"),
              AllOf(HasSubstr("--tls-ca FILE"), HasSubstr("expired")));
  EXPECT_THAT(next("Ssl handshake failed: wrong version number"), HasSubstr("leave out --tls"));
  EXPECT_THAT(next("Peer name a is not in peer certificate"), HasSubstr("--server"));
  EXPECT_THAT(next("ipv4:1: Socket closed"), HasSubstr("give --tls"));
  EXPECT_THAT(next("Connection refused"), HasSubstr("is a coordinator serving at host:1?"));
  EXPECT_THAT(NextStep(Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", ""), ""),
              HasSubstr("`tessera partitions`"));
}

TEST(CommandTest, ProgramsReadAReasonWhereNoCoordinatorSaidOne) {
  for (const auto& [status, reason] :
       {std::pair(absl::UnavailableError(""), "UNREACHABLE"),
        {absl::DeadlineExceededError(""), "NO_ANSWER"},
        {absl::CancelledError(""), "INTERRUPTED"},
        {UsageError(""), "USAGE"},
        {Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", ""), "STORE_UNAVAILABLE"},
        {absl::NotFoundError("no such file"), ""}}) {
    std::ostringstream err;
    ReportError(status, "", nullptr, /*json=*/true, err);
    EXPECT_EQ(nlohmann::json::parse(err.str())["error"]["reason"], reason);
  }
  std::ostringstream err;
  ReportError(WithExitCode(absl::InternalError(""), 4), "", nullptr, /*json=*/true, err);
  EXPECT_EQ(nlohmann::json::parse(err.str())["error"]["exit_code"], 4);
}

TEST(CommandTest, AnErrorThatBringsItsNextStepKeepsIt) {
  const absl::Status status =
      WithNextStep(Error(absl::StatusCode::kNotFound, "JOB_NOT_FOUND", "gone"), "do this");
  EXPECT_EQ(NextStep(status, ""), "do this");
  EXPECT_EQ(GetDetails(status).reason, "JOB_NOT_FOUND");
}

TEST(CompletionTest, EveryShellKnowsEveryCommandAndFlag) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Ran ran = Call({"completion", shell});
    EXPECT_EQ(ran.code, kExitOk);
    for (const Command& command : Commands()) {
      EXPECT_THAT(ran.out, HasSubstr(std::string(command.name))) << shell;
      for (const Flag& flag : command.flags) {
        EXPECT_THAT(ran.out, HasSubstr(std::string(flag.name))) << shell;
      }
    }
  }
}

// What bash itself makes of the script, with these words on the line and the last one incomplete.
std::string CompletedByBash(const std::vector<std::string>& words) {
  const tessera::testing::TempDir folder;
  std::ofstream(folder.Join("script")) << *CompletionScript("bash");
  std::string line = "complete() { :; }; . ./script; COMP_WORDS=(tessera";
  for (const std::string& word : words) absl::StrAppend(&line, " '", word, "'");
  absl::StrAppend(&line, "); COMP_CWORD=", words.size(), "; _tessera; echo \"${COMPREPLY[*]}\"");
  std::ofstream(folder.Join("test")) << line << "\n";
  FILE* bash = popen(absl::StrCat("cd ", folder.path(), " && bash test 2>&1").c_str(), "r");
  std::string out;
  for (int c; (c = fgetc(bash)) != EOF;) out.push_back(static_cast<char>(c));
  EXPECT_EQ(pclose(bash), 0) << out;
  return std::string(absl::StripTrailingAsciiWhitespace(out));
}

TEST(CompletionTest, BashFindsTheCommandBehindFlagsAndTheirValues) {
  if (std::system("bash -c 'type compgen' >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "there is no bash with compgen";
  }
  EXPECT_EQ(CompletedByBash({"wa"}), "watch");
  EXPECT_EQ(CompletedByBash({"--json", "wa"}), "watch");
  EXPECT_EQ(CompletedByBash({"--server", "h", "wa"}), "watch");
  EXPECT_EQ(CompletedByBash({"--server", "h", ":", "7070", "wa"}), "watch");  // Bash splits so.
  EXPECT_EQ(CompletedByBash({"--server", "=", "h", "wa"}), "watch");
  EXPECT_EQ(CompletedByBash({"--tenant", "demo", "wa"}), "watch");
  EXPECT_EQ(CompletedByBash({"--ser"}), "--server");
  EXPECT_EQ(CompletedByBash({"--tenant", "up", "submit", "f.csv", "--gold"}), "--gold-column");
  EXPECT_EQ(CompletedByBash({"completion", "z"}), "zsh");
  EXPECT_EQ(CompletedByBash({"watch", "te"}), "test");  // A file.
}

// The reference, in parts: by command, and `Items from files`, which is about two of them.
class Reference {
 public:
  explicit Reference(const std::string& path) {
    std::ifstream in(path);
    std::stringstream all;
    all << in.rdbuf();
    text = all.str();
    std::vector<std::string> heads;  // Of the paragraph being read.
    bool items = false;
    for (const absl::string_view each : absl::StrSplit(text, '\n')) {
      const std::string line(each);
      if (absl::StartsWith(line, "#")) items = absl::StrContains(line, "Items from files");
      if (items) absl::StrAppend(&items_text, line, "\n");
      if (line.empty()) heads.clear();
      if (absl::StartsWith(line, "`tessera ")) {
        for (size_t at = line.find("`tessera "); at != std::string::npos;
             at = line.find("`tessera ", at + 1)) {
          const size_t begin = at + 9;
          heads.push_back(line.substr(begin, line.find_first_of(" `", begin) - begin));
        }
      }
      for (const std::string& head : heads) absl::StrAppend(&commands[head], line, "\n");
    }
  }

  // All that is said about a command's flags.
  std::string Of(const std::string& command) {
    std::string about = commands[command];
    if (command == "submit" || command == "plan") absl::StrAppend(&about, items_text);
    if (command == "plan") absl::StrAppend(&about, commands["submit"]);
    return about;
  }

  // Flags that a text names.
  static std::set<std::string> Flags(const std::string& text) {
    std::set<std::string> flags;
    for (size_t at = text.find("--"); at != std::string::npos; at = text.find("--", at + 2)) {
      size_t end = at + 2;
      while (end < text.size() && (absl::ascii_islower(text[end]) || text[end] == '-')) ++end;
      if (end > at + 2) flags.insert(text.substr(at + 2, end - at - 2));
    }
    return flags;
  }

  std::string text;
  std::string items_text;
  std::map<std::string, std::string> commands;
};

TEST(DocumentationTest, TheReferenceKnowsEveryCommandFlagAndExitCode) {
  const char* source = std::getenv("TESSERA_SOURCE_DIR");
  if (source == nullptr) GTEST_SKIP() << "TESSERA_SOURCE_DIR is not set";
  Reference reference(absl::StrCat(source, "/docs/cli.md"));
  std::set<std::string> global;
  for (const Flag& flag : GlobalFlags()) global.insert(std::string(flag.name));
  for (const Command& command : Commands()) {
    const std::string name(command.name);
    EXPECT_NE(reference.commands[name], "") << name;
    const std::set<std::string> documented = Reference::Flags(reference.Of(name));
    for (const Flag& flag : command.flags) {
      EXPECT_TRUE(documented.contains(std::string(flag.name))) << name << " --" << flag.name;
    }
    // And the other way round: what the reference names, there is.
    for (const std::string& flag : Reference::Flags(reference.commands[name])) {
      const bool known = global.contains(flag) || flag == "tokens-file" ||  // The coordinator's.
                         std::any_of(command.flags.begin(), command.flags.end(),
                                     [&](const Flag& each) { return each.name == flag; });
      EXPECT_TRUE(known) << name << " --" << flag;
    }
  }
  for (const std::string& flag : global) {
    EXPECT_THAT(reference.text, HasSubstr(absl::StrCat("| `--", flag)));
  }
  for (const int code : {0, 1, 2, 3, 4, 5, 6, 130}) {
    EXPECT_THAT(reference.text, HasSubstr(absl::StrCat("| ", code, " |")));
  }
}

class JobFlagsTest : public ::testing::Test {
 protected:
  Invocation Parse(const std::vector<std::string>& words) {
    Invocation call(&out_, &err_);
    EXPECT_THAT(call.Parse(*FindCommand("submit"), words), testing::IsOk());
    return call;
  }
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(JobFlagsTest, FlagsBecomeAPolicy) {
  const Invocation call = Parse({"f.csv",         "--budget=12.50",
                                 "--price",       "0.01",
                                 "--pool-price",  "experts=0.50",
                                 "--target",      "0.9",
                                 "--answers-min", "1",
                                 "--answers-max", "5",
                                 "--deadline",    "2h",
                                 "--split",       "adaptive",
                                 "--pool",        "a,b",
                                 "--pool",        "pools/c",
                                 "--manual"});
  v1::Policy policy;
  const absl::Time now = absl::FromUnixSeconds(1000);
  ASSERT_THAT(ApplyPolicyFlags(call, now, &policy), testing::IsOk());
  EXPECT_EQ(policy.budget_micros(), 12'500'000);
  EXPECT_EQ(policy.currency_code(), "USD");
  EXPECT_EQ(policy.price().price_per_item_micros(), 10'000);
  EXPECT_EQ(policy.price().pool_prices(0).pool(), "pools/experts");
  EXPECT_EQ(policy.price().pool_prices(0).price_per_item_micros(), 500'000);
  EXPECT_EQ(policy.quality().target_confidence(), 0.9);
  EXPECT_EQ(policy.quality().answers_min(), 1);
  EXPECT_EQ(policy.quality().answers_max(), 5);
  EXPECT_EQ(policy.deadline().seconds(), 1000 + 7200);
  EXPECT_EQ(policy.split().strategy(), v1::SPLIT_STRATEGY_ADAPTIVE);
  EXPECT_THAT(policy.eligibility().pools(), ElementsAre("pools/a", "pools/b", "pools/c"));
  EXPECT_EQ(policy.finalise_mode(), v1::FINALISE_MODE_MANUAL);
}

TEST_F(JobFlagsTest, FlagsWinOverThePolicyListsIncluded) {
  const tessera::testing::TempDir folder;
  const std::string file = folder.Join("policy.json");
  std::ofstream(file) << R"({"budget_micros": 1000000,
      "price": {"pool_prices": [{"pool": "pools/a", "price_per_item_micros": 1},
                                {"pool": "pools/b", "price_per_item_micros": 2}]},
      "eligibility": {"pools": ["pools/a"], "required_skills": ["s"], "languages": ["en"]}})";
  v1::Policy policy;
  ASSERT_THAT(ApplyPolicyFlags(Parse({"f.csv", "--policy", file}), absl::Now(), &policy),
              testing::IsOk());
  EXPECT_THAT(policy.eligibility().required_skills(), ElementsAre("s"));
  ASSERT_THAT(ApplyPolicyFlags(Parse({"f.csv", "--policy", file, "--budget", "2", "--pool-price",
                                      "b=3", "--pool-price", "c=4", "--pool", "c", "--skill", "t,u",
                                      "--language", "de"}),
                               absl::Now(), &policy),
              testing::IsOk());
  EXPECT_EQ(policy.budget_micros(), 2'000'000);
  std::map<std::string, int64_t> prices;
  for (const v1::PoolPrice& price : policy.price().pool_prices()) {
    EXPECT_TRUE(prices.emplace(price.pool(), price.price_per_item_micros()).second);
  }
  EXPECT_THAT(prices,
              ElementsAre(::testing::Pair("pools/a", 1), ::testing::Pair("pools/b", 3'000'000),
                          ::testing::Pair("pools/c", 4'000'000)));
  EXPECT_THAT(policy.eligibility().pools(), ElementsAre("pools/c"));
  EXPECT_THAT(policy.eligibility().required_skills(), ElementsAre("t", "u"));
  EXPECT_THAT(policy.eligibility().languages(), ElementsAre("de"));
}

TEST_F(JobFlagsTest, ClassesBecomeATemplateOfOneChoice) {
  const Invocation call =
      Parse({"f.csv", "--classes", "0=does not follow, 1=follows", "--question", "Well?"});
  const absl::StatusOr<v1::TaskTemplate> task = TemplateOf(call, "pairs");
  ASSERT_THAT(task, testing::IsOk());
  EXPECT_EQ(task->title(), "Well?");
  ASSERT_EQ(task->fields_size(), 1);
  EXPECT_EQ(task->fields(0).choice().classes(0).value(), "0");
  EXPECT_EQ(task->fields(0).choice().classes(1).label(), "follows");
}

// The files that demo/README.md hands to `submit` are what they say.
TEST_F(JobFlagsTest, TheDemosFilesAreTaken) {
  const char* source = std::getenv("TESSERA_SOURCE_DIR");
  if (source == nullptr) GTEST_SKIP() << "TESSERA_SOURCE_DIR is not set";
  const Invocation call = Parse({"f.csv", "--template", absl::StrCat(source, "/demo/task.json"),
                                 "--policy", absl::StrCat(source, "/demo/policy.json")});
  const absl::StatusOr<v1::TaskTemplate> task = TemplateOf(call, "");
  ASSERT_THAT(task, testing::IsOk());
  EXPECT_EQ(task->fields(0).choice().classes_size(), 2);
  v1::Policy policy;
  ASSERT_THAT(ApplyPolicyFlags(call, absl::Now(), &policy), testing::IsOk());
  EXPECT_EQ(policy.budget_micros(), 40'000'000);
  EXPECT_EQ(policy.quality().target_confidence(), 0.98);
}

// The yardsticks of the demo are the figures that its data is known by.
TEST(DemoDataTest, MajorityAndDawidSkeneComeToTheirKnownAccuracies) {
  const absl::StatusOr<DemoData> data = LoadDemoData();
  ASSERT_THAT(data, testing::IsOk());
  EXPECT_EQ(data->items.size(), 800u);
  EXPECT_EQ(data->crowd.workers.size(), 164u);
  EXPECT_EQ(data->crowd.answers, 8000);
  EXPECT_NEAR(MajorityAccuracy(*data), 0.897, 0.0005);
  EXPECT_NEAR(DawidSkeneAccuracy(*data), 0.928, 0.004);
}

}  // namespace
}  // namespace tessera::client
