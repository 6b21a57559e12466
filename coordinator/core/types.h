// Names for the numbers that the core deals in.
//
// Inside a partition everything is a dense index, because an index is four bytes and a name is not:
// a job of a million items must fit. Names live at the edges (job heads, worker records) and in the
// store. All of these are values; none owns anything.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/ids.h"

namespace tessera::core {

// A job's place in its partition's table. Never reused, so that an old id cannot name a new job.
using JobIndex = StrongId<struct JobIndexTag, uint32_t>;

// A worker's place in its partition's registry. Never reused.
using WorkerIndex = StrongId<struct WorkerIndexTag, uint32_t>;

// An item's place in its job, in the order of intake: 0 .. count-1.
using ItemIndex = uint32_t;

// The index of a class in the template's list of choices.
using Label = uint16_t;
inline constexpr Label kNoLabel = std::numeric_limits<Label>::max();

// Money: millionths of the job's currency unit.
using Micros = int64_t;

// One lease of one microtask to one worker. `sequence` counts within the job, from 0.
struct AssignmentId {
  JobIndex job;
  uint32_t sequence = 0;

  friend bool operator==(const AssignmentId&, const AssignmentId&) = default;
  friend auto operator<=>(const AssignmentId&, const AssignmentId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const AssignmentId& id) {
    return H::combine(std::move(h), id.job, id.sequence);
  }
};

// A record's place in a partition's journal; also its Redis stream id, `epoch-sequence`.
//
// A new owner starts a new epoch with the record `epoch-0`. Redis refuses an id that is not larger
// than the last, and that refusal is the fence: an owner of an older epoch cannot append.
struct RecordId {
  uint64_t epoch = 0;
  uint64_t sequence = 0;

  friend bool operator==(const RecordId&, const RecordId&) = default;
  friend auto operator<=>(const RecordId&, const RecordId&) = default;

  RecordId Next() const { return {epoch, sequence + 1}; }
  std::string ToString() const { return absl::StrCat(epoch, "-", sequence); }
};

// What an item is to its job. The numbers are stored: append only.
enum class ItemState : uint8_t {
  kWaiting = 0,     // No answer and no lease so far.
  kInProgress = 1,  // Leased, or answered and not sure enough.
  kResolved = 2,  // Sure enough, or at its cap of answers. A later fit or rejection may revise it.
  kUnresolved = 3,  // The job ended first: best value and confidence stand.
  kCancelled = 4,   // The job was cancelled first.
};

// Where a job is in its life. The numbers are stored: append only.
enum class JobPhase : uint8_t {
  kRunning = 0,
  kPaused = 1,     // See PauseReason: asked for, or out of money, or out of time.
  kClosing = 2,    // No new leases; each open one runs to its end or its grace.
  kFinalised = 3,  // Every item has its final state. Money may still move; items may not.
  kCancelled = 4,
};

inline bool Ended(JobPhase phase) {
  return phase == JobPhase::kFinalised || phase == JobPhase::kCancelled;
}

// Why a job is paused: bits, as several may hold at once. Stored: append only.
enum PauseReason : uint8_t {
  kPauseRequested = 1,
  kPauseBudget = 2,    // No further answer can be paid for and items still want one.
  kPauseDeadline = 4,  // The job's deadline has passed.
};

// How a job's items are ordered and bundled. Stored: append only.
enum class SplitStrategy : uint8_t { kUniform = 0, kStratified = 1, kAdaptive = 2 };

// What ends a job whose items are all done. Stored: append only.
enum class FinaliseMode : uint8_t { kAutomatic = 0, kManual = 1 };

// Why a job stands still, for the people who watch it. Not stored.
enum class StallReason : uint8_t {
  kNone = 0,
  kPaused,
  kOutOfBudget,
  kPastDeadline,
  kNotStarted,         // Its start time is in the future.
  kNoItems,            // Nothing was added so far.
  kWaitingForAnswers,  // All that may be leased is leased.
  kNoEligibleWorker,   // Items are ready; nobody who asked lately may have them.
  kRateLimited,
  kWaitingForFinalise,  // All is done; the job ends by FinaliseJob only.
};

}  // namespace tessera::core
