// Digests are stored, so they must be the published ones, for ever.
#include "common/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

// The reference vectors of the authors: key 00..0f, message 00..n-1.
TEST(SipHash24Test, GivesTheReferenceValues) {
  const SipKey key = {.low = 0x0706050403020100, .high = 0x0f0e0d0c0b0a0908};
  std::string message;
  EXPECT_EQ(SipHash24(key, message), 0x726fdb47dd0e0e31u);
  for (char c = 0; c < 8; ++c) message.push_back(c);
  EXPECT_EQ(SipHash24(key, message), 0x93f5f5799a932462u);
  for (char c = 8; c < 15; ++c) message.push_back(c);
  EXPECT_EQ(SipHash24(key, message), 0xa129ca6149be45e5u);
}

TEST(SipHash24Test, AnotherKeyGivesAnotherDigest) {
  EXPECT_NE(SipHash24({.low = 1, .high = 0}, "a"), SipHash24({.low = 0, .high = 1}, "a"));
}

}  // namespace
}  // namespace tessera
