// Items and answers, as far as they can be judged without their job: proto/tessera/v1/item.proto.
//
// Whether an answer fits its template is judged where the template is (coordinator/edge).
#pragma once

#include <cstdint>

#include "coordinator/service/violations.h"
#include "tessera/v1/item.pb.h"

namespace tessera::service {

struct ItemLimits {
  int64_t item_bytes_max = 64 << 10;    // Serialised.
  int64_t answer_bytes_max = 64 << 10;  // Serialised.
  int32_t items_per_batch_max = 10'000;
  int64_t batch_bytes_max = 4 << 20;
};

void CheckItem(const v1::Item& item, const ItemLimits& limits, const FieldPath& path,
               Violations& violations);

// 1 to 16 parts with distinct names.
void CheckParts(const google::protobuf::RepeatedPtrField<v1::Part>& parts, const FieldPath& path,
                Violations& violations);

void CheckAnswer(const v1::Answer& answer, const ItemLimits& limits, const FieldPath& path,
                 Violations& violations);

}  // namespace tessera::service
