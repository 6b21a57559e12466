// The suite runs, and measures what docs/benchmarks.md explains: no more and no less.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tests/support/program.h"

namespace tessera::bench {
namespace {

// The names in a cell such as `a.b_p50`, `_p99`, `c_d`: one that begins with a line takes the place
// of the first one's end, one without a section is in the first one's.
std::vector<std::string> NamesOf(const std::string& cell) {
  std::vector<std::string> names;
  const std::vector<std::string> parts = absl::StrSplit(cell, '`');
  for (size_t i = 1; i < parts.size(); i += 2) {
    const std::string& name = parts[i];
    if (names.empty() || absl::StrContains(name, '.')) {
      names.push_back(name);
    } else if (name[0] == '_') {
      names.push_back(names[0].substr(0, names[0].rfind('_')) + name);
    } else {
      names.push_back(names[0].substr(0, names[0].find('.') + 1) + name);
    }
  }
  return names;
}

// The names in the first column of the table of docs/benchmarks.md that has this heading.
std::set<std::string> Documented(const std::string& heading) {
  const char* const source = std::getenv("TESSERA_SOURCE_DIR");
  std::ifstream in(absl::StrCat(source == nullptr ? "." : source, "/docs/benchmarks.md"));
  std::set<std::string> names;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (absl::StartsWith(line, heading)) inside = true;
    if (line.empty()) inside = false;
    if (!inside) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    for (const std::string& name : NamesOf(cells.at(1))) names.insert(name);
  }
  return names;
}

TEST(SuiteTest, FiguresGivenAreFiguresExplained) {
  EXPECT_EQ(Documented("| name | unit |"), Documented("| | median |"));
}

TEST(SuiteTest, FiguresMeasuredAreFiguresExplained) {
  const testing::Ended ended = testing::RunProgram("bench/suite_bench", {"--quick", "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const nlohmann::json json = nlohmann::json::parse(ended.out);
  std::set<std::string> measured;
  for (const auto& [name, figure] : json.at("figures").items()) {
    measured.insert(name);
  }
  EXPECT_EQ(measured, Documented("| name | unit |"));
}

}  // namespace
}  // namespace tessera::bench
