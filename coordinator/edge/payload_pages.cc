#include "coordinator/edge/payload_pages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "coordinator/core/seal.h"

namespace tessera::edge {

using core::ItemIndex;
using core::JobIndex;
using core::kPayloadsPerPage;
using core::ObjectKey;
using core::Payload;
using core::RecordId;

namespace {

// What a payload and a page take in memory beside their bytes.
constexpr size_t kPayloadOverheadBytes = sizeof(Payload);
constexpr size_t kPageOverheadBytes = 160;

size_t BytesOf(const Payload& payload) {
  return kPayloadOverheadBytes + payload.key.size() + payload.bytes.size();
}

uint32_t PageOf(ItemIndex item) { return item / kPayloadsPerPage; }
uint32_t PlaceOf(ItemIndex item) { return item % kPayloadsPerPage; }

}  // namespace

std::string EncodePayloadPage(const PayloadPage& page) {
  std::string out(core::kSealBytes, '\0');
  core::Writer(&out).Put(page);
  core::Seal(core::kObjectFormat, &out);
  return out;
}

absl::StatusOr<PayloadPage> DecodePayloadPage(const ObjectKey& key, absl::string_view bytes) {
  const std::string name = absl::StrCat("object ", key.ToString());
  TESSERA_ASSIGN_OR_RETURN(const absl::string_view body,
                           core::Unseal(core::kObjectFormat, bytes, name));
  std::optional<PayloadPage> page = core::Decode<PayloadPage>(body);
  if (!page.has_value()) return absl::DataLossError(absl::StrCat(name, " is malformed"));
  return *std::move(page);
}

struct PayloadPages::ReadInProgress {
  JobIndex job;
  std::vector<ItemIndex> items;
  std::vector<Payload> payloads;  // As far as they are there.
  size_t pages_to_come = 0;
  absl::Status status;
  Done done;

  void Answer() {
    Done run = std::exchange(done, nullptr);
    if (!run) return;
    if (status.ok()) {
      run(std::move(payloads));
    } else {
      run(status);
    }
  }
};

PayloadPages::PayloadPages(core::Store* store, size_t cache_bytes)
    : store_(store), cache_bytes_(cache_bytes) {}

PayloadPages::~PayloadPages() {
  for (auto& [key, reads] : std::exchange(fetches_, {})) {
    for (const auto& read : reads) {
      read->status = absl::UnavailableError("the partition is not served here any more");
      read->Answer();
    }
  }
}

// --- Intake --------------------------------------------------------------------------------------

void PayloadPages::Add(const core::PayloadBatch& batch, RecordId record) {
  for (uint32_t i = 0; i < batch.payloads.size(); ++i) {
    const ItemIndex item = batch.first + i;
    const ObjectKey key = KeyOf(batch.job, PageOf(item));
    std::unique_ptr<Page>& page = pages_[key];
    if (page == nullptr) {
      page = std::make_unique<Page>();
      page->begin = PlaceOf(item);
      bytes_ += kPageOverheadBytes;
    }
    TESSERA_CHECK(page->end() == PlaceOf(item)) << key.ToString() << ", item " << item;
    Append(*page, batch.payloads[i]);
    MarkDirty(key, *page, record);
  }
}

void PayloadPages::AddStored(JobIndex job, uint32_t number, std::vector<Payload> payloads) {
  const ObjectKey key = KeyOf(job, number);
  std::unique_ptr<Page>& page = pages_[key];
  TESSERA_CHECK(page == nullptr) << key.ToString();
  page = std::make_unique<Page>();
  bytes_ += kPageOverheadBytes;
  for (const Payload& payload : payloads) Append(*page, payload);
  Touch(key, *page);
  Evict();
}

void PayloadPages::Append(Page& page, const Payload& payload) {
  page.payloads.push_back(payload);
  page.bytes += BytesOf(payload);
  bytes_ += BytesOf(payload);
}

void PayloadPages::MarkDirty(const ObjectKey& key, Page& page, RecordId since) {
  if (page.waiting_since.has_value()) return;
  Uncache(page);
  page.waiting_since = since;
  waiting_.insert({since, key});
}

void PayloadPages::Forget(JobIndex job, uint32_t items, RecordId record) {
  const uint32_t pages = items == 0 ? 0 : PageOf(items - 1) + 1;
  std::vector<std::shared_ptr<ReadInProgress>> ended;
  for (uint32_t number = 0; number < pages; ++number) {
    const ObjectKey key = KeyOf(job, number);
    if (const auto found = pages_.find(key); found != pages_.end()) {
      Page& page = *found->second;
      Uncache(page);
      if (page.waiting_since.has_value()) waiting_.erase({*page.waiting_since, key});
      bytes_ -= page.bytes + kPageOverheadBytes;
      pages_.erase(found);
    }
    if (const auto fetch = fetches_.find(key); fetch != fetches_.end()) {
      ended.insert(ended.end(), fetch->second.begin(), fetch->second.end());
      fetches_.erase(fetch);
    }
    erasures_.insert({record, key});
  }
  for (const auto& read : ended) {
    read->status = absl::NotFoundError("the job was deleted");
    read->Answer();
  }
}

// --- Reads ---------------------------------------------------------------------------------------

void PayloadPages::Read(JobIndex job, std::vector<ItemIndex> items, Done done) {
  auto read = std::make_shared<ReadInProgress>();
  read->job = job;
  read->payloads.resize(items.size());
  read->items = std::move(items);
  read->done = std::move(done);

  std::set<uint32_t> numbers;
  for (const ItemIndex item : read->items) numbers.insert(PageOf(item));
  for (const uint32_t number : numbers) {
    const ObjectKey key = KeyOf(job, number);
    const auto found = pages_.find(key);
    const bool here = found != pages_.end() &&
                      std::none_of(read->items.begin(), read->items.end(), [&](ItemIndex item) {
                        return PageOf(item) == number && PlaceOf(item) < found->second->begin;
                      });
    if (here) {
      Touch(key, *found->second);
      read->status.Update(Collect(key, *read));
      Note(read->status);
      continue;
    }
    ++read->pages_to_come;
    Fetch(key);
    fetches_[key].push_back(read);
  }
  if (read->pages_to_come == 0) read->Answer();
}

absl::Status PayloadPages::Collect(const ObjectKey& key, ReadInProgress& read) const {
  const auto found = pages_.find(key);
  TESSERA_CHECK(found != pages_.end());
  const Page& page = *found->second;
  for (size_t i = 0; i < read.items.size(); ++i) {
    const ItemIndex item = read.items[i];
    if (PageOf(item) != key.page) continue;
    const uint32_t place = PlaceOf(item);
    if (place < page.begin || place >= page.end()) {
      return absl::DataLossError(absl::StrCat(key.ToString(), " does not hold item ", item));
    }
    read.payloads[i] = page.payloads[place - page.begin];
  }
  return absl::OkStatus();
}

void PayloadPages::Note(const absl::Status& status) {
  if (absl::IsDataLoss(status)) damage_.Update(status);
}

void PayloadPages::Fetch(const ObjectKey& key) {
  if (!fetches_.try_emplace(key).second) return;  // Under way.
  using Objects = std::vector<std::optional<std::string>>;
  store_->ReadObjects({key.ToString()},
                      lifeline_.Guard([this, key](absl::StatusOr<Objects> objects) {
                        if (absl::IsResourceExhausted(objects.status())) {
                          // For who reads it is the same: try again.
                          return OnFetched(key, absl::UnavailableError(objects.status().message()));
                        }
                        if (!objects.ok()) return OnFetched(key, objects.status());
                        TESSERA_CHECK(objects->size() == 1);
                        OnFetched(key, std::move(objects->front()));
                      }));
}

void PayloadPages::OnFetched(const ObjectKey& key,
                             absl::StatusOr<std::optional<std::string>> stored) {
  const auto fetch = fetches_.find(key);
  if (fetch == fetches_.end()) return;  // The job was deleted.
  const std::vector<std::shared_ptr<ReadInProgress>> reads = std::move(fetch->second);
  fetches_.erase(fetch);

  const absl::Status merged = Merge(key, std::move(stored));
  Note(merged);
  for (const auto& read : reads) {
    read->status.Update(merged);
    if (merged.ok()) read->status.Update(Collect(key, *read));
    Note(read->status);
    --read->pages_to_come;
  }
  Evict();
  // Last, as an answer may ask for more.
  for (const auto& read : reads) {
    if (read->pages_to_come == 0) read->Answer();
  }
}

absl::Status PayloadPages::Merge(const ObjectKey& key,
                                 absl::StatusOr<std::optional<std::string>> stored) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, std::move(stored));
  if (!bytes.has_value()) return absl::DataLossError(absl::StrCat(key.ToString(), " is gone"));
  TESSERA_ASSIGN_OR_RETURN(PayloadPage decoded, DecodePayloadPage(key, *bytes));
  std::vector<Payload>& payloads = decoded.payloads;

  std::unique_ptr<Page>& slot = pages_[key];
  if (slot == nullptr) {
    slot = std::make_unique<Page>();
    bytes_ += kPageOverheadBytes;
    for (const Payload& payload : payloads) Append(*slot, payload);
    Touch(key, *slot);
    return absl::OkStatus();
  }
  Page& page = *slot;
  if (page.begin == 0) return absl::OkStatus();
  if (payloads.size() < page.begin) {
    return absl::DataLossError(absl::StrCat(key.ToString(), " holds ", payloads.size(),
                                            " items and should hold ", page.begin));
  }
  const std::vector<Payload> newer = std::exchange(page.payloads, {});
  bytes_ -= std::exchange(page.bytes, 0);
  payloads.resize(page.begin);
  page.begin = 0;
  for (const Payload& payload : payloads) Append(page, payload);
  for (const Payload& payload : newer) Append(page, payload);
  return absl::OkStatus();
}

// --- The cache -----------------------------------------------------------------------------------

void PayloadPages::Touch(const ObjectKey& key, Page& page) {
  if (page.waiting_since.has_value() || page.taken_since.has_value()) return;  // Pinned.
  if (page.cached.has_value()) {
    cached_.splice(cached_.end(), cached_, *page.cached);
  } else {
    page.cached = cached_.insert(cached_.end(), key);
  }
}

void PayloadPages::Uncache(Page& page) {
  if (!page.cached.has_value()) return;
  cached_.erase(*page.cached);
  page.cached.reset();
}

void PayloadPages::Evict() {
  // Pinned pages count as well, but cannot go: with many of them little is cached.
  while (bytes_ > cache_bytes_ && !cached_.empty()) {
    const auto found = pages_.find(cached_.front());
    cached_.pop_front();
    bytes_ -= found->second->bytes + kPageOverheadBytes;
    pages_.erase(found);
  }
}

// --- Writing behind the journal ------------------------------------------------------------------

std::vector<PayloadPages::DirtyPage> PayloadPages::TakeDirty(size_t max, RecordId current) {
  std::vector<DirtyPage> taken;
  while (!erasures_.empty() && taken.size() < max) {
    const auto [since, key] = *erasures_.begin();
    erasures_.erase(erasures_.begin());
    taken_.insert({since, key});
    taken.push_back({.key = key, .since = since, .erase = true});
  }
  for (auto at = waiting_.begin(); at != waiting_.end() && taken.size() < max;) {
    const auto [since, key] = *at;
    Page& page = *pages_.at(key);
    if (page.begin > 0) {
      Fetch(key);
      ++at;
      continue;
    }
    at = waiting_.erase(at);
    page.waiting_since.reset();
    page.taken_since = since;
    taken_.insert({since, key});
    taken.push_back({
        .key = key,
        .since = since,
        .bytes = EncodePayloadPage({.current = current, .payloads = page.payloads}),
    });
  }
  return taken;
}

void PayloadPages::Stored(const DirtyPage& written) {
  taken_.erase({written.since, written.key});
  const auto found = pages_.find(written.key);
  if (found == pages_.end()) return;
  found->second->taken_since.reset();
  Touch(written.key, *found->second);
  Evict();
}

void PayloadPages::NotStored(const DirtyPage& written) {
  taken_.erase({written.since, written.key});
  if (written.erase) {
    erasures_.insert({written.since, written.key});
    return;
  }
  const auto found = pages_.find(written.key);
  if (found == pages_.end()) return;  // Its job was deleted meanwhile.
  Page& page = *found->second;
  page.taken_since.reset();
  if (page.waiting_since.has_value()) waiting_.erase({*page.waiting_since, written.key});
  page.waiting_since = written.since;
  waiting_.insert({written.since, written.key});
}

std::optional<RecordId> PayloadPages::OldestUnwritten() const {
  std::optional<RecordId> oldest;
  for (const std::set<Waiting>* set : {&waiting_, &erasures_, &taken_}) {
    if (set->empty()) continue;
    const RecordId first = set->begin()->first;
    if (!oldest.has_value() || first < *oldest) oldest = first;
  }
  return oldest;
}

}  // namespace tessera::edge
