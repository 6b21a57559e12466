#include "client/crowd.h"

#include <cmath>
#include <fstream>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/csv.h"
#include "client/files.h"
#include "common/contract_text.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

absl::Status AtLine(int64_t line, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", problem));
}

}  // namespace

absl::StatusOr<Crowd> ReadCrowd(std::istream* in) {
  TESSERA_ASSIGN_OR_RETURN(CsvTable table, CsvTable::Open(in));
  const int item = table.Find("item");
  const int worker = table.Find("worker");
  const int label = table.Find("label");
  const int seconds = table.Find("seconds");
  if (item < 0 || worker < 0 || label < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a recording has the columns item, worker and label, and may have seconds; "
                     "this file has: ",
                     absl::StrJoin(table.columns(), ", ")));
  }
  Crowd crowd;
  absl::flat_hash_map<std::string, size_t> places;
  absl::flat_hash_set<std::pair<size_t, std::string>> seen;
  std::vector<std::string> fields;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, table.Next(&fields));
    if (!more) break;
    const auto at = [&fields](int column) -> std::string& {
      return fields[static_cast<size_t>(column)];
    };
    if (at(item).empty()) return AtLine(table.line(), "the item is empty");
    if (at(label).empty()) return AtLine(table.line(), "the label is empty");
    if (!IsWorkerId(at(worker))) {
      return AtLine(table.line(), absl::StrCat("'", at(worker),
                                               "' cannot name a worker: 1 to 63 letters, digits, "
                                               "`_`, `.` and `-`, a letter or digit first"));
    }
    RecordedAnswer answer = {.item_key = at(item), .label = std::move(at(label)), .seconds = {}};
    if (seconds >= 0 && !at(seconds).empty()) {
      double value = 0;
      if (!absl::SimpleAtod(at(seconds), &value) || !std::isfinite(value) || value < 0) {
        return AtLine(table.line(), absl::StrCat("'", at(seconds), "' is no number of seconds"));
      }
      answer.seconds = value;
    }
    const auto [place, is_new] = places.try_emplace(at(worker), crowd.workers.size());
    if (is_new) crowd.workers.push_back({.name = at(worker), .answers = {}});
    if (!seen.insert({place->second, answer.item_key}).second) {
      ++crowd.repeated;
      continue;
    }
    crowd.workers[place->second].answers.push_back(std::move(answer));
    ++crowd.answers;
  }
  if (crowd.workers.empty()) return absl::InvalidArgumentError("the recording holds no answer");
  return crowd;
}

absl::StatusOr<Crowd> ReadCrowdFile(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(std::ifstream in, OpenFile(path));
  absl::StatusOr<Crowd> crowd = ReadCrowd(&in);
  if (crowd.ok()) return crowd;
  return absl::Status(crowd.status().code(), absl::StrCat(path, ": ", crowd.status().message()));
}

int64_t DropAnswers(Crowd* crowd, const std::function<bool(const RecordedAnswer&)>& keep) {
  int64_t dropped = 0;
  for (RecordedWorker& worker : crowd->workers) {
    dropped += static_cast<int64_t>(
        std::erase_if(worker.answers, [&](const RecordedAnswer& answer) { return !keep(answer); }));
  }
  std::erase_if(crowd->workers,
                [](const RecordedWorker& worker) { return worker.answers.empty(); });
  crowd->answers -= dropped;
  return dropped;
}

}  // namespace tessera::client
