// Small questions that everybody has about the contract's messages.
#pragma once

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "tessera/v1/job.pb.h"

namespace tessera::client {

// The job is over, one way or the other: nothing of it changes any more.
inline bool HasEnded(const v1::Job& job) {
  return job.state() == v1::JOB_STATE_FINALISED || job.state() == v1::JOB_STATE_CANCELLED;
}

// Items that want no more answers, whatever became of them.
inline int64_t ItemsDone(const v1::JobCounts& counts) {
  return counts.items_resolved() + counts.items_unresolved() + counts.items_cancelled();
}

inline absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

inline void SetDuration(absl::Duration value, google::protobuf::Duration* duration) {
  duration->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &value));
  duration->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(value)));
}

inline absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace tessera::client
