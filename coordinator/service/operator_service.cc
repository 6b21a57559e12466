#include <memory>

#include "coordinator/service/received.h"
#include "coordinator/service/services.h"
#include "coordinator/service/unary_call.h"
#include "coordinator/service/validate_operators.h"
#include "tessera/v1/operator_service.grpc.pb.h"

namespace tessera::service {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

constexpr Roles kOperators = {Role::kOperator};
constexpr Roles kPoolReaders = {Role::kOperator, Role::kRequester};
constexpr Roles kWorkerReaders = {Role::kOperator, Role::kGateway};

// How tenants share a pool is the operator's; a requester sees what is its own of it.
void HideOtherTenants(const Principal& principal, v1::Pool* pool) {
  if (principal.roles.Has(Role::kOperator)) return;
  v1::Pool shown;
  for (const auto& [tenant, weight] : pool->tenant_weights()) {
    const absl::StatusOr<Resource> resource = TenantResource(tenant, "tenant_weights");
    if (!resource.ok() || !Authorize(principal, kPoolReaders, *resource).ok()) continue;
    (*shown.mutable_tenant_weights())[tenant] = weight;
  }
  pool->mutable_tenant_weights()->swap(*shown.mutable_tenant_weights());
}
void HideOtherTenantsOfAll(const Principal& principal, v1::ListPoolsResponse* response) {
  for (v1::Pool& pool : *response->mutable_pools()) HideOtherTenants(principal, &pool);
}

class OperatorService final : public ReceivingService<v1::OperatorService> {
 public:
  explicit OperatorService(ServiceContext* service) : ReceivingService(service) {
    Take("CreatePool", UnaryHandler(this, &OperatorService::CreatePool));
    Take("GetPool", UnaryHandler(this, &OperatorService::GetPool));
    Take("ListPools", UnaryHandler(this, &OperatorService::ListPools));
    Take("UpdatePool", UnaryHandler(this, &OperatorService::UpdatePool));
    Take("DeletePool", UnaryHandler(this, &OperatorService::DeletePool));
    Take("GetWorker", UnaryHandler(this, &OperatorService::GetWorker));
    Take("ListWorkers", UnaryHandler(this, &OperatorService::ListWorkers));
    Take("UpdateWorker", UnaryHandler(this, &OperatorService::UpdateWorker));
    Take("GetPartition", UnaryHandler(this, &OperatorService::GetPartition));
    Take("ListPartitions", UnaryHandler(this, &OperatorService::ListPartitions));
  }

  ServerUnaryReactor* CreatePool(CallbackServerContext* context,
                                 const v1::CreatePoolRequest* request, v1::Pool* pool) override {
    return StartCall(service_, context, request, pool, kOperators, Resource::Shared(),
                     &edge::Coordinator::CreatePool);
  }
  ServerUnaryReactor* GetPool(CallbackServerContext* context, const v1::GetPoolRequest* request,
                              v1::Pool* pool) override {
    return StartCall(service_, context, request, pool, kPoolReaders, Resource::Shared(),
                     &edge::Coordinator::GetPool, &HideOtherTenants);
  }
  ServerUnaryReactor* ListPools(CallbackServerContext* context, const v1::ListPoolsRequest* request,
                                v1::ListPoolsResponse* response) override {
    return StartCall(service_, context, request, response, kPoolReaders, Resource::Shared(),
                     &edge::Coordinator::ListPools, &HideOtherTenantsOfAll);
  }
  ServerUnaryReactor* UpdatePool(CallbackServerContext* context,
                                 const v1::UpdatePoolRequest* request, v1::Pool* pool) override {
    return StartCall(service_, context, request, pool, kOperators, Resource::Shared(),
                     &edge::Coordinator::UpdatePool);
  }
  ServerUnaryReactor* DeletePool(CallbackServerContext* context,
                                 const v1::DeletePoolRequest* request,
                                 google::protobuf::Empty* response) override {
    return StartCall(service_, context, request, response, kOperators, Resource::Shared(),
                     &edge::Coordinator::DeletePool);
  }

  ServerUnaryReactor* GetWorker(CallbackServerContext* context, const v1::GetWorkerRequest* request,
                                v1::Worker* worker) override {
    return StartCall(service_, context, request, worker, kWorkerReaders,
                     WorkerResource(request->name(), "name"), &edge::Coordinator::GetWorker);
  }
  ServerUnaryReactor* ListWorkers(CallbackServerContext* context,
                                  const v1::ListWorkersRequest* request,
                                  v1::ListWorkersResponse* response) override {
    // All platforms' workers are for operators alone, whatever else the caller is.
    const bool all = request->parent() == "platforms/-";
    return StartCall(service_, context, request, response, all ? kOperators : kWorkerReaders,
                     all ? Resource::Shared() : PlatformResource(request->parent(), "parent"),
                     &edge::Coordinator::ListWorkers);
  }
  ServerUnaryReactor* UpdateWorker(CallbackServerContext* context,
                                   const v1::UpdateWorkerRequest* request,
                                   v1::Worker* worker) override {
    return StartCall(service_, context, request, worker, kOperators,
                     WorkerResource(request->worker().name(), "worker.name"),
                     &edge::Coordinator::UpdateWorker);
  }

  ServerUnaryReactor* GetPartition(CallbackServerContext* context,
                                   const v1::GetPartitionRequest* request,
                                   v1::Partition* partition) override {
    return StartCall(service_, context, request, partition, kOperators, Resource::Shared(),
                     &edge::Coordinator::GetPartition);
  }
  ServerUnaryReactor* ListPartitions(CallbackServerContext* context,
                                     const v1::ListPartitionsRequest* request,
                                     v1::ListPartitionsResponse* response) override {
    return StartCall(service_, context, request, response, kOperators, Resource::Shared(),
                     &edge::Coordinator::ListPartitions);
  }
};

}  // namespace

std::unique_ptr<grpc::Service> MakeOperatorService(ServiceContext* context) {
  return std::make_unique<OperatorService>(context);
}

}  // namespace tessera::service
