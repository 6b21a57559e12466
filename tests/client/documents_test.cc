// The commands that the documents show work, in their order, against a real coordinator.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "tests/support/program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using tessera::testing::Ended;
using tessera::testing::Program;
using tessera::testing::RunProgram;

std::string SourceDir() {
  const char* source = std::getenv("TESSERA_SOURCE_DIR");
  return source == nullptr ? "" : source;
}

// The lines of the fenced blocks of a document that call `tessera`, from `heading` on.
std::vector<std::string> CommandLines(const std::string& document, const std::string& heading) {
  std::ifstream in(absl::StrCat(SourceDir(), "/", document));
  std::vector<std::string> lines;
  bool wanted = heading.empty();
  bool fenced = false;
  for (std::string line; std::getline(in, line);) {
    if (!fenced && absl::StartsWith(line, "#") && !heading.empty()) wanted = line == heading;
    if (absl::StartsWith(line, "```")) fenced = !fenced;
    const bool calls =
        absl::StartsWith(line, "tessera ") || absl::StartsWith(line, "JOB=$(tessera ");
    if (wanted && fenced && calls) lines.push_back(line);
  }
  return lines;
}

// A line as this test runs it.
std::string Runnable(std::string line) {
  line = line.substr(0, line.find("  #"));
  // What serves or shows for long is only held against its own help: the coordinator is this
  // test's, and demo_test is about the demo.
  for (const char* command : {"tessera up", "tessera demo"}) {
    if (!absl::StartsWith(line, command)) continue;
    return absl::StrCat(absl::StripSuffix(absl::StripTrailingAsciiWhitespace(line), "&"),
                        " --help >/dev/null");
  }
  // Where the document says JOB it means what submit printed.
  if (absl::StartsWith(line, "tessera submit")) line = absl::StrCat("JOB=$(", line, ")");
  return absl::StrReplaceAll(line, {{" JOB", " \"$JOB\""}, {"--speed 100", "--speed max"}});
}

class DocumentsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new tessera::testing::TempDir();
    std::filesystem::create_directory_symlink(SourceDir() + "/demo", folder_->Join("demo"));
    up_ = new Program("tessera", {"up", "--json", "--data-dir", folder_->Join("data"), "--listen",
                                  "127.0.0.1:0"});
    const std::string line = up_->WaitForLine("address");
    ASSERT_NE(line, "") << up_->Wait(absl::ZeroDuration()).err;
    setenv("TESSERA_SERVER", std::string(nlohmann::json::parse(line)["address"]).c_str(), 1);
  }
  static void TearDownTestSuite() {
    up_->Signal(SIGINT);
    EXPECT_EQ(up_->Wait().code, 0);
    delete up_;
    delete folder_;
  }

  // Runs them in one shell, which ends with the first that fails.
  static void Run(const std::vector<std::string>& lines) {
    ASSERT_FALSE(lines.empty());
    std::string script = absl::StrCat("set -euxo pipefail\ncd ", folder_->path(),
                                      "\nPATH=", std::getenv("TESSERA_BIN_DIR"), ":$PATH\n");
    for (const std::string& line : lines) absl::StrAppend(&script, Runnable(line), "\n");
    absl::StrAppend(&script, "wait\nwc -l <results.csv\n");
    const Ended ended = RunProgram("/bin/bash", {"-c", script});
    EXPECT_EQ(ended.code, 0) << script << "\n" << ended.err;
    EXPECT_TRUE(absl::EndsWith(ended.out, "\n801\n")) << ended.out;  // A heading and 800 results.
  }

  static inline tessera::testing::TempDir* folder_ = nullptr;
  static inline Program* up_ = nullptr;
};

TEST_F(DocumentsTest, TheReadmesOwnJobIsDone) {
  Run(CommandLines("README.md", "## Your own job, on this machine"));
}

TEST_F(DocumentsTest, TheReferencesExampleIsDone) { Run(CommandLines("docs/cli.md", "")); }

TEST_F(DocumentsTest, TheDemoByHandIsDone) { Run(CommandLines("demo/README.md", "")); }

}  // namespace
}  // namespace tessera::client
