#include "coordinator/service/authorize.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/service/violations.h"

namespace tessera::service {
namespace {

constexpr Role kRoles[] = {Role::kRequester, Role::kGateway, Role::kOperator};

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kRequester:
      return "requester";
    case Role::kGateway:
      return "gateway";
    case Role::kOperator:
      return "operator";
  }
  return "?";
}

absl::Status AuthorizeRole(const Principal& principal, Roles any_of) {
  if (principal.roles.HasAnyOf(any_of)) return absl::OkStatus();
  std::string wanted;
  for (const Role role : kRoles) {
    if (any_of.Has(role)) absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", RoleName(role));
  }
  return ErrorWith(absl::StatusCode::kPermissionDenied, v1::ROLE_DENIED,
                   absl::StrCat("this call asks for the role ", wanted));
}

absl::Status Authorize(const Principal& principal, Roles any_of, const Resource& resource) {
  TESSERA_RETURN_IF_ERROR(AuthorizeRole(principal, any_of));
  if (principal.everywhere) return absl::OkStatus();
  switch (resource.kind_) {
    case Resource::Kind::kShared:
      return absl::OkStatus();
    case Resource::Kind::kTenant:
      if (!principal.tenant.empty() && principal.tenant == resource.owner_) return absl::OkStatus();
      return ErrorWith(absl::StatusCode::kPermissionDenied, v1::TENANT_DENIED,
                       "the credential is of another tenant");
    case Resource::Kind::kPlatform:
      if (!principal.platform.empty() && principal.platform == resource.owner_) {
        return absl::OkStatus();
      }
      return ErrorWith(absl::StatusCode::kPermissionDenied, v1::PLATFORM_DENIED,
                       "the credential is of another platform");
  }
  return absl::InternalError("a resource of no kind");
}

}  // namespace tessera::service
