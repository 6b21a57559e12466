#include "client/channel_wait.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "absl/time/clock.h"

namespace tessera::client {

bool WaitOn(grpc::Channel* channel, absl::Duration wait, const std::stop_token& stop) {
  constexpr absl::Duration kSlice = absl::Milliseconds(50);  // A request to stop is heard so soon.
  const absl::Time end = absl::Now() + wait;
  for (absl::Time now = absl::Now(); now < end && !stop.stop_requested(); now = absl::Now()) {
    const grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
    channel->WaitForStateChange(state, absl::ToChronoTime(std::min(end, now + kSlice)));
  }
  return !stop.stop_requested();
}

}  // namespace tessera::client
