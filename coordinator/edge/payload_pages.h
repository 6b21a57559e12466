// Keys and payloads of items, in pages of kPayloadsPerPage: in memory while they are not in the
// store and, as far as there is room, afterwards.
//
// New items arrive with the record that adds them. Their pages are pinned until they have been
// written behind the journal; from then on they are a cache, and the page used longest ago goes
// first. A page that grows after it left memory holds only its new items and fetches the others
// before it is written. Where the store has lost those, the page is asked for again and again, and
// its new items stay in memory and in the journal: an operator may still put back what was lost.
//
//   pages.Add(batch, record);                     // With the record that adds the items.
//   pages.Read(job, {17, 4}, done);               // From memory, or from the store.
//   for (auto& page : pages.TakeDirty(4, current)) ...write it, then Stored() or NotStored()...
//
// Reads of one page that come while it is being fetched wait for the same answer.
//
// Threads: none.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/objects.h"
#include "coordinator/core/record.h"
#include "coordinator/core/storage.h"
#include "coordinator/edge/lifeline.h"

namespace tessera::edge {

// What is stored under `payload:<job>:<page>`.
struct PayloadPage {
  core::RecordId current;  // It holds what was added up to here.
  std::vector<core::Payload> payloads;
};
inline void Fields(auto& v, PayloadPage& p) {
  v("current", p.current);
  v("payloads", p.payloads);
}
// As it is stored, sealed. DecodePayloadPage: DATA_LOSS where the bytes are not what was stored.
std::string EncodePayloadPage(const PayloadPage& page);
absl::StatusOr<PayloadPage> DecodePayloadPage(const core::ObjectKey& key, absl::string_view bytes);

class PayloadPages {
 public:
  // `store` outlives it. `cache_bytes` bounds the pages that are in the store as well.
  PayloadPages(core::Store* store, size_t cache_bytes);
  // Reads that were not answered get UNAVAILABLE.
  ~PayloadPages();
  PayloadPages(const PayloadPages&) = delete;
  PayloadPages& operator=(const PayloadPages&) = delete;

  // New items, added by record `record`. Batches of a job come in the order of its items.
  void Add(const core::PayloadBatch& batch, core::RecordId record);
  // A page as recovery read it.
  void AddStored(core::JobIndex job, uint32_t page, std::vector<core::Payload> payloads);

  // The items' keys and payloads, in order. `done` runs inside the call if all are in memory.
  // NOT_FOUND: no such job any more. UNAVAILABLE: the store did not answer, try again. DATA_LOSS:
  // it has no such item.
  using Payloads = std::vector<core::Payload>;
  using Done = std::function<void(absl::StatusOr<Payloads>)>;
  void Read(core::JobIndex job, std::vector<core::ItemIndex> items, Done done);

  // Drops a deleted job and has its pages erased, `items` items' worth. `record` deletes the job.
  void Forget(core::JobIndex job, uint32_t items, core::RecordId record);

  // --- Writing behind the journal ----------------------------------------------------------------

  struct DirtyPage {
    core::ObjectKey key;
    core::RecordId since;  // The first record whose items the store lacks.
    std::string bytes;     // As it is to be stored ...
    bool erase = false;    // ... unless it is to go.
  };
  // Pages to write, erasures first, then longest waiting first. Fewer than there are where a page
  // is still fetching its older items. `current`: the last closed record.
  std::vector<DirtyPage> TakeDirty(size_t max, core::RecordId current);
  void Stored(const DirtyPage& page);
  void NotStored(const DirtyPage& page);
  size_t dirty_pages() const { return waiting_.size() + erasures_.size() + taken_.size(); }
  bool erasures_wait() const { return !erasures_.empty(); }
  // Items of records below this one are in the store; nothing: all are.
  std::optional<core::RecordId> OldestUnwritten() const;

  size_t bytes() const { return bytes_; }
  // The first payload that the store was found to have lost, whoever asked; OK while none was.
  const absl::Status& damage() const { return damage_; }

 private:
  struct Page {
    uint32_t begin = 0;  // Place in the page of the first payload here; the store has those before.
    std::vector<core::Payload> payloads;
    size_t bytes = 0;
    std::optional<core::RecordId> waiting_since;                 // Dirty, to be taken.
    std::optional<core::RecordId> taken_since;                   // Taken, not written so far.
    std::optional<std::list<core::ObjectKey>::iterator> cached;  // In the store, so it may go.

    uint32_t end() const { return begin + static_cast<uint32_t>(payloads.size()); }
  };
  struct ReadInProgress;
  using Waiting = std::pair<core::RecordId, core::ObjectKey>;

  static core::ObjectKey KeyOf(core::JobIndex job, uint32_t page) {
    return {core::ObjectKind::kPayload, job.value(), page};
  }
  void Append(Page& page, const core::Payload& payload);
  void MarkDirty(const core::ObjectKey& key, Page& page, core::RecordId since);
  void Fetch(const core::ObjectKey& key);
  void OnFetched(const core::ObjectKey& key, absl::StatusOr<std::optional<std::string>> stored);
  // Puts stored payloads under those that the page has.
  absl::Status Merge(const core::ObjectKey& key, absl::StatusOr<std::optional<std::string>> stored);
  // Copies what the read wants of this page.
  absl::Status Collect(const core::ObjectKey& key, ReadInProgress& read) const;
  void Note(const absl::Status& status);
  void Touch(const core::ObjectKey& key, Page& page);
  void Uncache(Page& page);
  void Evict();

  core::Store* const store_;
  const size_t cache_bytes_;

  absl::flat_hash_map<core::ObjectKey, std::unique_ptr<Page>> pages_;
  // Being fetched, with the reads that wait for it.
  std::map<core::ObjectKey, std::vector<std::shared_ptr<ReadInProgress>>> fetches_;
  std::list<core::ObjectKey> cached_;  // Used longest ago first.
  std::set<Waiting> waiting_;          // To be written.
  std::set<Waiting> erasures_;         // To be erased.
  std::set<Waiting> taken_;            // Being written or erased.
  size_t bytes_ = 0;
  absl::Status damage_;
  Lifeline lifeline_;
};

}  // namespace tessera::edge
