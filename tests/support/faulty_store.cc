#include "tests/support/faulty_store.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tessera::testing {

using core::ObjectWrite;
using core::RecordId;
using core::StoredRecord;

bool FaultyDisk::ArriveLate() {
  if (late_.empty()) return false;
  Request request = std::move(late_.front());
  late_.pop_front();
  request();
  return true;
}

void FaultyDisk::LoseLastRecords(size_t count) {
  for (; count > 0 && !journal_.empty(); --count) journal_.erase(std::prev(journal_.end()));
  last_id_ = journal_.empty() ? RecordId{} : journal_.rbegin()->first;
}

absl::Status FaultyDisk::Append(RecordId id, const std::string& bytes) {
  if (id <= last_id_ && !options_.fencing_off) {
    ++fenced_;
    return absl::AbortedError(
        absl::StrCat("append ", id.ToString(), ": the last id is ", last_id_.ToString()));
  }
  journal_[id] = bytes;
  last_id_ = std::max(last_id_, id);
  return absl::OkStatus();
}

absl::Status FaultyDisk::CheckEpoch(uint64_t epoch, absl::string_view doing) {
  if (last_id_ == RecordId{}) return absl::DataLossError("the journal is gone");
  const bool ours = last_id_.epoch == epoch;
  if (ours || options_.fencing_off) return absl::OkStatus();
  ++fenced_;
  return absl::AbortedError(absl::StrCat(doing, ": the last id is ", last_id_.ToString()));
}

absl::Status FaultyDisk::WriteObjects(uint64_t epoch, const std::vector<ObjectWrite>& writes) {
  const absl::Status status = CheckEpoch(epoch, "write objects");
  if (!status.ok()) return status;
  for (const ObjectWrite& write : writes) {
    if (write.erase) {
      objects_.erase(write.key);
    } else {
      objects_[write.key] = write;
    }
  }
  return absl::OkStatus();
}

absl::Status FaultyDisk::Trim(uint64_t epoch, RecordId below) {
  const absl::Status status = CheckEpoch(epoch, "trim");
  if (!status.ok()) return status;
  journal_.erase(journal_.begin(), journal_.lower_bound(below));
  return absl::OkStatus();
}

uint64_t FaultyDisk::Random(uint64_t below) {
  // SplitMix64: small, and the same on every machine.
  random_state_ += 0x9e3779b97f4a7c15;
  uint64_t x = random_state_;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  x ^= x >> 31;
  return x % below;
}

FaultyStore::FaultyStore(FaultyDisk* disk, Faults faults) : disk_(disk), faults_(faults) {}

FaultyStore::~FaultyStore() { Crash(); }

template <typename Reply>
void FaultyStore::Enqueue(std::function<Reply()> request, std::function<void(Reply)> done) {
  if (crashed_) return;
  Call call;
  if (!planned_.empty()) {
    call.fault = planned_.front();
    planned_.pop_front();
  } else {
    uint64_t draw = disk_->Random(1000);
    const auto falls_in = [&draw](int per_mille) {
      const auto width = static_cast<uint64_t>(per_mille);
      if (draw < width) return true;
      draw -= width;
      return false;
    };
    if (falls_in(faults_.lose_request_per_mille)) {
      call.fault = Fault::kLoseRequest;
    } else if (falls_in(faults_.lose_reply_per_mille)) {
      call.fault = Fault::kLoseReply;
    } else if (falls_in(faults_.refuse_per_mille)) {
      call.fault = Fault::kRefuse;
    } else if (falls_in(faults_.delay_per_mille)) {
      call.fault = Fault::kDelay;
    }
  }
  if (call.fault == Fault::kDelay) {
    call.delay_deliveries =
        1 + static_cast<int>(disk_->Random(static_cast<uint64_t>(faults_.delay_deliveries_max)));
  }
  const auto reply = std::make_shared<std::optional<Reply>>();
  call.arrive = [reply, request = std::move(request)] { reply->emplace(request()); };
  call.deliver = [reply, done = std::move(done)](const absl::Status& trouble) {
    if (!trouble.ok()) {
      done(Reply(trouble));
    } else {
      done(*std::move(*reply));
    }
  };
  calls_.push_back(std::move(call));
}

void FaultyStore::Append(RecordId id, std::string bytes, Done done) {
  if (crashed_) return;
  TESSERA_CHECK(!append_in_flight_);
  TESSERA_CHECK(id > RecordId{});
  append_in_flight_ = true;
  const bool asked = !answered_on_.has_value() || *answered_on_ == connection_;
  Enqueue<absl::Status>(
      [disk = disk_, asked, seen = journal_seen_, id, bytes = std::move(bytes)] {
        if (!asked) return absl::UnavailableError("the simulated connection is a new one");
        if (seen && disk->last_id_ == RecordId{}) return absl::DataLossError("the journal is gone");
        return disk->Append(id, bytes);
      },
      [this, connection = connection_, done = std::move(done)](absl::Status status) {
        append_in_flight_ = false;
        if (status.ok()) {
          answered_on_ = connection;
          journal_seen_ = true;
        }
        done(std::move(status));
      });
}

void FaultyStore::LastRecord(DoneWith<StoredRecord> done) {
  Enqueue<absl::StatusOr<StoredRecord>>(
      [disk = disk_]() -> absl::StatusOr<StoredRecord> {
        StoredRecord last{disk->last_id_, ""};
        const auto found = disk->journal_.find(last.id);
        if (found != disk->journal_.end()) last.bytes = found->second;
        return last;
      },
      [this, connection = connection_, done = std::move(done)](absl::StatusOr<StoredRecord> last) {
        if (last.ok()) {
          answered_on_ = connection;
          journal_seen_ = journal_seen_ || last->id != RecordId{};
        }
        done(std::move(last));
      });
}

void FaultyStore::LastId(DoneWith<RecordId> done) {
  Enqueue<absl::StatusOr<RecordId>>(
      [disk = disk_]() -> absl::StatusOr<RecordId> { return disk->last_id_; }, std::move(done));
}

void FaultyStore::ReadJournal(RecordId from, size_t records_max,
                              DoneWith<std::vector<StoredRecord>> done) {
  TESSERA_CHECK(records_max > 0);
  using Records = std::vector<StoredRecord>;
  Enqueue<absl::StatusOr<Records>>(
      [disk = disk_, from, records_max]() -> absl::StatusOr<Records> {
        Records records;
        for (auto next = disk->journal_.lower_bound(from);
             next != disk->journal_.end() && records.size() < records_max; ++next) {
          records.push_back({next->first, next->second});
        }
        return records;
      },
      std::move(done));
}

void FaultyStore::WriteObjects(uint64_t epoch, std::vector<ObjectWrite> writes, Done done) {
  Enqueue<absl::Status>([disk = disk_, epoch,
                         writes = std::move(writes)] { return disk->WriteObjects(epoch, writes); },
                        std::move(done));
}

void FaultyStore::ReadObjects(std::vector<std::string> keys,
                              DoneWith<std::vector<std::optional<std::string>>> done) {
  using Objects = std::vector<std::optional<std::string>>;
  Enqueue<absl::StatusOr<Objects>>(
      [disk = disk_, keys = std::move(keys)]() -> absl::StatusOr<Objects> {
        Objects objects;
        for (const std::string& key : keys) {
          const auto found = disk->objects_.find(key);
          if (found == disk->objects_.end()) {
            objects.emplace_back(std::nullopt);
          } else {
            objects.emplace_back(found->second.bytes);
          }
        }
        return objects;
      },
      std::move(done));
}

void FaultyStore::Trim(uint64_t epoch, RecordId below, Done done) {
  Enqueue<absl::Status>([disk = disk_, epoch, below] { return disk->Trim(epoch, below); },
                        std::move(done));
}

bool FaultyStore::Arrive() {
  for (size_t place = 0; place < calls_.size(); ++place) {
    if (calls_[place].arrived) continue;
    ArriveAt(place);
    return true;
  }
  return false;
}

void FaultyStore::ArriveAt(size_t place) {
  Call& call = calls_[place];
  switch (call.fault) {
    case Fault::kNone:
    case Fault::kDelay:
      call.arrived = true;
      call.arrive();
      return;
    case Fault::kRefuse:
      call.arrived = true;
      call.trouble = absl::ResourceExhaustedError("refused by the simulation");
      return;
    case Fault::kLoseRequest:
      Break(place, /*carried_out=*/0);
      return;
    case Fault::kLoseReply:
      Break(place, 1 + static_cast<size_t>(disk_->Random(calls_.size() - place)));
      return;
  }
}

void FaultyStore::Break(size_t place, size_t carried_out) {
  ++connection_;
  for (size_t i = place; i < calls_.size(); ++i) {
    Call& call = calls_[i];
    const bool arrived = std::exchange(call.arrived, true);
    call.delay_deliveries = 0;
    call.trouble = absl::UnavailableError("the simulated connection broke");
    if (!arrived && i - place < carried_out && call.fault != Fault::kRefuse) call.arrive();
  }
}

void FaultyStore::Reconnect() {
  Break(/*place=*/0, static_cast<size_t>(disk_->Random(calls_.size() + 1)));
}

bool FaultyStore::Deliver() {
  if (calls_.empty()) return false;
  if (calls_.front().delay_deliveries > 0) {
    --calls_.front().delay_deliveries;
    return false;
  }
  if (!calls_.front().arrived) ArriveAt(0);
  Call call = std::move(calls_.front());
  calls_.pop_front();
  call.deliver(call.trouble);  // Last: it may call, crash or destroy the store.
  return true;
}

void FaultyStore::DeliverAll() {
  while (!calls_.empty()) Deliver();
}

void FaultyStore::Crash() {
  crashed_ = true;
  std::deque<Call> calls = std::move(calls_);
  calls_.clear();
  while (!calls.empty() && calls.front().arrived) calls.pop_front();
  if (calls.empty()) return;
  // What a connection carries arrives in order: so it is first ones, then late ones, then lost
  // ones.
  const uint64_t now = disk_->Random(calls.size() + 1);
  const uint64_t late = disk_->Random(calls.size() + 1 - now);
  for (size_t i = 0; i < now + late; ++i) {
    if (calls[i].fault == Fault::kLoseRequest) return;  // Nothing behind it arrived either.
    if (calls[i].fault == Fault::kRefuse) continue;
    if (i < now) {
      calls[i].arrive();
    } else {
      disk_->late_.push_back(std::move(calls[i].arrive));
    }
  }
}

}  // namespace tessera::testing
