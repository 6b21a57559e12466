// CRC-32C (Castagnoli): tells damaged bytes from whole ones. No protection against an attacker.
//
//   Crc32c("123456789") == 0xe3069283
//   ExtendCrc32c(Crc32c("1234"), "56789") == Crc32c("123456789")
//
// Uses the processor's instruction where there is one.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace tessera {

// The checksum of what `crc` is the checksum of, followed by `bytes`.
uint32_t ExtendCrc32c(uint32_t crc, absl::string_view bytes);

inline uint32_t Crc32c(absl::string_view bytes) { return ExtendCrc32c(0, bytes); }

// The same by tables alone, on any processor. For tests.
uint32_t ExtendCrc32cPortable(uint32_t crc, absl::string_view bytes);

}  // namespace tessera
