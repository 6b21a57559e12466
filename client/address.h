// Where a coordinator is: HOST:PORT, as the client library takes it.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tessera::client {

// Whether `address` can be one: `HOST:PORT`, `[IPV6]:PORT`, `dns:///HOST:PORT` (a name that leads
// to several), or `unix:PATH`, with a port from 1 to 65535. gRPC itself takes anything: a port
// beyond that wraps round to another one, and without a port it goes to 443.
// INVALID_ARGUMENT says what is wrong.
absl::Status CheckAddress(absl::string_view address);

}  // namespace tessera::client
