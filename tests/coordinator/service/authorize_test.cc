// At stake: nobody acts for another tenant or platform, or in a role that they do not have.
#include "coordinator/service/authorize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace tessera::service {
namespace {

using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

const Principal kRequester = {.roles = {Role::kRequester}, .tenant = "acme"};
const Principal kGateway = {.roles = {Role::kGateway}, .platform = "market"};
const Principal kOperator = {.roles = {Role::kOperator}, .everywhere = true};

TEST(AuthorizeTest, ARequesterActsForItsTenant) {
  EXPECT_THAT(Authorize(kRequester, {Role::kRequester}, Resource::Tenant("acme")), IsOk());
  const absl::Status other = Authorize(kRequester, {Role::kRequester}, Resource::Tenant("rival"));
  EXPECT_THAT(other, StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(other, HasReason("TENANT_DENIED"));
}

TEST(AuthorizeTest, AGatewayActsForItsPlatform) {
  EXPECT_THAT(Authorize(kGateway, {Role::kGateway}, Resource::Platform("market")), IsOk());
  EXPECT_THAT(Authorize(kGateway, {Role::kGateway}, Resource::Platform("other")),
              HasReason("PLATFORM_DENIED"));
}

TEST(AuthorizeTest, AnOperatorActsEverywhereButInNoOtherRole) {
  EXPECT_THAT(Authorize(kOperator, {Role::kOperator}, Resource::Platform("other")), IsOk());
  EXPECT_THAT(Authorize(kOperator, {Role::kRequester}, Resource::Tenant("acme")),
              HasReason("ROLE_DENIED"));
}

TEST(AuthorizeTest, TheRoleIsAskedBeforeTheTenant) {
  EXPECT_THAT(Authorize(kGateway, {Role::kRequester}, Resource::Tenant("acme")),
              HasReason("ROLE_DENIED"));
}

// One that has no tenant of its own does not match one whose name is empty.
TEST(AuthorizeTest, NoTenantIsNotTheTenantWithoutAName) {
  EXPECT_THAT(Authorize({.roles = Roles::All()}, {Role::kRequester}, Resource::Tenant("")),
              HasReason("TENANT_DENIED"));
  EXPECT_THAT(Authorize({.roles = Roles::All()}, {Role::kGateway}, Resource::Platform("")),
              HasReason("PLATFORM_DENIED"));
}

TEST(AuthorizeTest, WithoutAuthenticationEverybodyMayDoEverything) {
  EXPECT_THAT(Authorize(Principal::Anybody(), {Role::kRequester}, Resource::Tenant("acme")),
              IsOk());
  EXPECT_THAT(Authorize(Principal::Anybody(), {Role::kOperator}, Resource::Shared()), IsOk());
}

}  // namespace
}  // namespace tessera::service
