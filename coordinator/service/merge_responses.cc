#include "coordinator/service/merge_responses.h"

#include <utility>

namespace tessera::service {
namespace {

template <typename Entry>
void Append(google::protobuf::RepeatedPtrField<Entry>& from,
            google::protobuf::RepeatedPtrField<Entry>& into) {
  into.Reserve(into.size() + from.size());
  for (Entry& entry : from) into.Add(std::move(entry));
}

}  // namespace

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
