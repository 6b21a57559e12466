#include "coordinator/core/items.h"

#include <algorithm>
#include <array>

#include "common/check.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/open_items.h"
#include "coordinator/core/packed_page.h"
#include "coordinator/core/revision_log.h"

namespace tessera::core {
namespace {

void EncodeEntry(Writer& w, const ItemEntry& e) {
  w.PutVarint(e.worker.value());
  w.PutVarint(e.sequence);
  w.PutVarint(e.price);
  w.PutVarint(static_cast<Label>(e.label + 1));  // kNoLabel, the most frequent, becomes one byte.
  w.PutVarint(static_cast<uint64_t>(e.status) | static_cast<uint64_t>(e.flags) << 3);
}

ItemEntry DecodeEntry(Reader& r) {
  ItemEntry e;
  e.worker = WorkerIndex(static_cast<uint32_t>(r.GetVarint()));
  e.sequence = static_cast<uint32_t>(r.GetVarint());
  e.price = static_cast<uint32_t>(r.GetVarint());
  e.label = static_cast<Label>(r.GetVarint() - 1);
  const uint64_t bits = r.GetVarint();
  e.status = static_cast<uint8_t>(bits & 7);
  e.flags = static_cast<uint8_t>(bits >> 3);
  return e;
}

// An item nobody has touched is the single byte 0. Any other starts with its state + 1.
void EncodeItem(std::string* out, const ItemRecord& item) {
  Writer w(out);
  if (item.state == ItemState::kWaiting && item.entries.empty() && item.revision == 0) {
    w.PutVarint(0);
    return;
  }
  w.PutVarint(static_cast<uint64_t>(item.state) + 1);
  w.PutVarint(static_cast<Label>(item.value + 1));
  w.Put(item.confidence);
  w.PutVarint(item.fit);
  w.PutVarint(item.revision);
  w.PutVarint(item.entries.size());
  for (const ItemEntry& e : item.entries) EncodeEntry(w, e);
}

// Fills `entries`; the item's span points at it. False for the byte 0 (an untouched item).
bool DecodeItem(Reader& r, ItemRecord* item, std::vector<ItemEntry>* entries) {
  entries->clear();
  *item = ItemRecord();
  const uint64_t head = r.GetVarint();
  if (head == 0) return false;
  item->state = static_cast<ItemState>(head - 1);
  item->value = static_cast<Label>(r.GetVarint() - 1);
  r.Get(item->confidence);
  item->fit = static_cast<uint32_t>(r.GetVarint());
  item->revision = static_cast<uint32_t>(r.GetVarint());
  const uint64_t count = r.GetVarint();
  for (uint64_t i = 0; i < count && r.ok(); ++i) entries->push_back(DecodeEntry(r));
  item->entries = *entries;
  return true;
}

// What a page from the store may claim to be, at most; jobs are limited far below.
constexpr uint32_t kItemPagesMax = (uint32_t{1} << 30) / kItemsPerPage;

// What is held of one page's items, by their place in it. A page none of whose items is in progress
// holds no slots; one none of whose items is resolved, no bytes: where millions wait or are done,
// most pages are like that.
struct Page {
  using Slots = std::array<uint32_t, kItemsPerPage>;

  Version version;
  std::unique_ptr<Slots> slots;  // In OpenItems; kNoSlot for an item that is not in progress.
  uint32_t open = 0;             // Items in progress.
  std::unique_ptr<PackedPage> packed;

  uint32_t SlotOf(uint32_t place) const {
    return slots == nullptr ? OpenItems::kNoSlot : (*slots)[place];
  }
  void SetSlot(uint32_t place, uint32_t slot) {
    if (slots == nullptr) {
      slots = std::make_unique<Slots>();
      slots->fill(OpenItems::kNoSlot);
    }
    (*slots)[place] = slot;
    ++open;
  }
  void ClearSlot(uint32_t place) {
    (*slots)[place] = OpenItems::kNoSlot;
    if (--open == 0) slots.reset();
  }
  bool HasPacked(uint32_t place) const { return packed != nullptr && packed->Has(place); }
};

}  // namespace

uint32_t ItemRecord::Counted() const {
  return static_cast<uint32_t>(
      std::count_if(entries.begin(), entries.end(), [](const auto& e) { return e.counted(); }));
}

uint32_t ItemRecord::Leased() const {
  return static_cast<uint32_t>(std::count_if(entries.begin(), entries.end(), [](const auto& e) {
    return e.status == ItemEntry::kLeased;
  }));
}

const ItemEntry* ItemRecord::FindWorker(WorkerIndex worker) const {
  for (const ItemEntry& e : entries) {
    if (e.worker == worker) return &e;
  }
  return nullptr;
}

const ItemEntry* ItemRecord::FindAssignment(uint32_t sequence) const {
  for (const ItemEntry& e : entries) {
    if (e.sequence == sequence) return &e;
  }
  return nullptr;
}

Votes CountedVotes(absl::Span<const ItemEntry> entries) {
  Votes votes;
  for (const ItemEntry& e : entries) {
    if (e.counted()) votes.push_back({e.worker, e.label});
  }
  return votes;
}

struct ItemTable::Rep {
  uint32_t size = 0;
  std::vector<Page> pages;
  OpenItems open;
  std::vector<ItemTraits> traits;
  RevisionLog revisions;
  mutable std::vector<ItemEntry> scratch;

  static uint32_t Place(ItemIndex item) { return item % kItemsPerPage; }
  Page& PageOf(ItemIndex item) { return pages[item / kItemsPerPage]; }
  const Page& PageOf(ItemIndex item) const { return pages[item / kItemsPerPage]; }
  uint32_t SlotOf(ItemIndex item) const { return PageOf(item).SlotOf(Place(item)); }

  void GrowPages(uint32_t count) {
    if (count <= pages.size()) return;
    // By a sixteenth: doubling would waste half of what a million items hold.
    if (count > pages.capacity()) pages.reserve(count + count / 16);
    pages.resize(count);
  }

  OpenItem& Open(ItemIndex item) {
    Page& page = PageOf(item);
    if (const uint32_t slot = SlotOf(item); slot != OpenItems::kNoSlot) return open[slot];
    const uint32_t slot = open.Take();
    OpenItem& record = open[slot];
    if (page.HasPacked(Place(item))) {
      Reader reader(page.packed->Get(Place(item)));
      ItemRecord decoded;
      DecodeItem(reader, &decoded, &scratch);
      TESSERA_CHECK(reader.ok());
      Assign(record, decoded);
      page.packed->Drop(Place(item));
    }
    page.SetSlot(Place(item), slot);
    return record;
  }

  static void Assign(OpenItem& record, const ItemRecord& item) {
    record = OpenItem();
    record.state = item.state;
    record.value = item.value;
    record.confidence = item.confidence;
    record.fit = item.fit;
    record.revision = item.revision;
    for (const ItemEntry& e : item.entries) record.Append(e);
  }

  // Makes the item one that nobody has touched.
  void Release(ItemIndex item) {
    Page& page = PageOf(item);
    if (const uint32_t slot = SlotOf(item); slot != OpenItems::kNoSlot) {
      revisions.Drop(open[slot].revision);
      open.Give(slot);
      page.ClearSlot(Place(item));
    } else if (page.HasPacked(Place(item))) {
      Reader reader(page.packed->Get(Place(item)));
      ItemRecord decoded;
      DecodeItem(reader, &decoded, &scratch);
      revisions.Drop(decoded.revision);
      page.packed->Drop(Place(item));
    }
  }
};

ItemTable::ItemTable() : rep_(std::make_unique<Rep>()) {}
ItemTable::ItemTable(ItemTable&&) noexcept = default;
ItemTable& ItemTable::operator=(ItemTable&&) noexcept = default;
ItemTable::~ItemTable() = default;

uint32_t ItemTable::size() const { return rep_->size; }

void ItemTable::Grow(uint32_t size) {
  if (size <= rep_->size) return;
  rep_->size = size;
  rep_->GrowPages(pages());
  if (!rep_->traits.empty()) rep_->traits.resize(size);
}

void ItemTable::SetTraits(ItemIndex item, const ItemTraits& traits) {
  if (rep_->traits.empty()) {
    if (traits == ItemTraits()) return;
    rep_->traits.resize(rep_->size);
  }
  rep_->traits[item] = traits;
}

ItemTraits ItemTable::Traits(ItemIndex item) const {
  return rep_->traits.empty() ? ItemTraits() : rep_->traits[item];
}

absl::Span<const ItemTraits> ItemTable::AllTraits() const { return rep_->traits; }

ItemState ItemTable::State(ItemIndex item) const {
  const Page& page = rep_->PageOf(item);
  const uint32_t place = Rep::Place(item);
  if (const uint32_t slot = page.SlotOf(place); slot != OpenItems::kNoSlot) {
    return rep_->open[slot].state;
  }
  if (!page.HasPacked(place)) return ItemState::kWaiting;
  return static_cast<ItemState>(page.packed->Get(place)[0] - 1);
}

ItemRecord ItemTable::Get(ItemIndex item) const {
  ItemRecord result;
  const Page& page = rep_->PageOf(item);
  const uint32_t place = Rep::Place(item);
  if (const uint32_t slot = page.SlotOf(place); slot != OpenItems::kNoSlot) {
    const OpenItem& record = rep_->open[slot];
    result.state = record.state;
    result.value = record.value;
    result.confidence = record.confidence;
    result.fit = record.fit;
    result.revision = record.revision;
    result.entries = absl::MakeConstSpan(record.entries.get(), record.size);
  } else if (page.HasPacked(place)) {
    Reader reader(page.packed->Get(place));
    DecodeItem(reader, &result, &rep_->scratch);
  }
  return result;
}

void ItemTable::AddEntry(ItemIndex item, const ItemEntry& entry) {
  OpenItem& record = rep_->Open(item);
  if (record.state == ItemState::kWaiting) record.state = ItemState::kInProgress;
  record.Append(entry);
}

ItemEntry* ItemTable::MutableEntry(ItemIndex item, uint32_t sequence) {
  if (item >= size()) return nullptr;
  if (!OpenSlot(item).has_value() && !rep_->PageOf(item).HasPacked(Rep::Place(item)))
    return nullptr;
  OpenItem& record = rep_->Open(item);
  for (uint16_t i = 0; i < record.size; ++i) {
    if (record.entries[i].sequence == sequence) return &record.entries[i];
  }
  return nullptr;
}

void ItemTable::SetOutcome(const ItemOutcome& outcome) {
  OpenItem& record = rep_->Open(outcome.item);
  record.state = outcome.after;
  record.value = outcome.value;
  record.confidence = outcome.confidence;
  record.fit = outcome.fit;
  if (outcome.revision == 0) return;
  rep_->revisions.Add(outcome.revision, outcome.item, record.revision);
  record.revision = outcome.revision;
}

void ItemTable::PackIfDone(ItemIndex item) {
  const uint32_t slot = rep_->SlotOf(item);
  if (slot == OpenItems::kNoSlot) return;
  const OpenItem& record = rep_->open[slot];
  if (record.state != ItemState::kResolved) return;
  for (uint16_t i = 0; i < record.size; ++i) {
    if (record.entries[i].live()) return;
  }
  std::string bytes;
  EncodeItem(&bytes, Get(item));
  if (bytes.size() > PackedPage::kItemBytesMax) return;  // Thousands of answers: it stays as it is.
  Page& page = rep_->PageOf(item);
  if (page.packed == nullptr) page.packed = std::make_unique<PackedPage>();
  page.packed->Put(Rep::Place(item), bytes);
  page.ClearSlot(Rep::Place(item));
  rep_->open.Give(slot);
}

std::vector<ItemIndex> ItemTable::RevisedAfter(uint32_t after, size_t max) const {
  return rep_->revisions.After(after, max);
}

Version& ItemTable::PageVersion(uint32_t page) {
  rep_->GrowPages(page + 1);
  return rep_->pages[page].version;
}

std::string ItemTable::EncodePage(uint32_t page) const {
  std::string out;
  Writer w(&out);
  const ItemIndex first = page * kItemsPerPage;
  const ItemIndex end = std::min(first + kItemsPerPage, size());
  w.PutVarint(end - first);
  const auto traits_differ = [&](ItemIndex i) { return Traits(i) != ItemTraits(); };
  bool traits = false;
  for (ItemIndex i = first; i < end && !traits; ++i) traits = traits_differ(i);
  w.Put(traits);
  for (ItemIndex i = first; i < end; ++i) {
    if (traits) w.Put(Traits(i));
    if (const Page& held = rep_->pages[page]; held.HasPacked(Rep::Place(i))) {
      const absl::string_view item = held.packed->Get(Rep::Place(i));
      out.append(item.data(), item.size());
    } else {
      EncodeItem(&out, Get(i));
    }
  }
  return out;
}

bool ItemTable::LoadPage(uint32_t page, absl::string_view bytes) {
  Reader r(bytes);
  const uint64_t count = r.GetVarint();
  if (!r.ok() || count > kItemsPerPage || page >= kItemPagesMax) return false;
  const ItemIndex first = page * kItemsPerPage;
  Grow(first + static_cast<uint32_t>(count));
  bool traits = false;
  r.Get(traits);
  std::vector<ItemEntry> entries;
  for (uint32_t place = 0; place < count; ++place) {
    const ItemIndex i = first + place;
    if (traits) {
      ItemTraits t;
      r.Get(t);
      SetTraits(i, t);
    }
    ItemRecord item;
    rep_->Release(i);
    if (!DecodeItem(r, &item, &entries)) continue;
    if (!r.ok()) return false;
    Rep::Assign(rep_->Open(i), item);
    if (item.revision != 0) rep_->revisions.Add(item.revision, i, 0);
    PackIfDone(i);
  }
  return r.ok() && r.AtEnd();
}

ItemTable::Memory ItemTable::MemoryUsed() const {
  Memory m;
  m.pages_bytes = rep_->pages.capacity() * sizeof(Page);
  m.revisions_bytes = rep_->revisions.bytes();
  m.traits_bytes = rep_->traits.capacity() * sizeof(ItemTraits);
  m.in_progress_bytes = rep_->open.bytes();
  for (const Page& page : rep_->pages) {
    if (page.slots != nullptr) m.in_progress_bytes += sizeof(Page::Slots);
    if (page.packed != nullptr) m.packed_bytes += page.packed->bytes();
  }
  return m;
}

std::optional<uint32_t> ItemTable::OpenSlot(ItemIndex item) const {
  const uint32_t slot = rep_->SlotOf(item);
  if (slot == OpenItems::kNoSlot) return std::nullopt;
  return slot;
}

}  // namespace tessera::core
