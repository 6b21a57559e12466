// Owners of one partition, one after another, over one disk that outlives them: for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/core/record.h"
#include "coordinator/edge/host.h"
#include "gtest/gtest.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/faulty_store.h"

namespace tessera::edge {

using testing::FaultyDisk;
using testing::FaultyStore;

// What item `item` of job `job` was added with. Bytes differ in length, and some are empty.
inline core::Payload PayloadOf(core::JobIndex job, core::ItemIndex item) {
  return {.key = absl::StrCat("job", job.value(), "/item", item),
          .bytes = std::string(item % 50, static_cast<char>('a' + item % 26))};
}

// One owner: a host and its connection.
class Owner {
 public:
  Owner(FaultyDisk* disk, const HostOptions& options, FaultyStore::Faults faults = {})
      : store_(disk, faults), host_(std::make_unique<PartitionHost>(options, &store_)) {}

  PartitionHost& host() { return *host_; }
  PartitionHost* operator->() { return host_.get(); }
  FaultyStore& store() { return store_; }
  core::Partition& partition() { return host_->partition(); }

  // The process dies, and what it had sent may or may not arrive.
  void Crash() {
    store_.Crash();
    host_.reset();
  }
  void DropHost() { host_.reset(); }

 private:
  FaultyStore store_;
  std::unique_ptr<PartitionHost> host_;
};

class HostWorld {
 public:
  explicit HostWorld(uint64_t seed = 1) : disk_({.seed = seed}) {}

  FaultyDisk& disk() { return disk_; }
  absl::Time now() const { return now_; }
  void Pass(absl::Duration d) { now_ += d; }

  HostOptions Options() {
    HostOptions options;
    options.nonce = ++nonces_;
    options.key_seed[0] = 17;
    options.key_seed[1] = 4;
    options.journal_kept_bytes = 0;  // So that trimming happens at all.
    return options;
  }

  // Started, and run until it serves or has failed.
  std::unique_ptr<Owner> Open(const HostOptions& options, FaultyStore::Faults faults = {}) {
    auto owner = std::make_unique<Owner>(&disk_, options, faults);
    std::optional<absl::Status> started;
    (*owner)->Start(now_, [&](absl::Status status) { started = std::move(status); });
    for (int i = 0; i < 100'000 && !started.has_value(); ++i) Step(*owner);
    EXPECT_TRUE(started.has_value()) << "it never started";
    start_status_ = started.value_or(absl::InternalError("never started"));
    return owner;
  }
  std::unique_ptr<Owner> Open() { return Open(Options()); }
  const absl::Status& start_status() const { return start_status_; }

  // One turn: time passes to the next thing that is due, if nothing is on its way.
  void Step(Owner& owner) {
    owner->Tick(now_);
    owner->Flush(now_);
    if (owner.store().pending() > 0) {
      owner.store().Deliver();
      now_ += absl::Microseconds(100);
      return;
    }
    const absl::Time wake = owner->NextWake();
    now_ = std::max(now_ + absl::Microseconds(100), std::min(wake, now_ + absl::Milliseconds(20)));
  }

  void RunFor(Owner& owner, absl::Duration d) {
    for (const absl::Time until = now_ + d; now_ < until;) Step(owner);
  }

  // Until all that was decided is committed.
  absl::Status Commit(Owner& owner) {
    std::optional<absl::Status> committed;
    owner->WhenCommitted([&](absl::Status status) { committed = std::move(status); });
    EXPECT_FALSE(committed.has_value()) << "a reply ran inside the call that asked";
    for (int i = 0; i < 100'000 && !committed.has_value(); ++i) Step(owner);
    return committed.value_or(absl::DeadlineExceededError("it never came"));
  }

  // Until everything is in the objects.
  void WriteAll(Owner& owner) {
    Commit(owner).IgnoreError();
    for (int i = 0; i < 100'000 && owner->status().dirty_objects > 0; ++i) Step(owner);
    EXPECT_EQ(owner->status().dirty_objects, 0u);
  }

  // --- Short-hands -------------------------------------------------------------------------------

  core::JobIndex CreateJob(Owner& owner, std::string id) {
    core::CreateJob job = core::PartitionWorld::TwoClasses(std::move(id));
    job.policy.split.items_max = 20;
    return owner.partition().CreateJob(job, now_).value();
  }

  // Adds the job's next `count` items, as a service would.
  void AddItems(Owner& owner, core::JobIndex job, uint32_t count) {
    const uint64_t offset = owner.partition().Job(job)->committed_offset;
    const core::ItemsAddedReply added =
        owner.partition()
            .AddItems({.job = job, .offset = offset, .size = count, .fresh = count}, now_)
            .value();
    core::PayloadBatch batch{.job = job, .first = added.first};
    for (uint32_t i = 0; i < count; ++i) batch.payloads.push_back(PayloadOf(job, added.first + i));
    owner->AddPayloads(std::move(batch));
  }

  absl::StatusOr<std::vector<core::Payload>> Read(Owner& owner, core::JobIndex job,
                                                  std::vector<core::ItemIndex> items) {
    std::optional<absl::StatusOr<std::vector<core::Payload>>> answer;
    owner->ReadPayloads(
        job, std::move(items),
        [&](absl::StatusOr<std::vector<core::Payload>> payloads) { answer = std::move(payloads); });
    EXPECT_FALSE(answer.has_value()) << "a reply ran inside the call that asked";
    for (int i = 0; i < 100'000 && !answer.has_value(); ++i) Step(owner);
    if (!answer.has_value()) return absl::DeadlineExceededError("it never came");
    return *std::move(answer);
  }

  // Every item of the job is found by its key, and its payload is what was added.
  void ExpectItems(Owner& owner, core::JobIndex job, uint32_t count) {
    ASSERT_EQ(owner.partition().Job(job)->counts.total(), count);
    std::vector<core::ItemIndex> all;
    for (core::ItemIndex item = 0; item < count; ++item) {
      all.push_back(item);
      const core::Payload expected = PayloadOf(job, item);
      const auto found = owner->FindKey(job, expected.key);
      ASSERT_TRUE(found.has_value()) << "item " << item;
      ASSERT_EQ(found->item, item);
      ASSERT_EQ(found->payload_digest, owner->PayloadDigest(expected.bytes));
    }
    EXPECT_FALSE(owner->FindKey(job, PayloadOf(job, count).key).has_value());
    const absl::StatusOr<std::vector<core::Payload>> payloads = Read(owner, job, all);
    ASSERT_TRUE(payloads.ok()) << payloads.status();
    ASSERT_EQ(payloads->size(), count);
    for (core::ItemIndex item = 0; item < count; ++item) {
      ASSERT_EQ((*payloads)[item].key, PayloadOf(job, item).key);
      ASSERT_EQ((*payloads)[item].bytes, PayloadOf(job, item).bytes);
    }
  }

  absl::StatusOr<core::PartitionState> Load(bool objects) {
    FaultyStore store(&disk_);
    std::optional<absl::StatusOr<core::PartitionState>> loaded;
    LoadState(&store, objects, [&](absl::StatusOr<core::PartitionState> state) {
      loaded.emplace(std::move(state));
    });
    store.DeliverAll();
    EXPECT_TRUE(loaded.has_value());
    return *std::move(loaded);
  }

  // The state as it is in memory, as the objects and the tail give it, and (`whole`: where nothing
  // was trimmed) as the journal alone gives it: one state. Call it when all is committed.
  void ExpectOneState(Owner& owner, bool whole) {
    const std::map<std::string, std::string> here = core::ObjectsOf(owner.partition().state());
    const std::string digest = StateDigest(owner.partition().state());
    for (const bool objects : {true, false}) {
      if (!objects && !whole) continue;
      const absl::StatusOr<core::PartitionState> stored = Load(objects);
      ASSERT_TRUE(stored.ok()) << stored.status();
      ASSERT_EQ(core::ObjectsOf(*stored), here) << (objects ? "objects and tail" : "journal");
      ASSERT_EQ(StateDigest(*stored), digest);
    }
  }

 private:
  FaultyDisk disk_;
  absl::Time now_ = core::kStart;
  uint64_t nonces_ = 100;
  absl::Status start_status_;
};

}  // namespace tessera::edge
