#include "coordinator/inspect/inspector.h"

#include <hiredis/hiredis.h>

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "coordinator/edge/host.h"
#include "coordinator/store/embedded_redis.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"
#include "coordinator/store/redis_store.h"

namespace tessera::inspect {
namespace {

constexpr size_t kRecordsPerRead = 64;
// Nothing is heard of a dead Redis; a large state takes its time.
constexpr absl::Duration kConnectTimeout = absl::Seconds(10);
constexpr absl::Duration kReadTimeout = absl::Minutes(10);

}  // namespace

struct Inspector::Rep {
  std::unique_ptr<store::EmbeddedRedis> embedded;
  store::PollLoop loop;
  std::unique_ptr<store::RedisConnection> connection;
  std::unique_ptr<store::RedisStore> store;

  // Starts an asynchronous call and runs the loop until it has answered.
  template <typename T>
  absl::StatusOr<T> Wait(const std::function<void(std::function<void(absl::StatusOr<T>)>)>& start) {
    // Shared: an answer that comes after the time-out must find a place.
    auto answer = std::make_shared<std::optional<absl::StatusOr<T>>>();
    start([answer](absl::StatusOr<T> value) { answer->emplace(std::move(value)); });
    if (!loop.RunUntil([&] { return answer->has_value(); }, kReadTimeout)) {
      return absl::UnavailableError("Redis does not answer");
    }
    return std::move(**answer);
  }
};

Inspector::Inspector(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Inspector::~Inspector() = default;

absl::StatusOr<std::unique_ptr<Inspector>> Inspector::Open(InspectorOptions options) {
  auto rep = std::make_unique<Rep>();
  store::RedisAddress address;
  if (!options.redis.empty()) {
    TESSERA_ASSIGN_OR_RETURN(address, store::RedisAddress::Parse(options.redis));
  } else {
    // Starting a server there would make a data folder of whatever it is. What Redis keeps there
    // goes by its version.
    const auto has = [&](const char* name) {
      std::error_code error;
      return std::filesystem::exists(options.data_folder + name, error);
    };
    if (!has("/appendonlydir") && !has("/appendonly.aof")) {
      return absl::NotFoundError(
          absl::StrCat(options.data_folder, " is no coordinator's data folder"));
    }
    TESSERA_ASSIGN_OR_RETURN(rep->embedded,
                             store::EmbeddedRedis::Start({.data_folder = options.data_folder,
                                                          .cut_broken_end = false,
                                                          .owner_timeout = absl::ZeroDuration()}));
    address = rep->embedded->address();
  }
  rep->connection = std::make_unique<store::RedisConnection>(
      &rep->loop,
      store::RedisConnection::Options{
          .address = address, .user = options.redis_user, .password = options.redis_password});
  rep->store = std::make_unique<store::RedisStore>(
      &rep->loop, rep->connection.get(),
      store::RedisStore::Options{.partition = options.partition});
  if (!rep->loop.RunUntil([&] { return rep->connection->connected(); }, kConnectTimeout)) {
    return absl::UnavailableError(absl::StrCat("cannot reach Redis at ", address.ToString(), ": ",
                                               rep->connection->last_error().message()));
  }
  std::unique_ptr<Inspector> inspector(new Inspector(std::move(rep)));
  TESSERA_RETURN_IF_ERROR(inspector->CheckPartition(options.partition));
  return inspector;
}

// A partition that is not there reads like an empty one.
absl::Status Inspector::CheckPartition(uint32_t partition) {
  TESSERA_ASSIGN_OR_RETURN(const std::string stated, rep_->Wait<std::string>([&](auto done) {
    rep_->connection->Command(
        {"HGET", store::kDeploymentKey, "partitions"}, [done](const redisReply* reply) {
          const absl::Status status = store::RedisReplyStatus(reply, "reading the deployment");
          if (!status.ok()) return done(status);
          done(reply->type == REDIS_REPLY_STRING ? std::string(reply->str, reply->len)
                                                 : std::string());
        });
  }));
  uint32_t partitions = 0;
  if (stated.empty()) return absl::NotFoundError("no coordinator has kept anything there so far");
  if (!absl::SimpleAtoi(stated, &partitions)) {
    return absl::DataLossError("the deployment's number of partitions is damaged");
  }
  if (partition < partitions) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no partition ", partition,
                                          ": the deployment has ", partitions, ", from 0 to ",
                                          partitions - 1));
}

absl::StatusOr<core::RecordId> Inspector::LastRecord() {
  TESSERA_ASSIGN_OR_RETURN(
      const core::StoredRecord last,
      rep_->Wait<core::StoredRecord>([&](auto done) { rep_->store->LastRecord(std::move(done)); }));
  return last.id;
}

absl::Status Inspector::ForEachRecord(core::RecordId from,
                                      const std::function<bool(const JournalRecord&)>& visit) {
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<core::StoredRecord> records,
                             rep_->Wait<std::vector<core::StoredRecord>>([&](auto done) {
                               rep_->store->ReadJournal(from, kRecordsPerRead, std::move(done));
                             }));
    if (records.empty()) return absl::OkStatus();
    for (const core::StoredRecord& stored : records) {
      JournalRecord shown{
          .id = stored.id, .record = {}, .events = {}, .bytes = stored.bytes.size()};
      TESSERA_ASSIGN_OR_RETURN(shown.record, core::DecodeRecord(stored.bytes));
      TESSERA_ASSIGN_OR_RETURN(shown.events, core::DecodeEvents(shown.record));
      if (!visit(shown)) return absl::OkStatus();
    }
    from = records.back().id.Next();
  }
}

absl::StatusOr<core::PartitionState> Inspector::State(StateSource source) {
  return rep_->Wait<core::PartitionState>([&](auto done) {
    edge::LoadState(rep_->store.get(), source == StateSource::kObjects, std::move(done));
  });
}

absl::StatusOr<std::string> Inspector::Digest(StateSource source) {
  TESSERA_ASSIGN_OR_RETURN(const core::PartitionState state, State(source));
  return edge::StateDigest(state);
}

}  // namespace tessera::inspect
