#include "coordinator/service/merge_responses.h"

#include <utility>
#include <vector>

namespace tessera::service {
namespace {

template <typename Entry>
void Append(google::protobuf::RepeatedPtrField<Entry>& from,
            google::protobuf::RepeatedPtrField<Entry>& into) {
  into.Reserve(into.size() + from.size());
  for (Entry& entry : from) into.Add(std::move(entry));
}

// Of an entry's field and length, at most.
constexpr size_t kEntryTagBytes = 6;

}  // namespace

std::vector<v1::WorkResponse> SplitBySize(v1::WorkResponse response, size_t bytes_max) {
  std::vector<v1::WorkResponse> messages(1);
  if (response.ByteSizeLong() <= bytes_max) {
    messages[0] = std::move(response);
    return messages;
  }
  v1::WorkResponse& first = messages.front();
  if (response.has_welcome()) first.mutable_welcome()->Swap(response.mutable_welcome());
  if (response.has_drain()) first.mutable_drain()->Swap(response.mutable_drain());
  size_t bytes = first.ByteSizeLong();
  const auto distribute = [&](auto field) {
    for (auto& entry : *field(response)) {
      const size_t entry_bytes = entry.ByteSizeLong() + kEntryTagBytes;
      if (bytes > 0 && bytes + entry_bytes > bytes_max) {
        messages.emplace_back();
        bytes = 0;
      }
      bytes += entry_bytes;
      field(messages.back())->Add(std::move(entry));
    }
  };
  using Response = v1::WorkResponse;
  distribute([](Response& r) { return r.mutable_templates(); });
  distribute([](Response& r) { return r.mutable_assigned(); });
  distribute([](Response& r) { return r.mutable_committed(); });
  distribute([](Response& r) { return r.mutable_rejected(); });
  distribute([](Response& r) { return r.mutable_revoked(); });
  distribute([](Response& r) { return r.mutable_demands_ended(); });
  distribute([](Response& r) { return r.mutable_reviews(); });
  return messages;
}

void MergeInto(v1::WorkResponse from, v1::WorkResponse& into) {
  if (from.has_welcome()) into.mutable_welcome()->Swap(from.mutable_welcome());
  if (from.has_drain()) into.mutable_drain()->Swap(from.mutable_drain());
  Append(*from.mutable_templates(), *into.mutable_templates());
  Append(*from.mutable_assigned(), *into.mutable_assigned());
  Append(*from.mutable_committed(), *into.mutable_committed());
  Append(*from.mutable_rejected(), *into.mutable_rejected());
  Append(*from.mutable_revoked(), *into.mutable_revoked());
  Append(*from.mutable_demands_ended(), *into.mutable_demands_ended());
  Append(*from.mutable_reviews(), *into.mutable_reviews());
}

}  // namespace tessera::service
