// An address is typed by people: a wrong one must be refused with a reason, not understood wrongly.
#include "coordinator/store/redis_address.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace tessera::store {
namespace {

using ::tessera::testing::IsOkAndHolds;
using ::tessera::testing::StatusIs;
using ::testing::HasSubstr;

TEST(RedisAddressTest, UnixSocketsAndHostsAreUnderstood) {
  const RedisAddress unix_socket = {.unix_path = "/run/redis.sock"};
  const RedisAddress host = {.host = "redis.example", .port = 6379};
  const RedisAddress v6 = {.host = "::1", .port = 7000};
  EXPECT_THAT(RedisAddress::Parse("unix:/run/redis.sock"), IsOkAndHolds(unix_socket));
  EXPECT_THAT(RedisAddress::Parse("unix:///run/redis.sock"), IsOkAndHolds(unix_socket));
  EXPECT_THAT(RedisAddress::Parse("redis.example:6379"), IsOkAndHolds(host));
  EXPECT_THAT(RedisAddress::Parse("tcp:redis.example:6379"), IsOkAndHolds(host));
  EXPECT_THAT(RedisAddress::Parse("redis://redis.example:6379"), IsOkAndHolds(host));
  EXPECT_THAT(RedisAddress::Parse("redis://redis.example:6379/0"), IsOkAndHolds(host));
  EXPECT_THAT(RedisAddress::Parse("[::1]:7000"), IsOkAndHolds(v6));
}

TEST(RedisAddressTest, WhatIsPrintedIsUnderstood) {
  for (const RedisAddress& address :
       {RedisAddress{.unix_path = "/run/redis.sock"}, RedisAddress{.host = "a", .port = 1},
        RedisAddress{.host = "fe80::1", .port = 65535}}) {
    EXPECT_THAT(RedisAddress::Parse(address.ToString()), IsOkAndHolds(address));
  }
}

TEST(RedisAddressTest, MistakesAreNamed) {
  const auto invalid = [](absl::string_view text, absl::string_view reason) {
    EXPECT_THAT(RedisAddress::Parse(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(std::string(reason))));
  };
  invalid("", "no port");
  invalid("redis.example", "no port");
  invalid(":6379", "no host");
  invalid("a:0", "port");
  invalid("a:65536", "port");
  invalid("a:b", "port");
  invalid("a:6379/1", "database must be 0");
  invalid("::1:6379", "brackets");
  invalid("[::1:6379", "]");
  invalid("unix:redis.sock", "not absolute");
  invalid("unix:/" + std::string(107, 'x'), "107");
  invalid("redis://user:word@a:6379", "password");
}

}  // namespace
}  // namespace tessera::store
