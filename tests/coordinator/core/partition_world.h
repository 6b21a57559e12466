// A partition with a journal in memory, for tests: what a host does, without a store.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/core/partition.h"
#include "gtest/gtest.h"

namespace tessera::core {

inline const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

// Every object of the state, by name: equal maps, equal states, and a difference names the object.
inline std::map<std::string, std::string> ObjectsOf(const PartitionState& state) {
  std::map<std::string, std::string> objects;
  state.ForEachObject([&](const ObjectKey& key, absl::string_view bytes) {
    objects[key.ToString()] = std::string(bytes);
  });
  return objects;
}

class PartitionWorld {
 public:
  explicit PartitionWorld(PartitionOptions options = {}) : options_(options) {
    Open(PartitionState());
  }

  Partition& partition() { return *partition_; }
  Partition* operator->() { return partition_.get(); }
  absl::Time now() const { return now_; }
  void Pass(absl::Duration d) {
    now_ += d;
    partition_->Tick(now_);
  }
  void SetNow(absl::Time now) { now_ = now; }

  // Closes the record, as a commit does, and computes the fits that were asked for.
  void Commit(bool fits = true) {
    std::string events = partition_->TakeEvents();
    if (!events.empty()) journal_.push_back({next_, std::move(events)});
    next_ = next_.Next();
    partition_->BeginRecord(next_);
    Notices notices = partition_->TakeNotices();
    ended_.insert(ended_.end(), notices.leases_ended.begin(), notices.leases_ended.end());
    if (!fits) return;
    std::vector<FitWork> work = partition_->TakeFitWork();
    for (FitWork& w : work) {
      partition_->FitComputed(w.job, ComputeFit(w.votes, w.number, options_.fit), now_);
    }
    const bool due = partition_->NextWake() <= now_;
    while (partition_->NextWake() <= now_) partition_->Tick(now_);
    if (due || !work.empty()) Commit();
  }

  // Begins to write up to `max` dirty objects, if none are on their way; call right after Commit().
  void BeginWrite(size_t max) {
    if (!writing_.empty()) return;
    for (const DirtyObject& dirty : partition_->mutable_state().TakeDirty(max)) {
      writing_.push_back({dirty, partition_->state().EncodeObject(dirty.key)});
    }
  }
  // They are written, all or none; and the writer is told so, or does not know. In any case it is
  // never told of what is not.
  void EndWrite(bool written = true, bool told = true) {
    for (const auto& [dirty, bytes] : writing_) {
      if (written && bytes.has_value()) objects_[dirty.key.ToString()] = *bytes;
      if (written && !bytes.has_value()) objects_.erase(dirty.key.ToString());
      if (written && told) {
        partition_->mutable_state().Stored(dirty);
      } else {
        partition_->mutable_state().NotStored(dirty);
      }
    }
    writing_.clear();
  }
  void WriteObjects(size_t max) {
    BeginWrite(max);
    EndWrite();
  }

  PartitionState FoldJournal() const {
    PartitionState state;
    const absl::Status folded = Fold(RecordId{}, state);
    EXPECT_TRUE(folded.ok()) << folded;
    return state;
  }

  // From the written objects and the journal's tail: only what trimming would have left.
  PartitionState FoldObjects() {
    absl::StatusOr<PartitionState> state = LoadObjects(objects_);
    EXPECT_TRUE(state.ok()) << state.status();
    return *std::move(state);
  }
  // The same from these objects; the first thing about them that is wrong.
  using Objects = std::map<std::string, std::string>;
  absl::StatusOr<PartitionState> LoadObjects(const Objects& objects) const {
    PartitionState state;
    for (auto keys = state.ObjectsToLoad(); !keys.empty(); keys = state.ObjectsToLoad()) {
      for (const ObjectKey& key : keys) {
        std::optional<absl::string_view> bytes;
        if (const auto found = objects.find(key.ToString()); found != objects.end()) {
          bytes = found->second;
        }
        if (const auto loaded = state.LoadObject(key, bytes); !loaded.ok()) return loaded.status();
      }
    }
    // The last record stays in any case.
    const std::optional<RecordId> oldest = partition_->state().OldestUnstored();
    const absl::Status folded = Fold(oldest.value_or(journal_.back().first), state);
    if (!folded.ok()) return folded;
    return state;
  }
  const Objects& objects() const { return objects_; }

  // Goes down without warning and comes up again from objects and journal, `outage` later.
  void Crash(absl::Duration outage) {
    PartitionState state = FoldObjects();
    writing_.clear();
    now_ += outage;
    next_ = RecordId{next_.epoch + 1, 1};
    Open(std::move(state));
  }

  const std::vector<LeaseEnded>& ended() const { return ended_; }
  // Every record's events, encoded.
  const std::vector<std::pair<RecordId, std::string>>& journal() const { return journal_; }

  // --- Short-hands -------------------------------------------------------------------------------

  static CreateJob TwoClasses(std::string id, Micros budget = 1'000'000'000, Micros price = 1000) {
    CreateJob job;
    job.identity.tenant = "acme";
    job.identity.id = std::move(id);
    job.identity.classes = {"no", "yes"};
    job.policy.budget_micros = budget;
    job.policy.price_micros = price;
    job.policy.pools = {"default"};
    job.policy.split.items_max = 1;
    return job;
  }

  JobIndex Create(const CreateJob& job, uint32_t items, bool seal = true) {
    const JobIndex index = partition_->CreateJob(job, now_).value();
    AddItems add;
    add.job = index;
    add.size = add.fresh = items;
    EXPECT_TRUE(partition_->AddItems(add, now_).ok());
    if (seal) {
      EXPECT_TRUE(partition_->SealJob(index, now_).ok());
    }
    return index;
  }

  static LeaseRequest Ask(int worker, uint32_t items_max = 0) {
    LeaseRequest request;
    request.worker = absl::StrCat("platforms/p/workers/w", worker);
    request.tenant = "acme";
    request.pool.id = "default";
    request.items_max = items_max;
    return request;
  }

  std::optional<Lease> TryLease(int worker, uint32_t items_max = 0) {
    return partition_->RequestLease(Ask(worker, items_max), now_).value();
  }

  absl::StatusOr<Submitted> Answer(const Lease& lease, const std::string& choice) {
    Submit submit;
    submit.assignment = lease.assignment;
    for (const ItemIndex i : lease.items) submit.answers.push_back({i, choice});
    return partition_->Submit(submit, now_);
  }
  // Workers first, first + 1, ... say `choice` until nobody is given anything; how many answers.
  int AnswerAll(const std::string& choice, int first, int workers) {
    int answers = 0;
    for (int w = first; w < first + workers; ++w) {
      while (const auto lease = TryLease(w)) {
        const auto submitted = Answer(*lease, choice);
        EXPECT_TRUE(submitted.ok()) << submitted.status();
        answers += static_cast<int>(lease->items.size());
        Commit();
      }
    }
    return answers;
  }

 private:
  void Open(PartitionState state) {
    partition_ = std::make_unique<Partition>(options_, std::move(state));
    partition_->BeginRecord(next_);
    partition_->Start(/*nonce=*/next_.epoch, now_);
    Commit();
  }

  absl::Status Fold(RecordId from, PartitionState& state) const {
    for (const auto& [id, events] : journal_) {
      if (id < from) continue;
      Reader reader(events);
      while (!reader.AtEnd()) {
        const std::optional<Event> event = ReadEvent(reader);
        if (!event.has_value()) return absl::DataLossError("an event is malformed");
        if (absl::Status applied = state.Apply(id, *event); !applied.ok()) return applied;
      }
    }
    return state.Check();
  }

  const PartitionOptions options_;
  absl::Time now_ = kStart;
  RecordId next_{1, 1};
  std::unique_ptr<Partition> partition_;
  std::vector<std::pair<RecordId, std::string>> journal_;
  Objects objects_;
  std::vector<std::pair<DirtyObject, std::optional<std::string>>> writing_;  // On their way.
  std::vector<LeaseEnded> ended_;
};

}  // namespace tessera::core
