// How a job buys answers: proto/tessera/v1/job.proto. What is served of it is said where it is
// served (coordinator/edge/convert.h).
#pragma once

#include "absl/time/time.h"
#include "coordinator/service/violations.h"
#include "tessera/v1/job.pb.h"

namespace tessera::service {

// `now` decides whether a deadline lies ahead.
void CheckPolicy(const v1::Policy& policy, absl::Time now, const FieldPath& path,
                 Violations& violations);

// Parts that can be updated on their own.
void CheckPriority(double priority, const FieldPath& path, Violations& violations);
void CheckBudget(int64_t budget_micros, const FieldPath& path, Violations& violations);
void CheckDeadline(const v1::Policy& policy, absl::Time now, const FieldPath& path,
                   Violations& violations);
void CheckTargetConfidence(double target, const FieldPath& path, Violations& violations);
// `answers_min` and `answers_max`, alone and together.
void CheckAnswersBounds(const v1::QualityPolicy& quality, const FieldPath& path,
                        Violations& violations);

}  // namespace tessera::service
