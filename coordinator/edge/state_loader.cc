#include "coordinator/edge/state_loader.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/edge/backoff.h"

namespace tessera::edge {

using core::ItemIndex;
using core::ObjectKey;
using core::Record;
using core::RecordId;
using core::StoredRecord;

void ReadEnd(core::Store* store, core::Store::DoneWith<StoredRecord> done) {
  // Either is among the first that an owner writes. They are read first: an object that is there
  // was written behind a journal, which is still there when its end is read, unless it is gone.
  const std::vector<std::string> names = {ObjectKey{core::ObjectKind::kPartition, 0, 0}.ToString(),
                                          ObjectKey{core::ObjectKind::kJob, 0, 0}.ToString()};
  using Objects = std::vector<std::optional<std::string>>;
  store->ReadObjects(names, [store, names, done = std::move(done)](absl::StatusOr<Objects> first) {
    if (!first.ok()) return done(first.status());
    std::string found;
    for (size_t i = 0; i < first->size() && found.empty(); ++i) {
      if ((*first)[i].has_value()) found = names[i];
    }
    store->LastRecord([done, found](absl::StatusOr<StoredRecord> last) {
      if (last.ok() && last->id == RecordId{} && !found.empty()) {
        return done(
            absl::DataLossError(absl::StrCat("the journal, key log, is gone: object ", found,
                                             " is there, which never is without it")));
      }
      done(std::move(last));
    });
  });
}

bool LoadedState::Knows(RecordId id) const {
  return tail.empty() || id < tail.front() || std::binary_search(tail.begin(), tail.end(), id);
}

StateLoader::StateLoader(core::Store* store, Options options, RetryLater retry_later, Done done)
    : store_(store),
      options_(options),
      retry_later_(std::move(retry_later)),
      done_(std::move(done)) {}

template <typename T>
auto StateLoader::Handle(void (StateLoader::*again)(), std::function<void(T)> next) {
  return [self = shared_from_this(), again, next = std::move(next)](absl::StatusOr<T> answer) {
    if (self->cancelled_) return;
    if (answer.ok()) return next(*std::move(answer));
    if (!MayPass(answer.status())) return self->Finish(answer.status());
    self->retry_later_(answer.status(), [self, again] {
      if (!self->cancelled_) (self.get()->*again)();
    });
  };
}

void StateLoader::Start() { ReadLast(); }

void StateLoader::ReadLast() {
  ReadEnd(store_, Handle<StoredRecord>(&StateLoader::ReadLast,
                                       [this](StoredRecord last) { OnLast(std::move(last)); }));
}

void StateLoader::OnLast(StoredRecord last) {
  loaded_ = LoadedState();
  ending_.clear();
  read_to_ = newest_object_ = RecordId{};
  must_reach_ = last.id;
  if (last.id == RecordId{}) return Finish(absl::OkStatus());
  if (last.bytes.empty()) {
    return Finish(absl::DataLossError(
        absl::StrCat("the journal's last record, ", last.id.ToString(), ", is gone")));
  }
  const absl::StatusOr<Record> record = core::DecodeRecord(last.bytes);
  if (!record.ok()) {
    return Finish(absl::DataLossError(
        absl::StrCat("record ", last.id.ToString(), ": ", record.status().message())));
  }
  loaded_.kept_from = record->kept_from;
  if (!options_.objects) return ReadTail();
  if (last.id.sequence == 0 && record->follows != RecordId{})
    return ReadBeforeFence(record->follows, /*followed=*/true);
  keys_ = loaded_.state.ObjectsToLoad();
  ReadObjects();
}

// A fence passes on what the last record said when its owner came. Until it was in the journal the
// owner before could still append, and trim as far as these records announced. Where what it follows
// (`followed`) is a fence as well, whose owner got no further, the same is true of that one.
void StateLoader::ReadBeforeFence(RecordId from, bool followed) {
  using Records = std::vector<StoredRecord>;
  store_->ReadJournal(from, options_.records_per_read,
                      Handle<Records>(&StateLoader::ReadLast, [=, this](const Records& records) {
                        for (const StoredRecord& stored : records) {
                          if (stored.id >= must_reach_) break;
                          const absl::StatusOr<Record> record = core::DecodeRecord(stored.bytes);
                          if (!record.ok()) continue;  // If it is needed, that comes out.
                          if (followed && stored.id == from && from.sequence == 0 &&
                              record->follows != RecordId{}) {
                            return ReadBeforeFence(record->follows, /*followed=*/true);
                          }
                          loaded_.kept_from = std::max(loaded_.kept_from, record->kept_from);
                        }
                        if (!records.empty() && records.back().id < must_reach_) {
                          return ReadBeforeFence(records.back().id.Next(), /*followed=*/false);
                        }
                        keys_ = loaded_.state.ObjectsToLoad();
                        ReadObjects();
                      }));
}

// --- Objects -------------------------------------------------------------------------------------

void StateLoader::ReadObjects() {
  if (keys_.empty()) keys_ = loaded_.state.ObjectsToLoad();
  if (keys_.empty()) return ReadTail();
  const size_t count = std::min(keys_.size(), options_.objects_per_read);
  std::vector<ObjectKey> keys(keys_.begin(), keys_.begin() + static_cast<ptrdiff_t>(count));
  std::vector<std::string> names;
  names.reserve(count);
  for (const ObjectKey& key : keys) names.push_back(key.ToString());
  using Objects = std::vector<std::optional<std::string>>;
  store_->ReadObjects(
      std::move(names),
      Handle<Objects>(&StateLoader::ReadObjects, [this, keys = std::move(keys)](Objects objects) {
        OnObjects(keys, std::move(objects));
      }));
}

void StateLoader::OnObjects(std::vector<ObjectKey> keys,
                            std::vector<std::optional<std::string>> objects) {
  if (objects.size() != keys.size()) {
    return Finish(absl::InternalError("the store answered for other objects than were asked for"));
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const absl::StatusOr<RecordId> current = loaded_.state.LoadObject(keys[i], objects[i]);
    if (!current.ok()) return Finish(current.status());
    if (!objects[i].has_value()) continue;
    loaded_.sizes.Set(keys[i], objects[i]->size());
    ++loaded_.objects;
    newest_object_ = std::max(newest_object_, *current);
  }
  keys_.erase(keys_.begin(), keys_.begin() + static_cast<ptrdiff_t>(keys.size()));
  ReadObjects();
}

// --- The tail ------------------------------------------------------------------------------------

void StateLoader::ReadTail() {
  const RecordId from = read_to_ != RecordId{} ? read_to_.Next()
                        : options_.objects     ? loaded_.kept_from
                                               : RecordId{};
  using Records = std::vector<StoredRecord>;
  store_->ReadJournal(from, options_.records_per_read,
                      Handle<Records>(&StateLoader::ReadTail,
                                      [this](Records records) { OnTail(std::move(records)); }));
}

void StateLoader::OnTail(std::vector<StoredRecord> records) {
  for (StoredRecord& stored : records) {
    absl::StatusOr<Record> record = core::DecodeRecord(stored.bytes);
    if (!record.ok()) {
      return Finish(absl::DataLossError(
          absl::StrCat("record ", stored.id.ToString(), ": ", record.status().message())));
    }
    const size_t bytes = stored.bytes.size();
    const bool first = read_to_ == RecordId{};
    const RecordId whole_from = options_.objects ? loaded_.kept_from : RecordId{};
    // Nothing is missing before the first one if it reaches back far enough, or if what it follows
    // lies before that.
    if (first && stored.id > whole_from && record->follows >= whole_from &&
        record->follows != RecordId{}) {
      return OnHoleAtStart(std::move(stored));
    }
    // Between the moment when a new owner asked for the last id and the one when its fence stood,
    // the owner before may have appended more: a fence follows what it names, or something later.
    const bool fence = stored.id.sequence == 0;
    if (!first && (fence ? record->follows > read_to_ : record->follows != read_to_)) {
      return Finish(absl::DataLossError(
          absl::StrCat("the journal has a hole: after ", read_to_.ToString(), " comes ",
                       stored.id.ToString(), ", which follows ", record->follows.ToString())));
    }
    const absl::Status status = Fold(stored.id, *std::move(record));
    if (!status.ok()) return Finish(status);
    read_to_ = stored.id;
    loaded_.tail.push_back(stored.id);
    loaded_.tail_bytes.push_back(bytes);
  }
  // A live owner goes on appending: what there was when we began is enough.
  const bool reached = read_to_ >= std::max(must_reach_, newest_object_);
  if (records.size() == options_.records_per_read) return ReadTail();
  if (!records.empty() && !reached) return ReadTail();

  if (read_to_ < must_reach_) {
    return Finish(
        absl::DataLossError(absl::StrCat("the journal ends at ", read_to_.ToString(),
                                         ", but its last id is ", must_reach_.ToString())));
  }
  if (!loaded_.Knows(newest_object_)) {
    return Finish(absl::DataLossError(
        absl::StrCat("records up to ", newest_object_.ToString(),
                     " are lost: a stored object is current to it, the journal lacks it")));
  }
  Finish(loaded_.state.Check());
}

absl::Status StateLoader::Fold(RecordId id, Record record) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<core::Event> events, core::DecodeEvents(record));
  for (const core::Event& event : events) {
    if (const auto* deleted = std::get_if<core::JobDeleted>(&event)) {
      const core::JobState* job = loaded_.state.job(deleted->job);
      // Without a job its deletion is in the stored objects, and its payloads were erased before.
      if (job != nullptr) loaded_.deletions.push_back({id, deleted->job, job->head.items});
      loaded_.intake.erase(deleted->job);
    }
    if (const auto* ended = std::get_if<core::ItemsEnded>(&event)) NoteEnd(*ended);
    TESSERA_RETURN_IF_ERROR(loaded_.state.Apply(id, event));
  }
  loaded_.state.CloseRecord();
  for (core::PayloadBatch& batch : record.payloads) {
    if (loaded_.state.job(batch.job) == nullptr) continue;  // Deleted since.
    const core::JobIndex job = batch.job;
    loaded_.intake[job].push_back({id, std::move(batch)});
  }
  return absl::OkStatus();
}

void StateLoader::NoteEnd(const core::ItemsEnded& event) {
  if (!options_.ended) return;
  std::vector<ItemIndex>& items = ending_[event.assignment];
  for (const core::ItemEnd& end : event.items) {
    // One that was missed ends again when its answer comes late, or the grace is over.
    if (std::find(items.begin(), items.end(), end.outcome.item) == items.end()) {
      items.push_back(end.outcome.item);
    }
  }
  if (!event.over) return;
  // Fewer than there were: the end began before the tail.
  if (items.size() == event.granted) loaded_.ended.push_back({event.assignment, items});
  ending_.erase(event.assignment);
}

void StateLoader::OnHoleAtStart(StoredRecord first) {
  const RecordId kept_from = loaded_.kept_from;
  const absl::Status hole = absl::DataLossError(
      absl::StrCat("the journal begins at ", first.id.ToString(), ", but is needed from ",
                   options_.objects ? kept_from.ToString() : "its beginning"));
  if (!options_.objects || ++restarts_ > options_.restarts_max) return Finish(hole);
  // Did an owner write objects and trim while we read? Then its later records say so.
  using Last = StoredRecord;
  store_->LastRecord(Handle<Last>(&StateLoader::ReadLast, [this, kept_from, hole](Last last) {
    const absl::StatusOr<Record> record = core::DecodeRecord(last.bytes);
    if (record.ok() && record->kept_from > kept_from) return OnLast(std::move(last));
    Finish(hole);
  }));
}

void StateLoader::Finish(absl::Status status) {
  loaded_.last = read_to_;
  if (status.ok()) return done_(std::move(loaded_));
  // A head that was read before its job was deleted and pages that were read after it do not agree.
  // The next time the head says so; what is lost in truth is missed again.
  if (!options_.fenced && absl::IsDataLoss(status) && status != trouble_ &&
      ++restarts_ <= options_.restarts_max) {
    trouble_ = std::move(status);
    return ReadLast();
  }
  done_(std::move(status));
}

// --- For inspection ------------------------------------------------------------------------------

void LoadState(core::Store* store, bool objects,
               std::function<void(absl::StatusOr<core::PartitionState>)> done) {
  auto loader = std::make_shared<StateLoader>(
      store, StateLoader::Options{.objects = objects, .ended = false, .fenced = false},
      [done](absl::Status trouble, const std::function<void()>&) { done(std::move(trouble)); },
      [done](absl::StatusOr<LoadedState> loaded) {
        if (!loaded.ok()) return done(loaded.status());
        done(std::move(loaded->state));
      });
  loader->Start();
}

}  // namespace tessera::edge
