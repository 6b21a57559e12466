// Waiting between two tries, while the connection comes back.
#pragma once

#include <stop_token>

#include "absl/time/time.h"

namespace grpc {
class Channel;
}

namespace tessera::client {

// Waits so long, unless `stop` is requested first: then false. The channel goes on connecting
// meanwhile: gRPC connects on the threads that wait for it, and where none does it looks at its
// attempts every five seconds only.
bool WaitOn(grpc::Channel* channel, absl::Duration wait, const std::stop_token& stop);

}  // namespace tessera::client
