// Messages of the work stream: proto/tessera/v1/work_service.proto.
//
// A message that is wrong as a whole ends its stream. An entry that is wrong is taken out of the
// message and answered with a Rejected, and the rest of the message goes on.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "coordinator/edge/work_limits.h"
#include "coordinator/service/validate_item.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::service {

// `first`: it is the stream's first message. FAILED_PRECONDITION (HELLO_MISPLACED,
// PROTOCOL_VERSION), INVALID_ARGUMENT, RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE, STREAM_LIMIT).
absl::Status ValidateMessage(const v1::WorkRequest& request, bool first,
                             const edge::WorkLimits& limits);

// Moves malformed entries of `request` out of it, and adds a Rejected for each to `rejected`. Whose
// workers and assignments they name is judged where those are known (coordinator/edge).
void TakeMalformed(v1::WorkRequest& request, const edge::WorkLimits& limits,
                   const ItemLimits& items, v1::WorkResponse& rejected);

// Entries of `request` that will be answered by exactly one Committed or Rejected.
int64_t AnswerableEntries(const v1::WorkRequest& request);
// How many of such answers `response` holds.
int64_t AnswersIn(const v1::WorkResponse& response);

}  // namespace tessera::service
