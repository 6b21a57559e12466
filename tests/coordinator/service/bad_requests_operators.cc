// Pools, workers, partitions.
#include <string>

#include "tests/coordinator/service/bad_requests.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

using grpc::StatusCode;

BadRequest Row(const char* name, const char* method, std::string request, StatusCode code,
               const char* reason, const char* field) {
  return {.name = name,
          .token = kOperator,
          .method = method,
          .messages = {{std::move(request)}},
          .code = code,
          .reason = reason,
          .field = field};
}

BadRequest Invalid(const char* name, const char* method, std::string request, const char* reason,
                   const char* field) {
  return Row(name, method, std::move(request), StatusCode::INVALID_ARGUMENT, reason, field);
}

}  // namespace

std::vector<BadRequest> BadOperatorRequests() {
  const auto missing = StatusCode::NOT_FOUND;
  return {
      Invalid("a pool without an id", "OperatorService/CreatePool", "pool {}", "FIELD_REQUIRED",
              "pool_id"),
      Invalid("a pool with a malformed id", "OperatorService/CreatePool",
              "pool_id: 'pools/p' pool {}", "FIELD_MALFORMED", "pool_id"),
      Invalid("no pool", "OperatorService/CreatePool", "pool_id: 'p'", "FIELD_REQUIRED", "pool"),
      Invalid("a price below nothing", "OperatorService/CreatePool",
              "pool_id: 'p' pool { price_per_item_micros: -1 }", "FIELD_OUT_OF_LIMITS",
              "pool.price_per_item_micros"),
      Invalid("a display name that commands terminals", "OperatorService/CreatePool",
              "pool_id: 'p' pool { display_name: 'a\\033[2J' }", "FIELD_MALFORMED",
              "pool.display_name"),
      Invalid("a skill twice", "OperatorService/CreatePool",
              "pool_id: 'p' pool { skills: 'a' skills: 'a' }", "VALUE_DUPLICATED",
              "pool.skills[1]"),
      Invalid("a tenant without weight", "OperatorService/CreatePool",
              "pool_id: 'p' pool { tenant_weights { key: 'tenants/acme' value: 0 } }",
              "FIELD_OUT_OF_LIMITS", "pool.tenant_weights[\"tenants/acme\"]"),
      Row("another pool of a name", "OperatorService/CreatePool",
          "pool_id: 'experts' pool { display_name: 'Others' }", StatusCode::ALREADY_EXISTS,
          "POOL_EXISTS", ""),
      Row("a pool that is not there", "OperatorService/GetPool", "name: 'pools/none'", missing,
          "POOL_NOT_FOUND", ""),
      Invalid("a name that is no pool's", "OperatorService/GetPool", "name: 'experts'",
              "FIELD_MALFORMED", "name"),
      Row("an update of a pool that is not there", "OperatorService/UpdatePool",
          "pool { name: 'pools/none' } update_mask { paths: 'skills' }", missing, "POOL_NOT_FOUND",
          ""),
      Invalid("a pool's name updated", "OperatorService/UpdatePool",
              "pool { name: 'pools/experts' } update_mask { paths: 'name' }", "FIELD_NOT_UPDATABLE",
              "update_mask"),
      Invalid("a pool's field named twice", "OperatorService/UpdatePool",
              "pool { name: 'pools/experts' } update_mask { paths: 'skills' paths: 'skills' }",
              "VALUE_DUPLICATED", "update_mask"),
      Row("a pool for some platforms", "OperatorService/UpdatePool",
          "pool { name: 'pools/experts' platforms: 'platforms/market' } update_mask { paths: "
          "'platforms' }",
          StatusCode::UNIMPLEMENTED, "NOT_SERVED", "pool.platforms"),
      Row("the default pool deleted", "OperatorService/DeletePool", "name: 'pools/default'",
          StatusCode::FAILED_PRECONDITION, "POOL_DEFAULT", ""),
      Row("a deletion of a pool that is not there", "OperatorService/DeletePool",
          "name: 'pools/none'", missing, "POOL_NOT_FOUND", ""),
      Invalid("a page token made up", "OperatorService/ListPools", "page_token: 'made-up'",
              "PAGE_TOKEN_INVALID", "page_token"),
      Row("a worker who is not there", "OperatorService/GetWorker",
          "name: 'platforms/market/workers/none'", missing, "WORKER_NOT_FOUND", ""),
      Invalid("a worker by id alone", "OperatorService/GetWorker", "name: 'ann'", "FIELD_MALFORMED",
              "name"),
      Invalid("workers of nowhere", "OperatorService/ListWorkers", "parent: 'market'",
              "FIELD_MALFORMED", "parent"),
      Invalid("a page size below nothing", "OperatorService/ListWorkers",
              "parent: 'platforms/market' page_size: -5", "FIELD_OUT_OF_LIMITS", "page_size"),
      Invalid("a block without a reason", "OperatorService/UpdateWorker",
              "worker { name: 'platforms/market/workers/ann' blocked: true } update_mask { paths: "
              "'blocked' }",
              "FIELD_REQUIRED", "worker.blocked_reason"),
      Invalid("a block for a reason of two lines", "OperatorService/UpdateWorker",
              "worker { name: 'platforms/market/workers/ann' blocked: true blocked_reason: "
              "'a\\nb' } update_mask { paths: 'blocked' }",
              "FIELD_MALFORMED", "worker.blocked_reason"),
      Invalid("a worker's answers updated", "OperatorService/UpdateWorker",
              "worker { name: 'platforms/market/workers/ann' } update_mask { paths: 'answers' }",
              "FIELD_NOT_UPDATABLE", "update_mask"),
      Row("a worker's qualifications updated", "OperatorService/UpdateWorker",
          "worker { name: 'platforms/market/workers/ann' qualifications { key: 'q' value: 1 } } "
          "update_mask { paths: 'qualifications' }",
          StatusCode::UNIMPLEMENTED, "NOT_SERVED", ""),
      Row("an update of a worker who is not there", "OperatorService/UpdateWorker",
          "worker { name: 'platforms/market/workers/none' skills: 's' } update_mask { paths: "
          "'skills' }",
          missing, "WORKER_NOT_FOUND", ""),
      Row("a partition that is not there", "OperatorService/GetPartition", "name: 'partitions/p7'",
          missing, "PARTITION_NOT_FOUND", ""),
      Invalid("a partition by number", "OperatorService/GetPartition", "name: '0'",
              "FIELD_MALFORMED", "name"),
      Invalid("a page token made up", "OperatorService/ListPartitions", "page_token: 'made-up'",
              "PAGE_TOKEN_INVALID", "page_token"),
  };
}

}  // namespace tessera::testing
