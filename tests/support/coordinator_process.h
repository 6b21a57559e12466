// A real tessera-coordinator of a test's own, on a loopback port, with its private Redis in a
// folder that goes with it.
//
//   CoordinatorProcess coordinator({.flags = {"--no-trim"}});
//   auto channel = coordinator.Channel();
//   coordinator.Kill();      // SIGKILL: as a power cut would.
//   coordinator.Restart();   // On the same data and port; waits until it serves.
//
// Ends the test program, with a message, where the coordinator does not come up.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/support/program.h"
#include "tests/support/temp_dir.h"

namespace grpc {
class Channel;
}

namespace tessera::testing {

class CoordinatorProcess {
 public:
  struct Options {
    std::vector<std::string> flags;  // Beside --listen and --data-dir.
    absl::Duration start_timeout = absl::Seconds(60);
    bool wait_for_health = true;  // Off where it cannot be asked without TLS.
  };
  CoordinatorProcess() : CoordinatorProcess(Options()) {}
  explicit CoordinatorProcess(Options options);
  ~CoordinatorProcess();
  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;

  // host:port; the same before and after Restart().
  const std::string& address() const { return address_; }
  // A new connection to it, without TLS.
  std::shared_ptr<grpc::Channel> Channel() const;

  pid_t pid() const { return running() ? program_->pid() : -1; }
  bool running() const { return program_ != nullptr; }
  // What it wrote to stderr, over all of its lives.
  std::string log() const;
  // Where its files are; its data is in `data` there.
  const std::string& folder() const { return folder_.path(); }
  std::string Join(absl::string_view name) const { return folder_.Join(name); }

  void Kill();              // SIGKILL, and waits for the end.
  int Stop();               // SIGTERM, and waits for the end: its exit status.
  void Signal(int signal);  // Sends, and does not wait.
  int Wait();               // Waits for the end: its exit status, or -signal.
  void Restart();           // Kill() where it runs, then starts it on the same data and port.

 private:
  void Start();

  const Options options_;
  TempDir folder_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<Program> program_;  // While it runs.
  std::string earlier_log_;           // Of its lives before.
};

// What running `tessera-coordinator FLAGS` to its end comes to.
struct CoordinatorRun {
  int exit_status = 0;
  std::string out;
  std::string err;
};
CoordinatorRun RunCoordinator(const std::vector<std::string>& flags);

// What the standard health service says about `service` ("" for all): `SERVING`, `NOT_SERVING`, or
// the name of the gRPC code where it cannot be asked.
std::string HealthOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& service);

}  // namespace tessera::testing
