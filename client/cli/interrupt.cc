#include "client/cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <ctime>
#include <utility>

namespace tessera::client {

namespace {

bool HasTerminal() {
  const int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

}  // namespace

Interrupt::Interrupt(std::function<void()> on_hang_up) : on_hang_up_(std::move(on_hang_up)) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  if (on_hang_up_) sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
  const bool had_terminal = HasTerminal();
  thread_ = std::jthread([this, signals, had_terminal](const std::stop_token& end) {
    while (!end.stop_requested()) {
      const timespec wait = {.tv_sec = 0, .tv_nsec = 50'000'000};
      const int signal = sigtimedwait(&signals, nullptr, &wait);
      if (signal < 0) continue;
      if (signal == SIGHUP && (HasTerminal() || !had_terminal)) {
        on_hang_up_();
        continue;
      }
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
