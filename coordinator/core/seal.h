// The seal on everything that is stored: a format number and a checksum, so that bytes which a disk
// or a hand has changed are refused and not believed.
//
//   std::string bytes(kSealBytes, '\0');
//   bytes += body;
//   Seal(kFormat, &bytes);
//   absl::StatusOr<absl::string_view> body = Unseal(kFormat, bytes, "a record");
//
// Layout: format byte, CRC-32C of the body (little endian), body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tessera::core {

inline constexpr size_t kSealBytes = 5;

// Fills in the first kSealBytes bytes, which the caller has left free.
void Seal(uint8_t format, std::string* bytes);

// The body, which lives as long as `bytes`. DATA_LOSS, with `what` in its message: cut off, changed
// since, or sealed by a version with another format.
absl::StatusOr<absl::string_view> Unseal(uint8_t format, absl::string_view bytes,
                                         absl::string_view what);

}  // namespace tessera::core
