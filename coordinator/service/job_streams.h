// The streams of JobService. For job_service.cc only: it brings gRPC's headers along.
#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/service/authorize.h"
#include "coordinator/service/received.h"
#include "coordinator/service/service_context.h"
#include "tessera/v1/job_service.pb.h"

namespace tessera::service {

// Items, batch after batch. A few batches are on their way at once; they reach the coordinator in
// order, and what is not good is found before that, on gRPC's threads.
grpc::ServerReadReactor<Received<v1::AddItemsRequest>>* StartAddItems(
    ServiceContext& service, grpc::CallbackServerContext* context, v1::AddItemsResponse* response,
    Roles any_of);

// Messages that are asked for one by one, the next when the last was written: a slow reader holds
// nothing up but itself.
grpc::ServerWriteReactor<v1::JobStatus>* StartWatchJob(ServiceContext& service,
                                                       grpc::CallbackServerContext* context,
                                                       const Received<v1::WatchJobRequest>& request,
                                                       Roles any_of);
grpc::ServerWriteReactor<v1::StreamResultsResponse>* StartStreamResults(
    ServiceContext& service, grpc::CallbackServerContext* context,
    const Received<v1::StreamResultsRequest>& request, Roles any_of);

}  // namespace tessera::service
