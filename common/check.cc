#include "common/check.h"

#include <cstdio>
#include <cstdlib>

namespace tessera::check_internal {

Failure::Failure(const char* file, int line, const char* condition) {
  message_ << file << ":" << line << ": check failed: " << condition << ' ';
}

Failure::~Failure() {
  message_ << '\n';
  const std::string message = message_.str();
  std::fwrite(message.data(), 1, message.size(), stderr);
  std::fflush(stderr);
  std::abort();
}

}  // namespace tessera::check_internal
