// The simulation's verdicts are worth what its faults are worth: each does what it says, no more.
#include "tests/support/faulty_store.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace tessera::testing {
namespace {

using core::RecordId;
using core::StoredRecord;
using Fault = FaultyStore::Fault;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

class FaultyStoreTest : public ::testing::Test {
 protected:
  void Append(FaultyStore& store, RecordId id, std::string bytes = "r") {
    store.Append(id, std::move(bytes), [this](absl::Status s) { statuses_.push_back(s); });
  }
  void Write(FaultyStore& store, uint64_t epoch, std::string key, std::string bytes = "b") {
    store.WriteObjects(epoch, {{.key = std::move(key), .bytes = std::move(bytes)}},
                       [this](absl::Status s) { statuses_.push_back(s); });
  }
  void AskLast(FaultyStore& store) {
    store.LastRecord([](const absl::StatusOr<StoredRecord>& last) { EXPECT_THAT(last, IsOk()); });
    store.DeliverAll();
  }
  // An epoch's first record, with its reply delivered.
  void Begin(FaultyStore& store, uint64_t epoch) {
    Append(store, {epoch, 0});
    store.DeliverAll();
    ASSERT_THAT(statuses_, ElementsAre(IsOk()));
    statuses_.clear();
  }

  FaultyDisk disk_{{.seed = 3}};
  FaultyStore store_{&disk_};
  std::vector<absl::Status> statuses_;
};

TEST_F(FaultyStoreTest, NothingHappensUntilTheSimulatorSaysSo) {
  Append(store_, {1, 0});
  EXPECT_EQ(store_.pending(), 1u);
  EXPECT_THAT(disk_.journal(), IsEmpty());
  EXPECT_TRUE(store_.Arrive());
  EXPECT_THAT(disk_.journal(), SizeIs(1));
  EXPECT_THAT(statuses_, IsEmpty());
  EXPECT_FALSE(store_.Arrive());
  EXPECT_TRUE(store_.Deliver());
  EXPECT_THAT(statuses_, ElementsAre(IsOk()));
  EXPECT_EQ(store_.pending(), 0u);
  EXPECT_FALSE(store_.Deliver());
}

TEST_F(FaultyStoreTest, ALostRequestIsNotWrittenNorIsWhatFollowedIt) {
  Begin(store_, 1);
  store_.FailNext(Fault::kLoseRequest);
  Append(store_, {1, 1});
  Write(store_, 1, "a");
  store_.DeliverAll();
  EXPECT_THAT(statuses_, ElementsAre(StatusIs(absl::StatusCode::kUnavailable),
                                     StatusIs(absl::StatusCode::kUnavailable)));
  EXPECT_EQ(disk_.last_id(), (RecordId{1, 0}));
  EXPECT_THAT(disk_.objects(), IsEmpty());
  AskLast(store_);  // Connected again.
  Append(store_, {1, 1});
  store_.DeliverAll();
  EXPECT_THAT(statuses_.back(), IsOk());
}

TEST_F(FaultyStoreTest, ALostReplyIsWritten) {
  Begin(store_, 1);
  store_.FailNext(Fault::kLoseReply);
  Append(store_, {1, 1});
  store_.DeliverAll();
  EXPECT_THAT(statuses_, ElementsAre(StatusIs(absl::StatusCode::kUnavailable)));
  EXPECT_EQ(disk_.last_id(), (RecordId{1, 1}));
}

TEST_F(FaultyStoreTest, BehindALostReplySomeFirstOnesAreWrittenAndNoneIsAcknowledged) {
  bool none = false;
  bool some = false;
  bool all = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    FaultyDisk disk({.seed = seed});
    FaultyStore store(&disk);
    Begin(store, 1);
    store.FailNext(Fault::kLoseReply);
    Append(store, {1, 1});
    for (int i = 0; i < 4; ++i) Write(store, 1, absl::StrCat(i));
    store.DeliverAll();
    EXPECT_THAT(statuses_, ::testing::Each(StatusIs(absl::StatusCode::kUnavailable)));
    statuses_.clear();
    const size_t written = disk.objects().size();
    for (size_t i = 0; i < written; ++i) EXPECT_TRUE(disk.objects().contains(absl::StrCat(i)));
    none |= written == 0;
    some |= written > 0 && written < 4;
    all |= written == 4;
  }
  EXPECT_TRUE(none && some && all);
}

TEST_F(FaultyStoreTest, ARefusedCallIsNotWrittenAndTheNextOneIs) {
  Begin(store_, 1);
  store_.FailNext(Fault::kRefuse);
  Append(store_, {1, 1}, "first try");
  store_.DeliverAll();
  EXPECT_THAT(statuses_, ElementsAre(StatusIs(absl::StatusCode::kResourceExhausted)));
  Append(store_, {1, 1}, "second try");
  store_.DeliverAll();
  EXPECT_THAT(statuses_.back(), IsOk());
  EXPECT_EQ(disk_.journal().at({1, 1}), "second try");
}

TEST_F(FaultyStoreTest, ADelayedReplyHoldsUpThoseBehindIt) {
  Begin(store_, 1);
  store_.FailNext(Fault::kDelay);
  Append(store_, {1, 1});
  Write(store_, 1, "a");
  int empty_handed = 0;
  while (!store_.Deliver()) ++empty_handed;
  EXPECT_GE(empty_handed, 1);
  EXPECT_EQ(store_.pending(), 1u);
  EXPECT_TRUE(store_.Deliver());
  EXPECT_THAT(statuses_, ElementsAre(IsOk(), IsOk()));
}

TEST_F(FaultyStoreTest, ACrashDropsRepliesAndWritesHappenLateOrNever) {
  bool happened = false;
  bool came_late = false;
  bool never = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    FaultyDisk disk({.seed = seed});
    FaultyStore store(&disk);
    Begin(store, 1);
    Write(store, 1, "a");
    Write(store, 1, "b");
    store.Crash();
    EXPECT_EQ(store.pending(), 0u);
    const size_t at_once = disk.objects().size();
    happened |= at_once > 0;
    came_late |= disk.late_pending() > 0;
    while (disk.ArriveLate()) {
    }
    never |= disk.objects().size() < 2;
    EXPECT_LE(disk.objects().count("b"), disk.objects().count("a"));
    Append(store, {1, 1});  // Goes nowhere.
    EXPECT_EQ(store.pending(), 0u);
  }
  EXPECT_TRUE(happened && came_late && never);
  EXPECT_THAT(statuses_, IsEmpty());
}

// Crashes owners of epoch 1 until one leaves a late append behind; then epoch 2 begins.
void LateWriteAfterTheHeir(bool fencing_off, bool* found, FaultyDisk& disk) {
  FaultyStore owner(&disk);
  owner.Append({1, 0}, "first", [](const absl::Status&) {});
  owner.DeliverAll();
  owner.Append({1, 1}, "late", [](const absl::Status&) {});
  owner.Crash();
  *found = disk.late_pending() == 1;
  if (!*found) return;
  FaultyStore heir(&disk);
  heir.Append({2, 0}, "heir", [](const absl::Status& status) { EXPECT_THAT(status, IsOk()); });
  heir.DeliverAll();
  EXPECT_TRUE(disk.ArriveLate());
  EXPECT_EQ(disk.journal().contains({1, 1}), fencing_off);
  EXPECT_EQ(disk.fenced(), fencing_off ? 0 : 1);
  EXPECT_EQ(disk.last_id(), (RecordId{2, 0}));
}

TEST_F(FaultyStoreTest, ALateWriteOfADeadOwnerIsFencedUnlessTheSwitchIsOff) {
  for (const bool fencing_off : {false, true}) {
    bool found = false;
    for (uint64_t seed = 0; seed < 50 && !found; ++seed) {
      FaultyDisk disk({.seed = seed, .fencing_off = fencing_off});
      LateWriteAfterTheHeir(fencing_off, &found, disk);
    }
    EXPECT_TRUE(found);
  }
}

TEST_F(FaultyStoreTest, AFailOverCanLoseTheLastRecords) {
  Begin(store_, 1);
  Append(store_, {1, 1});
  store_.DeliverAll();
  disk_.LoseLastRecords(1);
  EXPECT_EQ(disk_.last_id(), (RecordId{1, 0}));
  Append(store_, {1, 1}, "again");
  store_.DeliverAll();
  EXPECT_THAT(disk_.journal(),
              ElementsAre(Pair(RecordId{1, 0}, "r"), Pair(RecordId{1, 1}, "again")));
}

TEST_F(FaultyStoreTest, AReconnectAnswersWhatWasPendingAndLosesOrCarriesItOut) {
  bool carried_out = false;
  bool lost = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    FaultyDisk disk({.seed = seed});
    FaultyStore store(&disk);
    Begin(store, 1);
    Append(store, {1, 1});
    store.Reconnect();
    store.DeliverAll();
    EXPECT_THAT(statuses_, ElementsAre(StatusIs(absl::StatusCode::kUnavailable)));
    statuses_.clear();
    carried_out |= disk.last_id() == RecordId{1, 1};
    lost |= disk.last_id() == RecordId{1, 0};
    store.Reconnect();  // With nothing in flight: the next append finds out.
    Append(store, {1, 2});
    store.DeliverAll();
    EXPECT_THAT(statuses_, ElementsAre(StatusIs(absl::StatusCode::kUnavailable)));
    EXPECT_FALSE(disk.journal().contains({1, 2}));
    statuses_.clear();
  }
  EXPECT_TRUE(carried_out && lost);
}

TEST_F(FaultyStoreTest, TheSameSeedBringsTheSameFaults) {
  const auto run = [](uint64_t seed) {
    FaultyDisk disk({.seed = seed});
    FaultyStore store(&disk, {.lose_request_per_mille = 100,
                              .lose_reply_per_mille = 100,
                              .refuse_per_mille = 100,
                              .delay_per_mille = 100});
    std::string log;
    for (uint64_t i = 0; i < 200; ++i) {
      store.Append({1, i}, "r", [&log](const absl::Status& status) {
        absl::StrAppend(&log, static_cast<int>(status.code()), " ");
      });
      store.DeliverAll();
      store.LastRecord([](const absl::StatusOr<StoredRecord>&) {});
      store.DeliverAll();
    }
    return absl::StrCat(log, disk.last_id().ToString());
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(FaultyStoreDeathTest, ASecondAppendInFlightIsAMistakeOfOurs) {
  FaultyDisk disk({});
  FaultyStore store(&disk);
  EXPECT_DEATH(
      {
        store.Append({1, 0}, "a", [](const absl::Status&) {});
        store.Append({1, 1}, "b", [](const absl::Status&) {});
      },
      "append_in_flight_");
}

TEST_F(FaultyStoreTest, ADoneMayCrashTheStore) {
  Begin(store_, 1);
  store_.Append({1, 1}, "r", [this](const absl::Status&) { store_.Crash(); });
  Write(store_, 1, "a");
  store_.DeliverAll();
  EXPECT_TRUE(store_.crashed());
  EXPECT_THAT(statuses_, IsEmpty());
}

}  // namespace
}  // namespace tessera::testing
