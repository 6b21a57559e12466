// What a partition needs of a store, and nothing more.
//
// A store keeps one partition's journal (records in the order of their ids), its objects (job heads
// and pages, each named by a short key) and nothing else. The real one is Redis
// (coordinator/store/redis_store.h); simulations use one that loses, delays and repeats
// (tests/support/faulty_store.h). Both pass the contract in tests/coordinator/store.
//
// Every call is asynchronous: it returns at once and `done` runs later, on the thread that owns the
// store, never inside the call. Calls are carried out in the order they were made.
//
// What a status means, to every `done`:
//   OK                  it is in the store, as durable as the store is configured to be.
//   ABORTED             fenced: the journal's last id is not what this owner left; drop the
//                       partition.
//   UNAVAILABLE         nobody knows: the reply was lost; read LastRecord() before trying again.
//   RESOURCE_EXHAUSTED  refused, nothing was written (full, read-only, loading): try the same
//                       again.
//   DATA_LOSS           what is there cannot be read, or is behind what was acknowledged.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/types.h"

namespace tessera::core {

struct StoredRecord {
  RecordId id;
  std::string bytes;
};

// One object to write or, with `erase`, to remove.
struct ObjectWrite {
  std::string key;    // Within the partition, such as "job:3" or "items:3:17". See objects.h.
  std::string bytes;  // The encoded object.
  // Beside the bytes, for people with redis-cli: field and value. The store never reads them back.
  std::vector<std::pair<std::string, std::string>> readable;
  bool erase = false;
};

class Store {
 public:
  using Done = std::function<void(absl::Status)>;
  template <typename T>
  using DoneWith = std::function<void(absl::StatusOr<T>)>;

  virtual ~Store() = default;

  // Appends one record. ABORTED unless `id` is larger than the last id in the journal. DATA_LOSS if
  // this store was answered before that there is a journal, and now there is none. The caller keeps
  // one append in flight, so that there are no gaps.
  //
  // On a connection that has come up since this store was last answered an append or the last
  // record, it is not sent: UNAVAILABLE. Behind a new connection may stand a store that has lost
  // its end, and it would take the larger id and leave a hole; so LastRecord() comes first.
  virtual void Append(RecordId id, std::string bytes, Done done) = 0;

  // The last record ever appended, trimmed or not: its id always, its bytes while they are kept.
  // {0-0, ""} for a journal that never was.
  virtual void LastRecord(DoneWith<StoredRecord> done) = 0;

  // Its id alone, without sending its bytes: for one who only looks whether the journal is still
  // where it was. It costs the store some milliseconds where the last record has megabytes. It does not stand in for LastRecord() on a new connection.
  virtual void LastId(DoneWith<RecordId> done) = 0;

  // Up to `records_max` records with ids from `from` on, in order.
  virtual void ReadJournal(RecordId from, size_t records_max,
                           DoneWith<std::vector<StoredRecord>> done) = 0;

  // Writes the objects, all or none, if the journal's last id is of epoch `epoch`; else ABORTED, or
  // DATA_LOSS where there is no journal.
  virtual void WriteObjects(uint64_t epoch, std::vector<ObjectWrite> writes, Done done) = 0;

  // The objects' bytes, in the order of `keys`; nothing where there is no such object.
  virtual void ReadObjects(std::vector<std::string> keys,
                           DoneWith<std::vector<std::optional<std::string>>> done) = 0;

  // Forgets records with ids below `below`, fenced like WriteObjects. LastRecord() remembers.
  virtual void Trim(uint64_t epoch, RecordId below, Done done) = 0;
};

}  // namespace tessera::core
