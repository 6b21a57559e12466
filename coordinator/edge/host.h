// Hosts one partition: owns it, commits what it decides, and brings it back after a crash.
//
// The host stands between a Partition, which decides and does no I/O, and a Store, which does I/O
// and decides nothing. It gathers the events of many commands into one record, appends the record
// while the next ones are being handled, and releases what was said only when it has been
// committed:
//
//   const auto lease = host.partition().RequestLease(request, now);
//   host.WhenCommitted([lease](absl::Status committed) { ... });  // reply now, or drop it
//   host.Flush(now);   // once per turn of the loop: appends what has gathered
//
// One append is in flight at a time; a commit takes what has gathered while the last one was in
// flight, and no timer waits for more. Trouble is handled as storage.h says: fenced or a hole:
// Failed; a lost reply: read the last id and its nonce, then go on; refused: keep the state, stop
// taking commands (`accepting()` is false), try the same id again.
//
// Behind the journal the host writes dirty objects and payload pages, paced, and trims. It resolves
// keys to items and items to payloads, because the core knows neither.
//
// Deterministic: the store, the time and the nonce are handed in. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/core/partition.h"
#include "coordinator/core/record.h"
#include "coordinator/core/storage.h"

namespace tessera::edge {

struct HostOptions {
  core::PartitionOptions partition;
  uint64_t nonce = 0;  // Unique to this run of this owner.
  // How far its epoch is from the last one: at least 1. Random and large, no owner has the epoch that
  // another one had whose records were lost when an older copy of the data was put back.
  uint64_t epoch_step = 1;
  uint64_t key_seed[2] = {0, 0};  // Of the digests of item keys.
  size_t record_bytes_max =
      4 << 20;  // A record is closed beyond this; the rest waits for the next.
  // Beyond: accepting() is false. Uploads have half of it, so that they leave room for all else.
  size_t unflushed_bytes_max = 64 << 20;
  size_t payload_cache_bytes = 256 << 20;
  size_t objects_per_write = 4;  // In one fenced write behind the journal ...
  absl::Duration write_interval = absl::Milliseconds(10);  // ... and the pause between two.
  uint64_t commits_per_trim = 64;    // The journal is trimmed after so many commits ...
  size_t bytes_per_trim = 16 << 20;  // ... or when so much of it may go.
  bool trim = true;                  // Off: the journal is kept whole, for audits and tests.
  // This much of its end is kept in any case. It tells the next owner what became of assignments
  // whose gateways may not have heard.
  size_t journal_kept_bytes = 4 << 20;
};

// An assignment that is over, with all items that it had.
struct EndedAssignment {
  core::AssignmentId assignment;
  std::vector<core::ItemIndex> items;
};

// Where a host is in its life.
enum class HostState : uint8_t { kRecovering, kServing, kFailed };

class PartitionHost {
 public:
  // `store` must outlive the host and runs on its thread.
  PartitionHost(const HostOptions& options, core::Store* store);
  ~PartitionHost();
  PartitionHost(const PartitionHost&) = delete;
  PartitionHost& operator=(const PartitionHost&) = delete;

  // Takes the partition over: reads the objects, writes the first record of a new epoch (the
  // fence), folds the journal's tail, and serves. `done` once: OK, or why not (then state() is
  // kFailed).
  void Start(absl::Time now, std::function<void(absl::Status)> done);

  HostState state() const;
  // Why it failed; OK otherwise. ABORTED: fenced, somebody else owns the partition.
  absl::Status failure() const;
  // Commands may be handled: serving, and the store takes records. When false, answer UNAVAILABLE.
  bool accepting() const;
  // An upload may hand in one more batch. True as well where that will be refused.
  bool has_upload_room() const;

  // Only while serving. Handle a command, then WhenCommitted() for its reply.
  core::Partition& partition();

  // Runs `done` when all that was decided before this call has been committed, with OK; or with
  // UNAVAILABLE when this host will never know, in its destructor at the latest. Never inside the
  // call: at the next Flush() or Tick() if nothing is outstanding. In order. Call it when a command
  // is complete, with its payloads: a record may be closed here.
  void WhenCommitted(std::function<void(absl::Status)> done);
  // The same, and only once the store, asked from here on, has shown no other owner's record: for what
  // would be wrong to say of a partition that is not ours any more. One question does for all who ask
  // meanwhile, and it writes nothing. In order among themselves.
  void WhenOwned(std::function<void(absl::Status)> done);
  // The record that everything decided so far is in, or will be.
  core::RecordId RecordNow();
  // Says that a command is complete of which others follow before anybody waits. Here, too, a record
  // that has become large is closed, so that many of them do not become one record.
  void EndCommand();

  // Runs replies that are due, and appends what has gathered unless an append is in flight. Call it
  // at the end of each turn. (What gathers while one is in flight is appended when that is
  // committed.)
  void Flush(absl::Time now);
  // Lets time pass: the partition's Tick, writes behind the journal, trims, retries. Not the
  // partition's while the store refuses: then nobody can hand in an answer, so no lease ends, and
  // after a second of that open deadlines move as they do when a new owner comes. So they do where
  // leases are open and no Tick came for some seconds longer than NextWake() asked for: the process
  // stood still, and the answers that arrived meanwhile are still to be read.
  void Tick(absl::Time now);
  absl::Time NextWake() const;

  // --- Keys and payloads -------------------------------------------------------------------------

  struct KeyEntry {
    core::ItemIndex item = 0;
    uint64_t payload_digest = 0;
  };
  // The item with this key, in what is committed or about to be.
  std::optional<KeyEntry> FindKey(core::JobIndex job, absl::string_view key) const;
  uint64_t PayloadDigest(absl::string_view bytes) const;
  // What one of the job's items takes at most in the message of an assignment.
  size_t ItemBytesMax(core::JobIndex job) const;
  // Puts keys and payloads of new items beside the ItemsAdded event that the partition just made.
  void AddPayloads(core::PayloadBatch batch);
  // The items' keys and bytes, in order, from memory or from the store, which is asked again while
  // it does not answer. Not before the items' commit. NOT_FOUND: no such job any more. UNAVAILABLE:
  // this host will never know. DATA_LOSS: the store lost one of them.
  void ReadPayloads(core::JobIndex job, std::vector<core::ItemIndex> items,
                    std::function<void(absl::StatusOr<std::vector<core::Payload>>)> done);
  // Forgets a deleted job's keys and payloads.
  void ForgetJob(core::JobIndex job);

  // --- For operators -----------------------------------------------------------------------------

  // Why the store takes no records at the moment; OK while it does.
  absl::Status trouble() const;
  // The first payload that the store was found to have lost; OK while none was.
  const absl::Status& damage() const;

  // What it took to take the partition over; known once it serves.
  struct Takeover {
    uint64_t epoch = 0;    // Ours.
    uint64_t records = 0;  // Read from the journal, ours included.
    uint64_t objects = 0;  // Read of what is stored beside it, ...
    uint64_t pages = 0;    // ... and pages of payloads.
    absl::Duration duration;
  };
  const Takeover& takeover() const;
  // Assignments of the owners before whose whole end is in the end of the journal that is kept
  // (journal_kept_bytes), in its order. Once.
  std::vector<EndedAssignment> TakeEnded();

  struct Status {
    HostState state = HostState::kRecovering;
    core::RecordId head;                             // Last committed record.
    absl::Time committed_at = absl::InfinitePast();  // When that was.
    core::RecordId trimmed_below;
    uint64_t records = 0;  // Committed by this owner.
    uint64_t bytes = 0;
    size_t dirty_objects = 0;
    size_t key_index_bytes = 0;
    size_t payload_cache_bytes = 0;
    uint64_t stored_bytes = 0;  // Of all objects.
  };
  Status status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The state that a partition's stored objects and journal fold to: what recovery does, as a
// function of its own, for `tessera inspect` and for tests. `objects` off: from the journal alone,
// which must be untrimmed. Reads only.
void LoadState(core::Store* store, bool objects,
               std::function<void(absl::StatusOr<core::PartitionState>)> done);

// A digest of the state (SipHash-128 in hex over all objects): equal states, equal digests.
std::string StateDigest(const core::PartitionState& state);

}  // namespace tessera::edge
