// The demo's data set, and what the usual ways make of all of it.

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "client/cli/demo.h"
#include "client/cli/local_coordinator.h"
#include "client/csv.h"
#include "client/items.h"
#include "common/status_macros.h"
#include "coordinator/core/fusing/categorical.h"

namespace tessera::client {
namespace {

// Every answer as votes of core, workers and items by their places in the data.
core::VoteTable AllVotes(const DemoData& data) {
  std::map<std::string, std::vector<core::Vote>> votes;
  for (size_t worker = 0; worker < data.crowd.workers.size(); ++worker) {
    for (const RecordedAnswer& answer : data.crowd.workers[worker].answers) {
      const core::Label said = answer.label == kDemoClasses[1] ? 1 : 0;
      votes[answer.item_key].push_back(
          {.worker = core::WorkerIndex(static_cast<uint32_t>(worker)), .said = said});
    }
  }
  core::VoteTable table;
  table.classes = std::size(kDemoClasses);
  for (const auto& [item, label] : data.gold) table.AddItem(votes[item]);
  return table;
}

absl::Span<const core::Vote> VotesOf(const core::VoteTable& table, size_t item) {
  return absl::MakeConstSpan(table.votes)
      .subspan(table.begin[item], table.begin[item + 1] - table.begin[item]);
}

}  // namespace

absl::StatusOr<DemoData> LoadDemoData() {
  std::vector<std::string> places;
  if (const char* stated = std::getenv("TESSERA_DEMO_DIR"); stated != nullptr && *stated != '\0') {
    places = {stated, absl::StrCat(stated, "/rte")};
  } else {
    const std::string program = ProgramFolder();
    // build/PRESET/bin beside the sources; bin beside share where it is installed.
    places = {absl::StrCat(program, "/../../../demo/rte"),
              absl::StrCat(program, "/../share/tessera/demo/rte"),
              absl::StrCat(program, "/demo/rte"), TESSERA_DEMO_DIR "/rte", "demo/rte"};
  }
  DemoData data;
  for (const std::string& place : places) {
    if (access(absl::StrCat(place, "/votes.csv").c_str(), R_OK) != 0) continue;
    data.folder = place;
    break;
  }
  if (data.folder.empty()) {
    return absl::NotFoundError(absl::StrCat("the demo's data is not there; looked in ",
                                            absl::StrJoin(places, ", "),
                                            "; set TESSERA_DEMO_DIR to a folder that has rte/"));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<ItemSource> source,
                           OpenItems(data.folder + "/items.csv",
                                     {.content = {"text", "hypothesis"}, .metadata = {"task"}}));
  v1::Item item;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, source->Next(&item));
    if (!more) break;
    data.items.push_back(item);
  }
  TESSERA_ASSIGN_OR_RETURN(data.crowd, ReadCrowdFile(data.folder + "/votes.csv"));
  std::ifstream in(data.folder + "/gold.csv");
  TESSERA_ASSIGN_OR_RETURN(CsvTable gold, CsvTable::Open(&in));
  std::vector<std::string> fields;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, gold.Next(&fields));
    if (!more) break;
    if (fields.size() < 2) return absl::InvalidArgumentError("gold.csv needs item and label");
    data.gold.emplace_back(fields[0], fields[1]);
  }
  if (data.items.empty() || data.gold.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(data.folder, " holds no items or no gold"));
  }
  return data;
}

double MajorityAccuracy(const DemoData& data) {
  const core::VoteTable table = AllVotes(data);
  double right = 0;
  for (size_t item = 0; item < table.items(); ++item) {
    int64_t votes[std::size(kDemoClasses)] = {};
    for (const core::Vote& vote : VotesOf(table, item)) ++votes[vote.said];
    const int64_t most = std::max(votes[0], votes[1]);
    const int truth = data.gold[item].second == kDemoClasses[1] ? 1 : 0;
    if (votes[truth] == most) right += votes[0] == votes[1] ? 0.5 : 1;
  }
  return right / static_cast<double>(table.items());
}

double DawidSkeneAccuracy(const DemoData& data) {
  const core::VoteTable table = AllVotes(data);
  const core::Fit fit = core::ComputeFit(table, 1);
  int64_t right = 0;
  for (size_t item = 0; item < table.items(); ++item) {
    const core::Score score = core::ScoreVotes(fit, VotesOf(table, item));
    const core::Label truth = data.gold[item].second == kDemoClasses[1] ? 1 : 0;
    if (score.value == truth) ++right;
  }
  return static_cast<double>(right) / static_cast<double>(table.items());
}

}  // namespace tessera::client
