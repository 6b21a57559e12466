// At stake: what may cross a network goes in the clear to nobody but this machine.
#include "common/address.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(AddressTest, LocalIsWhatOnlyThisMachineReaches) {
  for (const char* const local :
       {"127.0.0.1:7070", "127.255.0.9:0", "localhost:7070", "[::1]:7070", "unix:/run/tessera.sock",
        "dns:///localhost:7070", "dns:127.0.0.1:7070", "dns://10.0.0.1/localhost:7070"}) {
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  }
  for (const char* const open :
       {"0.0.0.0:7070", "[::]:7070", "10.0.0.1:7070", "127.0.0.1.example.com:7070", "127.1:7070",
        "128.0.0.1:7070", "host:7070", ":7070", "127.0.0.256:1", "[::ffff:10.0.0.1]:7070",
        "dns:///host:7070", "dns://127.0.0.1/host:7070"}) {
    EXPECT_FALSE(IsLocalAddress(open)) << open;
  }
}

}  // namespace
}  // namespace tessera
