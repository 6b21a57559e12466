// TESSERA_CHECK: our own mistakes end the process, in release builds too.
//
//   TESSERA_CHECK(lease.state == State::kOpen) << "assignment " << id;
//   TESSERA_CHECK_OK(store.Open());
//
// On failure: one line on stderr with file, line, condition and message, then abort(). What is
// streamed is evaluated only then. Never for anything that a peer, a user or a disk can cause: that
// is an absl::Status.
#pragma once

#include <sstream>

#include "absl/base/optimization.h"
#include "absl/status/status.h"

#define TESSERA_CHECK(condition)                  \
  ABSL_PREDICT_TRUE(static_cast<bool>(condition)) \
  ? static_cast<void>(0)                          \
  : ::tessera::check_internal::Voidify() &        \
          ::tessera::check_internal::Failure(__FILE__, __LINE__, #condition).stream()

#define TESSERA_CHECK_OK(expression)                                             \
  if (const ::absl::Status tessera_check_status =                                \
          ::tessera::check_internal::ToStatus((expression));                     \
      ABSL_PREDICT_TRUE(tessera_check_status.ok())) {                            \
  } else                                                                         \
    ::tessera::check_internal::Failure(__FILE__, __LINE__, #expression).stream() \
        << tessera_check_status << ' '

namespace tessera::check_internal {

class Failure {
 public:
  Failure(const char* file, int line, const char* condition);
  [[noreturn]] ~Failure();
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;

  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

// Gives both branches of TESSERA_CHECK the type void. `&` binds looser than `<<`.
struct Voidify {
  void operator&(std::ostream&) const {}
};

inline const absl::Status& ToStatus(const absl::Status& status) { return status; }
template <typename StatusOr>
const absl::Status& ToStatus(const StatusOr& status_or) {
  return status_or.status();
}

}  // namespace tessera::check_internal
