// What core::Store promises holds for Redis and for the simulation's fake alike: else what the
// simulation proves says nothing about production.
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "coordinator/core/storage.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"
#include "coordinator/store/redis_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_store.h"
#include "tests/support/redis_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::testing {
namespace {

using core::ObjectWrite;
using core::RecordId;
using core::Store;
using core::StoredRecord;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using Objects = std::vector<std::optional<std::string>>;

// One partition's store, of one kind, to which owners come and go.
class Bench {
 public:
  virtual ~Bench() = default;
  // One more owner; it lives as long as the bench.
  virtual Store& Open() = 0;
  // Lets things happen until `done()`.
  virtual void RunUntil(absl::FunctionRef<bool()> done) = 0;
  // What keeps the data goes down and comes up again, and the owners find it again.
  virtual void Restart() = 0;
  virtual void DeleteJournal() = 0;
};

class RedisBench final : public Bench {
 public:
  Store& Open() override {
    connections_.push_back(std::make_unique<store::RedisConnection>(
        &loop_, store::RedisConnection::Options{.address = redis_.address()}));
    stores_.push_back(std::make_unique<store::RedisStore>(
        &loop_, connections_.back().get(), store::RedisStore::Options{.partition = 7}));
    AwaitConnections();
    return *stores_.back();
  }

  void RunUntil(absl::FunctionRef<bool()> done) override {
    TESSERA_CHECK(loop_.RunUntil(done, absl::Seconds(50)));
  }

  void Restart() override {
    redis_.Restart();
    ++starts_;
    AwaitConnections();
  }

  void DeleteJournal() override { redis_.Command("DEL " + store::JournalKey(7)); }

 private:
  // Until each is connected to the server as started last. Owners are opened before restarts.
  void AwaitConnections() {
    RunUntil([&] {
      for (const auto& connection : connections_) {
        if (connection->connections() < starts_) return false;
      }
      return true;
    });
  }

  RedisFixture redis_;
  int64_t starts_ = 1;
  store::PollLoop loop_;
  std::deque<std::unique_ptr<store::RedisConnection>> connections_;
  std::deque<std::unique_ptr<store::RedisStore>> stores_;
};

class FaultyBench final : public Bench {
 public:
  Store& Open() override { return *stores_.emplace_back(std::make_unique<FaultyStore>(&disk_)); }

  void RunUntil(absl::FunctionRef<bool()> done) override {
    while (!done()) {
      bool delivered = false;
      for (const auto& store : stores_) delivered |= store->Deliver();
      TESSERA_CHECK(delivered);
    }
  }

  void Restart() override {
    for (const auto& store : stores_) store->Reconnect();
  }

  void DeleteJournal() override { disk_.LoseLastRecords(disk_.journal().size()); }

 private:
  FaultyDisk disk_{{}};
  std::deque<std::unique_ptr<FaultyStore>> stores_;
};

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Bench>()> make;
  friend std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }
};

class StoreContractTest : public ::testing::TestWithParam<Kind> {
 protected:
  template <typename Reply>
  Reply Await(absl::FunctionRef<void(std::function<void(Reply)>)> call) {
    std::optional<Reply> reply;
    call([&reply](Reply r) { reply = std::move(r); });
    EXPECT_FALSE(reply.has_value()) << "done ran inside the call";
    bench_->RunUntil([&] { return reply.has_value(); });
    return *std::move(reply);
  }

  absl::Status Append(Store& store, RecordId id, std::string bytes) {
    return Await<absl::Status>(
        [&](Store::Done done) { store.Append(id, std::move(bytes), std::move(done)); });
  }
  absl::StatusOr<RecordId> LastId(Store& store) {
    return Await<absl::StatusOr<RecordId>>(
        [&](Store::DoneWith<RecordId> done) { store.LastId(std::move(done)); });
  }
  absl::StatusOr<StoredRecord> LastRecord(Store& store) {
    return Await<absl::StatusOr<StoredRecord>>(
        [&](Store::DoneWith<StoredRecord> done) { store.LastRecord(std::move(done)); });
  }
  // The journal as text: "1-0=a 1-1=b".
  std::string Journal(Store& store, RecordId from = {}, size_t records_max = 100) {
    using Records = std::vector<StoredRecord>;
    const auto records = Await<absl::StatusOr<Records>>([&](Store::DoneWith<Records> done) {
      store.ReadJournal(from, records_max, std::move(done));
    });
    if (!records.ok()) return records.status().ToString();
    std::string text;
    for (const StoredRecord& record : *records) {
      absl::StrAppend(&text, text.empty() ? "" : " ", record.id.ToString(), "=", record.bytes);
    }
    return text;
  }
  absl::Status Write(Store& store, uint64_t epoch, std::vector<ObjectWrite> writes) {
    return Await<absl::Status>(
        [&](Store::Done done) { store.WriteObjects(epoch, std::move(writes), std::move(done)); });
  }
  Objects Read(Store& store, std::vector<std::string> keys) {
    auto objects = Await<absl::StatusOr<Objects>>([&](Store::DoneWith<Objects> done) {
      store.ReadObjects(std::move(keys), std::move(done));
    });
    EXPECT_THAT(objects, IsOk());
    return objects.ok() ? *std::move(objects) : Objects();
  }
  absl::Status Trim(Store& store, uint64_t epoch, RecordId below) {
    return Await<absl::Status>(
        [&](Store::Done done) { store.Trim(epoch, below, std::move(done)); });
  }

  std::unique_ptr<Bench> bench_ = GetParam().make();
  Store& store_ = bench_->Open();
};

MATCHER_P2(IsRecord, id, bytes, "") { return arg.id == id && arg.bytes == bytes; }

TEST_P(StoreContractTest, AJournalThatNeverWasIsEmptyAtZero) {
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{0, 0}, "")));
  EXPECT_THAT(LastId(store_), IsOkAndHolds(RecordId{0, 0}));
  EXPECT_EQ(Journal(store_), "");
}

TEST_P(StoreContractTest, RecordsComeBackInTheOrderOfTheirIds) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  ASSERT_THAT(Append(store_, {1, 1}, "b"), IsOk());
  ASSERT_THAT(Append(store_, {1, 10}, "c"), IsOk());
  EXPECT_EQ(Journal(store_), "1-0=a 1-1=b 1-10=c");
  EXPECT_EQ(Journal(store_, {1, 1}), "1-1=b 1-10=c");
  EXPECT_EQ(Journal(store_, {0, 0}, 2), "1-0=a 1-1=b");
  EXPECT_EQ(Journal(store_, {1, 11}), "");
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{1, 10}, "c")));
  EXPECT_THAT(LastId(store_), IsOkAndHolds(RecordId{1, 10}));
}

TEST_P(StoreContractTest, AnIdThatIsNotLargerIsAborted) {
  ASSERT_THAT(Append(store_, {3, 5}, "a"), IsOk());
  EXPECT_THAT(Append(store_, {3, 5}, "again"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Append(store_, {3, 4}, "before"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Append(store_, {2, 99}, "older epoch"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(Journal(store_), "3-5=a");
}

TEST_P(StoreContractTest, ANewOwnersFirstRecordFencesTheOldOne) {
  ASSERT_THAT(Append(store_, {1, 0}, "old"), IsOk());
  ASSERT_THAT(Write(store_, 1, {{.key = "job:2", .bytes = "old"}}), IsOk());
  Store& heir = bench_->Open();
  ASSERT_THAT(Append(heir, {2, 0}, "new"), IsOk());
  EXPECT_THAT(Append(store_, {1, 1}, "late"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = "late"}}),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Trim(store_, 1, {9, 9}), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(Journal(heir), "1-0=old 2-0=new");
  // Also once the heir has trimmed its own record, before it has written any object.
  ASSERT_THAT(Trim(heir, 2, {2, 1}), IsOk());
  EXPECT_THAT(Append(store_, {1, 1}, "late"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = "late"}}),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Read(heir, {"job:1"}), ElementsAre(std::nullopt));
}

TEST_P(StoreContractTest, TheFenceHoldsAfterTrimmingToEmptyAndARestart) {
  ASSERT_THAT(Append(store_, {2, 0}, "a"), IsOk());
  ASSERT_THAT(Append(store_, {2, 1}, "b"), IsOk());
  ASSERT_THAT(Trim(store_, 2, {2, 2}), IsOk());
  EXPECT_EQ(Journal(store_), "");
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(LastId(store_), IsOkAndHolds(RecordId{2, 1}));
    EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{2, 1}, "")));
    EXPECT_THAT(Append(store_, {1, 99}, "late"), StatusIs(absl::StatusCode::kAborted));
    EXPECT_THAT(Append(store_, {2, 1}, "again"), StatusIs(absl::StatusCode::kAborted));
    EXPECT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = "late"}}),
                StatusIs(absl::StatusCode::kAborted));
    EXPECT_THAT(Write(store_, 2, {{.key = "job:1", .bytes = "ours"}}), IsOk());
    bench_->Restart();
  }
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{2, 1}, "")));
  EXPECT_THAT(Append(store_, {2, 2}, "c"), IsOk());
}

// Else a store that came back without its end would take the next id and hide the loss.
TEST_P(StoreContractTest, OnANewConnectionTheLastRecordIsReadBeforeAnythingIsAppended) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  for (uint64_t round = 1; round < 3; ++round) {
    bench_->Restart();
    EXPECT_THAT(Append(store_, {1, round}, "b"), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(LastId(store_), IsOk());
    EXPECT_THAT(Append(store_, {1, round}, "b"), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(LastRecord(store_), IsOk());
    EXPECT_THAT(Append(store_, {1, round}, "b"), IsOk());
  }
  EXPECT_EQ(Journal(store_), "1-0=a 1-1=b 1-2=b");
}

TEST_P(StoreContractTest, AJournalThatIsGoneIsNotBegunAnew) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  Store& reader = bench_->Open();
  EXPECT_THAT(LastRecord(reader), IsOk());
  bench_->DeleteJournal();
  for (Store* store : {&store_, &reader}) {
    EXPECT_THAT(Append(*store, {2, 0}, "b"), StatusIs(absl::StatusCode::kDataLoss));
  }
  EXPECT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = "b"}}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Trim(store_, 1, {1, 1}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(Journal(store_), "");
}

TEST_P(StoreContractTest, WhatIsThereSurvivesARestart) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  ASSERT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = "head"}}), IsOk());
  bench_->Restart();
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{1, 0}, "a")));
  EXPECT_THAT(Read(store_, {"job:1"}), ElementsAre(Optional(std::string("head"))));
}

TEST_P(StoreContractTest, TrimForgetsOnlyWhatIsBelow) {
  for (uint64_t i = 0; i < 5; ++i) ASSERT_THAT(Append(store_, {1, i}, absl::StrCat(i)), IsOk());
  ASSERT_THAT(Trim(store_, 1, {1, 3}), IsOk());
  EXPECT_EQ(Journal(store_), "1-3=3 1-4=4");
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{1, 4}, "4")));
  ASSERT_THAT(Trim(store_, 1, {1, 3}), IsOk());
  EXPECT_EQ(Journal(store_), "1-3=3 1-4=4");
}

TEST_P(StoreContractTest, AGapIsNotRefusedAndCanBeSeen) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  ASSERT_THAT(Append(store_, {1, 7}, "b"), IsOk());
  EXPECT_EQ(Journal(store_), "1-0=a 1-7=b");
}

TEST_P(StoreContractTest, ObjectsNeedAJournalOfTheirEpoch) {
  EXPECT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = "x"}}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Trim(store_, 1, {1, 0}), StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  EXPECT_THAT(Write(store_, 2, {{.key = "job:1", .bytes = "x"}}),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(store_, 0, {{.key = "job:1", .bytes = "x"}}),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(store_, 1, {}), IsOk());
  EXPECT_THAT(Write(store_, 2, {}), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Read(store_, {"job:1"}), ElementsAre(std::nullopt));
}

TEST_P(StoreContractTest, EpochsAreComparedExactly) {
  // Neither as doubles nor by their first digits.
  const uint64_t large = (uint64_t{1} << 60) + 1;
  ASSERT_THAT(Append(store_, {large, 0}, "a"), IsOk());
  EXPECT_THAT(Write(store_, large - 1, {{.key = "job:1", .bytes = "x"}}),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(store_, large / 10, {{.key = "job:1", .bytes = "x"}}),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(store_, large, {{.key = "job:1", .bytes = "x"}}), IsOk());
}

TEST_P(StoreContractTest, ObjectsAreReadInTheOrderAsked) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  ASSERT_THAT(Write(store_, 1,
                    {{.key = "job:1", .bytes = "one", .readable = {{"state", "RUNNING"}}},
                     {.key = "items:1:0", .bytes = ""}}),
              IsOk());
  EXPECT_THAT(Read(store_, {"items:1:0", "nothing", "job:1", "job:1"}),
              ElementsAre(Optional(std::string()), std::nullopt, Optional(std::string("one")),
                          Optional(std::string("one"))));
  EXPECT_THAT(Read(store_, {}), IsEmpty());
}

TEST_P(StoreContractTest, AWriteReplacesAndErasesInOneStep) {
  ASSERT_THAT(Append(store_, {1, 0}, "a"), IsOk());
  ASSERT_THAT(Write(store_, 1, {{.key = "a", .bytes = "1"}, {.key = "b", .bytes = "1"}}), IsOk());
  ASSERT_THAT(Write(store_, 1,
                    {{.key = "a", .erase = true},
                     {.key = "b", .bytes = "2"},
                     {.key = "c", .bytes = "2"},
                     {.key = "never was", .erase = true}}),
              IsOk());
  EXPECT_THAT(Read(store_, {"a", "b", "c"}),
              ElementsAre(std::nullopt, Optional(std::string("2")), Optional(std::string("2"))));
}

TEST_P(StoreContractTest, AnyByteIsKept) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  bytes += "\r\n$-1\r\n";
  ASSERT_THAT(Append(store_, {1, 0}, bytes), IsOk());
  ASSERT_THAT(Write(store_, 1, {{.key = "job:1", .bytes = bytes}}), IsOk());
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{1, 0}, bytes)));
  EXPECT_EQ(Journal(store_), absl::StrCat("1-0=", bytes));
  EXPECT_THAT(Read(store_, {"job:1"}), ElementsAre(Optional(bytes)));
}

TEST_P(StoreContractTest, AMebibyteIsKept) {
  std::string large(1 << 20, 'x');
  large.back() = 'y';
  ASSERT_THAT(Append(store_, {1, 0}, large), IsOk());
  ASSERT_THAT(Append(store_, {1, 1}, large), IsOk());
  ASSERT_THAT(Write(store_, 1, {{.key = "a", .bytes = large}, {.key = "b", .bytes = large}}),
              IsOk());
  EXPECT_EQ(Journal(store_), absl::StrCat("1-0=", large, " 1-1=", large));
  EXPECT_THAT(Read(store_, {"a", "b"}), ElementsAre(Optional(large), Optional(large)));
  EXPECT_THAT(Trim(store_, 1, {1, 2}), IsOk());
}

TEST_P(StoreContractTest, PipelinedCallsAreCarriedOutAndAnsweredInOrder) {
  ASSERT_THAT(Append(store_, {1, 0}, "first"), IsOk());
  constexpr int kRounds = 100;
  std::vector<std::string> seen;
  std::vector<int> answered;
  for (int i = 0; i < kRounds; ++i) {
    store_.WriteObjects(1, {{.key = "counter", .bytes = absl::StrCat(i)}},
                        [&answered, i](const absl::Status& status) {
                          EXPECT_THAT(status, IsOk());
                          answered.push_back(2 * i);
                        });
    store_.ReadObjects({"counter"}, [&, i](const absl::StatusOr<Objects>& objects) {
      ASSERT_THAT(objects, IsOk());
      seen.push_back(objects->front().value_or("nothing"));
      answered.push_back(2 * i + 1);
    });
  }
  EXPECT_THAT(answered, IsEmpty());
  bench_->RunUntil([&] { return answered.size() == 2 * kRounds; });
  for (int i = 0; i < 2 * kRounds; ++i) EXPECT_EQ(answered[i], i);
  for (int i = 0; i < kRounds; ++i) EXPECT_EQ(seen[i], absl::StrCat(i));
}

TEST_P(StoreContractTest, ADoneMayMakeTheNextCall) {
  std::optional<absl::Status> last;
  std::function<void(uint64_t)> append = [&](uint64_t sequence) {
    store_.Append({1, sequence}, "r", [&, sequence](absl::Status status) {
      if (status.ok() && sequence < 50) {
        append(sequence + 1);
      } else {
        last = std::move(status);
      }
    });
  };
  append(0);
  bench_->RunUntil([&] { return last.has_value(); });
  EXPECT_THAT(*last, IsOk());
  EXPECT_THAT(LastRecord(store_), IsOkAndHolds(IsRecord(RecordId{1, 50}, "r")));
}

INSTANTIATE_TEST_SUITE_P(
    Stores, StoreContractTest,
    ::testing::Values(Kind{"Redis", [] { return std::make_unique<RedisBench>(); }},
                      Kind{"Faulty", [] { return std::make_unique<FaultyBench>(); }}),
    [](const ::testing::TestParamInfo<Kind>& info) { return info.param.name; });

}  // namespace
}  // namespace tessera::testing
