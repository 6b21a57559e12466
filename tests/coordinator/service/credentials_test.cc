// At stake: only who holds a token gets in, and as nobody else.
#include "coordinator/service/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::service {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

std::string HashOf(absl::string_view token) {
  return absl::StrCat("sha256:", absl::BytesToHexString(Sha256(token)));
}

absl::StatusOr<Principal> Find(const Credentials& credentials, absl::string_view authorization) {
  return credentials.Find(&authorization);
}

TEST(TokenTableTest, ALineIsATokenItsRolesAndItsScope) {
  const auto table = TokenTable::Parse(absl::StrCat(
      "# a comment\n\n", HashOf("one"), "\trequester  tenant=acme # note\r\n", HashOf("two"),
      " gateway platform=market\n", HashOf("three"), " requester,operator *"));
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->size(), 3u);
  EXPECT_EQ(*table->Find(Sha256("one")),
            (Principal{.roles = {Role::kRequester}, .tenant = "acme"}));
  EXPECT_EQ(*table->Find(Sha256("two")),
            (Principal{.roles = {Role::kGateway}, .platform = "market"}));
  EXPECT_EQ(*table->Find(Sha256("three")),
            (Principal{.roles = {Role::kRequester, Role::kOperator}, .everywhere = true}));
  EXPECT_EQ(table->Find(Sha256("four")), nullptr);
  EXPECT_EQ(table->Find(""), nullptr);
}

TEST(TokenTableTest, WhatMakesNoSenseIsRefusedWithItsLine) {
  const std::string hash = HashOf("t");
  for (const std::string& bad : {std::string("token requester tenant=acme"),  // In the clear.
                                 absl::StrCat(hash.substr(0, 70), " requester tenant=acme"),
                                 absl::StrCat(hash, " requester"),                       //
                                 absl::StrCat(hash, " requester tenant=acme surplus"),   //
                                 absl::StrCat(hash, " king tenant=acme"),                //
                                 absl::StrCat(hash, " requester tenant=ACME"),           //
                                 absl::StrCat(hash, " requester tenant="),               //
                                 absl::StrCat(hash, " requester platform=market"),       //
                                 absl::StrCat(hash, " gateway tenant=acme"),             //
                                 absl::StrCat(hash, " operator tenant=acme"),            //
                                 absl::StrCat(hash, " requester,operator tenant=acme"),  //
                                 absl::StrCat(hash, " operator *\n", hash, " gateway *")}) {
    const auto table = TokenTable::Parse(absl::StrCat("# first\n", bad));
    EXPECT_THAT(table.status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line ")))
        << bad;
  }
}

class CredentialsTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_) << text; }

  testing::TempDir folder_;
  const std::string path_ = folder_.Join("tokens");
};

TEST_F(CredentialsTest, ATokenIsABearersToken) {
  Write(HashOf("secret") + " requester tenant=acme\n");
  const auto credentials = Credentials::FromFile(path_);
  ASSERT_THAT(credentials, IsOk());
  EXPECT_THAT(Find(**credentials, "Bearer secret"), IsOk());
  EXPECT_THAT(Find(**credentials, "bearer  secret "), IsOk());
  EXPECT_THAT((*credentials)->Find(nullptr).status(), HasReason("CREDENTIAL_MISSING"));
  EXPECT_THAT(Find(**credentials, "Basic secret").status(), HasReason("CREDENTIAL_MISSING"));
  for (const std::string& bad :
       {std::string("Bearer wrong"), std::string("Bearer "), "Bearer " + HashOf("secret"),
        "Bearer " + Sha256("secret"), "Bearer " + std::string(10'000, 'x')}) {
    const absl::Status status = Find(**credentials, bad).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnauthenticated));
    EXPECT_THAT(status, HasReason("CREDENTIAL_UNKNOWN"));
  }
}

TEST_F(CredentialsTest, AReloadReplacesTheTokensAndABadFileDoesNot) {
  Write(HashOf("old") + " operator *\n");
  const auto credentials = Credentials::FromFile(path_);
  ASSERT_THAT(credentials, IsOk());
  Write("nonsense\n");
  EXPECT_THAT((*credentials)->Reload(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 1")));
  EXPECT_THAT(Find(**credentials, "Bearer old"), IsOk());
  Write(HashOf("new") + " operator *\n");
  EXPECT_THAT((*credentials)->Reload(), IsOk());
  EXPECT_THAT(Find(**credentials, "Bearer new"), IsOk());
  EXPECT_THAT(Find(**credentials, "Bearer old").status(), HasReason("CREDENTIAL_UNKNOWN"));
}

// It is read while somebody is writing it.
TEST_F(CredentialsTest, AFileThatIsEmptyForAMomentLocksNobodyOut) {
  Write(HashOf("old") + " operator *\n");
  const auto credentials = Credentials::FromFile(path_);
  ASSERT_THAT(credentials, IsOk());
  Write("");
  EXPECT_THAT((*credentials)->Reload(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token")));
  EXPECT_THAT(Find(**credentials, "Bearer old"), IsOk());
}

// A file without tokens lets nobody in; it is not the same as no file.
TEST_F(CredentialsTest, AnEmptyFileLetsNobodyIn) {
  Write("");
  const auto credentials = Credentials::FromFile(path_);
  ASSERT_THAT(credentials, IsOk());
  EXPECT_THAT(Find(**credentials, "Bearer x").status(), HasReason("CREDENTIAL_UNKNOWN"));
  EXPECT_FALSE((*credentials)->open());
}

TEST_F(CredentialsTest, AFileThatIsNotThereIsToldByName) {
  EXPECT_THAT(Credentials::FromFile(path_).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
}

TEST(OpenCredentialsTest, WithoutAFileEverybodyIsAnybody) {
  EXPECT_EQ(Credentials::Open()->Find(nullptr).value(), Principal::Anybody());
}

}  // namespace
}  // namespace tessera::service
