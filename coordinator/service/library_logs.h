// What the libraries below us log, in our own lines: gRPC and Protobuf write to stderr in forms of
// their own, which programs that read logfmt do not understand.
#pragma once

namespace tessera::service {

// From here on their lines come through Log(), of each place in their code at most ten a minute.
// Call it once, before gRPC is used.
void RouteLibraryLogs();

}  // namespace tessera::service
