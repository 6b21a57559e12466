// What a real Redis can do to a store beyond the contract: die, stall, fill up, refuse, be wrong.
#include "coordinator/store/redis_store.h"

#include <hiredis/hiredis.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/redis_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::store {
namespace {

using core::ObjectWrite;
using core::RecordId;
using core::Store;
using core::StoredRecord;
using ::tessera::testing::IsOk;
using ::tessera::testing::RedisFixture;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Objects = std::vector<std::optional<std::string>>;

constexpr absl::Duration kLong = absl::Seconds(50);

class RedisStoreTest : public ::testing::Test {
 protected:
  void Connect(RedisConnection::Options options = {}) {
    store_.reset();
    options.address = redis_.address();
    connection_ = std::make_unique<RedisConnection>(&loop_, options);
    store_ = std::make_unique<RedisStore>(&loop_, connection_.get(),
                                          RedisStore::Options{.partition = 7});
  }
  void ConnectAndWait(RedisConnection::Options options = {}) {
    Connect(std::move(options));
    AwaitConnections(1);
  }
  void AwaitConnections(int64_t times) {
    ASSERT_TRUE(loop_.RunUntil([&] { return connection_->connections() >= times; }, kLong))
        << connection_->last_error();
  }
  // Until `text` is in the reason why there is no connection.
  void AwaitError(absl::string_view text) {
    ASSERT_TRUE(loop_.RunUntil(
        [&] { return absl::StrContains(connection_->last_error().message(), text); }, kLong))
        << connection_->last_error();
  }

  template <typename Reply>
  Reply Await(absl::FunctionRef<void(std::function<void(Reply)>)> call) {
    std::optional<Reply> reply;
    call([&reply](Reply r) { reply = std::move(r); });
    EXPECT_FALSE(reply.has_value()) << "done ran inside the call";
    EXPECT_TRUE(loop_.RunUntil([&] { return reply.has_value(); }, kLong));
    return *std::move(reply);
  }
  absl::Status Append(RecordId id, std::string bytes = "r") {
    return Await<absl::Status>(
        [&](Store::Done done) { store_->Append(id, std::move(bytes), std::move(done)); });
  }
  absl::Status Write(uint64_t epoch, std::vector<ObjectWrite> writes) {
    return Await<absl::Status>(
        [&](Store::Done done) { store_->WriteObjects(epoch, std::move(writes), std::move(done)); });
  }
  absl::Status Trim(uint64_t epoch, RecordId below) {
    return Await<absl::Status>(
        [&](Store::Done done) { store_->Trim(epoch, below, std::move(done)); });
  }
  absl::StatusOr<StoredRecord> LastRecord() {
    return Await<absl::StatusOr<StoredRecord>>(
        [&](Store::DoneWith<StoredRecord> done) { store_->LastRecord(std::move(done)); });
  }
  absl::StatusOr<std::vector<StoredRecord>> Journal() {
    using Records = std::vector<StoredRecord>;
    return Await<absl::StatusOr<Records>>(
        [&](Store::DoneWith<Records> done) { store_->ReadJournal({}, 100, std::move(done)); });
  }
  absl::StatusOr<Objects> Read(std::vector<std::string> keys) {
    return Await<absl::StatusOr<Objects>>([&](Store::DoneWith<Objects> done) {
      store_->ReadObjects(std::move(keys), std::move(done));
    });
  }
  RecordId LastId() {
    const auto last = LastRecord();
    EXPECT_THAT(last, IsOk());
    return last.ok() ? last->id : RecordId{};
  }

  RedisFixture redis_;
  PollLoop loop_;
  std::unique_ptr<RedisConnection> connection_;
  std::unique_ptr<RedisStore> store_;
};

TEST_F(RedisStoreTest, KeysAreWhatTheDocumentsSay) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}, "bytes"), IsOk());
  ASSERT_THAT(Write(1, {{.key = "job:3", .bytes = "head", .readable = {{"state", "RUNNING"}}}}),
              IsOk());
  EXPECT_EQ(redis_.Command("XRANGE tessera:{p07}:log - +"), "1-0\nr\nbytes");
  EXPECT_EQ(redis_.Command("HGETALL tessera:{p07}:job:3"), "b\nhead\nstate\nRUNNING");
  EXPECT_EQ(redis_.Command("GET tessera:{p07}:fence"), "1");
  EXPECT_EQ(redis_.Command("DBSIZE"), "3");
}

TEST_F(RedisStoreTest, ReadableFieldsOfAnEarlierWriteDoNotLinger) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  ASSERT_THAT(Write(1, {{.key = "a", .bytes = "1", .readable = {{"x", "1"}, {"y", "1"}}}}), IsOk());
  ASSERT_THAT(Write(1, {{.key = "a", .bytes = "2", .readable = {{"y", "2"}}}}), IsOk());
  EXPECT_EQ(redis_.Command("HGETALL tessera:{p07}:a"), "b\n2\ny\n2");
}

TEST_F(RedisStoreTest, StoresShareAConnection) {
  ConnectAndWait();
  RedisStore other(&loop_, connection_.get(), {.partition = 123});
  EXPECT_EQ(other.key_prefix(), "tessera:{p123}:");
  ASSERT_THAT(Append({5, 0}), IsOk());
  std::optional<absl::Status> status;
  other.Append({1, 0}, "r", [&](absl::Status s) { status = std::move(s); });
  ASSERT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, kLong));
  EXPECT_THAT(*status, IsOk());
}

TEST_F(RedisStoreTest, AScriptForgottenByTheServerIsNoTrouble) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  ASSERT_THAT(Write(1, {{.key = "a", .bytes = "1"}}), IsOk());
  EXPECT_EQ(redis_.Command("SCRIPT FLUSH"), "OK");
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "2"}}), IsOk());
  EXPECT_THAT(Trim(1, {1, 0}), IsOk());
}

TEST_F(RedisStoreTest, TheFenceKeySavesTimeAndNeverTrust) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  ASSERT_THAT(Write(1, {{.key = "a", .bytes = "1"}}), IsOk());
  EXPECT_EQ(redis_.Command("GET tessera:{p07}:fence"), "1");
  ASSERT_THAT(Append({2, 0}), IsOk());  // A new owner, which has written no object so far.
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "2"}}), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Trim(1, {9, 0}), StatusIs(absl::StatusCode::kAborted));
  ASSERT_THAT(Trim(2, {9, 0}), IsOk());  // Its first call takes the only sign of it away.
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "3"}}), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(redis_.Command("GET tessera:{p07}:fence"), "2");
  EXPECT_EQ(redis_.Command("HGET tessera:{p07}:a b"), "1");
  ASSERT_THAT(Write(2, {{.key = "a", .bytes = "4"}}), IsOk());
  EXPECT_EQ(redis_.Command("DEL tessera:{p07}:fence"), "1");  // Not ours to do, and no harm.
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "5"}}), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Write(2, {{.key = "a", .bytes = "6"}}), IsOk());
  EXPECT_EQ(redis_.Command("DEL tessera:{p07}:log"), "1");
  EXPECT_THAT(Write(2, {{.key = "a", .bytes = "7"}}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(RedisStoreTest, TheFirstTrimOfAnEpochPassesOutOfMemoryAndStillFences) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  ASSERT_THAT(Write(1, {{.key = "a", .bytes = "1"}}), IsOk());
  ASSERT_THAT(Append({2, 0}), IsOk());
  EXPECT_EQ(redis_.Command("CONFIG SET maxmemory 1000"), "OK");
  EXPECT_THAT(Trim(2, {2, 1}), IsOk());
  EXPECT_THAT(Write(2, {{.key = "a", .erase = true}}), IsOk());
  EXPECT_EQ(redis_.Command("CONFIG SET maxmemory 0"), "OK");
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "2"}}), StatusIs(absl::StatusCode::kAborted));
}

// Trouble with the connection.

TEST_F(RedisStoreTest, WithoutAConnectionCallsAreUnavailableAtOnceButNotInside) {
  redis_.Stop();
  Connect();
  EXPECT_THAT(Append({1, 0}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("redis.sock")));
  EXPECT_THAT(LastRecord(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Read({"a", "b"}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Read({}), IsOk());
  redis_.Restart();
  AwaitConnections(1);
  EXPECT_THAT(Append({1, 0}), IsOk());
}

TEST_F(RedisStoreTest, AnAppendInFlightWhenRedisDiesIsUnavailableAndTheLastRecordTells) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}, "first"), IsOk());
  redis_.Pause();
  std::optional<absl::Status> status;
  store_->Append({1, 1}, "second", [&](absl::Status s) { status = std::move(s); });
  loop_.RunOnce(absl::ZeroDuration());  // Sends it.
  redis_.Kill();
  ASSERT_TRUE(loop_.RunUntil([&] { return status.has_value(); }, kLong));
  EXPECT_THAT(*status, StatusIs(absl::StatusCode::kUnavailable));
  redis_.Restart();
  AwaitConnections(2);
  EXPECT_EQ(LastId(), (RecordId{1, 0}));
  EXPECT_THAT(Append({1, 1}, "second"), IsOk());
}

TEST_F(RedisStoreTest, AServerThatCameBackWithoutItsEndTakesNoAppendUnseen) {
  ConnectAndWait();
  ASSERT_THAT(Append({7, 90}), IsOk());
  ASSERT_THAT(Append({7, 91}), IsOk());
  // As after a crash under appendfsync everysec, or a fail-over, with nothing in flight.
  EXPECT_EQ(redis_.Command("DEL tessera:{p07}:log"), "1");
  EXPECT_EQ(redis_.Command("XADD tessera:{p07}:log 7-90 r r"), "7-90");
  redis_.Restart();
  AwaitConnections(2);
  EXPECT_THAT(Append({7, 92}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("new one")));
  EXPECT_EQ(LastId(), (RecordId{7, 90}));
}

TEST_F(RedisStoreTest, AcknowledgedRecordsSurviveAKill) {
  ConnectAndWait();
  for (uint64_t i = 0; i < 20; ++i) ASSERT_THAT(Append({1, i}, std::string(9000, 'x')), IsOk());
  redis_.Kill();
  redis_.Restart();
  AwaitConnections(2);
  EXPECT_EQ(LastId(), (RecordId{1, 19}));
}

TEST_F(RedisStoreTest, AStalledServerIsGivenUpAndNothingSentToItTakesEffectLater) {
  ConnectAndWait({.reply_timeout = absl::Milliseconds(30), .retry_first = absl::Milliseconds(1)});
  ASSERT_THAT(Append({1, 0}), IsOk());
  for (int round = 1; round <= 5; ++round) {
    redis_.Pause();
    EXPECT_THAT(Write(1, {{.key = "a", .bytes = "early"}}),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no reply in time")));
    redis_.Resume();
    const int64_t connections = connection_->connections();
    AwaitConnections(connections + 1);
    while (!Write(1, {{.key = "a", .bytes = "late"}}).ok()) {
    }
    // A round trip of another connection, begun after the server has seen the end of the first.
    EXPECT_EQ(redis_.Command("HGET tessera:{p07}:a b"), "late");
    EXPECT_EQ(redis_.Command("HGET tessera:{p07}:a b"), "late");
  }
}

TEST_F(RedisStoreTest, EachConnectionEndsItsPredecessorAtTheServerFirst) {
  ConnectAndWait({.reply_timeout = absl::Milliseconds(30)});
  redis_.Pause();
  EXPECT_THAT(LastRecord(), StatusIs(absl::StatusCode::kUnavailable));
  redis_.Resume();
  AwaitConnections(2);
  EXPECT_THAT(redis_.Command("INFO commandstats"), HasSubstr("cmdstat_client|kill:calls=2,"));
}

TEST_F(RedisStoreTest, TooMuchInFlightIsUnavailable) {
  ConnectAndWait({.in_flight_bytes_max = 1000});
  EXPECT_THAT(Append({1, 0}, std::string(2000, 'x')),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("too much in flight")));
  EXPECT_THAT(Append({1, 0}, "x"), IsOk());
}

TEST_F(RedisStoreTest, DonesDoNotRunAfterTheStoreIsGone) {
  ConnectAndWait();
  bool ran = false;
  store_->Append({1, 0}, "r", [&](const absl::Status&) { ran = true; });
  store_->ReadObjects({}, [&](const absl::StatusOr<Objects>&) { ran = true; });
  store_.reset();
  Connect();
  AwaitConnections(1);
  EXPECT_EQ(redis_.Command("PING"), "PONG");
  EXPECT_FALSE(ran);
}

TEST_F(RedisStoreTest, ADoneMayDestroyStoreAndConnection) {
  ConnectAndWait();
  bool ran = false;
  store_->Append({1, 0}, "r", [&](const absl::Status& status) {
    EXPECT_THAT(status, IsOk());
    store_.reset();
    connection_.reset();
    ran = true;
  });
  store_->LastRecord([](const absl::StatusOr<StoredRecord>&) { ADD_FAILURE(); });
  ASSERT_TRUE(loop_.RunUntil([&] { return ran; }, kLong));
  loop_.RunOnce(absl::ZeroDuration());
}

TEST_F(RedisStoreTest, ADoneMayDestroyThemWhileTheConnectionBreaks) {
  ConnectAndWait();
  redis_.Pause();
  bool ran = false;
  store_->LastRecord([&](const absl::StatusOr<StoredRecord>& last) {
    EXPECT_THAT(last, StatusIs(absl::StatusCode::kUnavailable));
    store_.reset();
    connection_.reset();
    ran = true;
  });
  store_->LastRecord([](const absl::StatusOr<StoredRecord>&) { ADD_FAILURE(); });
  loop_.RunOnce(absl::ZeroDuration());
  redis_.Kill();
  ASSERT_TRUE(loop_.RunUntil([&] { return ran; }, kLong));
  loop_.RunOnce(absl::ZeroDuration());
}

// Refusals: nothing is written, and the same passes later.

TEST_F(RedisStoreTest, OutOfMemoryIsRefusedWholeAndTheSameIdPassesLater) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  ASSERT_THAT(Write(1, {{.key = "a", .bytes = "old"}, {.key = "gone", .bytes = "old"}}), IsOk());
  EXPECT_EQ(redis_.Command("CONFIG SET maxmemory 1000"), "OK");
  EXPECT_THAT(Append({1, 1}), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("OOM")));
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "new"}, {.key = "b", .bytes = "new"}}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("OOM")));
  EXPECT_EQ(redis_.Command("HGET tessera:{p07}:a b"), "old");
  EXPECT_EQ(redis_.Command("EXISTS tessera:{p07}:b"), "0");
  // What frees memory passes.
  EXPECT_THAT(Trim(1, {1, 0}), IsOk());
  EXPECT_THAT(Write(1, {{.key = "gone", .erase = true}}), IsOk());
  EXPECT_EQ(LastId(), (RecordId{1, 0}));
  EXPECT_EQ(redis_.Command("CONFIG SET maxmemory 0"), "OK");
  EXPECT_THAT(Append({1, 1}), IsOk());
}

TEST_F(RedisStoreTest, AReplicaRefuses) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  EXPECT_EQ(redis_.Command("REPLICAOF 127.0.0.1 1"), "OK");
  EXPECT_THAT(Append({1, 1}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("READONLY")));
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "1"}}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("READONLY")));
  EXPECT_THAT(Trim(1, {1, 1}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("READONLY")));
  EXPECT_EQ(redis_.Command("REPLICAOF NO ONE"), "OK");
  EXPECT_THAT(Append({1, 1}), IsOk());
}

TEST_F(RedisStoreTest, TooFewReplicasAreARefusal) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  EXPECT_EQ(redis_.Command("CONFIG SET min-replicas-to-write 1"), "OK");
  EXPECT_THAT(Append({1, 1}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "1"}}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(redis_.Command("CONFIG SET min-replicas-to-write 0"), "OK");
  EXPECT_THAT(Append({1, 1}), IsOk());
}

TEST_F(RedisStoreTest, ABusyServerRefuses) {
  ConnectAndWait();
  EXPECT_EQ(redis_.Command("CONFIG SET lua-time-limit 1"), "OK");
  redisContext* busy = redisConnectUnix(redis_.address().unix_path.c_str());
  redisAppendCommand(busy, "EVAL %s 0", "while true do end");
  int sent = 0;
  while (sent == 0) ASSERT_EQ(redisBufferWrite(busy, &sent), REDIS_OK);
  while (redis_.Command("PING") == "PONG") {
  }
  EXPECT_THAT(Append({1, 0}), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("BUSY")));
  EXPECT_EQ(redis_.Command("SCRIPT KILL"), "OK");
  redisFree(busy);
  while (redis_.Command("PING") != "PONG") {
  }
  EXPECT_THAT(Append({1, 0}), IsOk());
}

TEST(RedisReplyStatusTest, EachKindOfErrorHasItsCode) {
  const auto code_of = [](std::string error) {
    redisReply reply{};
    reply.type = REDIS_REPLY_ERROR;
    reply.str = error.data();
    reply.len = error.size();
    return RedisReplyStatus(&reply, "test").code();
  };
  for (const char* refusal : {
           "OOM command not allowed when used memory > 'maxmemory'.",
           "MISCONF Errors writing to the AOF file: No space left on device",
           "LOADING Redis is loading the dataset in memory",
           "NOAUTH Authentication required.",
           "NOPERM this user has no permissions to run the 'xadd' command",
           "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
           "CLUSTERDOWN The cluster is down",
           "MOVED 3999 127.0.0.1:6381",
           "ERR max number of clients reached",
           "ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed",
           "@user_script: 12: OOM command not allowed when used memory > 'maxmemory'.",
       }) {
    EXPECT_EQ(code_of(refusal), absl::StatusCode::kResourceExhausted) << refusal;
  }
  EXPECT_EQ(code_of("ERR The ID specified in XADD is equal or smaller than the target stream top "
                    "item"),
            absl::StatusCode::kAborted);
  EXPECT_EQ(code_of("FENCED last id is 7-0"), absl::StatusCode::kAborted);
  EXPECT_EQ(code_of("GONE no journal"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code_of("WRONGTYPE Operation against a key"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code_of("ERR upstream failure"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(RedisReplyStatus(nullptr, "test").code(), absl::StatusCode::kUnavailable);
}

// A server that is not what it should be.

TEST_F(RedisStoreTest, KeysOfAnotherTypeAreDataLossAndNothingIsWritten) {
  ConnectAndWait();
  ASSERT_THAT(Append({1, 0}), IsOk());
  EXPECT_EQ(redis_.Command("SET tessera:{p07}:bad text"), "OK");
  EXPECT_THAT(Read({"bad"}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Read({"good", "bad"}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Write(1, {{.key = "good", .bytes = "1"}, {.key = "bad", .bytes = "1"}}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("tessera:{p07}:bad")));
  EXPECT_EQ(redis_.Command("EXISTS tessera:{p07}:good"), "0");
  EXPECT_EQ(redis_.Command("SET tessera:{p07}:log text"), "OK");
  EXPECT_THAT(Append({1, 1}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LastRecord(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Journal(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Write(1, {{.key = "good", .bytes = "1"}}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Trim(1, {1, 0}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(RedisStoreTest, ARecordOfAnotherShapeIsDataLoss) {
  ConnectAndWait();
  EXPECT_EQ(redis_.Command("XADD tessera:{p07}:log 1-0 other field"), "1-0");
  EXPECT_THAT(Journal(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("1-0")));
  EXPECT_THAT(LastRecord(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(RedisStoreTest, AServerThatMayEvictIsRefused) {
  EXPECT_EQ(redis_.Command("CONFIG SET maxmemory-policy allkeys-lru"), "OK");
  Connect();
  AwaitError("noeviction");
  EXPECT_THAT(connection_->last_error(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_FALSE(connection_->connected());
  EXPECT_THAT(Append({1, 0}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(redis_.Command("CONFIG SET maxmemory-policy noeviction"), "OK");
  AwaitConnections(1);
  EXPECT_THAT(Append({1, 0}), IsOk());
}

TEST_F(RedisStoreTest, APasswordIsNeededAndTakenWhereThereIsOne) {
  EXPECT_EQ(redis_.Command("CONFIG SET requirepass secret"), "OK");
  Connect();
  AwaitError("NOAUTH");
  EXPECT_THAT(connection_->last_error(), StatusIs(absl::StatusCode::kFailedPrecondition));
  Connect({.password = "wrong"});
  AwaitError("WRONGPASS");
  EXPECT_THAT(connection_->last_error(), StatusIs(absl::StatusCode::kFailedPrecondition));
  ConnectAndWait({.password = "secret"});
  EXPECT_THAT(Append({1, 0}), IsOk());
}

TEST_F(RedisStoreTest, APasswordThatIsChangedMeanwhileIsWaitedFor) {
  EXPECT_EQ(redis_.Command("ACL SETUSER tessera on >secret ~* +@all"), "OK");
  ConnectAndWait({.user = "tessera", .password = "secret"});
  EXPECT_EQ(redis_.Command("ACL SETUSER tessera resetpass >other"), "OK");
  EXPECT_EQ(redis_.Command("CLIENT KILL USER tessera"), "1");
  AwaitError("WRONGPASS");
  EXPECT_EQ(redis_.Command("ACL SETUSER tessera >secret"), "OK");
  AwaitConnections(2);
  EXPECT_THAT(Append({1, 0}), IsOk());
}

TEST_F(RedisStoreTest, TheUserOfTheDocumentsMayDoAllThatIsNeeded) {
  EXPECT_EQ(redis_.Command("ACL SETUSER tessera on >secret ~tessera:* +client|id +client|kill "
                           "+info +xadd +xinfo|stream +xrange +xtrim +eval +get +set +exists "
                           "+type +unlink +hset +hget +hlen +hkeys +hdel"),
            "OK");
  ConnectAndWait({.user = "tessera", .password = "secret"});
  ASSERT_THAT(Append({1, 0}), IsOk());
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "1", .readable = {{"x", "1"}}}}), IsOk());
  EXPECT_THAT(Write(1, {{.key = "a", .bytes = "1"}, {.key = "b", .erase = true}}), IsOk());
  EXPECT_THAT(Read({"a"}), IsOk());
  EXPECT_THAT(Journal(), IsOk());
  EXPECT_THAT(LastRecord(), IsOk());
  EXPECT_THAT(Trim(1, {1, 0}), IsOk());
  EXPECT_EQ(redis_.Command("ACL SETUSER tessera -xadd"), "OK");
  EXPECT_THAT(Append({1, 1}), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("NOPERM")));
}

TEST(RedisStoreDeathTest, ASecondAppendInFlightIsAMistakeOfOurs) {
  PollLoop loop;
  RedisConnection connection(&loop, {.address = {.unix_path = "/nowhere/redis.sock"}});
  RedisStore store(&loop, &connection, {});
  EXPECT_DEATH(
      {
        store.Append({1, 0}, "a", [](const absl::Status&) {});
        store.Append({1, 1}, "b", [](const absl::Status&) {});
      },
      "append_in_flight_");
}

}  // namespace
}  // namespace tessera::store
