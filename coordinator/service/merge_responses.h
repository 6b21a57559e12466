// Makes one message of two, so that what waits for the wire leaves together.
#pragma once

#include "tessera/v1/work_service.pb.h"

namespace tessera::service {

// Appends every list of `from` to that of `into`, and puts its single messages in place of those
// there. What is appended keeps its order and stays behind what was there.
void MergeInto(v1::WorkResponse from, v1::WorkResponse& into);

}  // namespace tessera::service
