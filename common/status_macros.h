// Passing errors up without a ladder of ifs.
//
//   TESSERA_RETURN_IF_ERROR(store.Append(record));
//   TESSERA_ASSIGN_OR_RETURN(const Job* job, FindJob(name));
//
// Both return from the enclosing function, whose result is an absl::Status or absl::StatusOr. The
// expression of the second may hold commas only inside parentheses; a type with a comma needs
// `auto`.
#pragma once

#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define TESSERA_RETURN_IF_ERROR(expression)                              \
  do {                                                                   \
    ::absl::Status tessera_status = (expression);                        \
    if (ABSL_PREDICT_FALSE(!tessera_status.ok())) return tessera_status; \
  } while (false)

#define TESSERA_ASSIGN_OR_RETURN(left, expression) \
  TESSERA_ASSIGN_OR_RETURN_IMPL(TESSERA_CONCAT(tessera_status_or_, __LINE__), left, expression)

#define TESSERA_ASSIGN_OR_RETURN_IMPL(status_or, left, expression)    \
  auto status_or = (expression);                                      \
  if (ABSL_PREDICT_FALSE(!status_or.ok())) return status_or.status(); \
  left = *std::move(status_or)

#define TESSERA_CONCAT(a, b) TESSERA_CONCAT_IMPL(a, b)
#define TESSERA_CONCAT_IMPL(a, b) a##b
