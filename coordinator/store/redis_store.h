// A partition's journal and objects in Redis.
//
//   tessera:{p07}:log          stream   the journal; entry id `epoch-sequence`, one field "r"
//   tessera:{p07}:fence        string   the epoch that the scripts found last; saves them time
//   tessera:{p07}:<object>     hash     field "b": the bytes; other fields are for people
//
// The braces are Redis's hash tag: a partition's keys share one slot of a Redis Cluster.
//
// The fence. XADD refuses an id that is not larger than the last ever given, also after trimming
// and restarts, so an older epoch's append is refused by Redis itself. Object writes and trims are
// scripts that first compare the stream's last id with their epoch. The journal's key must never
// be deleted, evicted or expire: with it goes the fence.
//
// After UNAVAILABLE the caller reads LastRecord() and, where its record is not there, appends the
// same id again. So it is after a new connection as well, where nothing was in flight: the server
// may have been started again without its last second, or be the successor of one that was ahead of
// it. It keeps one write of an object in flight, as a refused one may be tried again.
//
// All of it is core::Store's contract (coordinator/core/storage.h). Threads: none; the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/storage.h"
#include "coordinator/core/types.h"
#include "coordinator/store/event_loop.h"
#include "coordinator/store/redis_connection.h"

namespace tessera::store {

// Beside the partitions: what all coordinators agree on, a hash with `key` and `partitions`.
inline constexpr absl::string_view kDeploymentKey = "tessera:deployment";

// The key of a partition's journal. It is there from the first coordinator's start on.
std::string JournalKey(uint32_t partition);

class RedisStore final : public core::Store {
 public:
  struct Options {
    uint32_t partition = 0;
    // Bounds that the callers' own batching keeps far below; more is a mistake of ours.
    size_t record_bytes_max = size_t{64} << 20;
    size_t object_bytes_max = size_t{64} << 20;
    size_t objects_per_call_max = 1024;
  };

  // Both outlive the store. Several stores may share a connection.
  RedisStore(EventLoop* loop, RedisConnection* connection, Options options);
  // Calls in flight are dropped: their `done` does not run.
  ~RedisStore() override;

  void Append(core::RecordId id, std::string bytes, Done done) override;
  void LastRecord(DoneWith<core::StoredRecord> done) override;
  void LastId(DoneWith<core::RecordId> done) override;
  void ReadJournal(core::RecordId from, size_t records_max,
                   DoneWith<std::vector<core::StoredRecord>> done) override;
  void WriteObjects(uint64_t epoch, std::vector<core::ObjectWrite> writes, Done done) override;
  void ReadObjects(std::vector<std::string> keys,
                   DoneWith<std::vector<std::optional<std::string>>> done) override;
  void Trim(uint64_t epoch, core::RecordId below, Done done) override;

  // `tessera:{p07}:`, which begins each of the partition's keys.
  const std::string& key_prefix() const { return key_prefix_; }

 private:
  struct Alive {};  // Replies that come after the store is gone find this gone too.

  std::string KeyOf(absl::string_view object) const;
  absl::Status StatusOf(const redisReply* reply, absl::string_view doing) const;

  EventLoop* const loop_;
  RedisConnection* const connection_;
  const Options options_;
  const std::string key_prefix_;
  const std::string log_key_;
  const std::string fence_key_;
  bool append_in_flight_ = false;
  bool journal_seen_ = false;  // It is there, or was.
  // The connection, by its number, on which an append or the last record was last answered; nothing
  // before the first answer, when there is nothing that could have been lost.
  std::optional<int64_t> answered_on_;
  std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
};

}  // namespace tessera::store
