// The tree keeps the house rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "tests/house_rules/house_rules.h"
#include "tests/house_rules/proto_comments.h"

namespace tessera::house_rules {
namespace {

// Paths relative to the root, and texts, of what we wrote ourselves.
std::vector<std::pair<std::string, std::string>> ReadTree() {
  namespace fs = std::filesystem;
  const char* const root = std::getenv("TESSERA_SOURCE_DIR");
  if (root == nullptr) return {};
  std::vector<std::pair<std::string, std::string>> files;
  for (const char* top :
       {"common", "proto", "coordinator", "client", "worker", "trainer", "tests"}) {
    const fs::path folder = fs::path(root) / top;
    if (!fs::exists(folder)) continue;
    for (auto it = fs::recursive_directory_iterator(folder); it != fs::end(it); ++it) {
      if (it->path().filename() == "node_modules") it.disable_recursion_pending();
      const std::string kind = it->path().extension();
      if (!it->is_regular_file()) continue;
      if (kind != ".h" && kind != ".cc" && kind != ".proto" && kind != ".js" && kind != ".mjs") {
        continue;
      }
      std::ifstream in(it->path());
      files.emplace_back(fs::relative(it->path(), root),
                         std::string(std::istreambuf_iterator<char>(in), {}));
    }
  }
  return files;
}

class TreeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { files_ = new auto(ReadTree()); }
  static void TearDownTestSuite() { delete std::exchange(files_, nullptr); }

  void ExpectAllKeep(Complaints (*rule)(absl::string_view, absl::string_view)) {
    ASSERT_FALSE(files_->empty()) << "TESSERA_SOURCE_DIR names no tree; run this by ctest";
    Complaints all;
    for (const auto& [path, text] : *files_) {
      for (std::string& complaint : rule(path, text)) all.push_back(std::move(complaint));
    }
    EXPECT_TRUE(all.empty()) << absl::StrJoin(all, "\n");
  }

  static inline std::vector<std::pair<std::string, std::string>>* files_ = nullptr;
};

TEST_F(TreeTest, ImportsRunDownwardsOnly) { ExpectAllKeep(CheckImports); }
TEST_F(TreeTest, WhatDecidesIsDeterministic) { ExpectAllKeep(CheckDeterminism); }
TEST_F(TreeTest, FilesAreShortEnoughToRead) { ExpectAllKeep(CheckLength); }
TEST_F(TreeTest, HeadersAreIncludedOnce) { ExpectAllKeep(CheckPragmaOnce); }
TEST_F(TreeTest, NobodyLeavesNotesToSelf) { ExpectAllKeep(CheckNotes); }
TEST_F(TreeTest, EverythingInAProtoHasAComment) { ExpectAllKeep(CheckProtoComments); }

}  // namespace
}  // namespace tessera::house_rules
