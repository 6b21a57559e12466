// Requests of OperatorService, field by field: proto/tessera/v1/operator_service.proto.
#pragma once

#include "absl/status/status.h"
#include "coordinator/service/validate_jobs.h"
#include "tessera/v1/operator_service.pb.h"

namespace tessera::service {

absl::Status Validate(const v1::CreatePoolRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::GetPoolRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ListPoolsRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::UpdatePoolRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::DeletePoolRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::GetWorkerRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ListWorkersRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::UpdateWorkerRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::GetPartitionRequest& request, const ItemLimits& limits);
absl::Status Validate(const v1::ListPartitionsRequest& request, const ItemLimits& limits);

}  // namespace tessera::service
