// Brings a partition back, once its journal is fenced: the state (state_loader.h), then its
// payloads.
//
// All payload pages of all jobs are read, for the index of keys is nowhere else. What the pages
// lack is in the journal's tail, whose records are kept until it is written; it is pinned again. An
// item that is in neither is DATA_LOSS.
//
// Threads: none; the store's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/storage.h"
#include "coordinator/edge/key_index.h"
#include "coordinator/edge/lifeline.h"
#include "coordinator/edge/payload_pages.h"
#include "coordinator/edge/retry.h"
#include "coordinator/edge/state_loader.h"

namespace tessera::edge {

class Recovery {
 public:
  using Done = std::function<void(absl::StatusOr<LoadedState>)>;

  // Fills `keys` and `payloads`. `done` runs once, not inside a call.
  Recovery(core::Store* store, KeyIndex* keys, PayloadPages* payloads, RetryLater retry_later,
           Done done);
  ~Recovery();
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  void Start();

 private:
  void OnState(absl::StatusOr<LoadedState> loaded);
  void ReadPages();
  void OnPages(uint32_t count, std::vector<std::optional<std::string>> pages);
  absl::Status TakePage(uint32_t number, const std::optional<std::string>& bytes);
  // Adds items `from` .. `to`-1 of the job at hand, which are in the tail alone.
  absl::Status TakeFromTail(core::ItemIndex from, core::ItemIndex to);
  void Finish(absl::Status status);

  core::Store* const store_;
  KeyIndex* const keys_;
  PayloadPages* const payloads_;
  const RetryLater retry_later_;
  const Done done_;

  std::shared_ptr<StateLoader> state_loader_;
  LoadedState loaded_;
  uint32_t job_ = 0;       // Being read ...
  uint32_t page_ = 0;      // ... from this page on.
  size_t tail_batch_ = 0;  // The job's first batch in the tail that may still be needed.
  Lifeline lifeline_;
};

}  // namespace tessera::edge
