// What a call came to, from gRPC's words to ours.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Status;
}

namespace tessera::client {

// The same code and message, with reason, fields and facts of google.rpc details (common/errors.h).
// `retry_delay`, where given, becomes what the server asked to wait, or stays as it is. CANCELLED
// becomes UNAVAILABLE: it is how calls end that were open when a server went away, and whoever
// cancelled a call on this side knows so without being told.
absl::Status FromGrpc(const grpc::Status& status, absl::Duration* retry_delay = nullptr);

// The outcome is not known or may change by itself: calling again, later, makes sense.
bool MayRetry(const absl::Status& status);

}  // namespace tessera::client
