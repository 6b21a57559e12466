#include "coordinator/edge/key_index.h"

#include <algorithm>

namespace tessera::edge {

using core::JobIndex;

uint64_t KeyIndex::PayloadDigest(absl::string_view payload) const {
  // Another secret than the keys': what a payload hashes to says nothing about keys.
  return SipHash24({~seed_.low, seed_.high}, payload);
}

void KeyIndex::Add(JobIndex job, absl::string_view key, absl::string_view payload) {
  Job& table = jobs_[job];
  table.largest = std::max(table.largest, key.size() + payload.size());
  const size_t bytes_before = table.bytes();
  if (table.digests.size() == table.digests.capacity()) {
    // By an eighth and not by half: ten thousand jobs of odd sizes would waste more than they hold.
    table.digests.reserve(table.digests.size() + table.digests.size() / 8 + 8);
  }
  const Digests digests{.key = SipHash24(seed_, key), .payload = PayloadDigest(payload)};
  table.digests.push_back(digests);
  if (table.digests.size() * 4 > table.slots.size() * 3) {
    table.Grow();
  } else {
    table.slots[table.SlotOf(digests.key)] = static_cast<uint32_t>(table.digests.size());
  }
  bytes_ += table.bytes() - bytes_before;
}

std::optional<KeyIndex::Entry> KeyIndex::Find(JobIndex job, absl::string_view key) const {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return std::nullopt;
  const Job& table = found->second;
  const uint32_t slot = table.slots[table.SlotOf(SipHash24(seed_, key))];
  if (slot == 0) return std::nullopt;
  return Entry{.item = slot - 1, .payload_digest = table.digests[slot - 1].payload};
}

size_t KeyIndex::largest(JobIndex job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? 0 : found->second.largest;
}

uint32_t KeyIndex::size(JobIndex job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? 0 : static_cast<uint32_t>(found->second.digests.size());
}

void KeyIndex::Forget(JobIndex job) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return;
  bytes_ -= found->second.bytes();
  jobs_.erase(found);
}

size_t KeyIndex::Job::SlotOf(uint64_t key_digest) const {
  const size_t mask = slots.size() - 1;
  size_t slot = key_digest & mask;
  while (slots[slot] != 0 && digests[slots[slot] - 1].key != key_digest) slot = (slot + 1) & mask;
  return slot;
}

void KeyIndex::Job::Grow() {
  std::vector<uint32_t>(std::max<size_t>(16, slots.size() * 2)).swap(slots);
  for (uint32_t item = 0; item < digests.size(); ++item) {
    slots[SlotOf(digests[item].key)] = item + 1;
  }
}

}  // namespace tessera::edge
