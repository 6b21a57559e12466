// Trying again: when, how often, and when to give up.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::client {

struct RetryOptions {
  absl::Duration retry_for = absl::Seconds(30);  // Of all tries of one call together.
  absl::Duration backoff_first = absl::Milliseconds(100);
  absl::Duration backoff_max = absl::Seconds(1);
  // Waits so long; false, at once, when `stop` is requested. Empty: sleeps.
  std::function<bool(absl::Duration wait, const std::stop_token& stop)> wait;
};

// How long to wait before try `attempt` (0 is the second one): a random share of a back-off that
// doubles. `uniform` is in [0, 1).
absl::Duration Backoff(const RetryOptions& options, int attempt, double uniform);

// A random number in [0, 1), and a random UUID, from the machine's source of randomness.
double RandomUniform();
std::string RandomRequestId();

// Whether a call that ended with `error` is worth another try, now or when the time is over that
// the server asked to wait (`asked`).
bool WorthAnotherTry(const absl::Status& error, absl::Duration asked);

// Tries of one logical call.
//
//   Tries tries(options);
//   while (true) {
//     absl::Duration asked;
//     const absl::Status status = Attempt(tries.Deadline(try_timeout), &asked);
//     if (status.ok()) return status;
//     if (!tries.Again(status, asked)) return tries.error();
//   }
//
// Threads: none.
class Tries {
 public:
  explicit Tries(const RetryOptions& options) : options_(options) { Restart(); }

  // Something was achieved: as if it were the first try again.
  void Restart();

  // So long something else was done than trying: it does not count.
  void Spare(absl::Duration spent) { give_up_ += spent; }

  // When a try that begins now has to end: after `try_timeout`, and not beyond `retry_for`.
  absl::Time Deadline(absl::Duration try_timeout) const;

  // After `error`: waits for the next try, as long as the back-off or the server (`asked`) says.
  // False, at once, if another try makes no sense or would come after `retry_for`, or once `stop`
  // is requested.
  bool Again(const absl::Status& error, absl::Duration asked, const std::stop_token& stop = {});

  // What the tries ended with: the last error, unless that try had been cut short only because no
  // time was left. Then the error before it says more.
  const absl::Status& error() const { return error_; }

 private:
  const RetryOptions options_;
  absl::Time give_up_;
  absl::Status error_;
  int attempt_ = 0;
};

}  // namespace tessera::client
