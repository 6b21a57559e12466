// Act 1 of the demonstration: a job of real people, recorded, on a coordinator of its own.
//
// The 800 sentence pairs of demo/rte, ten answers each by 164 people. Tessera may ask any of these
// people for any answer that they once gave, and decides which ones it wants. What it makes of them
// is compared with gold, beside what a majority and Dawid-Skene make of all 8,000 answers.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/crowd.h"
#include "nlohmann/json_fwd.hpp"
#include "tessera/v1/item.pb.h"
#include "tessera/v1/job_service.pb.h"

namespace tessera::client {

// Does the hypothesis follow from the text?
inline constexpr absl::string_view kDemoClasses[] = {"0", "1"};

// The data set in memory.
struct DemoData {
  std::string folder;
  std::vector<v1::Item> items;
  Crowd crowd;
  std::vector<std::pair<std::string, std::string>> gold;  // Item and label, as in the file.
};

// From $TESSERA_DEMO_DIR, or demo/rte beside the sources or the program. NOT_FOUND says where it
// looked.
absl::StatusOr<DemoData> LoadDemoData();

// Share of the items whose most frequent label is gold's; a tie counts for its share of the truth.
double MajorityAccuracy(const DemoData& data);
// The same for Dawid-Skene over all answers.
double DawidSkeneAccuracy(const DemoData& data);

// What one run came to.
struct DemoRun {
  uint64_t seed = 0;
  int64_t answers = 0;
  double answers_per_item = 0;
  double accuracy = 0;
  int64_t cost_micros = 0;
  int64_t budget_micros = 0;
  double seconds = 0;
  int64_t resolved = 0;
  int64_t unresolved = 0;
  int64_t workers = 0;
  std::vector<std::string> broken_promises;  // None, or the run has failed.
};

struct DemoRunOptions {
  uint64_t seed = 1;
  double speed = 0;      // kSpeedMax, or how much faster than recorded.
  std::string data_dir;  // For the coordinator; exists.
  std::function<void(const v1::SplitPlan&)> on_plan;
  std::function<void(const v1::JobStatus&)> on_status;
};

// Runs act 1 once.
absl::StatusOr<DemoRun> RunDemo(const DemoData& data, const DemoRunOptions& options,
                                std::stop_token stop);

// All of it as one JSON object: means over the runs, the runs, and the yardsticks.
nlohmann::ordered_json DemoJson(const DemoData& data, const std::vector<DemoRun>& runs);

// The same for people.
std::string DemoText(const DemoData& data, const std::vector<DemoRun>& runs);

}  // namespace tessera::client
