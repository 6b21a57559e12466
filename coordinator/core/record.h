// A journal record: everything that one commit made true, in one piece.
//
// Layout, under a seal (seal.h): the header (its fields up to `kept_from`, length-prefixed so that it
// can grow), the events, and the batches of intake whose items the events added. Keys and payloads
// ride beside the events because the core never looks at them.
//
// Each record names the one that it follows and the one from which on the journal must be whole. So
// whoever reads a journal can tell one that was trimmed from one that has a hole, without knowing
// more than its last record.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/events.h"

namespace tessera::core {

// A requester's item as it is kept: its key and its bytes, opaque to everything but the service.
struct Payload {
  std::string key;
  std::string bytes;
};
inline void Fields(auto& v, Payload& p) {
  v("key", p.key);
  v("bytes", p.bytes);
}

// Keys and payloads of items `first`, `first + 1`, ... of a job.
struct PayloadBatch {
  JobIndex job;
  ItemIndex first = 0;
  std::vector<Payload> payloads;
};
inline void Fields(auto& v, PayloadBatch& b) {
  v("job", b.job);
  v("first", b.first);
  v("payloads", b.payloads);
}

struct Record {
  uint64_t nonce = 0;  // Of the owner's run.
  absl::Time at;       // When it was closed.
  // The record before it, perhaps of an older epoch. 0-0: it is the first. A fence (sequence 0)
  // names the last one that its owner knew; the owner before may have added more until the fence
  // stood.
  RecordId follows;
  RecordId kept_from;  // Records below this one are in the stored objects and may be gone.
  std::string events;  // As Partition::TakeEvents() gave them.
  std::vector<PayloadBatch> payloads;
};

std::string EncodeRecord(const Record& record);

// DATA_LOSS: the checksum or the layout is wrong, or a newer version wrote it.
absl::StatusOr<Record> DecodeRecord(absl::string_view bytes);

// The record's events, decoded. DATA_LOSS like above.
absl::StatusOr<std::vector<Event>> DecodeEvents(const Record& record);

}  // namespace tessera::core
