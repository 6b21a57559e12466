// What is learnt from answers: fits of a bounded size, and confidences that are the same wherever
// they are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/core/partition.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using ::tessera::testing::IsOk;

// A job at every documented limit must not end the coordinator of all others.
TEST(PartitionFusingTest, AJobWithAThousandClassesIsResolvedAndNoRecordIsLarge) {
  PartitionWorld world;
  CreateJob create = PartitionWorld::TwoClasses("a");
  create.identity.classes.clear();
  for (int c = 0; c < 1000; ++c) create.identity.classes.push_back(absl::StrCat("class", c));
  create.policy.quality = {.target_confidence = 0.99, .answers_min = 3, .answers_max = 30};
  create.policy.split.items_max = 20;
  const JobIndex job = world.Create(create, 40);
  int answers = 0;
  for (int worker = 0; worker < 30; ++worker) {
    while (const auto lease = world.TryLease(worker)) {
      Submit submit{.assignment = lease->assignment};
      for (const ItemIndex i : lease->items) {
        const ItemIndex says = worker % 4 == 0 ? 500 + static_cast<ItemIndex>(worker) : i;
        submit.answers.push_back({i, absl::StrCat("class", says)});
        ++answers;
      }
      ASSERT_THAT(world->Submit(submit, world.now()), IsOk());
      world.Commit();
    }
  }
  EXPECT_GE(answers, 120);
  const JobView view = world->Job(job).value();
  EXPECT_EQ(view.phase, JobPhase::kFinalised);
  EXPECT_EQ(view.counts.resolved, 40u);
  EXPECT_GE(view.fit, 1u);
  for (ItemIndex i = 0; i < 40; ++i) EXPECT_EQ(world->Item(job, i).value, i);
  size_t largest = 0;
  for (const auto& [id, events] : world.journal()) largest = std::max(largest, events.size());
  EXPECT_GT(largest, size_t{4} << 20);  // A fit was written ...
  EXPECT_LT(largest, size_t{9} << 20);  // ... with two workers of its thirty.
}

}  // namespace
}  // namespace tessera::core
