// All figures of docs/benchmarks.md: runs the programs beside it again and again, and sums up.
//
// Each run measures the limits of the machine and then the pipeline, each in a process of its own,
// so that both saw the same conditions. Memory is measured once: it comes out the same every time.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "nlohmann/json.hpp"
#include "tests/bench/data_folder.h"
#include "tests/bench/figures.h"
#include "tests/bench/machine.h"
#include "tests/support/program.h"

ABSL_FLAG(int, runs, 5, "How often limits and pipeline are measured.");
ABSL_FLAG(bool, quick, false, "One short run: to see that it works, not how fast.");
ABSL_FLAG(bool, json, false, "Print one JSON object.");

namespace tessera::bench {
namespace {

// The figures that one run of a program printed.
std::vector<Figure> Run(const std::string& name, const std::string& folder,
                        const std::vector<std::string>& flags) {
  std::vector<std::string> words = {"--json", absl::StrCat("--folder=", folder)};
  words.insert(words.end(), flags.begin(), flags.end());
  const testing::Ended ended = testing::Program(absl::StrCat(ProgramFolder(), "/", name), words)
                                   .Wait(absl::InfiniteDuration());
  TESSERA_CHECK(ended.code == 0) << name << " failed: " << ended.err;
  std::vector<Figure> figures;
  const nlohmann::json json = nlohmann::json::parse(ended.out);
  for (const nlohmann::json& figure : json.at("figures")) {
    figures.push_back(FromJson(figure));
  }
  return figures;
}

// One name over all runs.
struct Summary {
  std::string unit;
  Bound bound;
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t half = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
  double min() const { return *std::min_element(values.begin(), values.end()); }
  double max() const { return *std::max_element(values.begin(), values.end()); }
};

class Suite {
 public:
  void Take(absl::string_view section, const std::vector<Figure>& figures) {
    for (const Figure& figure : figures) {
      Summary& summary = Of(absl::StrCat(section, ".", figure.name));
      summary.unit = figure.unit;
      summary.bound = figure.bound;
      summary.values.push_back(figure.value);
    }
  }

  // The latency of an empty queue is bounded by what the disk did in the same run.
  void BoundLatency() {
    const double disk = Of("limits.fdatasync_p50").values.back();
    const double dispatch = Of("pipeline.dispatch_empty_p50").values.back();
    Summary& summary = Of("pipeline.dispatch_empty_p50_over_bound");
    summary.unit = "ratio";
    summary.bound = AtMost(1);
    summary.values.push_back(dispatch / (2.5 * disk + 0.3));
  }

  void PrintTable(const nlohmann::json& machine, int runs) const {
    for (const auto& [name, value] : machine.items()) {
      absl::PrintF("%-20s %s\n", name, value.is_string() ? value.get<std::string>() : value.dump());
    }
    absl::PrintF("%-20s %d\n\n", "runs", runs);
    absl::PrintF("%-42s %12s %12s %12s  %-12s\n", "", "median", "least", "most", "");
    for (const std::string& name : order_) {
      const Summary& s = summaries_.at(name);
      absl::PrintF("%-42s %12s %12s %12s  %-12s", name, FormatNumber(s.median()),
                   FormatNumber(s.min()), FormatNumber(s.max()), s.unit);
      if (s.bound.kind != Bound::kNone) {
        absl::PrintF("  %s: %s", FormatBound(s.bound),
                     s.bound.HoldsFor(s.median()) ? "holds" : "MISSED");
      }
      absl::PrintF("\n");
    }
  }

  nlohmann::ordered_json ToJson(const nlohmann::json& machine, int runs) const {
    nlohmann::ordered_json figures;
    for (const std::string& name : order_) {
      const Summary& s = summaries_.at(name);
      nlohmann::ordered_json& json = figures[name];
      json = {{"unit", s.unit},
              {"median", s.median()},
              {"min", s.min()},
              {"max", s.max()},
              {"values", s.values}};
      if (s.bound.kind == Bound::kNone) continue;
      json[s.bound.kind == Bound::kAtMost ? "at_most" : "at_least"] = s.bound.value;
      json["holds"] = s.bound.HoldsFor(s.median());
    }
    return {{"machine", machine}, {"runs", runs}, {"figures", figures}};
  }

 private:
  Summary& Of(const std::string& name) {
    const auto [at, fresh] = summaries_.try_emplace(name);
    if (fresh) order_.push_back(name);
    return at->second;
  }

  std::map<std::string, Summary> summaries_;
  std::vector<std::string> order_;  // As they first came.
};

void Main() {
  const bool quick = absl::GetFlag(FLAGS_quick);
  const int runs = quick ? 1 : absl::GetFlag(FLAGS_runs);
  TESSERA_CHECK(runs >= 1) << "--runs is at least 1";
  const std::string folder = UseDataFolder();
  const nlohmann::json machine = DescribeMachine(folder);

  std::vector<std::string> limits, pipeline, memory;
  if (quick) {
    limits = {"--syncs=200", "--records=300", "--echo_seconds=1"};
    pipeline = {"--seconds=2", "--warm_up_seconds=1", "--probes=100", "--background_seconds=2"};
    memory = {"--items=100000"};
  }
  Suite suite;
  for (int run = 0; run < runs; ++run) {
    absl::FPrintF(stderr, "Run %d of %d\n", run + 1, runs);
    suite.Take("limits", Run("limits_bench", folder, limits));
    suite.Take("pipeline", Run("pipeline_bench", folder, pipeline));
    suite.BoundLatency();
  }
  absl::FPrintF(stderr, "Memory\n");
  suite.Take("memory", Run("memory_bench", folder, memory));
  if (absl::GetFlag(FLAGS_json)) {
    std::printf("%s\n", suite.ToJson(machine, runs).dump(2).c_str());
  } else {
    suite.PrintTable(machine, runs);
  }
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  tessera::bench::Main();
  return 0;
}
