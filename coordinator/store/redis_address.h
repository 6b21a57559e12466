// Where a Redis is: `unix:/path`, or `host:port` and `[v6]:port` with or without `tcp:` or
// `redis://`.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tessera::store {

struct RedisAddress {
  std::string unix_path;  // Set for a unix socket; then host and port are not.
  std::string host;
  int port = 0;

  // INVALID_ARGUMENT, saying what is wrong. A database may be given, as `host:port/0`, and must be
  // 0: journals are found by name, and a Redis Cluster has no other.
  static absl::StatusOr<RedisAddress> Parse(absl::string_view text);

  // As Parse() takes it.
  std::string ToString() const;

  friend bool operator==(const RedisAddress&, const RedisAddress&) = default;
};

}  // namespace tessera::store
