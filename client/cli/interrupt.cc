#include "client/cli/interrupt.h"

#include <unistd.h>

#include <ctime>

namespace tessera::client {

Interrupt::Interrupt() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
  thread_ = std::jthread([this, signals](const std::stop_token& end) {
    while (!end.stop_requested()) {
      const timespec wait = {.tv_sec = 0, .tv_nsec = 50'000'000};
      if (sigtimedwait(&signals, nullptr, &wait) < 0) continue;
      if (source_.stop_requested()) {
        // Gives the cursor back, whatever was being drawn.
        if (isatty(STDOUT_FILENO) == 1) static_cast<void>(!write(STDOUT_FILENO, "\x1b[?25h", 6));
        _exit(130);
      }
      source_.request_stop();
    }
  });
}

Interrupt::~Interrupt() {
  thread_.request_stop();
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace tessera::client
