#include "coordinator/core/seal.h"

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/crc32c.h"

namespace tessera::core {

void Seal(uint8_t format, std::string* bytes) {
  TESSERA_CHECK(bytes->size() >= kSealBytes);
  const uint32_t crc = Crc32c(absl::string_view(*bytes).substr(kSealBytes));
  (*bytes)[0] = static_cast<char>(format);
  for (size_t i = 0; i < 4; ++i) (*bytes)[i + 1] = static_cast<char>(crc >> (8 * i));
}

absl::StatusOr<absl::string_view> Unseal(uint8_t format, absl::string_view bytes,
                                         absl::string_view what) {
  if (bytes.size() < kSealBytes) {
    return absl::DataLossError(absl::StrCat(what, " of ", bytes.size(), " bytes is cut off"));
  }
  const auto written_in = static_cast<uint8_t>(bytes[0]);
  uint32_t crc = 0;
  for (size_t i = 0; i < 4; ++i) {
    crc |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i + 1])) << (8 * i);
  }
  const absl::string_view body = bytes.substr(kSealBytes);
  if (Crc32c(body) != crc)
    return absl::DataLossError(absl::StrCat(what, ": its checksum is wrong"));
  if (written_in != format) {
    return absl::DataLossError(
        absl::StrCat(what, " is of format ", written_in, "; this version reads format ", format));
  }
  return body;
}

}  // namespace tessera::core
