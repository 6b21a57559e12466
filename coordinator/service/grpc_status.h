// What a call came to, from our words to gRPC's: the one place where it is translated.
#pragma once

#include "absl/status/status.h"

namespace grpc {
class Status;
}

namespace tessera::service {

// The same code and message, and in `grpc-status-details-bin` a google.rpc.Status with ErrorInfo
// (domain `tessera`, always), BadRequest (where fields are at fault) and RetryInfo (where waiting
// helps).
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace tessera::service
