// When to speak of a certificate's end: clients refuse what has ended, and the server that has it
// hears nothing of that.
#pragma once

#include "absl/time/time.h"

namespace tessera::service {

class CertificateWatch {
 public:
  static constexpr absl::Duration kInterval = absl::Hours(24);
  static constexpr absl::Duration kNotice = absl::Hours(24 * 14);

  // `end` of the certificate; the infinite future where there is none.
  explicit CertificateWatch(absl::Time end) : end_(end) {}

  // Whether to warn now: from kNotice before the end on, the first time and then once an interval.
  bool Due(absl::Time now) {
    if (end_ - now > kNotice || now < next_) return false;
    next_ = now + kInterval;
    return true;
  }
  absl::Time end() const { return end_; }

 private:
  const absl::Time end_;
  absl::Time next_ = absl::InfinitePast();
};

}  // namespace tessera::service
