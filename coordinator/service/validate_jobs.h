// Requests of JobService, field by field: proto/tessera/v1/job_service.proto.
//
// Each Validate() returns OK, or INVALID_ARGUMENT with every field at fault. Whether a good request
// asks for something that is not served yet is said by the edge. The name that says whose resource
// it is was looked at before, by the door (authorize.h); here it is looked at again with the rest.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/service/validate_item.h"
#include "tessera/v1/job_service.pb.h"

namespace tessera::service {

absl::Status Validate(const v1::CreateJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::GetJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ListJobsRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::UpdateJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::DeleteJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::SealJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::PauseJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ResumeJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::CancelJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::FinaliseJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::PlanJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::WatchJobRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::StreamResultsRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ListResultsRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ExplainItemRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ReviewAnswersRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::PayBonusRequest& request, const ItemLimits& limits);

// One batch of AddItems, on a stream for `stream_job`, with its `job` filled in.
// RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE) for a batch that is too large.
absl::Status ValidateBatch(const v1::AddItemsRequest& request, absl::string_view stream_job,
                           const ItemLimits& limits);

}  // namespace tessera::service
