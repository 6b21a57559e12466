#include "coordinator/service/validate_operators.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "coordinator/service/validate_values.h"

namespace tessera::service {
namespace {

absl::Status ValidateName(absl::string_view collection, absl::string_view name) {
  Violations violations;
  CheckName(collection, name, FieldPath("name"), violations);
  return violations.ToStatus();
}

void CheckTenantWeights(const v1::Pool& pool, const FieldPath& path, Violations& violations) {
  if (pool.tenant_weights().size() > 1000) {
    violations.OutOfLimits(path, "must have at most 1000 entries");
    return;
  }
  for (const auto& [tenant, weight] : pool.tenant_weights()) {
    const FieldPath at = path.Key(tenant);
    CheckName("tenants", tenant, at, violations);
    if (!(weight > 0 && weight <= 1000)) {
      violations.OutOfLimits(at, "must be above 0 and at most 1000");
    }
    if (violations.full()) return;
  }
}

void CheckPlatforms(const v1::Pool& pool, const FieldPath& path, Violations& violations) {
  if (pool.platforms_size() > 100) {
    violations.OutOfLimits(path, "must have at most 100 entries");
    return;
  }
  absl::flat_hash_set<absl::string_view> seen;
  for (int i = 0; i < pool.platforms_size(); ++i) {
    const FieldPath at = path.At(i);
    if (CheckName("platforms", pool.platforms(i), at, violations).has_value() &&
        !seen.insert(pool.platforms(i)).second) {
      violations.Duplicated(at, "is there twice");
    }
  }
}

// The fields that `has` says are wanted.
void CheckPool(const v1::Pool& pool, const FieldPath& path, Violations& violations,
               const auto& has) {
  if (has("display_name")) {
    CheckLine(pool.display_name(), 200, path.Sub("display_name"), violations);
  }
  if (has("skills")) CheckIds(pool.skills(), 32, path.Sub("skills"), violations);
  if (has("languages")) CheckLanguages(pool.languages(), 32, path.Sub("languages"), violations);
  if (has("price_per_item_micros")) {
    CheckRange(pool.price_per_item_micros(), 0, kPriceMax, path.Sub("price_per_item_micros"),
               violations);
  }
  if (has("tenant_weights")) CheckTenantWeights(pool, path.Sub("tenant_weights"), violations);
  if (has("platforms")) CheckPlatforms(pool, path.Sub("platforms"), violations);
}

}  // namespace

absl::Status Validate(const v1::CreatePoolRequest& request, const ItemLimits&) {
  Violations violations;
  CheckId(request.pool_id(), FieldPath("pool_id"), violations);
  if (!request.request_id().empty()) {
    CheckRequestId(request.request_id(), FieldPath("request_id"), violations);
  }
  const FieldPath pool("pool");
  if (!request.has_pool()) violations.Required(pool);
  CheckPool(request.pool(), pool, violations, [](absl::string_view) { return true; });
  return violations.ToStatus();
}

absl::Status Validate(const v1::GetPoolRequest& request, const ItemLimits&) {
  return ValidateName("pools", request.name());
}

absl::Status Validate(const v1::ListPoolsRequest& request, const ItemLimits&) {
  Violations violations;
  CheckPage(request.page_size(), request.page_token(), violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::UpdatePoolRequest& request, const ItemLimits&) {
  static const auto* const updatable = new absl::flat_hash_set<absl::string_view>{
      "display_name",          "skills",         "languages",
      "price_per_item_micros", "tenant_weights", "platforms"};
  Violations violations;
  const FieldPath pool("pool");
  if (!request.has_pool()) {
    violations.Required(pool);
  } else {
    CheckName("pools", request.pool().name(), pool.Sub("name"), violations);
  }
  CheckMask(request.update_mask(), *updatable, violations);
  CheckPool(request.pool(), pool, violations,
            [&](absl::string_view field) { return MaskHas(request.update_mask(), field); });
  return violations.ToStatus();
}

absl::Status Validate(const v1::DeletePoolRequest& request, const ItemLimits&) {
  return ValidateName("pools", request.name());
}

absl::Status Validate(const v1::GetWorkerRequest& request, const ItemLimits&) {
  Violations violations;
  CheckWorkerName(request.name(), FieldPath("name"), violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::ListWorkersRequest& request, const ItemLimits&) {
  Violations violations;
  if (request.parent() != "platforms/-") {
    CheckName("platforms", request.parent(), FieldPath("parent"), violations);
  }
  CheckPage(request.page_size(), request.page_token(), violations);
  if (!request.job().empty()) CheckJobName(request.job(), FieldPath("job"), violations);
  return violations.ToStatus();
}

absl::Status Validate(const v1::UpdateWorkerRequest& request, const ItemLimits&) {
  static const auto* const updatable = new absl::flat_hash_set<absl::string_view>{
      "skills", "languages", "qualifications", "blocked", "blocked_reason"};
  Violations violations;
  const FieldPath worker("worker");
  const v1::Worker& wanted = request.worker();
  if (!request.has_worker()) {
    violations.Required(worker);
  } else {
    CheckWorkerName(wanted.name(), worker.Sub("name"), violations);
  }
  const auto& mask = request.update_mask();
  CheckMask(mask, *updatable, violations);
  if (MaskHas(mask, "skills")) CheckIds(wanted.skills(), 32, worker.Sub("skills"), violations);
  if (MaskHas(mask, "languages")) {
    CheckLanguages(wanted.languages(), 32, worker.Sub("languages"), violations);
  }
  if (MaskHas(mask, "qualifications")) {
    const FieldPath path = worker.Sub("qualifications");
    if (wanted.qualifications().size() > 100) {
      violations.OutOfLimits(path, "must have at most 100 entries");
    }
    for (const auto& [qualification, score] : wanted.qualifications()) {
      CheckId(qualification, path.Key(qualification), violations);
      if (violations.full()) break;
    }
  }
  const FieldPath reason = worker.Sub("blocked_reason");
  CheckLine(wanted.blocked_reason(), 1000, reason, violations);
  if (MaskHas(mask, "blocked") && wanted.blocked() && wanted.blocked_reason().empty()) {
    violations.Required(reason);
  }
  if (MaskHas(mask, "blocked_reason") && !MaskHas(mask, "blocked")) {
    violations.Conflict(FieldPath("update_mask"), "may name blocked_reason only beside blocked");
  }
  return violations.ToStatus();
}

absl::Status Validate(const v1::GetPartitionRequest& request, const ItemLimits&) {
  return ValidateName("partitions", request.name());
}

absl::Status Validate(const v1::ListPartitionsRequest& request, const ItemLimits&) {
  Violations violations;
  CheckPage(request.page_size(), request.page_token(), violations);
  return violations.ToStatus();
}

}  // namespace tessera::service
