// What the contract says about short texts, for whoever checks them: the server, and clients before
// they send.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace tessera {

// Bytes in an id, at most.
inline constexpr size_t kIdBytesMax = 63;

// [a-z0-9][a-z0-9_.-]{0,62}: an id as tenants, pools, strata, parts and many others have one.
bool IsId(absl::string_view text);

// An id that may have upper case, too: a worker's.
bool IsWorkerId(absl::string_view text);

// Whether a text has a character of U+0000 to U+001F or U+007F to U+009F. `utf8` is UTF-8.
bool HasControlCharacter(absl::string_view utf8);

}  // namespace tessera
