#include "coordinator/store/poll_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <limits>

#include "common/check.h"

namespace tessera::store {
namespace {

constexpr int64_t kNanosPerMilli = 1'000'000;

uint64_t Tag(int fd, uint32_t serial) {
  return (uint64_t{serial} << 32) | static_cast<uint32_t>(fd);
}

}  // namespace

PollLoop::PollLoop()
    : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  TESSERA_CHECK(epoll_fd_ >= 0);
  TESSERA_CHECK(wake_fd_ >= 0);
  // Edge-triggered: every write is one event, and nobody has to read it back.
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = Tag(wake_fd_, serial_)}};
  TESSERA_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0);
}

PollLoop::~PollLoop() {
  close(wake_fd_);
  close(epoll_fd_);
}

PollLoop::Nanos PollLoop::Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

size_t PollLoop::RunOnce(absl::Duration wait_max) {
  TESSERA_CHECK(!in_round_);
  in_round_ = true;
  std::array<epoll_event, 128> events;
  const int wait_millis = WaitMillis(wait_max);
  int count = epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), wait_millis);
  if (count < 0) {
    TESSERA_CHECK(errno == EINTR);
    count = 0;
  }
  size_t ran = RunTimers();
  for (int i = 0; i < count; ++i) ran += RunReady(events[i].data.u64, events[i].events);
  ran += RunMailbox();
  ran += RunDeferred();
  in_round_ = false;
  return ran;
}

bool PollLoop::RunUntil(absl::FunctionRef<bool()> done, absl::Duration wait_max) {
  const Nanos end = Now() + absl::ToInt64Nanoseconds(wait_max);
  while (!done()) {
    const Nanos left = end - Now();
    if (left <= 0) return false;
    RunOnce(absl::Nanoseconds(left));
  }
  return true;
}

int PollLoop::WaitMillis(absl::Duration wait_max) {
  if (!deferred_.empty()) return 0;
  // Rounded up, so that a timer is due when the wait for it ends.
  int64_t millis = absl::ToInt64Milliseconds(absl::Ceil(
      std::clamp(wait_max, absl::ZeroDuration(), absl::Hours(1)), absl::Milliseconds(1)));
  if (!timers_.empty()) {
    const Nanos left = timers_.begin()->first.first - Now();
    millis = std::min(millis, std::max<int64_t>(0, (left + kNanosPerMilli - 1) / kNanosPerMilli));
  }
  if (millis == 0) return 0;
  const MutexLock lock(&mutex_);
  if (!mailbox_.empty()) return 0;
  waiting_ = true;
  return static_cast<int>(millis);
}

size_t PollLoop::RunTimers() {
  if (timers_.empty()) return 0;
  const Nanos now = Now();
  const TimerId last = timer_last_;  // What these callbacks ask for waits for the next round.
  size_t ran = 0;
  auto next = timers_.begin();
  while (next != timers_.end() && next->first.first <= now) {
    if (next->first.second > last) {
      ++next;
      continue;
    }
    Callback callback = std::move(next->second);
    timer_due_.erase(next->first.second);
    timers_.erase(next);
    callback();
    ++ran;
    next = timers_.begin();
  }
  return ran;
}

size_t PollLoop::RunReady(uint64_t tag, uint32_t events) {
  const auto found = watched_.find(static_cast<int>(tag & 0xffffffff));
  if (found == watched_.end() || found->second.serial != tag >> 32) return 0;
  // epoll reports trouble whether asked or not; kept back, it would be reported without end.
  const bool trouble = (events & (EPOLLHUP | EPOLLERR)) != 0;
  const bool readable = trouble || (events & EPOLLIN) != 0;
  const bool writable = trouble || (events & EPOLLOUT) != 0;
  const std::shared_ptr<ReadyCallback> ready = found->second.ready;
  (*ready)(readable, writable);
  return 1;
}

size_t PollLoop::RunMailbox() {
  {
    const MutexLock lock(&mutex_);
    waiting_ = false;
    running_.swap(mailbox_);
  }
  for (Callback& callback : running_) callback();
  const size_t ran = running_.size();
  running_.clear();
  return ran;
}

size_t PollLoop::RunDeferred() {
  size_t ran = 0;
  // By index: what runs may defer more.
  for (; ran < deferred_.size(); ++ran) {
    Callback callback = std::move(deferred_[ran]);
    callback();
  }
  deferred_.clear();
  return ran;
}

void PollLoop::Watch(int fd, ReadyCallback ready) {
  const uint32_t serial = ++serial_;
  const bool added =
      watched_
          .try_emplace(fd, Watched{.serial = serial,
                                   .ready = std::make_shared<ReadyCallback>(std::move(ready))})
          .second;
  TESSERA_CHECK(added);
  epoll_event event{.events = 0, .data = {.u64 = Tag(fd, serial)}};
  TESSERA_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void PollLoop::SetInterest(int fd, bool read, bool write) {
  const auto found = watched_.find(fd);
  TESSERA_CHECK(found != watched_.end());
  Watched& watched = found->second;
  const uint32_t interest = (read ? uint32_t{EPOLLIN} : 0u) | (write ? uint32_t{EPOLLOUT} : 0u);
  if (watched.interest == interest) return;
  watched.interest = interest;
  epoll_event event{.events = interest, .data = {.u64 = Tag(fd, watched.serial)}};
  TESSERA_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void PollLoop::Unwatch(int fd) {
  TESSERA_CHECK(watched_.erase(fd) == 1);
  TESSERA_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr) == 0);
}

EventLoop::TimerId PollLoop::After(absl::Duration delay, Callback callback) {
  const TimerId id = ++timer_last_;
  const Nanos due = Now() + absl::ToInt64Nanoseconds(
                                std::clamp(delay, absl::ZeroDuration(), absl::Hours(24 * 365)));
  timers_.emplace(std::make_pair(due, id), std::move(callback));
  timer_due_.emplace(id, due);
  return id;
}

void PollLoop::Cancel(TimerId timer) {
  const auto found = timer_due_.find(timer);
  if (found == timer_due_.end()) return;
  timers_.erase({found->second, timer});
  timer_due_.erase(found);
}

void PollLoop::Defer(Callback callback) { deferred_.push_back(std::move(callback)); }

void PollLoop::Post(Callback callback) {
  bool wake = false;
  {
    const MutexLock lock(&mutex_);
    mailbox_.push_back(std::move(callback));
    wake = waiting_ && mailbox_.size() == 1;
  }
  if (!wake) return;
  const uint64_t one = 1;
  ssize_t written;
  do {
    written = write(wake_fd_, &one, sizeof(one));
  } while (written < 0 && errno == EINTR);
  TESSERA_CHECK(written == sizeof(one));
}

}  // namespace tessera::store
