#include "client/retry.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/status.h"

namespace tessera::client {
namespace {

std::mt19937_64& Random() {
  thread_local std::mt19937_64 random([] {
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32) ^ device();
  }());
  return random;
}

bool Sleep(absl::Duration wait, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  woken.wait_for(lock, stop, absl::ToChronoNanoseconds(wait), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

absl::Duration Backoff(const RetryOptions& options, int attempt, double uniform) {
  const absl::Duration ceiling =
      std::min(options.backoff_max, options.backoff_first * std::exp2(std::min(attempt, 30)));
  return ceiling * uniform;
}

double RandomUniform() { return std::uniform_real_distribution<double>(0, 1)(Random()); }

std::string RandomRequestId() {
  const uint64_t high = Random()();
  const uint64_t low = Random()();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x", high >> 32, (high >> 16) & 0xFFFF,
                         high & 0xFFF, 0x8000 | ((low >> 48) & 0x3FFF), low & 0xFFFFFFFFFFFF);
}

bool WorthAnotherTry(const absl::Status& error, absl::Duration asked) {
  const bool limited = absl::IsResourceExhausted(error) && asked > absl::ZeroDuration();
  return MayRetry(error) || limited;
}

void Tries::Restart() {
  give_up_ = absl::Now() + options_.retry_for;
  error_ = absl::OkStatus();
  attempt_ = 0;
}

absl::Time Tries::Deadline(absl::Duration try_timeout) const {
  return std::min(absl::Now() + try_timeout, give_up_);
}

bool Tries::Again(const absl::Status& error, absl::Duration asked, const std::stop_token& stop) {
  const bool cut_short = absl::IsDeadlineExceeded(error) && absl::Now() >= give_up_;
  if (!cut_short || error_.ok()) error_ = error;
  if (!WorthAnotherTry(error, asked)) return false;
  const absl::Duration wait = std::max(asked, Backoff(options_, attempt_++, RandomUniform()));
  if (absl::Now() + wait >= give_up_) return false;
  return options_.wait ? options_.wait(wait, stop) : Sleep(wait, stop);
}

}  // namespace tessera::client
