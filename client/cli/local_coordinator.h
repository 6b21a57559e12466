// A coordinator of our own: a child process that serves until we end it.
//
//   TESSERA_ASSIGN_OR_RETURN(auto coordinator, LocalCoordinator::Start({.data_dir = dir}));
//   coordinator->address();  // 127.0.0.1:41234
//   coordinator->Stop();     // Drains, and waits for the end.
//
// It is in a process group of its own, so that a Ctrl-C reaches only us and we end it in order. If
// we die without a word, the kernel sends it SIGTERM.
//
// Threads: Start() and Stop() on the same thread, which outlives the coordinator (the kernel's
// signal is tied to it). A thread of its own reads what it prints.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tessera::client {

class LocalCoordinator {
 public:
  struct Options {
    std::string program;                 // Empty: tessera-coordinator beside this program.
    std::string data_dir;                // Required.
    std::string listen = "127.0.0.1:0";  // Port 0: a free one.
    std::vector<std::string> more;       // Further flags.
    std::string log_file;                // For its stderr; empty: ours.
    absl::Duration start_timeout = absl::Minutes(2);
    absl::Duration stop_timeout = absl::Minutes(1);  // Then it is killed.
  };

  // Starts it and waits until it serves.
  // NOT_FOUND: there is no such program. INTERNAL: it ended before it served; the message says
  // where to look. CANCELLED: `stop` was requested. DEADLINE_EXCEEDED.
  static absl::StatusOr<std::unique_ptr<LocalCoordinator>> Start(Options options,
                                                                 std::stop_token stop = {});

  // Stops.
  ~LocalCoordinator();
  LocalCoordinator(const LocalCoordinator&) = delete;
  LocalCoordinator& operator=(const LocalCoordinator&) = delete;

  // The exit status that an error of Start(), Wait() or Stop() is about. What it means is said by
  // tessera-coordinator --help.
  static std::optional<int> ExitStatus(const absl::Status& error);

  const std::string& address() const;
  pid_t pid() const { return pid_; }

  // Waits until it ends by itself or `stop` is requested. OK where it still runs then.
  absl::Status Wait(const std::stop_token& stop);

  // Ends it with SIGTERM and waits. An error where it did not end cleanly. A repeat is OK.
  absl::Status Stop();

 private:
  struct Output;
  explicit LocalCoordinator(Options options);
  bool Reap(bool block);  // True once it has ended.
  absl::Status EndStatus() const;
  absl::Status Ended(absl::string_view message) const;  // With its exit status, if it has one.

  const Options options_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int wait_status_ = 0;
  std::unique_ptr<Output> output_;
};

// Folder of the program that runs.
std::string ProgramFolder();

}  // namespace tessera::client
