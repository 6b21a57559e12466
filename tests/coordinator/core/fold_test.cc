// State is a fold: the journal alone, and any mixture of old and new objects with the journal's
// tail, give the state that the live partition holds, bit for bit. And whatever happens, the
// promises hold.
#include "coordinator/core/fold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/coordinator/core/partition_world.h"
#include "tests/simulation/promises.h"

namespace tessera::core {
namespace {

using ::testing::IsEmpty;

class FoldTest : public ::testing::TestWithParam<int> {};

TEST_P(FoldTest, JournalAndObjectsFoldToTheLiveStateWhateverHappens) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  PartitionOptions options;
  options.refit_answers_min = 20;
  options.refit_pages_per_step = 1;
  PartitionWorld world(options);
  std::vector<JobIndex> jobs;
  std::vector<Lease> leases;  // Ever granted: some are over.
  for (int step = 0; step < 400; ++step) {
    switch (below(16)) {
      case 0:
        if (jobs.size() < 4) {
          CreateJob create =
              PartitionWorld::TwoClasses(absl::StrCat("job", step), 20'000 + below(400'000), 1000);
          create.policy.lease = {.base = absl::Seconds(20),
                                 .per_item = absl::Seconds(5),
                                 .late_grace = absl::Seconds(30),
                                 .extension_max = absl::Minutes(1)};
          create.policy.split = {.strategy = static_cast<SplitStrategy>(below(3)),
                                 .items_min = 1,
                                 .items_max = 1 + below(5),
                                 .random_order = below(2) == 1};
          create.policy.quality.answers_max = 2 + below(5);
          create.policy.answers_per_worker_max = below(2) * 30;
          jobs.push_back(world.Create(create, 1 + below(600), below(2) == 1));
        }
        break;
      case 1:
        world.Pass(absl::Seconds(below(40)));
        break;
      case 2:
        if (!jobs.empty() && below(8) == 0) {
          const JobIndex job = jobs[below(static_cast<uint32_t>(jobs.size()))];
          switch (below(6)) {
            case 0:
              (void)world->SealJob(job, world.now());
              break;
            case 1:
              (void)world->PauseJob(job, world.now());
              break;
            case 2:
              (void)world->ResumeJob(job, world.now());
              break;
            case 3:
              (void)world->FinaliseJob(job, world.now());
              break;
            case 4:
              (void)world->CancelJob(job, world.now());
              break;
            case 5:
              (void)world->DeleteJob(job, world.now());
              break;
          }
        }
        break;
      case 3:
        world.Commit();
        world.WriteObjects(1 + below(6));
        break;
      case 4:
        if (below(4) == 0) {
          world.Commit();
          world.WriteObjects(below(4));
          world.Crash(absl::Seconds(below(100)));
        }
        break;
      case 5:
        if (!leases.empty()) {
          const Lease& lease = leases[below(static_cast<uint32_t>(leases.size()))];
          (void)world->ReviewAnswer({.assignment = lease.assignment,
                                     .item = lease.items[0],
                                     .approve = below(2) == 0,
                                     .reason = "r"},
                                    world.now());
        }
        break;
      case 6:
        if (!leases.empty()) {
          const Lease& lease = leases[below(static_cast<uint32_t>(leases.size()))];
          (void)world->Extend(
              {.assignment = lease.assignment, .until = world.now() + absl::Seconds(below(90))},
              world.now());
        }
        break;
      case 7:
        if (!leases.empty()) {
          const Lease& lease = leases[below(static_cast<uint32_t>(leases.size()))];
          (void)world->Draft({.assignment = lease.assignment,
                              .item = lease.items[0],
                              .edit = below(5),
                              .choice = below(2) == 0 ? "no" : "yes"},
                             world.now());
        }
        break;
      case 8:
        if (!leases.empty()) {
          (void)world->Return(
              {.assignment = leases[below(static_cast<uint32_t>(leases.size()))].assignment,
               .items = {}},
              world.now());
        }
        break;
      case 9:
        if (below(20) == 0) {
          WorkerView worker;
          worker.name = absl::StrCat("platforms/p/workers/w", below(30));
          worker.blocked = below(2) == 0;
          (void)world->UpdateWorker(worker, world.now());
        }
        break;
      default:
        for (int k = 0; k < 8; ++k) {
          const auto lease =
              world->RequestLease(PartitionWorld::Ask(static_cast<int>(below(30))), world.now());
          if (!lease.ok() || !lease->has_value()) continue;
          leases.push_back(**lease);
          if (below(4) != 0) (void)world.Answer(leases.back(), below(5) == 0 ? "no" : "yes");
        }
        if (!leases.empty() && below(3) == 0) {
          (void)world.Answer(leases[below(static_cast<uint32_t>(leases.size()))], "yes");
        }
    }
    if (step % 10 == 0) {
      ASSERT_THAT(simulation::CheckPromises(world->state()), IsEmpty()) << "step " << step;
    }
  }
  world.Commit();
  EXPECT_THAT(simulation::CheckPromises(world->state()), IsEmpty());
  EXPECT_THAT(simulation::CheckAllScores(world->state()), IsEmpty());
  const auto live = ObjectsOf(world->state());
  EXPECT_EQ(ObjectsOf(world.FoldJournal()), live);
  EXPECT_EQ(ObjectsOf(world.FoldObjects()), live);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FoldTest, ::testing::Range(0, 300));

}  // namespace
}  // namespace tessera::core
