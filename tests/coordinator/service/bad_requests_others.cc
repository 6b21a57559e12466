// Callers without a credential, of another tenant, platform or role.
#include "tests/coordinator/service/bad_requests.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

using grpc::StatusCode;

struct Rpc {
  const char* method;
  const char* request;  // A good one, about $MAIN, tenants/acme, or the market's worker ann.
};

constexpr Rpc kJobRpcs[] = {
    {"JobService/CreateJob", "request_id: 'of-others'"},
    {"JobService/GetJob", "name: '$MAIN'"},
    {"JobService/ListJobs", "parent: 'tenants/acme'"},
    {"JobService/UpdateJob", "job { name: '$MAIN' } update_mask { paths: 'display_name' }"},
    {"JobService/DeleteJob", "name: '$ENDED'"},
    {"JobService/AddItems",
     "job: '$MAIN' offset: 10 items { key: 'x' content { name: 'a' text: 'b' } }"},
    {"JobService/SealJob", "name: '$MAIN'"},
    {"JobService/PauseJob", "name: '$MAIN'"},
    {"JobService/ResumeJob", "name: '$MAIN'"},
    {"JobService/CancelJob", "name: '$MAIN'"},
    {"JobService/FinaliseJob", "name: '$MAIN'"},
    {"JobService/PlanJob", "parent: 'tenants/acme' job: '$MAIN'"},
    {"JobService/WatchJob", "name: '$MAIN'"},
    {"JobService/StreamResults", "job: '$MAIN'"},
    {"JobService/ListResults", "parent: '$MAIN'"},
    {"JobService/ExplainItem", "job: '$MAIN' item_key: 'k0'"},
    {"JobService/ReviewAnswers",
     "job: '$MAIN' reviews { assignment: '$ASSIGNMENT' decision: REVIEW_DECISION_APPROVE }"},
    {"JobService/PayBonus",
     "job: '$MAIN' worker: 'platforms/market/workers/ann' amount_micros: 1 reason: 'r' "
     "request_id: 'b'"},
};

constexpr Rpc kOperatorRpcs[] = {
    {"OperatorService/CreatePool", "pool_id: 'p' pool {}"},
    {"OperatorService/UpdatePool",
     "pool { name: 'pools/default' } update_mask { paths: 'display_name' }"},
    {"OperatorService/DeletePool", "name: 'pools/p'"},
    {"OperatorService/UpdateWorker",
     "worker { name: 'platforms/market/workers/ann' } update_mask { paths: 'skills' }"},
    {"OperatorService/ListWorkers", "parent: 'platforms/-'"},
    {"OperatorService/GetPartition", "name: 'partitions/p0'"},
    {"OperatorService/ListPartitions", ""},
};

// Of a platform: its gateways and operators may.
constexpr Rpc kWorkerRpcs[] = {
    {"OperatorService/GetWorker", "name: 'platforms/market/workers/ann'"},
    {"OperatorService/ListWorkers", "parent: 'platforms/market'"},
};

// Of nobody in particular: requesters and operators may.
constexpr Rpc kPoolRpcs[] = {
    {"OperatorService/GetPool", "name: 'pools/default'"},
    {"OperatorService/ListPools", ""},
};

BadRequest Row(const char* name, const char* token, const Rpc& rpc, StatusCode code,
               const char* reason) {
  const bool create = std::string(rpc.method) == "JobService/CreateJob";
  return {.name = name,
          .token = token,
          .method = rpc.method,
          .messages = {{create ? kGoodJob : "", rpc.request}},
          .code = code,
          .reason = reason};
}

}  // namespace

std::vector<BadRequest> RequestsOfOthers() {
  std::vector<BadRequest> rows;
  for (const Rpc& rpc : kJobRpcs) {
    rows.push_back(
        Row("another tenant", kRival, rpc, StatusCode::PERMISSION_DENIED, "TENANT_DENIED"));
    rows.push_back(Row("a gateway", kMarket, rpc, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
    rows.push_back(
        Row("no token", kNobody, rpc, StatusCode::UNAUTHENTICATED, "CREDENTIAL_MISSING"));
  }
  for (const Rpc& rpc : kOperatorRpcs) {
    rows.push_back(Row("a requester", kAcme, rpc, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
    rows.push_back(Row("a gateway", kMarket, rpc, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
    rows.push_back(
        Row("no token", kNobody, rpc, StatusCode::UNAUTHENTICATED, "CREDENTIAL_MISSING"));
  }
  for (const Rpc& rpc : kWorkerRpcs) {
    rows.push_back(
        Row("another platform", kElsewhere, rpc, StatusCode::PERMISSION_DENIED, "PLATFORM_DENIED"));
    rows.push_back(Row("a requester", kAcme, rpc, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
  }
  for (const Rpc& rpc : kPoolRpcs) {
    rows.push_back(Row("a gateway", kMarket, rpc, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
    rows.push_back(Row("a token that is not known", "guessed", rpc, StatusCode::UNAUTHENTICATED,
                       "CREDENTIAL_UNKNOWN"));
  }
  const Rpc work = {"WorkService/Work", "hello { gateway: 'g' protocol_version: 1 }"};
  rows.push_back(Row("a requester", kAcme, work, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
  rows.push_back(Row("an operator", kOperator, work, StatusCode::PERMISSION_DENIED, "ROLE_DENIED"));
  rows.push_back(Row("no token", kNobody, work, StatusCode::UNAUTHENTICATED, "CREDENTIAL_MISSING"));
  // Whether it exists is not told.
  rows.push_back(Row("another tenant's job that does not exist", kRival,
                     {"JobService/GetJob", "name: 'tenants/acme/jobs/p0-none'"},
                     StatusCode::PERMISSION_DENIED, "TENANT_DENIED"));
  // Whose it is comes before what is wrong with the rest.
  rows.push_back(Row("another tenant's job, with a malformed rest", kRival,
                     {"JobService/ExplainItem", "job: '$MAIN'"}, StatusCode::PERMISSION_DENIED,
                     "TENANT_DENIED"));
  return rows;
}

}  // namespace tessera::testing
