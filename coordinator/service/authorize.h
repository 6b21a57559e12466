// Who may do what: the one door that every call goes through.
//
//   TESSERA_ASSIGN_OR_RETURN(const Principal principal, credentials.Find(token));
//   TESSERA_RETURN_IF_ERROR(Authorize(principal, {Role::kRequester}, Resource::Tenant("acme")));
//
// A refusal is the same whether or not the resource exists, because it is made before anything is
// looked up.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tessera::service {

enum class Role : uint8_t { kRequester = 0, kGateway = 1, kOperator = 2 };

// `requester`, `gateway`, `operator`.
absl::string_view RoleName(Role role);

// Some roles: those that a caller has, or any of which a call asks for.
class Roles {
 public:
  constexpr Roles() = default;
  constexpr Roles(std::initializer_list<Role> roles) {
    for (const Role role : roles) Add(role);
  }
  static constexpr Roles All() { return {Role::kRequester, Role::kGateway, Role::kOperator}; }

  constexpr void Add(Role role) { bits_ |= 1u << static_cast<unsigned>(role); }
  constexpr bool Has(Role role) const { return bits_ >> static_cast<unsigned>(role) & 1u; }
  constexpr bool HasAnyOf(Roles others) const { return (bits_ & others.bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

  friend constexpr bool operator==(Roles, Roles) = default;

 private:
  unsigned bits_ = 0;
};

// Who calls, as the credential says.
struct Principal {
  Roles roles;
  std::string tenant;       // Acts for this tenant only; empty: no tenant, or any (see everywhere).
  std::string platform;     // Brings this platform's workers only; likewise.
  bool everywhere = false;  // Any tenant, any platform.

  // A caller where no credentials are configured.
  static Principal Anybody() { return {.roles = Roles::All(), .everywhere = true}; }

  // Whose share of what all callers share a call takes: all tokens of one scope are one caller.
  std::string caller() const {
    if (everywhere) return "*";
    return tenant.empty() ? "platforms/" + platform : "tenants/" + tenant;
  }

  friend bool operator==(const Principal&, const Principal&) = default;
};

// What a call is about, as far as it matters for who may make it.
class Resource {
 public:
  // Nobody's in particular: pools, partitions, all platforms' workers.
  static Resource Shared() { return Resource(Kind::kShared, {}); }
  static Resource Tenant(absl::string_view tenant) { return Resource(Kind::kTenant, tenant); }
  static Resource Platform(absl::string_view platform) {
    return Resource(Kind::kPlatform, platform);
  }

 private:
  friend absl::Status Authorize(const Principal& principal, Roles any_of, const Resource& resource);
  enum class Kind : uint8_t { kShared, kTenant, kPlatform };
  Resource(Kind kind, absl::string_view owner) : kind_(kind), owner_(owner) {}

  Kind kind_;
  std::string owner_;
};

// PERMISSION_DENIED: ROLE_DENIED, TENANT_DENIED or PLATFORM_DENIED. A requester acts within its
// tenant, a gateway within its platform, an operator everywhere.
absl::Status Authorize(const Principal& principal, Roles any_of, const Resource& resource);

// The first half of it: whether the principal has one of the roles.
absl::Status AuthorizeRole(const Principal& principal, Roles any_of);

}  // namespace tessera::service
