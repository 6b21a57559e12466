// How large a message may become.
#pragma once

#include <cstddef>

namespace tessera::edge {

// No message to a client takes more, unless a single entry of it does: clients of gRPC accept 4 MiB
// unless they are told otherwise. What is listed or streamed comes in more messages then, and an
// assignment has fewer items.
inline constexpr size_t kMessageBytesMax = 3 << 20;

// Of a requester's key of an item: see item.proto.
inline constexpr size_t kItemKeyBytesMax = 256;

}  // namespace tessera::edge
