// What a client does not read takes memory: gRPC keeps a message, and its bytes, until it could be
// written. How much of that there may be, for replies and for the messages of job_streams.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::service {

// What a message of this size takes of ServiceContext::reply_room(). Nothing where it is small: few
// words always find room, however much else is left unread.
inline int64_t UnreadBytes(size_t message_bytes) {
  constexpr size_t kUncountedMax = 4 << 10;
  return message_bytes <= kUncountedMax ? 0 : 2 * static_cast<int64_t>(message_bytes);
}

}  // namespace tessera::service
