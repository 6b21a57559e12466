#include "common/contract_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace tessera {

bool IsId(absl::string_view text) {
  const auto first = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !text.empty() && text.size() <= kIdBytesMax && first(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return first(c) || c == '_' || c == '.' || c == '-'; });
}

bool IsWorkerId(absl::string_view text) { return IsId(absl::AsciiStrToLower(text)); }

bool HasControlCharacter(absl::string_view utf8) {
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<unsigned char>(utf8[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    // U+0080 to U+009F.
    if (byte == 0xc2 && i + 1 < utf8.size() && static_cast<unsigned char>(utf8[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

}  // namespace tessera
