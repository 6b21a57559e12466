#include "coordinator/edge/committer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/core/record.h"

namespace tessera::edge {

using core::RecordId;
using core::StoredRecord;

Committer::Committer(core::Store* store, Options options, Callbacks callbacks)
    : store_(store),
      nonce_(options.nonce),
      callbacks_(std::move(callbacks)),
      committed_(options.last),
      committed_nonce_(options.last_nonce) {}

void Committer::Append(RecordId id, std::string bytes, absl::Time now) {
  TESSERA_CHECK(id > (queue_.empty() ? committed_ : queue_.back().id)) << id.ToString();
  now_ = std::max(now_, now);
  if (failed_) return;
  waiting_bytes_ += bytes.size();
  queue_.push_back({id, std::move(bytes)});
  if (queue_.size() == 1) Send();
}

void Committer::Send() {
  const Entry& entry = queue_.front();
  if (!waiting_since_.has_value()) waiting_since_ = now_;
  store_->Append(entry.id, entry.bytes,
                 lifeline_.Guard([this](absl::Status status) { OnAppended(std::move(status)); }));
}

void Committer::OnAppended(absl::Status status) {
  if (status.ok()) return OnCommitted();
  if (absl::IsResourceExhausted(status)) {
    trouble_ = std::move(status);
    return PauseBefore(Step::kAppend);
  }
  if (absl::IsUnavailable(status) || absl::IsAborted(status)) {
    // The second time in a row: whatever the store answers when it is asked.
    if (!missed_.ok()) trouble_ = status;
    missed_ = std::move(status);
    return AskLast();
  }
  Fail(std::move(status));
}

void Committer::AskLast() {
  store_->LastRecord(
      lifeline_.Guard([this](absl::StatusOr<StoredRecord> last) { OnLast(std::move(last)); }));
}

void Committer::OnLast(absl::StatusOr<StoredRecord> last) {
  if (MayPass(last.status())) {
    trouble_ = last.status();
    return PauseBefore(Step::kAskLast);
  }
  if (!last.ok()) return Fail(last.status());

  const absl::StatusOr<core::Record> record = core::DecodeRecord(last->bytes);
  const std::optional<uint64_t> nonce =
      record.ok() ? std::optional<uint64_t>(record->nonce) : std::nullopt;
  const RecordId id = queue_.front().id;
  if (last->id == id) {
    if (nonce == nonce_) return OnCommitted();
    // Ours, damaged on the way, or the record of an owner whose format we cannot read.
    if (!last->bytes.empty() && !record.ok()) return Fail(record.status());
  }
  if (last->id < committed_) {
    return Fail(
        absl::DataLossError(absl::StrCat("the journal ends at ", last->id.ToString(), ", but ",
                                         committed_.ToString(), " had been acknowledged")));
  }
  // After a fail-over two owners may have been in the same epoch; then the nonce tells them apart.
  if (last->id == committed_ && (nonce == committed_nonce_ || !nonce || !committed_nonce_)) {
    return PauseBefore(Step::kAppend);
  }
  Fail(absl::AbortedError(absl::StrCat("fenced: the journal goes on at ", last->id.ToString(),
                                       " with another owner's record")));
}

void Committer::OnCommitted() {
  waiting_since_.reset();
  const Entry entry = std::move(queue_.front());
  queue_.pop_front();
  waiting_bytes_ -= entry.bytes.size();
  committed_ = entry.id;
  committed_nonce_ = nonce_;
  ++records_;
  bytes_ += entry.bytes.size();
  trouble_ = missed_ = absl::OkStatus();
  backoff_.Reset();
  // Reported first, so that what the report leads to comes before what was sent later.
  const bool more = !queue_.empty();
  callbacks_.committed(entry.id);
  if (more && !failed_) Send();
}

void Committer::PauseBefore(Step step) { pause_ = Pause{step, now_ + backoff_.Next()}; }

void Committer::Tick(absl::Time now) {
  now_ = std::max(now_, now);
  if (!pause_.has_value() || now_ < pause_->until) return;
  const Step step = pause_->then;
  pause_.reset();
  if (step == Step::kAppend) {
    Send();
  } else {
    AskLast();
  }
}

void Committer::Fail(absl::Status status) {
  failed_ = true;
  pause_.reset();
  callbacks_.failed(std::move(status));
}

}  // namespace tessera::edge
