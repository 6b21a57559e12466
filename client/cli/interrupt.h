// Ctrl-C and SIGTERM as a request to stop, for commands that have something to end cleanly.
#pragma once

#include <csignal>
#include <stop_token>
#include <thread>

namespace tessera::client {

// While it lives, the first SIGINT or SIGTERM requests the stop; the second ends the process at
// once, with exit code 130. Made before any other thread is, so that no thread takes the signal.
class Interrupt {
 public:
  // With `on_hang_up`, SIGHUP calls it, on a thread of this object's; unless the terminal that we
  // were started from is gone, which requests the stop. Without, SIGHUP is nothing of ours.
  explicit Interrupt(std::function<void()> on_hang_up = nullptr);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool requested() const { return source_.stop_requested(); }

 private:
  std::stop_source source_;
  sigset_t before_;
  const std::function<void()> on_hang_up_;
  std::jthread thread_;
};

}  // namespace tessera::client
