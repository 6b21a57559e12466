#include "coordinator/store/redis_address.h"

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace tessera::store {
namespace {

// What a sockaddr_un can hold, with its final zero byte left out.
constexpr size_t kUnixPathBytesMax = 107;

absl::Status Invalid(absl::string_view text, absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("Redis address '", text, "': ", reason,
                                                 "; unix:/path or host:port is expected"));
}

}  // namespace

absl::StatusOr<RedisAddress> RedisAddress::Parse(absl::string_view text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    absl::ConsumePrefix(&rest, "//");
    if (!absl::StartsWith(rest, "/")) return Invalid(text, "the socket's path is not absolute");
    if (rest.size() > kUnixPathBytesMax) {
      return Invalid(text, "the socket's path is longer than 107 bytes");
    }
    return RedisAddress{.unix_path = std::string(rest)};
  }
  if (!absl::ConsumePrefix(&rest, "redis://")) absl::ConsumePrefix(&rest, "tcp:");
  if (absl::StrContains(rest, '@')) {
    return Invalid(text, "user and password do not belong in an address");
  }
  const size_t slash = rest.find('/');
  if (slash != absl::string_view::npos) {
    const absl::string_view database = rest.substr(slash + 1);
    if (!database.empty() && database != "0") return Invalid(text, "the database must be 0");
    rest = rest.substr(0, slash);
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) return Invalid(text, "there is no port");
  absl::string_view host = rest.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return Invalid(text, "there is no ']'");
  } else if (absl::StrContains(host, ':')) {
    return Invalid(text, "an IPv6 address needs brackets");
  }
  if (host.empty()) return Invalid(text, "there is no host");
  RedisAddress address{.host = std::string(host)};
  if (!absl::SimpleAtoi(rest.substr(colon + 1), &address.port) || address.port < 1 ||
      address.port > 65535) {
    return Invalid(text, "the port is not a number from 1 to 65535");
  }
  return address;
}

std::string RedisAddress::ToString() const {
  if (!unix_path.empty()) return absl::StrCat("unix:", unix_path);
  if (absl::StrContains(host, ':')) return absl::StrCat("tcp:[", host, "]:", port);
  return absl::StrCat("tcp:", host, ":", port);
}

}  // namespace tessera::store
