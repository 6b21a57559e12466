// After a crash at any moment, what was acknowledged is there, and there is one state: in memory,
// in pages and tail, and in the whole journal.

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/record.h"
#include "coordinator/edge/host.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/edge/host_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using core::JobIndex;
using core::RecordId;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::HasSubstr;

// A requester and a worker who do one thing after another, each when the one before is
// acknowledged, and again when it is not known to have been done.
class Scenario {
 public:
  static constexpr uint32_t kItems = 1000;
  static constexpr uint32_t kBatch = 100;
  static constexpr int kLeases = 8;

  bool finished() const { return next_ > kSubmitLast; }
  uint32_t items_acknowledged() const { return items_acknowledged_; }

  // Does the next thing, unless the last one is under way.
  void Turn(HostWorld& world, Owner& owner) {
    if (waiting_ || finished() || !owner->accepting()) return;
    std::function<void()> acknowledged;
    if (next_ == 0) {
      job_ = world.CreateJob(owner, "a");
    } else if (next_ <= kAddLast) {
      const uint32_t offset = static_cast<uint32_t>(next_ - 1) * kBatch;
      if (owner.partition().Job(job_)->committed_offset == offset) {
        world.AddItems(owner, job_, kBatch);
      }
      acknowledged = [this, offset] { items_acknowledged_ = offset + kBatch; };
    } else if ((next_ - kAddLast) % 2 == 1) {
      lease_ =
          owner.partition().RequestLease(core::PartitionWorld::Ask(next_, 10), world.now()).value();
      EXPECT_TRUE(lease_.has_value());
    } else {
      core::Submit submit{.assignment = lease_->assignment};
      for (const core::ItemIndex item : lease_->items) submit.answers.push_back({item, "yes"});
      const absl::StatusOr<core::Submitted> submitted =
          owner.partition().Submit(submit, world.now());
      EXPECT_TRUE(submitted.ok()) << submitted.status();
      acknowledged = [this, submit] { submitted_.push_back(submit); };
    }
    waiting_ = true;
    owner->WhenCommitted([this, acknowledged](absl::Status status) {
      waiting_ = false;
      if (!status.ok()) return;  // Nobody knows: the same again.
      if (acknowledged) acknowledged();
      ++next_;
    });
  }

  // Everything that was acknowledged is there.
  void Check(HostWorld& world, Owner& owner) {
    if (next_ == 0) return;
    const absl::StatusOr<JobIndex> job = owner.partition().FindJob("acme", "a");
    ASSERT_THAT(job, IsOk());
    const uint64_t items = owner.partition().Job(*job)->counts.total();
    ASSERT_GE(items, items_acknowledged_);
    ASSERT_EQ(items % kBatch, 0u);
    world.ExpectItems(owner, *job, static_cast<uint32_t>(items));
    uint64_t answers = 0;
    for (const core::Submit& submit : submitted_) {
      answers += submit.answers.size();
      const absl::StatusOr<core::Submitted> again = owner.partition().Submit(submit, world.now());
      ASSERT_THAT(again, IsOk());
      ASSERT_TRUE(again->repeated);
      ASSERT_EQ(again->answers, submit.answers.size());
    }
    ASSERT_GE(owner.partition().Job(*job)->answers, answers);
  }

 private:
  static constexpr int kAddLast = kItems / kBatch;
  static constexpr int kSubmitLast = kAddLast + 2 * kLeases;

  int next_ = 0;
  bool waiting_ = false;
  JobIndex job_;
  uint32_t items_acknowledged_ = 0;
  std::optional<core::Lease> lease_;
  std::vector<core::Submit> submitted_;
};

struct CrashCase {
  bool trim = false;
  FaultyStore::Faults faults;
};

// The journal reaches back to where its last record says that it must.
void CheckReach(HostWorld& world) {
  const auto& journal = world.disk().journal();
  const absl::StatusOr<core::Record> first = core::DecodeRecord(journal.begin()->second);
  const absl::StatusOr<core::Record> last = core::DecodeRecord(journal.rbegin()->second);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(last, IsOk());
  ASSERT_TRUE(journal.begin()->first <= last->kept_from || first->follows < last->kept_from)
      << "from " << journal.begin()->first.ToString() << ", needed from "
      << last->kept_from.ToString();
}

// Crashes twice, the second time a few steps later; says whether it came to that.
void RunWithCrash(const CrashCase& c, uint64_t seed, int crash_at, bool* crashed) {
  HostWorld world(seed);
  const auto options = [&] {
    HostOptions options = world.Options();
    options.trim = c.trim;
    options.commits_per_trim = 1 + seed % 3;
    // Objects are written in between the scenario's steps, or behind them.
    if (seed % 3 != 0) options.write_interval = absl::ZeroDuration();
    options.payload_cache_bytes = seed % 2 == 0 ? 0 : 256 << 20;
    options.objects_per_write = 1 + seed % 4;
    return options;
  };
  Scenario scenario;
  std::unique_ptr<Owner> owner = world.Open(options(), c.faults);
  int steps = 0;
  *crashed = false;
  for (; steps < 100'000 && (!scenario.finished() || (*owner)->status().dirty_objects > 0);
       ++steps) {
    CheckReach(world);
    if (steps == crash_at || steps == crash_at + 4 + static_cast<int>(seed)) {
      owner->Crash();
      owner = world.Open(options(), c.faults);
      *crashed = true;
      EXPECT_THAT(world.start_status(), IsOk());
      if (!world.start_status().ok()) return;
      scenario.Check(world, *owner);
      // What the dead owner had sent arrives now, and changes nothing.
      const auto journal = world.disk().journal();
      while (world.disk().ArriveLate()) {
      }
      EXPECT_EQ(world.disk().journal(), journal);
      EXPECT_THAT(world.Commit(*owner), IsOk());
      world.ExpectOneState(*owner, !c.trim);
    }
    scenario.Turn(world, *owner);
    world.Step(*owner);
  }
  EXPECT_TRUE(scenario.finished());
  EXPECT_THAT(world.Commit(*owner), IsOk());
  scenario.Check(world, *owner);
  EXPECT_THAT(world.Commit(*owner), IsOk());
  world.ExpectOneState(*owner, !c.trim);
  EXPECT_EQ(owner->partition().FindJob("acme", "a").value().value(), 0u);
}

// With which seed a crash happens says which of the dead owner's requests still arrive.
void CrashAtEveryStep(bool trim) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    bool crashed = true;
    int crash_at = 0;
    for (; crashed; ++crash_at) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", step ", crash_at));
      RunWithCrash({.trim = trim}, seed, crash_at, &crashed);
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GT(crash_at, 40);
  }
}

TEST(HostRecoveryTest, ACrashAtAnyStepLosesNothingThatWasAcknowledged) {
  CrashAtEveryStep(/*trim=*/false);
}

TEST(HostRecoveryTest, ACrashAtAnyStepOfATrimmedJournalLosesNothingThatWasAcknowledged) {
  CrashAtEveryStep(/*trim=*/true);
}

class HostRecoverySeedTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(HostRecoverySeedTest, CrashesAmongFaultsLoseNothingThatWasAcknowledged) {
  std::mt19937_64 random(GetParam());
  for (const bool trim : {false, true}) {
    bool crashed = false;
    RunWithCrash({.trim = trim,
                  .faults = {.lose_request_per_mille = 30,
                             .lose_reply_per_mille = 30,
                             .refuse_per_mille = 30,
                             .delay_per_mille = 50}},
                 GetParam(), static_cast<int>(random() % 200), &crashed);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, HostRecoverySeedTest, ::testing::Range<uint64_t>(1, 41));

// --- Trimming ------------------------------------------------------------------------------------

TEST(HostRecoveryTest, TrimmingKeepsTheJournalShortAndLosesNothing) {
  HostWorld world;
  std::unique_ptr<Owner> owner = world.Open();
  const JobIndex job = world.CreateJob(*owner, "a");
  for (uint32_t round = 1; round <= 600; ++round) {
    world.AddItems(*owner, job, 5);
    ASSERT_THAT(world.Commit(*owner), IsOk());
    world.RunFor(*owner, absl::Milliseconds(20));
    if (round % 150 != 0) continue;
    world.WriteAll(*owner);
    EXPECT_LT(world.disk().journal().size(), 200u) << round;
    EXPECT_GT((*owner)->status().trimmed_below, RecordId{});
    world.ExpectOneState(*owner, false);
    owner->Crash();
    owner = world.Open();
    ASSERT_THAT(world.start_status(), IsOk());
    world.ExpectItems(*owner, job, 5 * round);
  }
}

// It lies in Redis's memory, so it is its size that counts, and also when nothing more is committed.
TEST(HostRecoveryTest, TheJournalIsTrimmedWhenMuchOfItMayGoAndWhenNothingFollows) {
  HostWorld world;
  HostOptions options = world.Options();
  options.commits_per_trim = 1'000'000;
  options.bytes_per_trim = 20'000;
  std::unique_ptr<Owner> owner = world.Open(options);
  const auto bytes = [&] {
    size_t sum = 0;
    for (const auto& [id, record] : world.disk().journal()) sum += record.size();
    return sum;
  };
  const JobIndex job = world.CreateJob(*owner, "a");
  size_t most = 0;
  for (int round = 0; round < 100; ++round) {
    world.AddItems(*owner, job, 50);
    ASSERT_THAT(world.Commit(*owner), IsOk());
    most = std::max(most, bytes());
    if (round % 10 == 0) world.WriteAll(*owner);
  }
  EXPECT_GT(most, 40'000u);
  EXPECT_GT((*owner)->status().trimmed_below, RecordId{});
  world.WriteAll(*owner);
  world.RunFor(*owner, absl::Seconds(2));
  EXPECT_LT(bytes(), 40'000u);
  const uint64_t records = (*owner)->status().records;
  world.RunFor(*owner, absl::Seconds(10));
  EXPECT_EQ((*owner)->status().records, records) << "it writes for nothing";
  owner->Crash();
  owner = world.Open();
  ASSERT_THAT(world.start_status(), IsOk());
  world.ExpectItems(*owner, job, 5000);
}

// Else it would hold the room that it waits for.
TEST(HostRecoveryTest, WhereTheStoreIsFullAllIsTrimmedThatMayGo) {
  HostWorld world;
  HostOptions options = world.Options();
  options.commits_per_trim = 1'000'000;
  std::unique_ptr<Owner> owner = world.Open(options);
  const JobIndex job = world.CreateJob(*owner, "a");
  world.AddItems(*owner, job, 50);
  ASSERT_THAT(world.Commit(*owner), IsOk());
  world.WriteAll(*owner);
  world.AddItems(*owner, job, 5);
  ASSERT_THAT(world.Commit(*owner), IsOk());
  EXPECT_EQ((*owner)->status().trimmed_below, RecordId{});
  owner->store().FailNext(FaultyStore::Fault::kRefuse);
  world.AddItems(*owner, job, 5);
  ASSERT_THAT(world.Commit(*owner), IsOk());
  world.RunFor(*owner, absl::Seconds(1));
  EXPECT_GT((*owner)->status().trimmed_below, RecordId{});
}

// The end of the journal that is kept is one end, however many owners it is of.
TEST(HostRecoveryTest, OwnersThatWriteLittleDoNotLetTheJournalGrowTogether) {
  HostWorld world;
  HostOptions options = world.Options();
  options.commits_per_trim = 1;
  options.journal_kept_bytes = 10'000;
  std::unique_ptr<Owner> owner = world.Open(options);
  const JobIndex job = world.CreateJob(*owner, "a");
  uint32_t items = 0;
  for (int restart = 0; restart < 30; ++restart) {
    for (int i = 0; i < 10; ++i, items += 5) {
      world.AddItems(*owner, job, 5);
      ASSERT_THAT(world.Commit(*owner), IsOk());
    }
    world.WriteAll(*owner);
    owner->Crash();
    options.nonce = world.Options().nonce;
    owner = world.Open(options);
    ASSERT_THAT(world.start_status(), IsOk());
  }
  size_t bytes = 0;
  for (const auto& [id, record] : world.disk().journal()) bytes += record.size();
  EXPECT_GT(bytes, 5'000u);
  EXPECT_LT(bytes, 30'000u);
  world.ExpectItems(*owner, job, items);
}

TEST(HostRecoveryTest, TheJournalAlwaysReachesBackToWhereItsLastRecordSays) {
  HostWorld world;
  HostOptions options = world.Options();
  options.record_bytes_max = 100;  // So that records wait for one another.
  options.write_interval = absl::ZeroDuration();
  options.commits_per_trim = 1;
  std::unique_ptr<Owner> owner = world.Open(options);
  const JobIndex job = world.CreateJob(*owner, "a");
  for (int round = 0; round < 500; ++round) {
    for (int i = 0; i < round % 5; ++i) {
      world.AddItems(*owner, job, 3);
      (*owner)->WhenCommitted([](absl::Status) {});
    }
    world.Step(*owner);
    CheckReach(world);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT((*owner)->status().trimmed_below, (RecordId{1, 100}));
}

TEST(HostRecoveryTest, AnUntrimmedJournalIsFoldedFromItsBeginning) {
  HostWorld world;
  HostOptions options = world.Options();
  options.trim = false;
  std::unique_ptr<Owner> owner = world.Open(options);
  const JobIndex job = world.CreateJob(*owner, "a");
  for (int round = 0; round < 200; ++round) {
    world.AddItems(*owner, job, 1);
    ASSERT_THAT(world.Commit(*owner), IsOk());
  }
  world.WriteAll(*owner);
  EXPECT_GE(world.disk().journal().size(), 200u);
  world.ExpectOneState(*owner, true);
}

TEST(HostRecoveryTest, WhatATakeoverReadIsTold) {
  HostWorld world;
  std::unique_ptr<Owner> owner = world.Open(world.Options());
  EXPECT_EQ((*owner)->takeover().epoch, 1u);
  EXPECT_EQ((*owner)->takeover().pages, 0u);
  const JobIndex job = world.CreateJob(*owner, "a");
  world.AddItems(*owner, job, 100);
  ASSERT_THAT(world.Commit(*owner), IsOk());
  world.WriteAll(*owner);
  owner = world.Open(world.Options());
  EXPECT_EQ((*owner)->takeover().epoch, 2u);
  EXPECT_GT((*owner)->takeover().records, 0u);
  EXPECT_GT((*owner)->takeover().objects, 0u);
  EXPECT_GT((*owner)->takeover().pages, 0u);
}

TEST(HostRecoveryTest, ATrimmedJournalAloneIsNotTakenForAWholeOne) {
  HostWorld world;
  std::unique_ptr<Owner> owner = world.Open();
  const JobIndex job = world.CreateJob(*owner, "a");
  for (int round = 0; round < 200; ++round) {
    world.AddItems(*owner, job, 1);
    ASSERT_THAT(world.Commit(*owner), IsOk());
    world.WriteAll(*owner);
  }
  ASSERT_GT((*owner)->status().trimmed_below, RecordId{});
  EXPECT_THAT(world.Load(false), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("begins at")));
  EXPECT_THAT(world.Load(true), IsOk());
}

TEST(HostRecoveryTest, AStateCanBeReadWhileItsOwnerWritesAndTrims) {
  HostWorld world;
  std::unique_ptr<Owner> owner = world.Open();
  const JobIndex job = world.CreateJob(*owner, "a");
  FaultyStore reader(&world.disk());
  int loads = 0;
  bool loading = false;
  for (int round = 0; round < 3000; ++round) {
    if (!loading) {
      loading = true;
      LoadState(&reader, true, [&](absl::StatusOr<core::PartitionState> state) {
        EXPECT_THAT(state, IsOk());
        loading = false;
        ++loads;
      });
    }
    if (round % 3 == 0) world.AddItems(*owner, job, 3);
    world.Step(*owner);
    world.Pass(absl::Milliseconds(5));
    if (round % 7 == 0) reader.Deliver();
  }
  EXPECT_GT(loads, 20);
  EXPECT_GT((*owner)->status().trimmed_below, RecordId{});
  reader.DeliverAll();
}

TEST(HostRecoveryTest, AStateCanBeReadWhileItsOwnerDeletesAJob) {
  for (int before = 0; before < 12; ++before) {
    HostWorld world;
    std::unique_ptr<Owner> owner = world.Open();
    const JobIndex job = world.CreateJob(*owner, "a");
    world.AddItems(*owner, job, 600);
    world.WriteAll(*owner);
    for (int w = 0; w < 100; ++w) {
      const absl::StatusOr<std::optional<core::Lease>> lease =
          owner->partition().RequestLease(core::PartitionWorld::Ask(w), world.now());
      ASSERT_THAT(lease, IsOk());
      ASSERT_THAT(owner->partition().Return({.assignment = (*lease)->assignment}, world.now()),
                  IsOk());
      ASSERT_THAT(world.Commit(*owner), IsOk());
    }
    FaultyStore reader(&world.disk());
    std::optional<absl::Status> read;
    LoadState(&reader, true,
              [&](const absl::StatusOr<core::PartitionState>& state) { read = state.status(); });
    for (int i = 0; i < before; ++i) reader.Deliver();
    // The job's head may have been read by now, and its pages not yet.
    ASSERT_THAT(owner->partition().CancelJob(job, world.now()), IsOk());
    ASSERT_THAT(owner->partition().DeleteJob(job, world.now()), IsOk());
    world.WriteAll(*owner);
    reader.DeliverAll();
    ASSERT_TRUE(read.has_value());
    EXPECT_THAT(*read, IsOk()) << before << " answers before";
  }
}

// --- Damage --------------------------------------------------------------------------------------

class HostDamageTest : public ::testing::Test {
 protected:
  // A journal of some twenty records in two epochs, and most objects.
  HostDamageTest() {
    std::unique_ptr<Owner> owner = world_.Open();
    const JobIndex job = world_.CreateJob(*owner, "a");
    for (int round = 0; round < 10; ++round) {
      world_.AddItems(*owner, job, 20);
      EXPECT_THAT(world_.Commit(*owner), IsOk());
    }
    owner->Crash();
    owner = world_.Open();
    world_.AddItems(*owner, job, 20);
    EXPECT_THAT(world_.Commit(*owner), IsOk());
    owner->Crash();
    while (world_.disk().ArriveLate()) {
    }
  }

  absl::Status Restart() {
    world_.Open();
    return world_.start_status();
  }

  // A new owner has looked at the first objects and the last record: its fence is on its way.
  static bool KnowsTheEnd(Owner& owner) {
    return owner.store().Deliver() && owner.store().Deliver() && owner.store().pending() == 1;
  }

  // The records that a recovery needs: nothing of them is in the objects.
  std::vector<RecordId> Tail() {
    const auto& journal = world_.disk().journal();
    const RecordId from = core::DecodeRecord(journal.rbegin()->second)->kept_from;
    std::vector<RecordId> ids;
    for (const auto& [id, bytes] : journal) {
      if (id >= from) ids.push_back(id);
    }
    return ids;
  }

  HostWorld world_;
};

TEST_F(HostDamageTest, WithoutDamageItStarts) { EXPECT_THAT(Restart(), IsOk()); }

TEST_F(HostDamageTest, AFlippedBitInARecordIsDataLoss) {
  const auto journal = world_.disk().journal();
  std::mt19937 random(1);
  for (const RecordId id : Tail()) {
    std::string& bytes = world_.disk().mutable_journal()[id];
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << (random() % 8));
    EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(id.ToString())));
    world_.disk().mutable_journal() = journal;
    if (world_.disk().last_id() > journal.rbegin()->first) break;  // The fence went ahead.
  }
}

TEST_F(HostDamageTest, AMissingRecordIsDataLoss) {
  const std::vector<RecordId> tail = Tail();
  ASSERT_GT(tail.size(), 3u);
  for (const RecordId id : {tail.front(), tail[tail.size() / 2]}) {
    const std::string bytes = world_.disk().journal().at(id);
    world_.disk().mutable_journal().erase(id);
    EXPECT_THAT(world_.Load(true), StatusIs(absl::StatusCode::kDataLoss)) << id.ToString();
    EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss)) << id.ToString();
    world_.disk().mutable_journal()[id] = bytes;
  }
  EXPECT_THAT(Restart(), IsOk());
}

TEST_F(HostDamageTest, AMissingLastRecordIsDataLoss) {
  world_.disk().mutable_journal().erase(world_.disk().last_id());
  EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(HostDamageTest, AJournalThatIsGoneIsDataLossAndNothingIsWrittenOverIt) {
  {
    std::unique_ptr<Owner> owner = world_.Open();
    world_.WriteAll(*owner);
  }
  world_.disk().LoseLastRecords(world_.disk().journal().size());
  ASSERT_EQ(world_.disk().last_id(), RecordId{});
  // By whichever of the first objects is there.
  for (const char* missing : {"", "job:0", "partition"}) {
    const auto objects = world_.disk().objects();
    world_.disk().mutable_objects().erase(missing);
    EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("key log"))) << missing;
    EXPECT_THAT(world_.Load(true), StatusIs(absl::StatusCode::kDataLoss)) << missing;
    EXPECT_EQ(world_.disk().last_id(), RecordId{}) << "a new journal begins";
    world_.disk().mutable_objects() = objects;
  }
}

TEST_F(HostDamageTest, AJournalBehindItsObjectsIsDataLoss) {
  {
    std::unique_ptr<Owner> owner = world_.Open();
    world_.CreateJob(*owner, "b");
    ASSERT_THAT(world_.Commit(*owner), IsOk());
    world_.WriteAll(*owner);
  }
  // A fail-over to a replica that had not seen the last record.
  world_.disk().LoseLastRecords(1);
  EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("lost")));
}

TEST_F(HostDamageTest, AMissingPayloadPageIsDataLoss) {
  {
    std::unique_ptr<Owner> owner = world_.Open();
    world_.WriteAll(*owner);
    world_.CreateJob(*owner, "b");  // Its record says that the pages are written.
    ASSERT_THAT(world_.Commit(*owner), IsOk());
  }
  world_.disk().mutable_objects().erase("payload:0:1");
  EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("payload of item 64")));
}

TEST_F(HostDamageTest, AMalformedObjectIsDataLoss) {
  world_.disk().mutable_objects()["partition"].bytes = "\xff\xff";
  EXPECT_THAT(Restart(), StatusIs(absl::StatusCode::kDataLoss));
}

// Between a new owner's look at the last record and its fence, the old one may still append and
// trim.
TEST_F(HostDamageTest, RecordsThatCameJustBeforeTheFenceAreNoHole) {
  HostWorld world;
  HostOptions options = world.Options();
  options.write_interval = absl::Microseconds(1);
  const auto old_owner = world.Open(options);
  world.CreateJob(*old_owner, "a");
  ASSERT_THAT(world.Commit(*old_owner), IsOk());
  Owner new_owner(&world.disk(), world.Options());
  std::optional<absl::Status> started;
  new_owner->Start(world.now(), [&](absl::Status status) { started = std::move(status); });
  ASSERT_TRUE(KnowsTheEnd(new_owner));
  for (const char* id : {"b", "c", "d"}) {
    world.CreateJob(*old_owner, id);
    world.WriteAll(*old_owner);
  }
  for (int i = 0; i < 10'000 && !started.has_value(); ++i) world.Step(new_owner);
  ASSERT_TRUE(started.has_value());
  EXPECT_THAT(*started, IsOk());
  EXPECT_EQ(new_owner.partition().state().jobs(), 4u);
  EXPECT_EQ(world.Open()->partition().state().jobs(), 4u);
}

// Nor where the owner of that fence dies before it has read anything, and others come after it.
TEST_F(HostDamageTest, AFenceWhoseOwnerGotNoFurtherIsNoHole) {
  HostWorld world;
  HostOptions options = world.Options();
  options.write_interval = absl::Microseconds(1);
  options.commits_per_trim = 1;
  const auto old_owner = world.Open(options);
  world.CreateJob(*old_owner, "a");
  ASSERT_THAT(world.Commit(*old_owner), IsOk());
  for (int fences = 0; fences < 2; ++fences) {
    Owner short_lived(&world.disk(), world.Options());
    short_lived->Start(world.now(), [](const absl::Status&) {});
    ASSERT_TRUE(KnowsTheEnd(short_lived));
    for (int i = 0; fences == 0 && i < 5; ++i) {
      world.CreateJob(*old_owner, absl::StrCat("b", i));
      world.WriteAll(*old_owner);
      world.RunFor(*old_owner, absl::Milliseconds(10));
    }
    ASSERT_TRUE(short_lived.store().Deliver());
    const auto fence = core::DecodeRecord(world.disk().journal().rbegin()->second);
    ASSERT_THAT(fence, IsOk());
    ASSERT_LT(fence->kept_from, world.disk().journal().begin()->first) << "it says too little";
    short_lived.Crash();
  }
  EXPECT_EQ(world.disk().last_id().sequence, 0u);
  const auto heir = world.Open();
  ASSERT_THAT(world.start_status(), IsOk());
  EXPECT_EQ(heir->partition().state().jobs(), 6u);
  world.CreateJob(*heir, "c");
  ASSERT_THAT(world.Commit(*heir), IsOk());
  EXPECT_EQ(world.Open()->partition().state().jobs(), 7u);
}

TEST_F(HostDamageTest, AStoreThatIsSlowToComeUpOnlyDelaysTheStart) {
  HostOptions options = world_.Options();
  const absl::Time before = world_.now();
  Owner owner(&world_.disk(), options, {.refuse_per_mille = 1000});  // LOADING, say.
  std::optional<absl::Status> started;
  owner->Start(world_.now(), [&](absl::Status status) { started = status; });
  world_.RunFor(owner, absl::Seconds(30));
  EXPECT_FALSE(started.has_value());
  EXPECT_EQ(owner->state(), HostState::kRecovering);
  owner.store().SetFaults({});
  world_.RunFor(owner, absl::Seconds(3));
  ASSERT_TRUE(started.has_value());
  EXPECT_THAT(*started, IsOk());
  EXPECT_LT(world_.now() - before, absl::Seconds(40));
}

}  // namespace
}  // namespace tessera::edge
