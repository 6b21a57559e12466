#include "client/cli/money.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tessera::client {

absl::StatusOr<int64_t> ParseMoney(absl::string_view text) {
  constexpr int64_t kMicrosMax = 1'000'000'000'000'000;
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no amount of money: ", why, "; write it like 12.50"));
  };
  int64_t micros = 0;
  int decimals = -1;  // Before the point.
  bool any = false;
  for (const char c : text) {
    if (c == '.' && decimals < 0) {
      decimals = 0;
      continue;
    }
    if (!absl::ascii_isdigit(c)) return refuse("only digits and one point are allowed");
    if (decimals >= 0 && ++decimals > 6) return refuse("it has more than six decimals");
    any = true;
    micros = micros * 10 + (c - '0');
    if (micros > kMicrosMax) return refuse("it is too large");
  }
  if (!any) return refuse("it has no digits");
  for (int i = decimals < 0 ? 0 : decimals; i < 6; ++i) {
    micros *= 10;
    if (micros > kMicrosMax) return refuse("it is too large");
  }
  return micros;
}

std::string FormatMoney(int64_t micros) {
  const bool negative = micros < 0;
  const uint64_t size =
      negative ? 0 - static_cast<uint64_t>(micros) : static_cast<uint64_t>(micros);
  std::string decimals = absl::StrFormat("%06d", size % 1'000'000);
  while (decimals.size() > 2 && decimals.back() == '0') decimals.pop_back();
  return absl::StrCat(negative ? "-" : "", size / 1'000'000, ".", decimals);
}

std::string FormatMoney(int64_t micros, absl::string_view currency) {
  return absl::StrCat(FormatMoney(micros), currency.empty() ? "" : " ", currency);
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace tessera::client
