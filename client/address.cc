#include "client/address.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace tessera::client {

absl::Status CheckAddress(absl::string_view address) {
  const auto refuse = [address](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", address, "' is no address: ", why, "; write HOST:PORT"));
  };
  if (address.empty()) return absl::InvalidArgumentError("there is no address to connect to");
  if (absl::StartsWith(address, "unix:")) return absl::OkStatus();
  absl::string_view authority = address;
  if (absl::ConsumePrefix(&authority, "dns:")) {
    // `dns:HOST:PORT`, `dns:///HOST:PORT` and `dns://RESOLVER/HOST:PORT`.
    if (absl::StartsWith(authority, "//")) authority.remove_prefix(authority.rfind('/') + 1);
  }
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  const bool has_port =
      colon != absl::string_view::npos && (bracket == absl::string_view::npos || bracket < colon);
  if (!has_port) return refuse("it has no port");
  const absl::string_view host = authority.substr(0, colon);
  const absl::string_view port = authority.substr(colon + 1);
  if (host.empty()) return refuse("it has no host");
  if (host.front() != '[' && absl::StrContains(host, ':')) {
    return refuse("an IPv6 address stands in brackets, such as [::1]:7070");
  }
  uint32_t number = 0;
  const bool digits = std::all_of(port.begin(), port.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(port, &number) || number < 1 || number > 65'535) {
    return refuse(absl::StrCat("its port must be from 1 to 65535, and is '", port, "'"));
  }
  return absl::OkStatus();
}

}  // namespace tessera::client
