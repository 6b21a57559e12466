// An id is never taken for another kind of id, and costs what its number costs.
#include "common/ids.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>
#include <type_traits>

#include "absl/container/flat_hash_set.h"

namespace tessera {
namespace {

using JobIndex = StrongId<struct JobIndexTag, uint32_t>;
using WorkerIndex = StrongId<struct WorkerIndexTag, uint32_t>;
using Shard = StrongId<struct ShardTag, uint8_t>;

static_assert(!std::is_convertible_v<uint32_t, JobIndex>);
static_assert(!std::is_convertible_v<JobIndex, uint32_t>);
static_assert(!std::is_constructible_v<JobIndex, WorkerIndex>);
static_assert(sizeof(JobIndex) == sizeof(uint32_t));
static_assert(std::is_trivially_copyable_v<JobIndex>);
static_assert(IsStrongId<JobIndex>::value && !IsStrongId<uint32_t>::value);

TEST(StrongIdTest, IsComparedAndOrderedAsItsNumber) {
  EXPECT_EQ(JobIndex(7), JobIndex(7));
  EXPECT_NE(JobIndex(7), JobIndex(8));
  EXPECT_LT(JobIndex(7), JobIndex(8));
  EXPECT_EQ(JobIndex().value(), 0u);
}

TEST(StrongIdTest, IsAKeyOfAHashTable) {
  const absl::flat_hash_set<JobIndex> jobs = {JobIndex(1), JobIndex(2), JobIndex(1)};
  EXPECT_EQ(jobs.size(), 2u);
}

TEST(StrongIdTest, PrintsAsANumberEvenWhereItIsOneByte) {
  std::ostringstream out;
  out << JobIndex(65) << " " << Shard(65);
  EXPECT_EQ(out.str(), "65 65");
}

}  // namespace
}  // namespace tessera
