// A private redis-server for a coordinator that was given none.
//
//   auto redis = EmbeddedRedis::Start({.data_folder = "/var/lib/tessera"});
//   RedisConnection connection(&loop, {.address = (*redis)->address()});
//
// It listens on a unix socket in the data folder and on no port, keeps everything in an append-only
// file that is synced before each reply (`appendfsync always`), and never evicts.
//
// It ends with its owner, however that ends: on destruction by SIGTERM, and after a SIGKILL of the
// owner by the kernel (PR_SET_PDEATHSIG). Two locks in the data folder make starting again safe:
// `owner.lock` is held by the coordinator, `redis.lock` by the redis-server, which inherits the
// descriptor. A new owner takes both, so it waits until the last server has finished writing.
//
// Threads: calls from one thread at a time. A thread of its own starts the server and waits for its
// end, because the kernel's signal is tied to the thread that starts a child.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/store/redis_address.h"

namespace tessera::store {

class EmbeddedRedis {
 public:
  struct Options {
    std::string data_folder;      // Required. Created, for its owner only, where it does not exist.
    std::string server_path;      // Optional: a redis-server. Empty: the one in PATH.
    int64_t maxmemory_bytes = 0;  // 0: no limit. Beyond it writes are refused, nothing is evicted.
    std::string appendfsync = "always";  // Or "everysec" or "no", which may lose acknowledged work.
    // Whether a file with a broken end is cut where it breaks. That is right after a power cut, when
    // what was being written was never acknowledged. Off: it is not started, and nothing is changed.
    bool cut_broken_end = true;
    // How long an owner before us may take to end. It is never ended by us.
    absl::Duration owner_timeout = absl::Seconds(5);
    // How long its server may then take to end, before it is killed.
    absl::Duration predecessor_timeout = absl::Seconds(30);
    // How long the server may take to load its file and answer.
    absl::Duration start_timeout = absl::Minutes(10);
    // How long it may take to end before it is killed. What it has acknowledged is safe either way.
    absl::Duration stop_timeout = absl::Seconds(30);
  };

  // Starts a server and waits until it answers.
  // FAILED_PRECONDITION: another living coordinator uses the data folder.
  // NOT_FOUND: there is no redis-server to run. INVALID_ARGUMENT: an option is no good.
  // UNAVAILABLE: it did not come up; the message has the end of its log. RESOURCE_EXHAUSTED: so it
  // is because the data folder's disk is full.
  static absl::StatusOr<std::unique_ptr<EmbeddedRedis>> Start(Options options);

  // Stops.
  ~EmbeddedRedis();
  EmbeddedRedis(const EmbeddedRedis&) = delete;
  EmbeddedRedis& operator=(const EmbeddedRedis&) = delete;

  // Asks the server to end and waits for it. Also where it has ended already.
  void Stop();
  // SIGKILL, and waits for the end: as a power cut would. For tests; not an unexpected end.
  void Kill();

  // Where it listens. A socket whose path is too long for the kernel (107 bytes) is reached through
  // an open descriptor of its folder, which only this process can use.
  const RedisAddress& address() const { return address_; }
  pid_t pid() const;
  // Whether the end of the file was broken, and was cut when the server started.
  bool cut_end() const;
  // False once the server has ended, wanted or not.
  bool running() const;
  // Runs `listener` once when the server ends unasked: on a thread of the keeper's, or in this call
  // where it has happened already. Typically posts to a loop, which ends the program.
  // RESOURCE_EXHAUSTED: the data folder's disk is full, on which a server that syncs always exits.
  // Else UNAVAILABLE.
  void OnUnexpectedEnd(std::function<void(absl::Status why)> listener);

 private:
  class Keeper;

  explicit EmbeddedRedis(Options options);
  absl::Status Launch();
  absl::Status TakeLocks();
  absl::Status WaitUntilReady();
  absl::Status WriteConfiguration() const;

  const Options options_;
  std::string folder_;  // Absolute.
  RedisAddress address_;
  int folder_fd_ = -1;
  int owner_lock_fd_ = -1;
  int redis_lock_fd_ = -1;
  std::unique_ptr<Keeper> keeper_;
};

}  // namespace tessera::store
