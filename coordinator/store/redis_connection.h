// One connection to one Redis, pipelined, shared by all that one thread keeps there.
//
//   RedisConnection connection(&loop, {.address = *RedisAddress::Parse("unix:/run/redis.sock")});
//   connection.Command({"GET", "key"}, [](const redisReply* reply) {
//     if (reply == nullptr) { ... }  // Lost, or not connected: nobody knows whether it was done.
//   });
//
// Commands are sent at the end of the loop's round, all that it gathered in one write, and their
// replies come in order. A lost connection answers everything in flight with null, then connects
// again by itself, with a growing pause.
//
// Nothing sent on a lost connection can take effect after a later one is up: before it reports
// itself connected, the new connection ends the old one at the server (CLIENT KILL by id, where the
// server is still the same process). Otherwise a page written late could replace a newer one.
//
// A server that may evict any key is refused, as it could forget what it said it kept, and so is
// one older than 6.2. A server that has become a replica (READONLY) is left, so that the name may
// lead to its successor. See last_error().
//
// Threads: none; all on the loop's thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/store/event_loop.h"
#include "coordinator/store/redis_address.h"

struct redisReply;

namespace tessera::store {

class RedisConnection {
 public:
  struct Options {
    RedisAddress address;  // Required.
    std::string user;      // Optional; for AUTH, with the password.
    std::string password;  // Optional; empty: no AUTH.

    absl::Duration connect_timeout = absl::Seconds(5);
    // The connection is given up when nothing came back for so long, or at most twice as long, with
    // a command in flight. Longer than the server's worst pause (a slow disk, an AOF rewrite).
    absl::Duration reply_timeout = absl::Seconds(20);
    // Pause before connecting again: doubles from the first to the second.
    absl::Duration retry_first = absl::Milliseconds(20);
    absl::Duration retry_max = absl::Seconds(2);
    // Bytes sent or to be sent whose reply is outstanding; a command beyond it is answered with
    // null at once. Guards memory while Redis stalls.
    int64_t in_flight_bytes_max = int64_t{256} << 20;
  };

  // Null: the connection was lost with the command in flight, or there was none.
  using OnReply = absl::AnyInvocable<void(const redisReply* reply)>;

  // Begins to connect. `loop` outlives the connection.
  RedisConnection(EventLoop* loop, Options options);
  // Commands in flight are dropped: their callbacks do not run.
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Sends `arguments`, which are copied. `on_reply` runs once, later, never inside the call, in
  // the order of the calls; the reply is its callee's only for that long.
  void Command(absl::Span<const absl::string_view> arguments, OnReply on_reply);
  void Command(std::initializer_list<absl::string_view> arguments, OnReply on_reply) {
    Command(absl::MakeConstSpan(arguments.begin(), arguments.size()), std::move(on_reply));
  }

  // True from the end of the handshake until the connection is lost.
  bool connected() const;
  // Why there is no connection, for logs and for the messages of failed calls; OK while connected.
  // FAILED_PRECONDITION: the server is refused as it is, or refuses our credential, and trying again
  // helps only once something is set up differently. Else UNAVAILABLE. It goes on trying after both.
  const absl::Status& last_error() const;
  // How often the handshake was completed.
  int64_t connections() const;
  // Whether the server, as it was at the last handshake, keeps an append-only file.
  bool persistent() const;

 private:
  class State;  // Outlives the connection while hiredis is still in one of its callbacks.
  std::shared_ptr<State> state_;
};

// What an error reply means, in the terms of core/storage.h; OK for a reply that is no error, and
// UNAVAILABLE for null. `doing` begins the message.
absl::Status RedisReplyStatus(const redisReply* reply, absl::string_view doing);

}  // namespace tessera::store
