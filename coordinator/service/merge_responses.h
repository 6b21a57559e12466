// Makes one message of two, so that what waits for the wire leaves together, and several of one
// that is too large for it.
#pragma once

#include <cstddef>
#include <vector>

#include "tessera/v1/work_service.pb.h"

namespace tessera::service {

// Appends every list of `from` to that of `into`, and puts its single messages in place of those
// there. What is appended keeps its order and stays behind what was there.
void MergeInto(v1::WorkResponse from, v1::WorkResponse& into);

// The response's entries in as many messages of at most `bytes_max` as it takes, in the order of
// the message's fields; one that is larger by itself comes alone. Welcome is in the first.
std::vector<v1::WorkResponse> SplitBySize(v1::WorkResponse response, size_t bytes_max);

}  // namespace tessera::service
