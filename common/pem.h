// Whether PEM texts are what they should be. gRPC finds out as well, but later, and tells its log.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tessera {

// INVALID_ARGUMENT, as the end of a sentence about `pem` (`holds no certificate`), unless it holds
// certificates, and whole ones only.
absl::Status CheckCertificates(absl::string_view pem);

// The same for a private key, which must not be encrypted and must be the first certificate's of
// `certificates`.
absl::Status CheckPrivateKey(absl::string_view pem, absl::string_view certificates);

// When a certificate is valid: from the first to the last of these instants.
struct Validity {
  absl::Time begin, end;

  friend bool operator==(const Validity&, const Validity&) = default;
};

// Of the certificates of `pem`, in their order.
std::vector<Validity> ValiditiesOf(absl::string_view pem);

// INVALID_ARGUMENT, as the end of a sentence as above, unless a certificate is valid at `now`.
absl::Status CheckTime(const Validity& validity, absl::Time now);

// Both, for certificates that vouch for others. One that is valid is enough: bundles hold what has
// ended, too.
absl::Status CheckRoots(absl::string_view pem, absl::Time now);

}  // namespace tessera
