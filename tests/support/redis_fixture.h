// A real redis-server of a test's own: on a unix socket in a folder that goes with it.
//
//   RedisFixture redis;
//   RedisConnection connection(&loop, {.address = redis.address()});
//   redis.Command("CONFIG SET maxmemory 2mb");
//   redis.Kill();     // As a power cut would: no goodbye.
//   redis.Restart();  // On the same data.
//
// Fails the test program, with a message, where there is no redis-server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/store/embedded_redis.h"
#include "coordinator/store/redis_address.h"
#include "tests/support/temp_dir.h"

namespace tessera::testing {

class RedisFixture {
 public:
  struct Options {
    int64_t maxmemory_bytes = 0;
    std::string appendfsync = "always";
  };
  RedisFixture() : RedisFixture(Options()) {}
  explicit RedisFixture(Options options);
  ~RedisFixture();

  // The same before and after Restart().
  store::RedisAddress address() const;
  const std::string& folder() const { return folder_.path(); }
  pid_t pid() const;

  void Kill();     // SIGKILL, and waits for the end.
  void Stop();     // SIGTERM, and waits for the end.
  void Restart();  // Stop() where it runs, then starts on the same data and waits until it answers.
  void Pause();    // SIGSTOP: connections stay, nothing answers.
  void Resume();

  // Runs one command on a connection of its own; words are split at spaces. The reply as text:
  // errors begin with "-", elements of an array follow each other in lines, nil is "(nil)".
  std::string Command(absl::string_view words);
  std::string Command(const std::vector<std::string>& arguments);

 private:
  void Start();

  const Options options_;
  TempDir folder_;
  std::unique_ptr<store::EmbeddedRedis> server_;
};

}  // namespace tessera::testing
