// The services of the contract, on gRPC's callback API.
//
// Each lives as long as the server that it is registered with; `context` outlives them.
#pragma once

#include <memory>

namespace grpc {
class Service;
}

namespace tessera::service {

class ServiceContext;

std::unique_ptr<grpc::Service> MakeJobService(ServiceContext* context);
std::unique_ptr<grpc::Service> MakeWorkService(ServiceContext* context);
std::unique_ptr<grpc::Service> MakeOperatorService(ServiceContext* context);

}  // namespace tessera::service
