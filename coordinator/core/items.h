// A job's items: a million of them must fit, so each state costs what it needs and no more.
//
// A waiting item is next to nothing: its page's share. An item in progress has a record
// (open_items.h): value, confidence, and sixteen bytes for every worker who was given it. A
// resolved one is packed into the bytes of its page, the same bytes that the store keeps
// (packed_page.h), beside four in the log of revisions. Reading a packed item decodes it; changing
// one unpacks it first.
//
// Threads: none; belongs to its JobState.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "coordinator/core/commands.h"
#include "coordinator/core/events.h"
#include "coordinator/core/fusing/categorical.h"
#include "coordinator/core/money.h"
#include "coordinator/core/objects.h"

namespace tessera::core {

// One worker's part in an item: leased, and what came of it. The pair (item, worker) is unique,
// which is what keeps a worker from being given an item twice.
struct ItemEntry {
  enum Status : uint8_t {
    kLeased = 0,
    kAnswered = 1,  // Counts.
    kReturned = 2,
    kMissed = 3,  // Past the deadline; may still count, until its grace ends.
    kForfeited = 4,
    kRevoked = 5,
    kRejected = 6,  // Was counted, then rejected by the requester.
  };
  enum Flag : uint8_t {
    kLate = 1,
    kApproved = 2,
    kUnpaid = 4,  // Rejected after the job's end: it still counts, the money went back.
  };

  WorkerIndex worker;
  uint32_t sequence = 0;  // Of the assignment.
  uint32_t price = 0;     // As quoted; packed.
  Label label = kNoLabel;
  uint8_t status = kLeased;
  uint8_t flags = 0;

  Micros price_micros() const { return UnpackPrice(price); }
  bool counted() const { return status == kAnswered; }
  bool live() const { return status == kLeased || status == kMissed; }

  friend bool operator==(const ItemEntry&, const ItemEntry&) = default;
};
static_assert(sizeof(ItemEntry) == 16);
// Workers to whom one item may ever be given; above the highest cap of answers (1,000), so that
// some may give it back. Beyond, nobody is asked any more: it is resolved by what there is, or never.
inline constexpr uint32_t kEntriesPerItemMax = 2'000;

// An item, decoded. Entries are in the order of their assignments.
struct ItemRecord {
  ItemState state = ItemState::kWaiting;
  Label value = kNoLabel;
  float confidence = 0;
  uint32_t fit = 0;
  uint32_t revision = 0;
  absl::Span<const ItemEntry> entries;

  uint32_t Counted() const;
  uint32_t Leased() const;
  const ItemEntry* FindWorker(WorkerIndex worker) const;
  const ItemEntry* FindAssignment(uint32_t sequence) const;
};

// The answers that count, in the order of their assignments, as fusing takes them.
using Votes = absl::InlinedVector<Vote, 16>;
Votes CountedVotes(absl::Span<const ItemEntry> entries);

class ItemTable {
 public:
  ItemTable();
  ItemTable(ItemTable&&) noexcept;
  ItemTable& operator=(ItemTable&&) noexcept;
  ~ItemTable();

  uint32_t size() const;

  // Grows to `size` items; new ones are waiting.
  void Grow(uint32_t size);
  void SetTraits(ItemIndex item, const ItemTraits& traits);
  ItemTraits Traits(ItemIndex item) const;
  // All of them, or an empty span while all are defaults.
  absl::Span<const ItemTraits> AllTraits() const;

  ItemState State(ItemIndex item) const;

  // The item; its entries live until the next call of any method that is not const, or of Get.
  ItemRecord Get(ItemIndex item) const;

  // --- Changes (by the fold alone) ---------------------------------------------------------------

  void AddEntry(ItemIndex item, const ItemEntry& entry);
  // The entry of this assignment, to change in place; nothing if there is none.
  ItemEntry* MutableEntry(ItemIndex item, uint32_t sequence);
  // Sets state, value, confidence and fit, and logs a revision other than 0.
  void SetOutcome(const ItemOutcome& outcome);
  // Packs the item if nothing about it is live any more. Call it after a change.
  void PackIfDone(ItemIndex item);

  // --- Revisions ---------------------------------------------------------------------------------

  // Items whose latest revision is above `after`, by revision, at most `max`.
  std::vector<ItemIndex> RevisedAfter(uint32_t after, size_t max) const;

  // --- Pages -------------------------------------------------------------------------------------

  uint32_t pages() const { return (size() + kItemsPerPage - 1) / kItemsPerPage; }
  // The page's version; grows the table of pages (not of items) to hold it.
  Version& PageVersion(uint32_t page);
  // The page's items, canonical: equal items give equal bytes however they are held.
  std::string EncodePage(uint32_t page) const;
  // Replaces the page's items; grows the table to hold them. False: malformed.
  bool LoadPage(uint32_t page, absl::string_view bytes);

  // --- Memory, for the benchmark -----------------------------------------------------------------

  struct Memory {
    uint64_t pages_bytes = 0;  // The table of pages, with their versions.
    uint64_t revisions_bytes = 0;
    uint64_t traits_bytes = 0;       // Where some item has traits.
    uint64_t in_progress_bytes = 0;  // Their records, entries and slots.
    uint64_t packed_bytes = 0;       // The page cache.
  };
  Memory MemoryUsed() const;

  // The place of an item in progress among those in progress: dense, reused. Derived structures
  // (the ready queue) index by it. Nothing for other items.
  std::optional<uint32_t> OpenSlot(ItemIndex item) const;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace tessera::core
