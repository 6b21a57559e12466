// A crowd that answered once: who gave which answer, as a recording (CSV: item,worker,label and,
// where it was kept, seconds).
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::client {

struct RecordedAnswer {
  std::string item_key;
  std::string label;
  std::optional<double> seconds;  // How long it took; above or equal to 0.
};

struct RecordedWorker {
  std::string name;                     // As WorkService takes it: [A-Za-z0-9][A-Za-z0-9_.-]{0,62}.
  std::vector<RecordedAnswer> answers;  // In the order of the recording, with distinct items.
};

struct Crowd {
  std::vector<RecordedWorker> workers;  // In the order of their first answers.
  int64_t answers = 0;                  // Of all workers together.
  int64_t repeated = 0;                 // Further answers of a worker to the same item: left out.
};

// INVALID_ARGUMENT, with the line, for anything that is no recording.
absl::StatusOr<Crowd> ReadCrowd(std::istream* in);

// The same from a file. NOT_FOUND if it cannot be read.
absl::StatusOr<Crowd> ReadCrowdFile(const std::string& path);

// Takes away the answers that `keep` refuses, and workers who have none left. Returns how many
// answers went.
int64_t DropAnswers(Crowd* crowd, const std::function<bool(const RecordedAnswer&)>& keep);

}  // namespace tessera::client
