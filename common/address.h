// Addresses of coordinators, as far as server and client must agree on them.
#pragma once

#include "absl/strings/string_view.h"

namespace tessera {

// Whether `address` can be reached from this machine alone: loopback, or a unix socket. What goes
// there crosses no network, so it needs no TLS. `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`, and
// `dns:` before the first two, as gRPC takes them.
bool IsLocalAddress(absl::string_view address);

}  // namespace tessera
