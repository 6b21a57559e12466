// State is a fold: the journal alone, and any mixture of old and new objects with the journal's
// tail, give the state that the live partition holds, bit for bit. And whatever happens, the
// promises hold.
#include "coordinator/core/fold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "tests/coordinator/core/partition_world.h"
#include "tests/simulation/promises.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::IsEmpty;

class FoldTest : public ::testing::TestWithParam<int> {};

// Items of which some differ from the others in each way that there is.
AddItems MixedItems(JobIndex job, const JobHead& head, uint32_t count,
                    const std::function<uint32_t(uint32_t)>& below) {
  AddItems add{
      .job = job, .offset = head.committed_offset, .size = count, .fresh = count, .traits = {}};
  auto strata = static_cast<uint32_t>(head.strata_names.size());
  if (below(2) == 0) {
    add.new_strata.push_back(absl::StrCat("stratum", strata));
    ++strata;
  }
  for (uint32_t i = 0; i < count; ++i) {
    ItemTraits& traits = add.traits.emplace_back();
    if (below(3) == 0) traits.length = static_cast<float>(1 + below(4));
    if (below(3) == 0) traits.stratum = static_cast<uint16_t>(below(strata));
    if (below(3) == 0) traits.importance = static_cast<float>(below(5));
    if (below(6) == 0) traits.gold = static_cast<Label>(below(2));
  }
  return add;
}

PartitionOptions Options() {
  PartitionOptions options;
  options.refit_answers_min = 20;
  options.refit_pages_per_step = 1;
  return options;
}

// Whatever can happen to a partition, in an order that the seed chooses.
void Play(uint64_t seed, PartitionWorld& world) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  std::vector<JobIndex> jobs;
  std::vector<Lease> leases;  // Ever granted: some are over.
  for (int step = 0; step < 400; ++step) {
    switch (below(21)) {
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
          if (below(4) == 0) create.policy.price_micros = 0;  // As its pool says.
          create.policy.approve_on_acceptance = below(4) == 0;
          jobs.push_back(world.Create(create, 1 + below(600), below(2) == 1));
        }
        break;
      case 1:
        world.Pass(absl::Seconds(below(40)));
        break;
      case 2:
        if (!jobs.empty() && below(3) == 0) {
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
        world.BeginWrite(1 + below(6));
        break;
      case 4:
        if (below(4) == 0) {
          world.Commit();
          world.BeginWrite(below(4));
          if (below(2) == 0) world.EndWrite(below(4) != 0, below(4) != 0);
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
          const Lease& lease = leases[below(static_cast<uint32_t>(leases.size()))];
          ReturnItems items{.assignment = lease.assignment, .items = {}};
          items.drafts_too = below(2) == 0;
          if (below(2) == 0) items.items.push_back(lease.items[below(2) % lease.items.size()]);
          (void)world->Return(items, world.now());
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
      case 10:
      case 11:
        world.EndWrite(/*written=*/below(4) != 0, /*told=*/below(4) != 0);
        break;
      case 12:
        if (!jobs.empty()) {
          const JobIndex job = jobs[below(static_cast<uint32_t>(jobs.size()))];
          const auto found = world->Job(job);
          if (!found.ok()) break;
          UpdateJob update{.job = job,
                           .document = absl::StrCat("step ", step),
                           .priority = 1.0 + below(3),
                           .budget_micros = found->ledger.committed_micros() + below(100'000),
                           .deadline = below(4) == 0 ? world.now() + absl::Minutes(below(20))
                                                     : absl::InfiniteFuture(),
                           .quality = {}};
          update.quality.target_confidence = 0.6 + 0.01 * below(39);
          update.quality.answers_max = 1 + below(6);
          update.quality.answers_min = 1 + below(update.quality.answers_max);
          (void)world->UpdateJob(update, world.now());
        }
        break;
      case 13:
        if (!jobs.empty()) {
          (void)world->PayBonus({.job = jobs[below(static_cast<uint32_t>(jobs.size()))],
                                 .worker = absl::StrCat("platforms/p/workers/w", below(30)),
                                 .amount_micros = 1 + below(3000),
                                 .request_id = absl::StrCat("bonus", below(5)),
                                 .reason = "r"},
                                world.now());
        }
        break;
      case 14:
        if (below(4) != 0) {
          (void)world->PutPool({.id = below(3) == 0 ? "other" : "default",
                                .display_name = absl::StrCat("step ", step),
                                .skills = {},
                                .languages = {},
                                .price_micros = below(3) * 500});
        } else {
          (void)world->DeletePool("default");
        }
        break;
      case 15:
        if (!jobs.empty()) {
          const JobIndex job = jobs[below(static_cast<uint32_t>(jobs.size()))];
          const JobState* state = world->state().job(job);
          if (state == nullptr) break;
          (void)world->AddItems(MixedItems(job, state->head, 1 + below(300), below), world.now());
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
}

TEST_P(FoldTest, JournalAndObjectsFoldToTheLiveStateWhateverHappens) {
  PartitionWorld world(Options());
  ASSERT_NO_FATAL_FAILURE(Play(static_cast<uint64_t>(GetParam()), world));
  EXPECT_THAT(simulation::CheckPromises(world->state()), IsEmpty());
  EXPECT_THAT(simulation::CheckAllScores(world->state()), IsEmpty());
  const auto live = ObjectsOf(world->state());
  EXPECT_EQ(ObjectsOf(world.FoldJournal()), live);
  EXPECT_EQ(ObjectsOf(world.FoldObjects()), live);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FoldTest, ::testing::Range(0, 300));

// When all is written the journal may be trimmed whole, and nothing else has what an object holds.
TEST(FoldLossTest, AnObjectThatIsGoneOrChangedIsDataLoss) {
  std::map<std::string, int> kinds;
  int refused = 0;
  int objects_lost = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    PartitionWorld world(Options());
    ASSERT_NO_FATAL_FAILURE(Play(seed, world));
    while (world->state().dirty_objects() > 0) world.WriteObjects(1'000);
    ASSERT_THAT(world.LoadObjects(world.objects()), IsOk());
    for (const auto& [key, bytes] : world.objects()) {
      PartitionWorld::Objects objects = world.objects();
      ++kinds[key.substr(0, key.find(':'))];
      ++objects_lost;
      std::string& changed = objects.at(key);
      changed.back() = static_cast<char>(changed.back() ^ 1);
      EXPECT_THAT(world.LoadObjects(objects), StatusIs(absl::StatusCode::kDataLoss)) << key;
      objects.erase(key);
      const absl::StatusOr<PartitionState> state = world.LoadObjects(objects);
      if (!state.ok()) {
        ++refused;
        EXPECT_THAT(state, StatusIs(absl::StatusCode::kDataLoss)) << key;
      } else {
        // All that it held has just happened, and is in the last record.
        EXPECT_EQ(ObjectsOf(*state), ObjectsOf(world->state())) << key;
      }
    }
  }
  EXPECT_GT(refused, objects_lost * 9 / 10);
  EXPECT_THAT(kinds, ::testing::SizeIs(7)) << ::testing::PrintToString(kinds);
}

// Of what never happens there the test above says nothing.
TEST(FoldItselfTest, EveryEventHappens) {
  std::map<std::string, int> counts;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    PartitionWorld world(Options());
    ASSERT_NO_FATAL_FAILURE(Play(seed, world));
    for (const auto& [id, events] : world.journal()) {
      Reader reader(events);
      while (!reader.AtEnd()) ++counts[std::string(EventName(*ReadEvent(reader)))];
    }
  }
  EXPECT_EQ(counts.size(), std::variant_size_v<Event>) << ::testing::PrintToString(counts);
}

TEST(TallyTest, ThoseOfTheWorkersAskedAboutAreVisitedAndNoOthers) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 50; ++round) {
    JobState job;
    std::map<WorkerIndex, size_t> asked;
    std::map<size_t, uint32_t> expected;
    for (uint32_t w = 0; w < 3 * kWorkersPerPage; ++w) {
      const bool worked = random() % 50 < static_cast<uint64_t>(round);
      if (worked) {
        job.tallies[w / kWorkersPerPage].by_worker[w].answered = w + 1;
      }
      if (random() % 4 == 0) {
        asked[WorkerIndex(w)] = w + 10'000;
        if (worked) expected[w + 10'000] = w + 1;
      }
    }
    std::map<size_t, uint32_t> visited;
    job.ForEachTally(asked,
                     [&](size_t place, const Tally& tally) { visited[place] += tally.answered; });
    EXPECT_EQ(visited, expected);
  }
}

// --- Fits that have gone -------------------------------------------------------------------------

class GoneFitTest : public ::testing::Test {
 protected:
  // Fits 1 and 2 are in the store, 3 has been applied, and fit 1 is still to be erased.
  GoneFitTest() {
    AnswerUntilFit(2);
    WriteAll();
    EXPECT_TRUE(Stored(1));
    AnswerUntilFit(3);
  }

  bool Stored(uint32_t fit) {
    return world_.objects().contains(ObjectKey{ObjectKind::kFit, job_.value(), fit}.ToString());
  }
  void WriteAll() {
    while (world_->state().dirty_objects() > 0) world_.WriteObjects(1'000);
  }
  void Delete() {
    ASSERT_THAT(world_->CancelJob(job_, world_.now()), IsOk());
    world_.Pass(absl::Hours(1));
    world_.Commit();
    ASSERT_THAT(world_->DeleteJob(job_, world_.now()), IsOk());
    world_.Commit();
  }
  // Whether of the deleted job nothing but the mark is there.
  bool OnlyTheMarkIsThere() {
    for (const auto& [key, bytes] : world_.objects()) {
      for (const ObjectKind kind :
           {ObjectKind::kItems, ObjectKind::kLeases, ObjectKind::kTallies, ObjectKind::kFit}) {
        for (uint32_t page = 0; page < 20; ++page) {
          if (key == ObjectKey{kind, job_.value(), page}.ToString()) return false;
        }
      }
    }
    return true;
  }

  PartitionWorld world_{Options()};
  JobIndex job_ = world_.Create(PartitionWorld::TwoClasses("a"), 500);

 private:
  void AnswerUntilFit(uint32_t fit) {
    for (int w = 0; world_->Job(job_)->fit < fit; ++w) {
      const auto lease = world_.TryLease(w % 50);
      ASSERT_TRUE(lease.has_value());
      ASSERT_THAT(world_.Answer(*lease, w % 5 == 0 ? "no" : "yes"), IsOk());
      world_.Commit();
    }
  }
};

TEST_F(GoneFitTest, IsErasedThoughItsJobIsDeleted) {
  Delete();
  WriteAll();
  EXPECT_TRUE(OnlyTheMarkIsThere());
}

TEST_F(GoneFitTest, IsErasedThoughItsJobIsDeletedAndOnlyTheMarkWasWritten) {
  Delete();
  const std::string head = ObjectKey{ObjectKind::kJob, job_.value()}.ToString();
  for (const std::string before = world_.objects().at(head); world_.objects().at(head) == before;) {
    world_.WriteObjects(1);
  }
  EXPECT_TRUE(Stored(1));
  world_.Crash(absl::Seconds(1));
  WriteAll();
  EXPECT_TRUE(OnlyTheMarkIsThere());
}

TEST_F(GoneFitTest, HoldsTheJournalUntilItIsErasedThoughAWriteFails) {
  RecordId applied;
  for (const auto& [id, events] : world_.journal()) {
    Reader reader(events);
    while (!reader.AtEnd()) {
      const Event event = *ReadEvent(reader);
      const auto* fit = std::get_if<FitApplied>(&event);
      if (fit != nullptr && fit->fit.number == 3) applied = id;
    }
  }
  world_.BeginWrite(1'000);
  for (int w = 60; w < 70; ++w) {
    ASSERT_THAT(world_.Answer(*world_.TryLease(w), "yes"), IsOk());
    world_.Commit();
  }
  world_.EndWrite(/*written=*/false);
  ASSERT_TRUE(Stored(1));
  while (Stored(1)) {
    ASSERT_LE(world_->state().OldestUnstored(), applied);
    world_.WriteObjects(1);
  }
}

}  // namespace
}  // namespace tessera::core
