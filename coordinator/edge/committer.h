// Gets records into the journal, in order, one append in flight, whatever the store answers.
//
//   Committer committer(store, {.nonce = nonce, .last = last}, {.committed = ..., .failed = ...});
//   committer.Append({8, 0}, bytes, now);   // The fence: refused where somebody else was faster.
//   committer.Append({8, 1}, bytes, now);   // Waits for its turn.
//
// What it does about an answer:
//   UNAVAILABLE         reads the last id. Ours, with our nonce: committed. The one before: appends
//   the
//                       same bytes again. Further on: somebody else's. Further back: data loss.
//   RESOURCE_EXHAUSTED  appends the same id again after a pause. A later id might pass, and would
//                       leave a hole.
//   ABORTED             reads the last id as well: it may have been our own first attempt, come
//   late.
// Pauses end in Tick(). A failure is final: `failed` runs once and nothing is appended any more.
//
// Invariant: a record is reported committed before the next one is sent. Threads: none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/core/storage.h"
#include "coordinator/core/types.h"
#include "coordinator/edge/backoff.h"
#include "coordinator/edge/lifeline.h"

namespace tessera::edge {

class Committer {
 public:
  struct Options {
    uint64_t nonce = 0;                  // In the header of every record of ours.
    core::RecordId last;                 // The journal's last id when we came ...
    std::optional<uint64_t> last_nonce;  // ... and the nonce of its record.
  };
  // Neither runs inside a call of the committer's.
  struct Callbacks {
    std::function<void(core::RecordId)> committed;
    std::function<void(absl::Status)> failed;  // ABORTED: fenced. DATA_LOSS. Or the store's own.
  };

  // `store` outlives the committer.
  Committer(core::Store* store, Options options, Callbacks callbacks);
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // `id` is larger than any before. The bytes are an encoded record.
  void Append(core::RecordId id, std::string bytes, absl::Time now);

  // Nothing is in flight and nothing waits: the next Append() goes out at once.
  bool idle() const { return queue_.empty(); }
  // Why the store takes no records at the moment: it refuses them, cannot be reached, or answers
  // and yet never takes one. OK while it does. A single request that was lost is no trouble.
  const absl::Status& trouble() const { return trouble_; }
  bool troubled() const { return !trouble_.ok(); }
  // Since when the store has owed an answer about the oldest record; nothing: it owes none.
  std::optional<absl::Time> waiting_since() const { return waiting_since_; }
  core::RecordId committed() const { return committed_; }
  uint64_t records() const { return records_; }            // Committed.
  uint64_t bytes() const { return bytes_; }                // Committed.
  size_t waiting_bytes() const { return waiting_bytes_; }  // Not committed so far.

  void Tick(absl::Time now);
  absl::Time NextWake() const {
    return pause_.has_value() ? pause_->until : absl::InfiniteFuture();
  }

 private:
  struct Entry {
    core::RecordId id;
    std::string bytes;
  };
  enum class Step : uint8_t { kAppend, kAskLast };
  struct Pause {
    Step then;
    absl::Time until;
  };

  void Send();
  void OnAppended(absl::Status status);
  void AskLast();
  void OnLast(absl::StatusOr<core::StoredRecord> last);
  void OnCommitted();
  void PauseBefore(Step step);
  void Fail(absl::Status status);

  core::Store* const store_;
  const uint64_t nonce_;
  const Callbacks callbacks_;

  std::deque<Entry> queue_;  // The first is in flight, or waits for a pause to end.
  core::RecordId committed_;
  std::optional<uint64_t> committed_nonce_;  // Nothing: not known.
  std::optional<Pause> pause_;
  Backoff backoff_;
  absl::Time now_ = absl::InfinitePast();
  absl::Status trouble_;
  std::optional<absl::Time> waiting_since_;
  absl::Status missed_;  // Why the first record in the queue was not taken; OK: not sent so far.
  bool failed_ = false;
  uint64_t records_ = 0;
  uint64_t bytes_ = 0;
  size_t waiting_bytes_ = 0;
  Lifeline lifeline_;
};

}  // namespace tessera::edge
