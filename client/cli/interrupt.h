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
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool requested() const { return source_.stop_requested(); }

 private:
  std::stop_source source_;
  sigset_t before_;
  std::jthread thread_;
};

}  // namespace tessera::client
