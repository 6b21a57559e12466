// SipHash-2-4: a 64-bit digest under a secret key.
//
//   const SipKey key = {.low = ..., .high = ...};  // 128 random bits, kept.
//   uint64_t digest = SipHash24(key, "an item's key");
//
// The same key and bytes give the same digest on any machine, for ever, so digests may be stored.
// Who does not know the key cannot choose bytes that collide. A digest is no proof of equality: at
// n digests the chance of any collision is about n^2 / 2^65.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace tessera {

struct SipKey {
  uint64_t low = 0;   // Bytes 0..7 of the key, little-endian.
  uint64_t high = 0;  // Bytes 8..15.
};

inline uint64_t SipHash24(const SipKey& key, absl::string_view bytes) {
  uint64_t v0 = key.low ^ 0x736f6d6570736575;
  uint64_t v1 = key.high ^ 0x646f72616e646f6d;
  uint64_t v2 = key.low ^ 0x6c7967656e657261;
  uint64_t v3 = key.high ^ 0x7465646279746573;
  const auto rounds = [&](int count) {
    for (int i = 0; i < count; ++i) {
      v0 += v1;
      v1 = std::rotl(v1, 13) ^ v0;
      v0 = std::rotl(v0, 32);
      v2 += v3;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1;
      v1 = std::rotl(v1, 17) ^ v2;
      v2 = std::rotl(v2, 32);
    }
  };
  const auto absorb = [&](uint64_t word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  };

  uint64_t word = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    word |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * (i % 8));
    if (i % 8 == 7) {
      absorb(word);
      word = 0;
    }
  }
  absorb(word | static_cast<uint64_t>(bytes.size()) << 56);
  v2 ^= 0xff;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace tessera
