// Names lead to one place and back; ids and tokens that were made up lead nowhere.
#include "coordinator/edge/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "coordinator/edge/tokens.h"

namespace tessera::edge {
namespace {

using core::AssignmentId;
using core::JobIndex;
using ::testing::Eq;
using ::testing::MatchesRegex;
using ::testing::Optional;

const IdMaker kIds({.low = 1, .high = 2}, 4);

TEST(NamesTest, AJobsNameIsParsedAndWrittenAlike) {
  const auto name = JobName::Parse("tenants/acme/jobs/p0-abc");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->tenant, "acme");
  EXPECT_EQ(name->job, "p0-abc");
  EXPECT_EQ(name->ToString(), "tenants/acme/jobs/p0-abc");
  for (const char* bad : {"", "tenants/acme/jobs", "tenants//jobs/p0-a", "tenants/a/jobs/",
                          "tenants/a/jobs/b/c", "tenant/a/jobs/b", "tenants/a/job/b"}) {
    EXPECT_FALSE(JobName::Parse(bad).has_value()) << bad;
  }
}

TEST(NamesTest, AnIdIsTakenOutOfItsCollectionOnly) {
  EXPECT_THAT(ParseId("pools", "pools/experts"), Optional(Eq("experts")));
  for (const char* bad : {"", "pools", "pools/", "pools/a/b", "poolsx/a", "tenants/a"}) {
    EXPECT_FALSE(ParseId("pools", bad).has_value()) << bad;
  }
}

TEST(NamesTest, OnePartitionHasOneId) {
  EXPECT_THAT(ParsePartitionId("p12"), Optional(12u));
  EXPECT_EQ(PartitionId(12), "p12");
  for (const char* bad : {"", "p", "12", "p012", "p+1", "p 1", "p-1", "p99999999999"}) {
    EXPECT_FALSE(ParsePartitionId(bad).has_value()) << bad;
  }
}

TEST(NamesTest, AJobsIdNamesItsPartitionAndIsTheSameEachTime) {
  const std::string id = kIds.JobId("acme", "request-1");
  EXPECT_THAT(id, MatchesRegex("p[0-3]-[0-9a-z]{26}"));
  EXPECT_EQ(kIds.JobId("acme", "request-1"), id);
  EXPECT_TRUE(PartitionOfJob(id).has_value());
  EXPECT_NE(kIds.JobId("acme", "request-2"), id);
  EXPECT_NE(kIds.JobId("acm", "erequest-1"), id);
  EXPECT_NE(IdMaker({.low = 1, .high = 3}, 4).JobId("acme", "request-1"), id);
}

TEST(NamesTest, JobsSpreadOverAllPartitions) {
  std::set<uint32_t> partitions;
  for (int i = 0; i < 100; ++i) {
    partitions.insert(PartitionOfJob(kIds.JobId("acme", absl::StrCat("r", i))).value());
  }
  EXPECT_EQ(partitions.size(), 4);
}

TEST(NamesTest, AssignmentsAreFoundAgainByTheirIds) {
  for (const uint32_t job : {0u, 1u, 77u, UINT32_MAX}) {
    for (const uint32_t sequence : {0u, 1u, 1000u, UINT32_MAX}) {
      const IdMaker::AssignmentRef ref{.partition = 3, .id = {JobIndex(job), sequence}};
      const std::string id = kIds.Assignment(ref.partition, ref.id);
      EXPECT_THAT(kIds.ParseAssignment(id), Optional(ref));
      EXPECT_LE(id.size(), 128);
    }
  }
}

TEST(NamesTest, AnAssignmentIdThatWasMadeUpIsRefused) {
  const std::string id = kIds.Assignment(1, {JobIndex(5), 9});
  for (size_t i = 0; i < id.size(); ++i) {
    std::string forged = id;
    forged[i] = forged[i] == '0' ? '1' : '0';
    EXPECT_FALSE(kIds.ParseAssignment(forged).has_value()) << forged;
  }
  EXPECT_FALSE(kIds.ParseAssignment("").has_value());
  EXPECT_FALSE(kIds.ParseAssignment(id.substr(1)).has_value());
  EXPECT_FALSE(kIds.ParseAssignment(id + "0").has_value());
  EXPECT_FALSE(kIds.ParseAssignment(std::string(id.size(), 'i')).has_value());
  // Another deployment's, and one of a partition that is not there.
  EXPECT_FALSE(IdMaker({.low = 9, .high = 9}, 4).ParseAssignment(id).has_value());
  EXPECT_FALSE(IdMaker({.low = 1, .high = 2}, 1).ParseAssignment(id).has_value());
}

TEST(NamesTest, Base32ComesBackAndHasOneSpelling) {
  std::string bytes;
  for (int size = 0; size < 40; ++size) {
    EXPECT_THAT(UnBase32(Base32(bytes)), Optional(bytes));
    bytes.push_back(static_cast<char>(size * 37 + 200));
  }
  EXPECT_FALSE(UnBase32("u0").has_value());
  EXPECT_FALSE(UnBase32("01").has_value()) << "a bit that belongs to no byte";
  EXPECT_FALSE(UnBase32("000").has_value()) << "a digit too many";
}

TEST(TokensTest, ATokenHoldsItsPlace) {
  const ResultsCursor cursor{.revision = 77, .ended = true, .open_revision = 70, .next_item = 5};
  const std::string token = EncodeToken(kIds, "results", "tenants/a/jobs/p0-x", cursor);
  EXPECT_LE(token.size(), 256);
  const auto decoded = DecodeToken<ResultsCursor>(kIds, "results", "tenants/a/jobs/p0-x", token);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->revision, 77);
  EXPECT_TRUE(decoded->ended);
  EXPECT_EQ(decoded->open_revision, 70);
  EXPECT_EQ(decoded->next_item, 5);
}

TEST(TokensTest, ATokenOfAnotherListOrMadeUpIsRefused) {
  const std::string token = EncodeToken(kIds, "jobs", "tenants/a", JobsCursor{1, 9});
  EXPECT_TRUE(DecodeToken<JobsCursor>(kIds, "jobs", "tenants/a", token).has_value());
  EXPECT_FALSE(DecodeToken<JobsCursor>(kIds, "jobs", "tenants/b", token).has_value());
  EXPECT_FALSE(DecodeToken<JobsCursor>(kIds, "pools", "tenants/a", token).has_value());
  EXPECT_FALSE(DecodeToken<JobsCursor>(kIds, "job", "stenants/a", token).has_value());
  for (size_t i = 0; i < token.size(); ++i) {
    std::string forged = token;
    forged[i] = forged[i] == '0' ? '1' : '0';
    EXPECT_FALSE(DecodeToken<JobsCursor>(kIds, "jobs", "tenants/a", forged).has_value()) << forged;
  }
  EXPECT_FALSE(DecodeToken<JobsCursor>(kIds, "jobs", "tenants/a", "").has_value());
}

}  // namespace
}  // namespace tessera::edge
