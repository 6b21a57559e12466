// How a job buys answers: proto/tessera/v1/job.proto. What is served of it is said where it is
// served (coordinator/edge/convert.h). Whether a deadline lies ahead is judged where the jobs are: a
// request that comes again is good, however late.
#pragma once

#include "coordinator/service/violations.h"
#include "tessera/v1/job.pb.h"

namespace tessera::service {

void CheckPolicy(const v1::Policy& policy, const FieldPath& path, Violations& violations);

// Parts that can be updated on their own.
void CheckPriority(double priority, const FieldPath& path, Violations& violations);
void CheckBudget(int64_t budget_micros, const FieldPath& path, Violations& violations);
void CheckDeadline(const v1::Policy& policy, const FieldPath& path, Violations& violations);
void CheckTargetConfidence(double target, const FieldPath& path, Violations& violations);
// `answers_min` and `answers_max`, alone and together.
void CheckAnswersBounds(const v1::QualityPolicy& quality, const FieldPath& path,
                        Violations& violations);

}  // namespace tessera::service
