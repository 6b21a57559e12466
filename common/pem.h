// Whether PEM texts are what they should be. gRPC finds out as well, but later, and tells its log.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tessera {

// INVALID_ARGUMENT, as the end of a sentence about `pem` (`holds no certificate`), unless it holds
// certificates, and whole ones only.
absl::Status CheckCertificates(absl::string_view pem);

// The same for a private key, which must not be encrypted and must be the first certificate's of
// `certificates`.
absl::Status CheckPrivateKey(absl::string_view pem, absl::string_view certificates);

}  // namespace tessera
