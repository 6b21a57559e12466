#include "coordinator/core/items.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/check.h"
#include "coordinator/core/archive.h"

namespace tessera::core {
namespace {

void EncodeEntry(Writer& w, const ItemEntry& e) {
  w.PutVarint(e.worker.value());
  w.PutVarint(e.sequence);
  w.PutVarint(e.price_micros);
  w.PutVarint(static_cast<Label>(e.label + 1));  // kNoLabel, the most frequent, becomes one byte.
  w.PutVarint(static_cast<uint64_t>(e.status) | static_cast<uint64_t>(e.flags) << 3);
}

ItemEntry DecodeEntry(Reader& r) {
  ItemEntry e;
  e.worker = WorkerIndex(static_cast<uint32_t>(r.GetVarint()));
  e.sequence = static_cast<uint32_t>(r.GetVarint());
  e.price_micros = static_cast<uint32_t>(r.GetVarint());
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

constexpr uint32_t kHoldingShift = 30;
constexpr uint32_t kSlotMask = (1u << kHoldingShift) - 1;
enum Holding : uint32_t { kUntouched = 0, kOpen = 1, kPacked = 2 };

// Room for `wanted` elements, growing by a sixteenth: a million items must not waste half of what
// they hold, as doubling would have it.
template <typename T>
void Reserve(std::vector<T>& v, size_t wanted) {
  if (wanted > v.capacity()) v.reserve(std::max(wanted, v.capacity() + v.capacity() / 16 + 64));
}

// An item in progress. 32 bytes, and 16 for each entry.
struct OpenItem {
  std::unique_ptr<ItemEntry[]> entries;
  uint16_t size = 0;
  uint16_t capacity = 0;
  Label value = kNoLabel;
  ItemState state = ItemState::kWaiting;
  float confidence = 0;
  uint32_t fit = 0;
  uint32_t revision = 0;

  void Append(const ItemEntry& entry) {
    TESSERA_CHECK(size < std::numeric_limits<uint16_t>::max());
    if (size == capacity) {
      // One by one at first, then by half: most items see a handful of workers.
      const int more = std::max(1, capacity / 2 - 1);
      const auto grown = static_cast<uint16_t>(std::min<uint32_t>(capacity + more, 0xffff));
      auto larger = std::make_unique<ItemEntry[]>(grown);
      std::copy_n(entries.get(), size, larger.get());
      entries = std::move(larger);
      capacity = grown;
    }
    entries[size++] = entry;
  }
};
static_assert(sizeof(OpenItem) == 32);

// The items in progress, by slot. The lowest free slot is taken first and free ones at the end are
// given back: a job whose items were once all in progress does not hold their room for ever.
class OpenItems {
 public:
  OpenItem& operator[](uint32_t slot) { return (*chunks_[slot / kPerChunk])[slot % kPerChunk]; }
  const OpenItem& operator[](uint32_t slot) const {
    return (*chunks_[slot / kPerChunk])[slot % kPerChunk];
  }

  uint32_t Take() {
    if (free_ == 0) {
      const uint32_t slot = size_++;
      TESSERA_CHECK(slot <= kSlotMask);
      if (slot / kPerChunk == chunks_.size()) chunks_.push_back(std::make_unique<Chunk>());
      if (slot / 64 == free_bits_.size()) free_bits_.push_back(0);
      return slot;
    }
    while (free_bits_[lowest_] == 0) ++lowest_;
    const auto slot = lowest_ * 64 + static_cast<uint32_t>(__builtin_ctzll(free_bits_[lowest_]));
    Flip(slot);
    --free_;
    return slot;
  }

  void Give(uint32_t slot) {
    (*this)[slot] = OpenItem();
    Flip(slot);
    ++free_;
    lowest_ = std::min(lowest_, slot / 64);
    while (size_ > 0 && IsFree(size_ - 1)) {
      Flip(--size_);
      --free_;
    }
    // One chunk more than is needed stays, for the next.
    while (chunks_.size() > size_ / kPerChunk + 2) chunks_.pop_back();
  }

  size_t bytes() const {
    size_t bytes = chunks_.size() * sizeof(Chunk) + chunks_.capacity() * sizeof(chunks_[0]) +
                   free_bits_.capacity() * sizeof(uint64_t);
    for (uint32_t slot = 0; slot < size_; ++slot) {
      // A block of the allocator's is a multiple of 16, its header of 8 included.
      const uint16_t capacity = (*this)[slot].capacity;
      if (capacity > 0) bytes += capacity * sizeof(ItemEntry) + 16;
    }
    return bytes;
  }

 private:
  static constexpr uint32_t kPerChunk = 256;
  using Chunk = std::array<OpenItem, kPerChunk>;

  bool IsFree(uint32_t slot) const { return free_bits_[slot / 64] >> (slot % 64) & 1; }
  void Flip(uint32_t slot) { free_bits_[slot / 64] ^= uint64_t{1} << (slot % 64); }

  std::vector<std::unique_ptr<Chunk>> chunks_;
  uint32_t size_ = 0;
  std::vector<uint64_t> free_bits_;
  size_t free_ = 0;
  uint32_t lowest_ = 0;  // No word of free_bits_ before this one has a free slot.
};

// The packed items of one page, in their order, without a gap. Where one begins follows from the
// lengths of those before it, from the last of every sixteen on.
class PackedPage {
 public:
  bool Has(uint32_t place) const { return length_[place] != 0; }

  absl::string_view Get(uint32_t place) const {
    return absl::string_view(bytes_.data() + OffsetOf(place), length_[place]);
  }

  // `item` is not empty.
  void Put(uint32_t place, absl::string_view item) {
    Drop(place);
    const size_t wanted = bytes_.size() + item.size();
    if (wanted > bytes_.capacity()) bytes_.reserve(wanted + kSpareBytes);
    bytes_.insert(bytes_.begin() + OffsetOf(place), item.begin(), item.end());
    length_[place] = static_cast<uint16_t>(item.size());
    Shift(place, static_cast<uint32_t>(item.size()));
  }

  void Drop(uint32_t place) {
    if (!Has(place)) return;
    const auto from = bytes_.begin() + OffsetOf(place);
    bytes_.erase(from, from + length_[place]);
    Shift(place, -uint32_t{length_[place]});
    length_[place] = 0;
  }

  size_t bytes() const { return sizeof(PackedPage) + bytes_.capacity(); }

 private:
  static constexpr uint32_t kStride = 16;
  static constexpr size_t kSpareBytes = 512;

  uint32_t OffsetOf(uint32_t place) const {
    uint32_t offset = start_[place / kStride];
    for (uint32_t p = place / kStride * kStride; p < place; ++p) offset += length_[p];
    return offset;
  }
  void Shift(uint32_t place, uint32_t by) {
    for (uint32_t s = place / kStride + 1; s < start_.size(); ++s) start_[s] += by;
  }

  std::vector<char> bytes_;
  std::array<uint32_t, kItemsPerPage / kStride> start_{};  // Where every sixteenth item begins.
  std::array<uint16_t, kItemsPerPage> length_{};           // 0: not packed.
};
constexpr size_t kPackedItemBytesMax = std::numeric_limits<uint16_t>::max();

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

struct ItemTable::Rep {
  std::vector<uint32_t> slots;  // Holding in the top two bits; the open slot below, if it is open.
  OpenItems open;
  std::vector<std::unique_ptr<PackedPage>> packed;  // By page; nothing where none is packed.
  std::vector<Version> versions;
  std::vector<ItemTraits> traits;
  std::vector<uint32_t> revisions;  // [revision - 1] = item; stale where the item moved on.
  mutable std::vector<ItemEntry> scratch;

  uint32_t holding(ItemIndex item) const { return slots[item] >> kHoldingShift; }

  PackedPage& PackedOf(ItemIndex item) {
    const uint32_t page = item / kItemsPerPage;
    if (packed.size() <= page) packed.resize(page + 1);
    if (packed[page] == nullptr) packed[page] = std::make_unique<PackedPage>();
    return *packed[page];
  }

  OpenItem& Open(ItemIndex item) {
    if (holding(item) == kOpen) return open[slots[item] & kSlotMask];
    const uint32_t slot = open.Take();
    OpenItem& record = open[slot];
    if (holding(item) == kPacked) {
      PackedPage& page = PackedOf(item);
      Reader reader(page.Get(item % kItemsPerPage));
      ItemRecord decoded;
      DecodeItem(reader, &decoded, &scratch);
      TESSERA_CHECK(reader.ok());
      Assign(record, decoded);
      page.Drop(item % kItemsPerPage);
    }
    slots[item] = kOpen << kHoldingShift | slot;
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

  void Release(ItemIndex item) {
    if (holding(item) == kOpen) {
      open.Give(slots[item] & kSlotMask);
    } else if (holding(item) == kPacked) {
      PackedOf(item).Drop(item % kItemsPerPage);
    }
    slots[item] = 0;
  }

  void LogRevision(uint32_t revision, ItemIndex item) {
    if (revisions.size() < revision) {
      Reserve(revisions, revision);
      revisions.resize(revision, std::numeric_limits<uint32_t>::max());
    }
    revisions[revision - 1] = item;
  }
};

ItemTable::ItemTable() : rep_(std::make_unique<Rep>()) {}
ItemTable::ItemTable(ItemTable&&) noexcept = default;
ItemTable& ItemTable::operator=(ItemTable&&) noexcept = default;
ItemTable::~ItemTable() = default;

uint32_t ItemTable::size() const { return static_cast<uint32_t>(rep_->slots.size()); }

void ItemTable::Grow(uint32_t size) {
  if (size <= rep_->slots.size()) return;
  Reserve(rep_->slots, size);
  rep_->slots.resize(size, 0);
  if (!rep_->traits.empty()) rep_->traits.resize(size);
}

void ItemTable::SetTraits(ItemIndex item, const ItemTraits& traits) {
  if (rep_->traits.empty()) {
    if (traits == ItemTraits()) return;
    rep_->traits.resize(rep_->slots.size());
  }
  rep_->traits[item] = traits;
}

ItemTraits ItemTable::Traits(ItemIndex item) const {
  return rep_->traits.empty() ? ItemTraits() : rep_->traits[item];
}

absl::Span<const ItemTraits> ItemTable::AllTraits() const { return rep_->traits; }

ItemState ItemTable::State(ItemIndex item) const {
  switch (rep_->holding(item)) {
    case kOpen:
      return rep_->open[rep_->slots[item] & kSlotMask].state;
    case kPacked: {
      const uint32_t place = item % kItemsPerPage;
      return static_cast<ItemState>(rep_->packed[item / kItemsPerPage]->Get(place)[0] - 1);
    }
    default:
      return ItemState::kWaiting;
  }
}

ItemRecord ItemTable::Get(ItemIndex item) const {
  ItemRecord result;
  if (rep_->holding(item) == kOpen) {
    const OpenItem& record = rep_->open[rep_->slots[item] & kSlotMask];
    result.state = record.state;
    result.value = record.value;
    result.confidence = record.confidence;
    result.fit = record.fit;
    result.revision = record.revision;
    result.entries = absl::MakeConstSpan(record.entries.get(), record.size);
  } else if (rep_->holding(item) == kPacked) {
    Reader reader(rep_->packed[item / kItemsPerPage]->Get(item % kItemsPerPage));
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
  if (item >= size() || rep_->holding(item) == kUntouched) return nullptr;
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
  record.revision = outcome.revision;
  rep_->LogRevision(outcome.revision, outcome.item);
}

void ItemTable::PackIfDone(ItemIndex item) {
  if (rep_->holding(item) != kOpen) return;
  const uint32_t slot = rep_->slots[item] & kSlotMask;
  const OpenItem& record = rep_->open[slot];
  if (record.state != ItemState::kResolved) return;
  for (uint16_t i = 0; i < record.size; ++i) {
    if (record.entries[i].live()) return;
  }
  std::string bytes;
  EncodeItem(&bytes, Get(item));
  if (bytes.size() > kPackedItemBytesMax) return;  // Thousands of answers: it stays as it is.
  rep_->PackedOf(item).Put(item % kItemsPerPage, bytes);
  rep_->open.Give(slot);
  rep_->slots[item] = kPacked << kHoldingShift;
}

std::vector<ItemIndex> ItemTable::RevisedAfter(uint32_t after, size_t max) const {
  std::vector<ItemIndex> items;
  for (size_t r = after; r < rep_->revisions.size() && items.size() < max; ++r) {
    const ItemIndex item = rep_->revisions[r];
    if (item < size() && Get(item).revision == r + 1) items.push_back(item);
  }
  return items;
}

Version& ItemTable::PageVersion(uint32_t page) {
  if (rep_->versions.size() <= page) rep_->versions.resize(page + 1);
  return rep_->versions[page];
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
    if (rep_->holding(i) == kPacked) {
      const absl::string_view item = rep_->packed[page]->Get(i % kItemsPerPage);
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
  if (!r.ok() || count > kItemsPerPage || page > kSlotMask / kItemsPerPage) return false;
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
    if (item.revision != 0) rep_->LogRevision(item.revision, i);
    PackIfDone(i);
  }
  return r.ok() && r.AtEnd();
}

ItemTable::Memory ItemTable::MemoryUsed() const {
  Memory m;
  m.slots_bytes = rep_->slots.capacity() * sizeof(uint32_t) +
                  rep_->revisions.capacity() * sizeof(uint32_t) +
                  rep_->traits.capacity() * sizeof(ItemTraits) +
                  rep_->versions.capacity() * sizeof(Version);
  m.in_progress_bytes = rep_->open.bytes();
  m.packed_bytes = rep_->packed.capacity() * sizeof(void*);
  for (const auto& page : rep_->packed) {
    if (page != nullptr) m.packed_bytes += page->bytes();
  }
  return m;
}

std::optional<uint32_t> ItemTable::OpenSlot(ItemIndex item) const {
  if (rep_->holding(item) != kOpen) return std::nullopt;
  return rep_->slots[item] & kSlotMask;
}

}  // namespace tessera::core
