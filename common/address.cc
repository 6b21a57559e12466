#include "common/address.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace tessera {
namespace {

// The host of host:port; brackets taken off.
absl::string_view HostOf(absl::string_view authority) {
  absl::string_view host = authority.substr(0, authority.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return host;
}

}  // namespace

bool IsLocalAddress(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return true;
  if (absl::ConsumePrefix(&address, "dns:") && absl::StartsWith(address, "//")) {
    address.remove_prefix(address.rfind('/') + 1);  // `dns://RESOLVER/HOST:PORT`.
  }
  const absl::string_view host = HostOf(address);
  if (host == "localhost" || host == "::1") return true;
  // An address, and not a name that begins like one.
  int part = 0;
  int parts = 0;
  for (const absl::string_view text : absl::StrSplit(host, '.')) {
    if (!absl::SimpleAtoi(text, &part) || part < 0 || part > 255) return false;
    if (++parts == 1 && part != 127) return false;
  }
  return parts == 4;
}

}  // namespace tessera
