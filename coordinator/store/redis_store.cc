#include "coordinator/store/redis_store.h"

#include <hiredis/hiredis.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"

namespace tessera::store {
namespace {

using core::ObjectWrite;
using core::RecordId;
using core::StoredRecord;

// Both scripts begin with this. KEYS[1] is the journal, KEYS[2] the fence key, ARGV[1] the epoch.
//
// XINFO STREAM knows the last id, but copies the first and the last record into Lua, which for
// large records costs more than the pages do (docs/decisions/0002). So the epoch that was found
// once is kept in the fence key, and while it is ours it is enough that no record of a later epoch
// is there: one that was trimmed was trimmed by its owner, whose script set the fence key.
//
// Epochs are compared as text, because Lua's numbers are doubles.
constexpr absl::string_view kFence = R"lua(
local exact = false
local function trouble()
  if redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('EXISTS', KEYS[1]) == 1 then
    local after = '(' .. ARGV[1] .. '-18446744073709551615'
    local later = redis.pcall('XRANGE', KEYS[1], after, '+', 'COUNT', 1)
    if later.err then return later end
    if #later == 0 then return nil end
  end
  local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if info.err then
    if string.find(info.err, 'no such key', 1, true) then return {err = 'GONE no journal'} end
    return info
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      if string.match(info[i + 1], '^(%d+)-') == ARGV[1] then
        exact = true
        return nil
      end
      return {err = 'FENCED last id is ' .. info[i + 1]}
    end
  end
  return {err = 'WRONGTYPE no last id'}
end
local found = trouble()
if found then return found end
)lua";

// Nothing is written before all that can fail has been looked at. What is left is a refusal of the
// first write (out of memory, read-only): then there is no second. The fence key comes last, so
// that under OOM what frees memory is not refused for its sake; without it only time is lost.
constexpr absl::string_view kWrite = R"lua(
for i = 3, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'hash' and kind ~= 'none' then
    return {err = 'WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind}
  end
end
local at = 2
for i = 3, #KEYS do
  local count = tonumber(ARGV[at])
  if count == 0 then
    redis.call('UNLINK', KEYS[i])
  else
    local written = redis.pcall('HSET', KEYS[i], unpack(ARGV, at + 1, at + count))
    if type(written) == 'table' then return written end
    if redis.call('HLEN', KEYS[i]) * 2 ~= count then
      local wanted = {}
      for field = at + 1, at + count, 2 do wanted[ARGV[field]] = true end
      for _, field in ipairs(redis.call('HKEYS', KEYS[i])) do
        if not wanted[field] then redis.call('HDEL', KEYS[i], field) end
      end
    end
  end
  at = at + 1 + count
end
if exact then redis.pcall('SET', KEYS[2], ARGV[1]) end
return 'OK'
)lua";

// XTRIM is never refused for want of memory, nor is what follows a first write in the same script.
constexpr absl::string_view kTrim = R"lua(
local trimmed = redis.pcall('XTRIM', KEYS[1], 'MINID', ARGV[2])
if type(trimmed) == 'table' then return trimmed end
if exact and trimmed > 0 then redis.call('SET', KEYS[2], ARGV[1]) end
return 'OK'
)lua";

// XINFO STREAM without the two records that come with it.
constexpr absl::string_view kLastId = R"lua(
if redis.call('EXISTS', KEYS[1]) == 0 then return '0-0' end
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then return info end
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then return info[i + 1] end
end
return {err = 'WRONGTYPE no last id'}
)lua";

// Sent whole each time, not by their digest: 2 KiB is nothing beside the pages, and a NOSCRIPT
// answer in the middle of a pipeline would change the order of what is written.
const std::string& WriteScript() {
  static const auto* script = new std::string(absl::StrCat(kFence, kWrite));
  return *script;
}

const std::string& TrimScript() {
  static const auto* script = new std::string(absl::StrCat(kFence, kTrim));
  return *script;
}

constexpr absl::string_view kRecordField = "r";
constexpr absl::string_view kBytesField = "b";

bool IsText(const redisReply* reply) {
  return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

bool IsArray(const redisReply* reply) { return reply->type == REDIS_REPLY_ARRAY; }

absl::string_view Text(const redisReply* reply) { return {reply->str, reply->len}; }

absl::Status Unreadable(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("unreadable reply of Redis: ", what));
}

absl::StatusOr<RecordId> ParseId(const redisReply* reply) {
  if (!IsText(reply)) return Unreadable("a record's id");
  const absl::string_view text = Text(reply);
  const size_t dash = text.find('-');
  RecordId id;
  if (dash == absl::string_view::npos || !absl::SimpleAtoi(text.substr(0, dash), &id.epoch) ||
      !absl::SimpleAtoi(text.substr(dash + 1), &id.sequence)) {
    return Unreadable("a record's id");
  }
  return id;
}

// An entry of a stream: id, then fields and values.
absl::StatusOr<StoredRecord> ParseRecord(const redisReply* entry) {
  if (!IsArray(entry) || entry->elements != 2) return Unreadable("a record");
  absl::StatusOr<RecordId> id = ParseId(entry->element[0]);
  if (!id.ok()) return id.status();
  const redisReply* fields = entry->element[1];
  if (!IsArray(fields) || fields->elements != 2 || !IsText(fields->element[0]) ||
      Text(fields->element[0]) != kRecordField || !IsText(fields->element[1])) {
    return Unreadable(absl::StrCat("the fields of record ", id->ToString()));
  }
  return StoredRecord{*id, std::string(Text(fields->element[1]))};
}

// XINFO STREAM: names and values.
absl::StatusOr<StoredRecord> ParseLastRecord(const redisReply* info) {
  if (!IsArray(info)) return Unreadable("XINFO STREAM");
  StoredRecord last;
  bool found = false;
  const redisReply* entry = nullptr;
  for (size_t i = 0; i + 1 < info->elements; i += 2) {
    if (!IsText(info->element[i])) return Unreadable("XINFO STREAM");
    const absl::string_view name = Text(info->element[i]);
    if (name == "last-generated-id") {
      absl::StatusOr<RecordId> id = ParseId(info->element[i + 1]);
      if (!id.ok()) return id.status();
      last.id = *id;
      found = true;
    } else if (name == "last-entry") {
      entry = info->element[i + 1];
    }
  }
  if (!found) return Unreadable("XINFO STREAM");
  if (entry == nullptr || entry->type == REDIS_REPLY_NIL) return last;
  absl::StatusOr<StoredRecord> record = ParseRecord(entry);
  if (!record.ok()) return record.status();
  if (record->id == last.id) last.bytes = std::move(record->bytes);
  return last;
}

absl::StatusOr<std::vector<StoredRecord>> ParseJournal(const redisReply* reply) {
  if (!IsArray(reply)) return Unreadable("XRANGE");
  std::vector<StoredRecord> records;
  records.reserve(reply->elements);
  for (size_t i = 0; i < reply->elements; ++i) {
    absl::StatusOr<StoredRecord> record = ParseRecord(reply->element[i]);
    if (!record.ok()) return record.status();
    records.push_back(*std::move(record));
  }
  return records;
}

std::string KeyPrefix(uint32_t partition) { return absl::StrFormat("tessera:{p%02d}:", partition); }

}  // namespace

std::string JournalKey(uint32_t partition) { return absl::StrCat(KeyPrefix(partition), "log"); }

RedisStore::RedisStore(EventLoop* loop, RedisConnection* connection, Options options)
    : loop_(loop),
      connection_(connection),
      options_(options),
      key_prefix_(KeyPrefix(options.partition)),
      log_key_(JournalKey(options.partition)),
      fence_key_(absl::StrCat(key_prefix_, "fence")) {}

RedisStore::~RedisStore() = default;

std::string RedisStore::KeyOf(absl::string_view object) const {
  TESSERA_CHECK(!object.empty() && object != "log" && object != "fence");  // Ours.
  return absl::StrCat(key_prefix_, object);
}

absl::Status RedisStore::StatusOf(const redisReply* reply, absl::string_view doing) const {
  if (reply != nullptr) return RedisReplyStatus(reply, doing);
  const absl::Status& why = connection_->last_error();
  return absl::UnavailableError(
      absl::StrCat(doing, ": ", why.ok() ? "too much in flight" : why.message()));
}

void RedisStore::Append(RecordId id, std::string bytes, Done done) {
  TESSERA_CHECK(!append_in_flight_);
  TESSERA_CHECK(id > RecordId{});
  TESSERA_CHECK(bytes.size() <= options_.record_bytes_max);
  append_in_flight_ = true;
  const std::string text = id.ToString();
  const int64_t connection = connection_->connections();
  if (answered_on_.has_value() && *answered_on_ != connection) {
    loop_->Post([this, alive = std::weak_ptr<Alive>(alive_), text, done = std::move(done)] {
      if (alive.expired()) return;
      append_in_flight_ = false;
      done(absl::UnavailableError(
          absl::StrCat("append ", text,
                       ": the connection is a new one, so the last record has to "
                       "be read first")));
    });
    return;
  }
  std::vector<absl::string_view> arguments = {"XADD", log_key_};
  // Whoever deletes the key must not have the journal begin anew, behind what was acknowledged.
  if (journal_seen_) arguments.push_back("NOMKSTREAM");
  arguments.insert(arguments.end(), {text, kRecordField, bytes});
  connection_->Command(arguments, [this, alive = std::weak_ptr<Alive>(alive_), text, connection,
                                   done = std::move(done)](const redisReply* reply) {
    if (alive.expired()) return;
    append_in_flight_ = false;
    absl::Status status = StatusOf(reply, absl::StrCat("append ", text));
    if (status.ok() && reply->type == REDIS_REPLY_NIL) {
      status = absl::DataLossError(absl::StrCat(
          "append ", text, ": the journal is gone, whose records had been acknowledged"));
    } else if (status.ok() && !(IsText(reply) && Text(reply) == text)) {
      status = Unreadable("XADD");
    }
    if (status.ok()) {
      answered_on_ = connection;
      journal_seen_ = true;
    }
    done(std::move(status));
  });
}

void RedisStore::LastRecord(DoneWith<StoredRecord> done) {
  const int64_t connection = connection_->connections();
  connection_->Command(
      {"XINFO", "STREAM", log_key_}, [this, alive = std::weak_ptr<Alive>(alive_), connection,
                                      done = std::move(done)](const redisReply* reply) {
        if (alive.expired()) return;
        const bool never_was = reply != nullptr && reply->type == REDIS_REPLY_ERROR &&
                               Text(reply) == "ERR no such key";
        const absl::Status status =
            never_was ? absl::OkStatus() : StatusOf(reply, "read the last record");
        if (!status.ok()) {
          done(status);
          return;
        }
        absl::StatusOr<StoredRecord> last = never_was ? StoredRecord{} : ParseLastRecord(reply);
        if (last.ok()) {
          answered_on_ = connection;
          journal_seen_ = journal_seen_ || last->id != RecordId{};
        }
        done(std::move(last));
      });
}

void RedisStore::LastId(DoneWith<RecordId> done) {
  connection_->Command({"EVAL", kLastId, "1", log_key_},
                       [this, alive = std::weak_ptr<Alive>(alive_),
                        done = std::move(done)](const redisReply* reply) {
                         if (alive.expired()) return;
                         const absl::Status status = StatusOf(reply, "read the last id");
                         done(status.ok() ? ParseId(reply) : absl::StatusOr<RecordId>(status));
                       });
}

void RedisStore::ReadJournal(RecordId from, size_t records_max,
                             DoneWith<std::vector<StoredRecord>> done) {
  TESSERA_CHECK(records_max > 0);
  connection_->Command(
      {"XRANGE", log_key_, from.ToString(), "+", "COUNT", absl::StrCat(records_max)},
      [this, alive = std::weak_ptr<Alive>(alive_),
       done = std::move(done)](const redisReply* reply) {
        if (alive.expired()) return;
        const absl::Status status = StatusOf(reply, "read the journal");
        if (!status.ok()) {
          done(status);
          return;
        }
        done(ParseJournal(reply));
      });
}

void RedisStore::WriteObjects(uint64_t epoch, std::vector<ObjectWrite> writes, Done done) {
  TESSERA_CHECK(writes.size() <= options_.objects_per_call_max);
  std::vector<std::string> keys;
  std::vector<std::string> counts;
  keys.reserve(writes.size());
  counts.reserve(writes.size());
  size_t arguments_size = 6 + 2 * writes.size();
  for (const ObjectWrite& write : writes) {
    TESSERA_CHECK(write.bytes.size() <= options_.object_bytes_max);
    const size_t count = write.erase ? 0 : 2 + 2 * write.readable.size();
    keys.push_back(KeyOf(write.key));
    counts.push_back(absl::StrCat(count));
    arguments_size += count;
  }
  const std::string keys_size = absl::StrCat(keys.size() + 2);
  const std::string epoch_text = absl::StrCat(epoch);

  std::vector<absl::string_view> arguments = {"EVAL", WriteScript(), keys_size, log_key_,
                                              fence_key_};
  arguments.reserve(arguments_size);
  arguments.insert(arguments.end(), keys.begin(), keys.end());
  arguments.push_back(epoch_text);
  for (size_t i = 0; i < writes.size(); ++i) {
    const ObjectWrite& write = writes[i];
    arguments.push_back(counts[i]);
    if (write.erase) continue;
    arguments.push_back(kBytesField);
    arguments.push_back(write.bytes);
    for (const auto& [field, value] : write.readable) {
      TESSERA_CHECK(field != kBytesField);
      arguments.push_back(field);
      arguments.push_back(value);
    }
  }
  connection_->Command(arguments, [this, alive = std::weak_ptr<Alive>(alive_),
                                   done = std::move(done)](const redisReply* reply) {
    if (alive.expired()) return;
    done(StatusOf(reply, "write objects"));
  });
}

void RedisStore::ReadObjects(std::vector<std::string> keys,
                             DoneWith<std::vector<std::optional<std::string>>> done) {
  TESSERA_CHECK(keys.size() <= options_.objects_per_call_max);
  if (keys.empty()) {
    loop_->Post([alive = std::weak_ptr<Alive>(alive_), done = std::move(done)] {
      if (!alive.expired()) done(std::vector<std::optional<std::string>>());
    });
    return;
  }
  // One reply an object, gathered: a single reply for all would have to be held by Redis whole.
  struct Gathered {
    std::vector<std::optional<std::string>> objects;
    size_t outstanding;
    absl::Status status;
    DoneWith<std::vector<std::optional<std::string>>> done;
  };
  const auto gathered = std::make_shared<Gathered>();
  gathered->objects.resize(keys.size());
  gathered->outstanding = keys.size();
  gathered->done = std::move(done);
  for (size_t i = 0; i < keys.size(); ++i) {
    connection_->Command(
        {"HGET", KeyOf(keys[i]), kBytesField},
        [this, alive = std::weak_ptr<Alive>(alive_), gathered, i](const redisReply* reply) {
          if (alive.expired()) return;
          absl::Status status = StatusOf(reply, "read objects");
          if (status.ok() && IsText(reply)) {
            gathered->objects[i] = std::string(Text(reply));
          } else if (status.ok() && reply->type != REDIS_REPLY_NIL) {
            status = Unreadable("HGET");
          }
          gathered->status.Update(status);
          if (--gathered->outstanding > 0) return;
          if (gathered->status.ok()) {
            gathered->done(std::move(gathered->objects));
          } else {
            gathered->done(gathered->status);
          }
        });
  }
}

void RedisStore::Trim(uint64_t epoch, RecordId below, Done done) {
  connection_->Command(
      {"EVAL", TrimScript(), "2", log_key_, fence_key_, absl::StrCat(epoch), below.ToString()},
      [this, alive = std::weak_ptr<Alive>(alive_),
       done = std::move(done)](const redisReply* reply) {
        if (alive.expired()) return;
        done(StatusOf(reply, "trim"));
      });
}

}  // namespace tessera::store
