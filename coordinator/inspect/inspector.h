// Reads a deployment's Redis as people want to see it: records, objects, the state that they fold
// to.
//
//   TESSERA_ASSIGN_OR_RETURN(auto inspector, Inspector::Open({.data_folder = "tessera-data"}));
//   TESSERA_RETURN_IF_ERROR(inspector->ForEachRecord({}, [](const JournalRecord& r) { ... }));
//   TESSERA_ASSIGN_OR_RETURN(auto digest, inspector->Digest(StateSource::kJournal));
//
// It only reads. A running Redis is read beside its coordinator; a data folder that no coordinator
// uses is read through a redis-server of its own, started for as long as the inspector lives.
//
// Calls block. Threads: none; one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/fold.h"
#include "coordinator/core/record.h"

namespace tessera::inspect {

struct InspectorOptions {
  std::string data_folder;  // Of a coordinator with an embedded Redis; or
  std::string redis;        // the address of a Redis (coordinator/store/redis_address.h).
  std::string redis_user;
  std::string redis_password;
  uint32_t partition = 0;
};

struct JournalRecord {
  core::RecordId id;
  core::Record record;
  std::vector<core::Event> events;
  size_t bytes = 0;
};

// Where a state is folded from. Both give the same, or something is broken.
enum class StateSource {
  kObjects,  // Stored objects and the journal's tail: what a recovery does.
  kJournal,  // The journal alone, which must never have been trimmed.
};

class Inspector {
 public:
  // FAILED_PRECONDITION: a running coordinator uses the data folder (its Redis can still be read,
  // by address). UNAVAILABLE: nobody answers there. NOT_FOUND: there is no deployment, or it has no
  // such partition.
  static absl::StatusOr<std::unique_ptr<Inspector>> Open(InspectorOptions options);
  ~Inspector();

  // Every record from `from` on, in order, until `visit` returns false. DATA_LOSS: one is damaged.
  absl::Status ForEachRecord(core::RecordId from,
                             const std::function<bool(const JournalRecord&)>& visit);

  // The last record ever appended, trimmed or not; 0-0 where there was none.
  absl::StatusOr<core::RecordId> LastRecord();

  // The state. DATA_LOSS: it cannot be told from what is there.
  absl::StatusOr<core::PartitionState> State(StateSource source);
  absl::StatusOr<std::string> Digest(StateSource source);

 private:
  struct Rep;
  absl::Status CheckPartition(uint32_t partition);
  explicit Inspector(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace tessera::inspect
