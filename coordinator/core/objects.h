// The names of what is stored beside the journal, and what each one holds.
//
//   partition          Pools, the number of jobs and workers, the partition's time.
//   workers:<page>     256 workers: names, skills, languages, blocks.
//   job:<job>          A job's head: identity, policy, state, counts, money, learnt costs.
//   items:<job>:<page>     256 items: traits, leases and answers, state, value, confidence.
//   leases:<job>:<page>    Live assignments, 128 sequence numbers to a page; erased when empty.
//   tallies:<job>:<page>   What 256 workers did in this job.
//   fit:<job>:<number>     A fit; erased when no item names it any more.
//   payload:<job>:<page>   Keys and payloads of 64 items (the host's, not the core's).
//
// Every object is sealed (seal.h), and begins with the id of the record to which it is current. State
// is that version plus the later records, object by object.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/core/types.h"

namespace tessera::core {

inline constexpr uint8_t kObjectFormat = 1;

inline constexpr uint32_t kItemsPerPage = 256;
inline constexpr uint32_t kLeasesPerPage = 128;
inline constexpr uint32_t kWorkersPerPage = 256;
inline constexpr uint32_t kPayloadsPerPage = 64;

enum class ObjectKind : uint8_t {
  kPartition,
  kWorkers,
  kJob,
  kItems,
  kLeases,
  kTallies,
  kFit,
  kPayload
};

// Names one object. `job` and `page` are 0 where the kind has none; a fit's number is its page.
struct ObjectKey {
  ObjectKind kind = ObjectKind::kPartition;
  uint32_t job = 0;
  uint32_t page = 0;

  friend bool operator==(const ObjectKey&, const ObjectKey&) = default;
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ObjectKey& key) {
    return H::combine(std::move(h), key.kind, key.job, key.page);
  }

  // As in the list above.
  std::string ToString() const;
};

// How far an object has come: as it was loaded, and with what was applied since.
struct Version {
  RecordId loaded;     // Events up to here are in it already and are passed over.
  RecordId current;    // The last event that changed it.
  bool dirty = false;  // Its stored copy is behind.

  // Whether an event of record `id` is news to this object. If so, it is current to it from now on.
  bool Advance(RecordId id) {
    if (id <= loaded) return false;
    current = id;
    return true;
  }
};

}  // namespace tessera::core
