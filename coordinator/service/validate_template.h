// Task templates: proto/tessera/v1/template.proto. All of the contract is judged here; what is
// served of it is said where it is served (coordinator/edge/convert.h).
#pragma once

#include "coordinator/service/validate_item.h"
#include "coordinator/service/violations.h"
#include "tessera/v1/template.pb.h"

namespace tessera::service {

void CheckTemplate(const v1::TaskTemplate& task, const ItemLimits& limits, const FieldPath& path,
                   Violations& violations);

}  // namespace tessera::service
