// Money as people write it: 12.50 is 12,500,000 micros.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tessera::client {

// From digits with at most six decimals; exact. INVALID_ARGUMENT for anything else, and above 10^15
// micros.
absl::StatusOr<int64_t> ParseMoney(absl::string_view text);

// With two decimals, or as many as it takes: 12.50, 0.005, -3.00.
std::string FormatMoney(int64_t micros);

// The same with the currency after it, if there is one: 12.50 USD.
std::string FormatMoney(int64_t micros, absl::string_view currency);

// With separators for thousands: 1,234,567.
std::string FormatCount(int64_t count);

}  // namespace tessera::client
