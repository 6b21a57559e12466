#include "coordinator/edge/write_behind.h"

#include <algorithm>
#include <utility>

namespace tessera::edge {

using core::DirtyObject;
using core::ObjectWrite;
using core::RecordId;

namespace {

// After a trim that was refused.
constexpr absl::Duration kTrimPause = absl::Seconds(1);

}  // namespace

WriteBehind::WriteBehind(Options options, core::Store* store, core::PartitionState* state,
                         PayloadPages* payloads, StoredSizes* sizes,
                         std::function<void(absl::Status)> failed)
    : options_(options),
      store_(store),
      state_(state),
      payloads_(payloads),
      sizes_(sizes),
      failed_(std::move(failed)),
      kept_from_(options.kept_from),
      may_trim_below_(options.kept_from) {
  for (const auto& [id, bytes] : options_.records) Closed(id, bytes);
}

void WriteBehind::AtBoundary(RecordId closed, absl::Time now) {
  now_ = std::max(now_, now);
  if (batch_.has_value() || now_ < next_take_) return;
  const std::optional<RecordId> oldest_object = state_->OldestUnstored();
  const std::optional<RecordId> oldest_page = payloads_->OldestUnwritten();
  if (!oldest_object.has_value() && !oldest_page.has_value()) return;

  batch_ = Batch{.current = closed};
  // A deleted job's payloads go first: once its head is gone, nobody knows how many they were.
  const bool pages_first = payloads_->erasures_wait() || !oldest_object.has_value() ||
                           (oldest_page.has_value() && *oldest_page <= *oldest_object);
  if (pages_first) TakePages(options_.objects_per_write);
  if (!payloads_->erasures_wait()) {
    TakeObjects(options_.objects_per_write - batch_->writes.size());
    if (!pages_first) TakePages(options_.objects_per_write - batch_->writes.size());
  }
  next_take_ = waiting() > options_.backlog_max ? now_ : now_ + options_.write_interval;
  if (batch_->writes.empty()) {
    batch_.reset();  // All that waits is being fetched, or is lost.
    next_take_ = now_ + backoff_.Next();
    return;
  }
  if (closed <= committed_) Send();
}

void WriteBehind::TakeObjects(size_t max) {
  if (max == 0) return;
  for (DirtyObject& object : state_->TakeDirty(max)) {
    std::optional<std::string> bytes = state_->EncodeObject(object.key);
    ObjectWrite write{.key = object.key.ToString()};
    if (bytes.has_value()) {
      write.bytes = *std::move(bytes);
      write.readable = state_->ReadableFields(object.key);
    } else {
      write.erase = true;
    }
    batch_->sizes.push_back({object.key, write.bytes.size()});
    batch_->writes.push_back(std::move(write));
    batch_->objects.push_back(object);
  }
}

void WriteBehind::TakePages(size_t max) {
  if (max == 0) return;
  for (PayloadPages::DirtyPage& page : payloads_->TakeDirty(max, batch_->current)) {
    batch_->sizes.push_back({page.key, page.erase ? 0 : page.bytes.size()});
    batch_->writes.push_back({
        .key = page.key.ToString(),
        .bytes = std::exchange(page.bytes, {}),
        .erase = page.erase,
    });
    batch_->pages.push_back(std::move(page));
  }
}

void WriteBehind::Committed(RecordId id) {
  committed_ = id;
  ++commits_since_trim_;
  while (!announcements_.empty() && announcements_.front().by <= id) {
    may_trim_below_ = announcements_.front().kept_from;
    announcements_.pop_front();
  }
  for (; trimmable_ < records_.size() && records_[trimmable_].first < may_trim_below_;
       ++trimmable_) {
    trimmable_bytes_ += records_[trimmable_].second;
  }
  if (batch_.has_value() && !batch_->sent && batch_->current <= id) Send();
  Trim(/*pressed=*/false);
}

void WriteBehind::Tick(absl::Time now, bool pressed) {
  now_ = std::max(now_, now);
  Trim(pressed);
}

bool WriteBehind::WantsRecord() const {
  return !batch_.has_value() && waiting() == 0 && announcements_.empty() &&
         bytes_ - trimmable_bytes_ >= options_.journal_kept_bytes + options_.bytes_per_trim;
}

void WriteBehind::Send() {
  batch_->sent = true;
  store_->WriteObjects(options_.epoch, std::move(batch_->writes),
                       lifeline_.Guard([this](const absl::Status& status) { OnWritten(status); }));
}

void WriteBehind::OnWritten(const absl::Status& status) {
  const Batch batch = *std::exchange(batch_, std::nullopt);
  if (!status.ok()) {
    // Whether or not it was written: it will be again, with what is newest then.
    for (const DirtyObject& object : batch.objects) state_->NotStored(object);
    for (const PayloadPages::DirtyPage& page : batch.pages) payloads_->NotStored(page);
    if (!MayPass(status)) return failed_(status);
    next_take_ = now_ + backoff_.Next();
    return;
  }
  backoff_.Reset();
  for (const auto& [key, bytes] : batch.sizes) sizes_->Set(key, bytes);
  for (const DirtyObject& object : batch.objects) state_->Stored(object);
  for (const PayloadPages::DirtyPage& page : batch.pages) payloads_->Stored(page);
}

RecordId WriteBehind::Announce(RecordId announced_by) {
  // The last committed record stays in any case: it says how far the journal reaches back.
  RecordId kept_from = committed_;
  for (const std::optional<RecordId>& oldest :
       {state_->OldestUnstored(), payloads_->OldestUnwritten()}) {
    if (oldest.has_value()) kept_from = std::min(kept_from, *oldest);
  }
  if (!records_.empty()) kept_from = std::min(kept_from, records_[end_from_].first);
  if (kept_from > kept_from_) kept_from_ = kept_from;
  announcements_.push_back({announced_by, kept_from_});
  return kept_from_;
}

void WriteBehind::Closed(RecordId id, size_t bytes) {
  records_.push_back({id, bytes});
  bytes_ += bytes;
  end_bytes_ += bytes;
  while (end_from_ + 1 < records_.size() && end_bytes_ > options_.journal_kept_bytes) {
    end_bytes_ -= records_[end_from_++].second;
  }
}

void WriteBehind::Trim(bool pressed) {
  if (!options_.trim || trimming_ || now_ < next_trim_) return;
  const RecordId below = may_trim_below_;
  const bool due = pressed || commits_since_trim_ >= options_.commits_per_trim ||
                   trimmable_bytes_ >= options_.bytes_per_trim;
  if (below <= trimmed_below_ || !due) return;
  commits_since_trim_ = 0;
  trimming_ = true;
  store_->Trim(options_.epoch, below, lifeline_.Guard([this, below](const absl::Status& status) {
    trimming_ = false;
    if (status.ok()) return OnTrimmed(below);
    if (!MayPass(status)) return failed_(status);
    next_trim_ = now_ + kTrimPause;  // The next one is as good.
  }));
}

void WriteBehind::OnTrimmed(RecordId below) {
  trimmed_below_ = below;
  for (; !records_.empty() && records_.front().first < below; records_.pop_front()) {
    bytes_ -= records_.front().second;
    trimmable_bytes_ -= records_.front().second;
    --trimmable_;
    --end_from_;
  }
}

absl::Time WriteBehind::NextWake() const {
  if (batch_.has_value() || waiting() == 0) return absl::InfiniteFuture();
  return next_take_;
}

}  // namespace tessera::edge
