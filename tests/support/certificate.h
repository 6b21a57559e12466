// A certificate for localhost that vouches for itself, valid in a time of the test's choice.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace tessera::testing {

struct TestCertificate {
  std::string certificate;  // PEM.
  std::string key;          // PEM.
};

// Valid from `begin` to `end`, in whole seconds; each call makes another key.
TestCertificate MakeCertificate(absl::Time begin, absl::Time end);

}  // namespace tessera::testing
