// Writes what has changed to the store's objects, behind the journal, and trims the journal.
//
// An object may be written only when all that is in it has been committed, and it can be encoded
// only while the state stands between two records. So it is encoded when a record has been closed,
// held until that record is committed, and written then; one write is in flight at a time, a few
// objects each, with a pause after it. Where very much waits, the pause falls away: the journal
// lies in Redis's memory, and must not grow for as long as a requester adds items.
//
//   behind.AtBoundary(record, now);     // A record was closed; nothing was decided since.
//   behind.Committed(record);           // It is durable.
//
// kept_from() goes into the header of the next record. The journal is trimmed to there only when
// that record has been committed, so the last record always tells how far the journal must reach
// back.
//
// Threads: none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/core/fold.h"
#include "coordinator/core/storage.h"
#include "coordinator/edge/backoff.h"
#include "coordinator/edge/lifeline.h"
#include "coordinator/edge/payload_pages.h"
#include "coordinator/edge/stored_sizes.h"

namespace tessera::edge {

class WriteBehind {
 public:
  struct Options {
    uint64_t epoch = 0;
    core::RecordId kept_from;  // As recovery found it.
    size_t objects_per_write = 4;
    absl::Duration write_interval;
    uint64_t commits_per_trim = 64;    // A trim is due after so many commits ...
    size_t bytes_per_trim = 16 << 20;  // ... or when it frees so much.
    bool trim = true;
    size_t journal_kept_bytes = 0;  // Of the journal's end, whether or not all is stored.
    std::deque<std::pair<core::RecordId, size_t>> records;  // There are, with their sizes.
    size_t backlog_max = 1024;  // Objects waiting, beyond which there is no pause.
  };
  // All outlive it. `sizes` is kept in step with what is written. `failed` runs once, not inside a
  // call: ABORTED where somebody else took over.
  WriteBehind(Options options, core::Store* store, core::PartitionState* state,
              PayloadPages* payloads, StoredSizes* sizes, std::function<void(absl::Status)> failed);
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  // The state stands right behind record `closed`: takes objects, if a write is due.
  void AtBoundary(core::RecordId closed, absl::Time now);
  // Records up to `id` are committed.
  void Committed(core::RecordId id);
  // Lets time pass. `pressed`: the store has no room, so all is trimmed that may be.
  void Tick(absl::Time now, bool pressed);
  // Nothing has to be stored, and much of the journal could go if a record said so.
  bool WantsRecord() const;

  // Says, once a record, from where on the journal must be kept when record `announced_by` is
  // there.
  core::RecordId Announce(core::RecordId announced_by);
  // The record's size, once it is known.
  void Closed(core::RecordId id, size_t bytes);

  core::RecordId trimmed_below() const { return trimmed_below_; }
  size_t waiting() const { return state_->dirty_objects() + payloads_->dirty_pages(); }
  // When AtBoundary() would take something, if the state stands at a boundary.
  absl::Time NextWake() const;

 private:
  // One write, from when its objects are encoded to when they are stored.
  struct Batch {
    core::RecordId current;
    std::vector<core::ObjectWrite> writes;
    std::vector<core::DirtyObject> objects;
    std::vector<PayloadPages::DirtyPage> pages;
    std::vector<std::pair<core::ObjectKey, size_t>> sizes;  // 0: erased.
    bool sent = false;
  };

  void TakeObjects(size_t max);
  void TakePages(size_t max);
  void Send();
  void OnWritten(const absl::Status& status);
  void Trim(bool pressed);
  void OnTrimmed(core::RecordId below);

  const Options options_;
  core::Store* const store_;
  core::PartitionState* const state_;
  PayloadPages* const payloads_;
  StoredSizes* const sizes_;
  const std::function<void(absl::Status)> failed_;

  std::optional<Batch> batch_;
  absl::Time now_ = absl::InfinitePast();
  absl::Time next_take_ = absl::InfinitePast();
  Backoff backoff_;
  core::RecordId committed_;
  core::RecordId kept_from_;  // The newest announced ...
  struct Announcement {
    core::RecordId by;
    core::RecordId kept_from;
  };
  std::deque<Announcement> announcements_;  // ... in records that are not committed so far ...
  core::RecordId may_trim_below_;           // ... and in the last one that is.
  core::RecordId trimmed_below_;
  std::deque<std::pair<core::RecordId, size_t>> records_;  // The journal, as far as it is known ...
  size_t bytes_ = 0;                                       // ... and its size.
  size_t trimmable_ = 0;        // The first so many of them may be trimmed, ...
  size_t trimmable_bytes_ = 0;  // ... which frees this.
  size_t end_from_ = 0;         // From here on they are its end, which is kept in any case.
  size_t end_bytes_ = 0;
  uint64_t commits_since_trim_ = 0;
  bool trimming_ = false;
  absl::Time next_trim_ = absl::InfinitePast();
  Lifeline lifeline_;
};

}  // namespace tessera::edge
