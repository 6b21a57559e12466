// A reply means that its record is in the journal, whatever becomes of requests and replies.

#include "coordinator/edge/committer.h"

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/core/record.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_store.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using core::RecordId;
using ::tessera::testing::FaultyDisk;
using ::tessera::testing::FaultyStore;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Fault = FaultyStore::Fault;

std::string RecordBytes(uint64_t nonce, std::string events) {
  return core::EncodeRecord({.nonce = nonce, .events = std::move(events)});
}

class CommitterTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kNonce = 7;

  // An owner of epoch 1 that has written its fence.
  CommitterTest()
      : disk_({.seed = 1}), store_(&disk_), committer_(&store_, {.nonce = kNonce}, Callbacks()) {
    committer_.Append({1, 0}, RecordBytes(kNonce, ""), now_);
    store_.DeliverAll();
    committed_.clear();
  }

  Committer::Callbacks Callbacks() {
    return {.committed = [this](RecordId id) { committed_.push_back(id.ToString()); },
            .failed = [this](absl::Status status) { failed_ = std::move(status); }};
  }

  void Append(uint64_t sequence) {
    committer_.Append({1, sequence}, RecordBytes(kNonce, absl::StrCat("e", sequence)), now_);
  }

  // Lets time pass until nothing is on its way and nobody waits.
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      while (store_.pending() > 0) store_.Deliver();
      if (committer_.NextWake() == absl::InfiniteFuture()) return;
      now_ = std::max(now_, committer_.NextWake());
      committer_.Tick(now_);
    }
    ADD_FAILURE() << "it never settles";
  }

  std::vector<std::string> Journal() {
    std::vector<std::string> ids;
    for (const auto& [id, bytes] : disk_.journal()) ids.push_back(id.ToString());
    return ids;
  }

  FaultyDisk disk_;
  FaultyStore store_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  std::vector<std::string> committed_;
  std::optional<absl::Status> failed_;
  Committer committer_;
};

TEST_F(CommitterTest, NothingIsCommittedBeforeTheStoreSaysSo) {
  Append(1);
  EXPECT_TRUE(store_.Arrive());
  EXPECT_THAT(committed_, IsEmpty());
  store_.Deliver();
  EXPECT_THAT(committed_, ElementsAre("1-1"));
  EXPECT_EQ(committer_.committed(), (RecordId{1, 1}));
}

TEST_F(CommitterTest, OneAppendIsInFlightAndTheOthersFollowInOrder) {
  Append(1);
  Append(2);
  Append(3);
  EXPECT_EQ(store_.pending(), 1u);
  Settle();
  EXPECT_THAT(committed_, ElementsAre("1-1", "1-2", "1-3"));
  EXPECT_TRUE(committer_.idle());
}

TEST_F(CommitterTest, ALostReplyIsFoundCommittedAndNotWrittenAgain) {
  store_.FailNext(Fault::kLoseReply);
  Append(1);
  Append(2);
  Settle();
  EXPECT_THAT(committed_, ElementsAre("1-1", "1-2"));
  EXPECT_THAT(Journal(), ElementsAre("1-0", "1-1", "1-2"));
  EXPECT_EQ(disk_.fenced(), 0);
}

TEST_F(CommitterTest, ALostRequestIsSentAgainUnderTheSameId) {
  store_.FailNext(Fault::kLoseRequest);
  Append(1);
  Append(2);
  Settle();
  EXPECT_THAT(committed_, ElementsAre("1-1", "1-2"));
  EXPECT_THAT(Journal(), ElementsAre("1-0", "1-1", "1-2"));
}

TEST_F(CommitterTest, AskingMayFailForAWhile) {
  store_.FailNext(Fault::kLoseReply);
  for (int i = 0; i < 5; ++i) store_.FailNext(i % 2 == 0 ? Fault::kLoseRequest : Fault::kRefuse);
  Append(1);
  for (int i = 0; i < 3; ++i) store_.Deliver();
  EXPECT_TRUE(committer_.troubled());
  Settle();
  EXPECT_THAT(committed_, ElementsAre("1-1"));
  EXPECT_FALSE(committer_.troubled());
}

TEST_F(CommitterTest, ARefusalIsTriedAgainUnderTheSameIdAndLeavesNoHole) {
  for (int i = 0; i < 4; ++i) store_.FailNext(Fault::kRefuse);
  Append(1);
  store_.Deliver();
  EXPECT_TRUE(committer_.troubled());
  EXPECT_GT(committer_.NextWake(), now_);
  Append(2);
  EXPECT_EQ(store_.pending(), 0u) << "a later record went out past a refused one";
  Settle();
  EXPECT_THAT(Journal(), ElementsAre("1-0", "1-1", "1-2"));
  EXPECT_FALSE(committer_.troubled());
}

TEST_F(CommitterTest, AnotherOwnersFenceEndsIt) {
  FaultyStore other(&disk_);
  other.Append({2, 0}, RecordBytes(8, ""), [](absl::Status) {});
  other.DeliverAll();
  Append(1);
  Settle();
  ASSERT_TRUE(failed_.has_value());
  EXPECT_THAT(*failed_, StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(committed_, IsEmpty());
  Append(2);
  EXPECT_EQ(store_.pending(), 0u) << "it goes on after its end";
}

TEST_F(CommitterTest, AnotherOwnerOfTheSameEpochIsToldApartByItsNonce) {
  // A fail-over rolled the epoch back, so both took epoch 1; the other one was faster.
  FaultyStore other(&disk_);
  other.Append({1, 1}, RecordBytes(8, "theirs"), [](absl::Status) {});
  other.DeliverAll();
  store_.FailNext(Fault::kLoseRequest);
  Append(1);
  Settle();
  ASSERT_TRUE(failed_.has_value());
  EXPECT_THAT(*failed_, StatusIs(absl::StatusCode::kAborted));
}

TEST_F(CommitterTest, OurOwnFirstAttemptThatArrivesLateIsNoFence) {
  store_.FailNext(Fault::kLoseRequest);
  Append(1);
  store_.Deliver();  // Lost ...
  store_.Deliver();  // ... and the last id is the one before.
  // It arrives after all, on its way through a connection that we have given up.
  FaultyStore late(&disk_);
  late.Append({1, 1}, RecordBytes(kNonce, "e1"), [](absl::Status) {});
  late.DeliverAll();
  Settle();
  EXPECT_FALSE(failed_.has_value());
  EXPECT_THAT(committed_, ElementsAre("1-1"));
}

TEST_F(CommitterTest, AJournalThatWentBackInTimeIsDataLoss) {
  Append(1);
  Append(2);
  Settle();
  disk_.LoseLastRecords(1);
  store_.FailNext(Fault::kLoseRequest);
  Append(3);
  Settle();
  ASSERT_TRUE(failed_.has_value());
  EXPECT_THAT(*failed_, StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(CommitterTest, AnEndThatIsLostWithNothingInFlightIsDataLossAndNothingIsWrittenBehindIt) {
  Append(1);
  Append(2);
  Settle();
  disk_.LoseLastRecords(1);
  store_.Reconnect();
  Append(3);
  Settle();
  ASSERT_TRUE(failed_.has_value());
  EXPECT_THAT(*failed_, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Journal(), ElementsAre("1-0", "1-1"));
}

TEST_F(CommitterTest, ANewConnectionAloneIsNoTrouble) {
  Append(1);
  Settle();
  store_.Reconnect();
  Append(2);
  while (committer_.NextWake() == absl::InfiniteFuture()) store_.Deliver();
  EXPECT_FALSE(committer_.troubled());
  Settle();
  EXPECT_THAT(committed_, ElementsAre("1-1", "1-2"));
}

// Nobody can hand in anything, so it has to count as an outage although each read is answered.
TEST_F(CommitterTest, AStoreThatAnswersReadsAndNeverTakesTheAppendIsInTrouble) {
  for (int i = 0; i < 4; ++i) {
    store_.FailNext(Fault::kLoseRequest);  // The append.
    store_.FailNext(Fault::kNone);         // The last record.
  }
  Append(1);
  store_.DeliverAll();
  EXPECT_FALSE(committer_.troubled()) << "one lost request";
  now_ = committer_.NextWake();
  committer_.Tick(now_);
  store_.DeliverAll();
  EXPECT_TRUE(committer_.troubled());
  EXPECT_THAT(committer_.trouble(), StatusIs(absl::StatusCode::kUnavailable));
  Settle();
  EXPECT_THAT(committed_, ElementsAre("1-1"));
  EXPECT_FALSE(committer_.troubled());
}

// Whatever the store does, what is reported is what is there, without holes.
class CommitterSeedTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(CommitterSeedTest, EveryRecordIsReportedOnceInOrderAndIsThere) {
  FaultyDisk disk({.seed = GetParam()});
  FaultyStore store(&disk, {.lose_request_per_mille = 100,
                            .lose_reply_per_mille = 100,
                            .refuse_per_mille = 100,
                            .delay_per_mille = 100});
  std::mt19937_64 random(GetParam());
  absl::Time now = absl::FromUnixSeconds(1000);
  constexpr uint64_t kRecords = 300;
  uint64_t next = 0;      // To be appended.
  uint64_t reported = 0;  // Committed.
  Committer committer(&store, {.nonce = 7},
                      {.committed =
                           [&](RecordId id) {
                             ASSERT_EQ(id, (RecordId{1, reported}));
                             ASSERT_TRUE(disk.journal().contains(id));
                             ++reported;
                           },
                       .failed = [&](absl::Status status) { FAIL() << status; }});
  while (reported < kRecords) {
    if (next < kRecords && random() % 3 == 0) {
      committer.Append({1, next}, RecordBytes(7, absl::StrCat(next)), now);
      ++next;
    }
    store.Deliver();
    now += absl::Milliseconds(random() % 20);
    committer.Tick(now);
    ASSERT_LT(now, absl::FromUnixSeconds(100'000)) << "it is stuck";
  }
  ASSERT_EQ(disk.journal().size(), kRecords);
  for (uint64_t i = 0; i < kRecords; ++i) {
    EXPECT_EQ(core::DecodeRecord(disk.journal().at({1, i}))->events, absl::StrCat(i));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CommitterSeedTest, ::testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace tessera::edge
