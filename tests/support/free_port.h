// A port for a server that cannot be told to choose one itself.
#pragma once

namespace tessera::testing {

// A TCP port on 127.0.0.1 that was free a moment ago. Another process may take it first, so where
// the server can listen on port 0 or on a unix socket, do that instead.
int FreePort();

}  // namespace tessera::testing
