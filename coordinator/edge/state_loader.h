// Reads a partition's state back: its objects, in rounds, then the journal's tail folded over them.
//
//   auto loader = std::make_shared<StateLoader>(
//       store, StateLoader::Options(), retry_later, [](absl::StatusOr<LoadedState> loaded) { ...
//       });
//   loader->Start();
//
// It lives in the store's callbacks until it is done, whether or not anybody else holds it.
//
// What it checks on the way (each is DATA_LOSS):
//   - every record is whole and follows the one before it: no holes, also between epochs (where a
//     fence may come later than its owner knew);
//   - the journal reaches back to where its last record says that it must (Record::kept_from);
//   - no object is current to a record that the journal lacks: a store that went back in time;
//   - objects are as they were sealed, and none is missing: the state agrees with itself.
//
// It reads only. Where a live owner trims the journal while the objects are read, it starts over; and
// where nothing keeps a live owner from erasing pages meanwhile, on any DATA_LOSS that it has not met
// before.
// Threads: none; the store's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/fold.h"
#include "coordinator/core/record.h"
#include "coordinator/core/storage.h"
#include "coordinator/edge/host.h"
#include "coordinator/edge/retry.h"
#include "coordinator/edge/stored_sizes.h"

namespace tessera::edge {

// Reads where the journal ends: Store::LastRecord, and DATA_LOSS for a journal that is not there
// although objects are. Its key was deleted or evicted, and with it the fence and whatever the
// objects lack; a new journal must not begin over it.
void ReadEnd(core::Store* store, core::Store::DoneWith<core::StoredRecord> done);

struct LoadedState {
  core::PartitionState state;
  core::RecordId last;               // The journal's last record; 0-0 where there is none.
  core::RecordId kept_from;          // As it says.
  std::vector<core::RecordId> tail;  // The records that were folded, in order, ...
  std::vector<size_t> tail_bytes;    // ... and how large each is.
  StoredSizes sizes;                 // Of the objects that were read.
  uint64_t objects = 0;              // So many, payload pages not counted.
  uint64_t pages = 0;                // Payload pages, which a Recovery reads.

  // Whether a stored object may say that it is current to this record. Not so for a record that the
  // store has lost since, as after a fail-over to a replica that lagged behind.
  bool Knows(core::RecordId id) const;

  // What the tail says about payloads, which are the host's business.
  struct Intake {
    core::RecordId record;
    core::PayloadBatch batch;
  };
  std::map<core::JobIndex, std::vector<Intake>> intake;  // By job, in the order of items.
  struct Deletion {
    core::RecordId record;
    core::JobIndex job;
    uint32_t items = 0;  // That it had.
  };
  std::vector<Deletion> deletions;

  // Assignments that the tail tells the whole end of, in that order: what their gateways are told
  // of them, which may have missed it.
  std::vector<EndedAssignment> ended;
};

class StateLoader : public std::enable_shared_from_this<StateLoader> {
 public:
  struct Options {
    bool objects = true;  // Off: from the journal alone, which must never have been trimmed.
    bool ended = true;    // Whether anybody wants LoadedState::ended.
    size_t records_per_read = 32;
    size_t objects_per_read = 256;
    bool fenced = true;    // Off: an owner may be at work and erase what is read.
    int restarts_max = 8;  // When the journal is trimmed under our eyes, or pages are erased.
  };
  using Done = std::function<void(absl::StatusOr<LoadedState>)>;

  // `done` runs once, not inside a call. `store` outlives the loader.
  StateLoader(core::Store* store, Options options, RetryLater retry_later, Done done);
  StateLoader(const StateLoader&) = delete;
  StateLoader& operator=(const StateLoader&) = delete;

  void Start();
  // Nothing runs after this, `done` neither.
  void Cancel() { cancelled_ = true; }

 private:
  void ReadLast();
  void OnLast(core::StoredRecord last);
  void ReadBeforeFence(core::RecordId from, bool followed);
  void ReadObjects();
  void OnObjects(std::vector<core::ObjectKey> keys,
                 std::vector<std::optional<std::string>> objects);
  void ReadTail();
  void OnTail(std::vector<core::StoredRecord> records);
  absl::Status Fold(core::RecordId id, core::Record record);
  void NoteEnd(const core::ItemsEnded& event);
  // The journal no longer reaches back far enough: trimmed meanwhile, or damaged.
  void OnHoleAtStart(core::StoredRecord first);
  void Finish(absl::Status status);

  // What to do with an answer: a good one goes to `next`, trouble that may pass is tried `again`
  // later, anything else ends it.
  template <typename T>
  auto Handle(void (StateLoader::*again)(), std::function<void(T)> next);

  core::Store* const store_;
  const Options options_;
  const RetryLater retry_later_;
  const Done done_;

  LoadedState loaded_;
  std::vector<core::ObjectKey> keys_;  // Of this round, still to be read.
  core::RecordId must_reach_;          // The last id when we began.
  core::RecordId read_to_;             // The last record folded; 0-0: none so far.
  core::RecordId newest_object_;       // The latest id that an object is current to.
  // Items of assignments whose end has begun, and is not over.
  absl::flat_hash_map<core::AssignmentId, std::vector<core::ItemIndex>> ending_;
  int restarts_ = 0;
  absl::Status trouble_;  // For which it last started over.
  bool cancelled_ = false;
};

}  // namespace tessera::edge
