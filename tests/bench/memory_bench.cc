// What a million items cost, in the coordinator and in Redis.
//
// One job: 40 % of its items wait, 20 % are in progress (1 to 3 answers, each eighth also leased),
// 40 % are resolved by five answers. All of it comes from real calls of Partition: each answer is
// one RequestLease and one Submit. Pages hold items of one state each, so that the cost of a state
// shows in Redis as well; states alternate from page to page.
//
// Built twice: by a bare partition, for what the core takes by the allocator's own count, and by a
// PartitionHost on a private redis-server (appendfsync no, which changes no byte) for the rest.
#include <malloc.h>
#include <stdlib.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "coordinator/core/partition.h"
#include "coordinator/core/ready_queue.h"
#include "coordinator/core/record.h"
#include "coordinator/edge/host.h"
#include "coordinator/store/embedded_redis.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"
#include "coordinator/store/redis_store.h"
#include "hiredis/hiredis.h"
#include "tests/bench/data_folder.h"
#include "tests/bench/figures.h"
#include "tests/support/temp_dir.h"

ABSL_FLAG(uint32_t, items, 1'000'000, "Items of the job.");
ABSL_FLAG(uint32_t, payload_bytes, 200, "Bytes of each item's payload.");
ABSL_FLAG(bool, json, false, "Print one JSON object.");

namespace tessera::bench {
namespace {

using core::ItemIndex;
using core::JobIndex;

constexpr uint32_t kWorkers = 2000;
constexpr uint32_t kAnswers = 5;
constexpr uint32_t kBatch = 10'000;  // Items of one AddItems.
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

enum class Fate { kWaits, kInProgress, kResolved };

Fate FateOf(ItemIndex item) {
  const uint32_t tenth = item / core::kItemsPerPage % 10;
  return tenth % 5 < 2 ? Fate::kWaits : tenth % 5 < 3 ? Fate::kInProgress : Fate::kResolved;
}
uint32_t AnswersOf(ItemIndex item) {
  switch (FateOf(item)) {
    case Fate::kWaits:
      return 0;
    case Fate::kInProgress:
      return 1 + item % 3;
    case Fate::kResolved:
      return kAnswers;
  }
  return 0;
}
bool LeasedToo(ItemIndex item) { return FateOf(item) == Fate::kInProgress && item % 8 == 0; }

std::string WorkerName(ItemIndex item, uint32_t answer) {
  return absl::StrCat("platforms/bench/workers/w", (item * 7 + answer * 131) % kWorkers);
}

core::CreateJob TheJob() {
  core::CreateJob job;
  job.identity.tenant = "bench";
  job.identity.id = "memory";
  job.identity.classes = {"no", "yes"};
  job.policy.budget_micros = 1'000'000'000'000'000;
  job.policy.price_micros = 10'000;
  job.policy.pools = {"default"};
  job.policy.split.items_max = 1;
  job.policy.quality = {.answers_min = kAnswers, .answers_max = kAnswers};
  return job;
}

core::PartitionOptions Options() {
  core::PartitionOptions options;
  // Fits cost time, and per worker, not per item: none is asked for here.
  options.refit_answers_min = uint64_t{1} << 60;
  return options;
}

// The calls that make the job, one item after another.
class Story {
 public:
  Story(core::Partition* partition, JobIndex job) : partition_(*partition), job_(job) {
    request_.tenant = "bench";
    request_.pool.id = "default";
    request_.only_job = job;
    request_.only_items.resize(1);
    submit_.answers.resize(1);
  }

  core::Lease Grant(ItemIndex item, uint32_t answer) {
    now_ += absl::Microseconds(1);
    request_.worker = WorkerName(item, answer);
    request_.only_items[0] = item;
    absl::StatusOr<std::optional<core::Lease>> lease = partition_.RequestLease(request_, now_);
    TESSERA_CHECK_OK(lease.status());
    TESSERA_CHECK(lease->has_value()) << "item " << item << " was not granted";
    return **std::move(lease);
  }

  void Answer(ItemIndex item, uint32_t answer) {
    const core::Lease lease = Grant(item, answer);
    submit_.assignment = lease.assignment;
    submit_.answers[0] = {item, (item + answer) % 4 == 0 ? "no" : "yes"};
    submit_.active_seconds = 12;
    TESSERA_CHECK_OK(partition_.Submit(submit_, now_).status());
  }

  // All that happens to one item.
  void Tell(ItemIndex item) {
    const uint32_t answers = AnswersOf(item);
    for (uint32_t k = 0; k < answers; ++k) Answer(item, k);
    if (LeasedToo(item)) Grant(item, answers);
  }

  absl::Time now() const { return now_; }

 private:
  core::Partition& partition_;
  const JobIndex job_;
  core::LeaseRequest request_;
  core::Submit submit_;
  absl::Time now_ = kStart;
};

// Bytes in use by the allocator's own count, its headers included.
double Allocated() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

struct Totals {
  uint32_t items = 0;
  uint32_t waiting = 0;
  uint32_t in_progress = 0;
  uint32_t resolved = 0;
  uint64_t open_answers = 0;
  uint64_t open_leases = 0;

  explicit Totals(uint32_t count) : items(count) {
    for (ItemIndex i = 0; i < count; ++i) {
      switch (FateOf(i)) {
        case Fate::kWaits:
          ++waiting;
          break;
        case Fate::kResolved:
          ++resolved;
          break;
        case Fate::kInProgress:
          ++in_progress;
          open_answers += AnswersOf(i);
          open_leases += LeasedToo(i) ? 1 : 0;
      }
    }
  }
};

// A partition whose records go nowhere.
class Bare {
 public:
  Bare() : partition_(Options(), core::PartitionState()) {
    partition_.BeginRecord(next_);
    partition_.Start(1, kStart);
    job_ = partition_.CreateJob(TheJob(), kStart).value();
    // Workers are not the items' cost: they are here before the counting starts.
    for (uint32_t w = 0; w < kWorkers; ++w) {
      core::WorkerView worker;
      worker.name = absl::StrCat("platforms/bench/workers/w", w);
      TESSERA_CHECK_OK(partition_.UpdateWorker(worker, kStart));
    }
    Commit();
  }

  void Add(uint32_t items) {
    for (uint32_t offset = 0; offset < items; offset += kBatch) {
      const uint32_t size = std::min(kBatch, items - offset);
      core::AddItems add{.job = job_, .offset = offset, .size = size, .fresh = size};
      TESSERA_CHECK_OK(partition_.AddItems(add, kStart).status());
      Commit();
    }
  }

  void Commit() {
    partition_.TakeEvents();
    partition_.TakeNotices();
    TESSERA_CHECK(partition_.TakeFitWork().empty());
    next_ = next_.Next();
    partition_.BeginRecord(next_);
    core::PartitionState& state = partition_.mutable_state();
    for (const core::DirtyObject& object : state.TakeDirty(1 << 20)) state.Stored(object);
  }

  core::Partition& partition() { return partition_; }
  JobIndex job() const { return job_; }
  core::ItemTable::Memory items_memory() const {
    return partition_.state().job(job_)->items.MemoryUsed();
  }

 private:
  core::Partition partition_;
  core::RecordId next_{1, 1};
  JobIndex job_;
};

void MeasureCore(uint32_t items, Figures* figures) {
  const Totals totals(items);
  Bare bare;
  Story story(&bare.partition(), bare.job());
  const double empty = Allocated();
  bare.Add(items);
  const double added = Allocated();
  const auto tell = [&](Fate fate) {
    uint32_t told = 0;
    for (ItemIndex i = 0; i < items; ++i) {
      if (FateOf(i) != fate) continue;
      story.Tell(i);
      if (++told % 256 == 0) bare.Commit();
    }
    bare.Commit();
  };
  tell(Fate::kInProgress);
  const double worked = Allocated();
  const core::ItemTable::Memory open = bare.items_memory();
  tell(Fate::kResolved);
  const double done = Allocated();
  const core::ItemTable::Memory all = bare.items_memory();

  // The queue that the partition keeps, filled again with the same items.
  core::ReadyQueue ready;
  const core::JobState& job = *bare.partition().state().job(bare.job());
  for (ItemIndex i = 0; i < items; ++i) {
    if (FateOf(i) == Fate::kInProgress) ready.Insert(*job.items.OpenSlot(i), i, 0);
  }

  const double waiting = (added - empty) / items;
  const double answers = static_cast<double>(totals.open_answers) / totals.in_progress;
  const double packed = static_cast<double>(all.packed_bytes) / totals.resolved;
  figures->Add("core_waiting", "bytes/item", waiting, AtMost(40));
  figures->Add("core_in_progress", "bytes/item", waiting + (worked - added) / totals.in_progress,
               AtMost(120 + 12 * answers));
  figures->Add("core_in_progress_answers", "per item", answers);
  figures->Add("core_in_progress_leases", "per item",
               static_cast<double>(totals.open_leases) / totals.in_progress);
  figures->Add("core_resolved", "bytes/item", waiting + (done - worked) / totals.resolved - packed,
               AtMost(8));
  figures->Add("core_resolved_page_cache", "bytes/item", packed);
  figures->Add("core_all", "bytes/item", (done - empty) / items);
  // The same by the structures' own count: what of it are items, and what the rest (leases, their
  // deadlines, tallies).
  figures->Add("core_own_pages", "bytes/item", static_cast<double>(all.pages_bytes) / items);
  figures->Add("core_own_revisions", "bytes/item",
               static_cast<double>(all.revisions_bytes) / totals.resolved);
  figures->Add("core_own_in_progress", "bytes/item",
               static_cast<double>(open.in_progress_bytes) / totals.in_progress);
  figures->Add("core_own_ready_queue", "bytes/item",
               static_cast<double>(ready.bytes()) / totals.in_progress);
}

// All items of a job at once through all their answers, as it happens when workers abound: what is
// left when every item that was in progress is resolved.
void MeasureAfterPeak(uint32_t items, Figures* figures) {
  Bare bare;
  Story story(&bare.partition(), bare.job());
  const double empty = Allocated();
  bare.Add(items);
  for (uint32_t k = 0; k < kAnswers; ++k) {
    for (ItemIndex i = 0; i < items; ++i) {
      story.Answer(i, k);
      if (i % 256 == 0) bare.Commit();
    }
  }
  bare.Commit();
  const core::ItemTable::Memory memory = bare.items_memory();
  figures->Add("core_resolved_after_peak", "bytes/item",
               (Allocated() - empty - static_cast<double>(memory.packed_bytes)) / items, AtMost(8));
}

// --- With a host and Redis -----------------------------------------------------------------------

class Hosted {
 public:
  Hosted()
      : redis_(store::EmbeddedRedis::Start({.data_folder = folder_.path(), .appendfsync = "no"})
                   .value()),
        connection_(&loop_, {.address = redis_->address()}),
        store_(&loop_, &connection_, {}) {
    TESSERA_CHECK(loop_.RunUntil([&] { return connection_.connected(); }, absl::Minutes(1)));
    edge::HostOptions options;
    options.partition = Options();
    options.nonce = 1;
    options.objects_per_write = 64;  // No traffic to be kind to.
    options.write_interval = absl::ZeroDuration();
    options.trim = false;  // Trimmed by hand, between two looks at the journal.
    host_ = std::make_unique<edge::PartitionHost>(options, &store_);
    std::optional<absl::Status> started;
    host_->Start(kStart, [&](absl::Status status) { started = std::move(status); });
    Await([&] { return started.has_value(); });
    TESSERA_CHECK_OK(*started);
    job_ = host_->partition().CreateJob(TheJob(), kStart).value();
  }

  void Add(uint32_t items, uint32_t payload_bytes) {
    for (uint32_t offset = 0; offset < items; offset += kBatch) {
      const uint32_t size = std::min(kBatch, items - offset);
      core::AddItems add{.job = job_, .offset = offset, .size = size, .fresh = size};
      TESSERA_CHECK_OK(host_->partition().AddItems(add, kStart).status());
      core::PayloadBatch batch{.job = job_, .first = offset};
      for (uint32_t i = offset; i < offset + size; ++i) {
        batch.payloads.push_back({.key = absl::StrCat("item-", i),
                                  .bytes = std::string(payload_bytes, static_cast<char>(i))});
      }
      host_->AddPayloads(std::move(batch));
      Commit();
    }
  }

  void Commit() {
    bool committed = false;
    host_->WhenCommitted([&](absl::Status status) {
      TESSERA_CHECK_OK(status);
      committed = true;
    });
    Await([&] { return committed; });
  }

  void WriteBehind() {
    Commit();
    Await([&] { return host_->status().dirty_objects == 0; });
  }

  void Trim() {
    const core::RecordId head = host_->status().head;
    bool trimmed = false;
    store_.Trim(head.epoch, head, [&](const absl::Status& status) {
      TESSERA_CHECK_OK(status);
      trimmed = true;
    });
    Await([&] { return trimmed; });
  }

  // MEMORY USAGE of all keys, by kind, item pages by the state of their items.
  std::map<std::string, double> Usage() {
    std::vector<std::string> keys;
    std::string cursor = "0";
    do {
      Command({"SCAN", cursor, "COUNT", "1000"}, [&](const redisReply* reply) {
        cursor = reply->element[0]->str;
        const redisReply* page = reply->element[1];
        for (size_t i = 0; i < page->elements; ++i) keys.emplace_back(page->element[i]->str);
      });
    } while (cursor != "0");
    std::map<std::string, double> usage;
    for (const std::string& key : keys) {
      const absl::string_view object = absl::string_view(key).substr(store_.key_prefix().size());
      const std::vector<std::string> parts = absl::StrSplit(object, ':');
      std::string kind = parts[0];
      if (kind == "items") {
        constexpr const char* kStates[] = {"waiting", "in_progress", "resolved"};
        const auto page = static_cast<uint32_t>(std::stoul(parts[2]));
        kind =
            absl::StrCat("items_", kStates[static_cast<int>(FateOf(page * core::kItemsPerPage))]);
      }
      Command({"MEMORY", "USAGE", key, "SAMPLES", "0"},
              [&](const redisReply* reply) { usage[kind] += static_cast<double>(reply->integer); });
    }
    return usage;
  }

  double UsedMemory() {
    double used = 0;
    Command({"INFO", "memory"}, [&](const redisReply* reply) {
      for (const absl::string_view line : absl::StrSplit(reply->str, "\r\n")) {
        if (absl::StartsWith(line, "used_memory:")) used = std::stod(std::string(line.substr(12)));
      }
    });
    return used;
  }

  edge::PartitionHost& host() { return *host_; }
  JobIndex job() const { return job_; }

 private:
  void Await(const std::function<bool()>& done) {
    TESSERA_CHECK(loop_.RunUntil(
        [&] {
          now_ += absl::Microseconds(10);
          host_->Tick(now_);
          host_->Flush(now_);
          return done();
        },
        absl::Minutes(10)));
  }

  void Command(std::vector<std::string> words, const std::function<void(const redisReply*)>& take) {
    std::vector<absl::string_view> views(words.begin(), words.end());
    bool replied = false;
    connection_.Command(absl::MakeConstSpan(views), [&](const redisReply* reply) {
      TESSERA_CHECK(reply != nullptr && reply->type != REDIS_REPLY_ERROR);
      take(reply);
      replied = true;
    });
    TESSERA_CHECK(loop_.RunUntil([&] { return replied; }, absl::Minutes(1)));
  }

  testing::TempDir folder_;
  std::unique_ptr<store::EmbeddedRedis> redis_;
  store::PollLoop loop_;
  store::RedisConnection connection_;
  store::RedisStore store_;
  std::unique_ptr<edge::PartitionHost> host_;
  absl::Time now_ = kStart;
  JobIndex job_;
};

void MeasureHosted(uint32_t items, uint32_t payload_bytes, Figures* figures) {
  const Totals totals(items);
  Hosted hosted;
  const double redis_empty = hosted.UsedMemory();
  hosted.Add(items, payload_bytes);
  hosted.WriteBehind();
  const auto added_bytes = static_cast<double>(hosted.host().status().bytes);
  Story story(&hosted.host().partition(), hosted.job());
  uint32_t told = 0;
  for (ItemIndex i = 0; i < items; ++i) {
    if (FateOf(i) == Fate::kWaits) continue;
    story.Tell(i);
    if (++told % 32 == 0) hosted.Commit();
  }
  hosted.WriteBehind();

  const edge::PartitionHost::Status status = hosted.host().status();
  figures->Add("edge_key_index", "bytes/item", static_cast<double>(status.key_index_bytes) / items);
  figures->Add("edge_payload_cache", "bytes/item",
               static_cast<double>(status.payload_cache_bytes) / items);

  std::map<std::string, double> usage = hosted.Usage();
  const double answers =
      static_cast<double>(totals.open_answers) + static_cast<double>(totals.resolved) * kAnswers;
  figures->Add("journal_written_adding", "bytes/item", added_bytes / items);
  figures->Add("journal_written_working", "bytes/answer",
               (static_cast<double>(status.bytes) - added_bytes) / answers);
  figures->Add("redis_journal_untrimmed", "bytes/item", usage["log"] / items);
  hosted.Trim();
  usage = hosted.Usage();
  figures->Add("redis_journal_trimmed", "bytes/item", usage["log"] / items);
  figures->Add("redis_items_waiting", "bytes/item", usage["items_waiting"] / totals.waiting);
  figures->Add("redis_items_in_progress", "bytes/item",
               usage["items_in_progress"] / totals.in_progress);
  figures->Add("redis_items_resolved", "bytes/item", usage["items_resolved"] / totals.resolved);
  figures->Add("redis_payloads", "bytes/item", usage["payload"] / items);
  figures->Add("redis_leases", "bytes/lease",
               usage["leases"] / static_cast<double>(totals.open_leases));
  double all = 0;
  for (const auto& [kind, bytes] : usage) all += bytes;
  figures->Add("redis_objects", "bytes/item", (all - usage["log"]) / items);
  figures->Add("redis_used_memory", "bytes/item", (hosted.UsedMemory() - redis_empty) / items);
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  tessera::bench::UseDataFolder();
  const uint32_t items = absl::GetFlag(FLAGS_items);
  tessera::bench::Figures figures;
  tessera::bench::MeasureCore(items, &figures);
  tessera::bench::MeasureAfterPeak(items / 5, &figures);
  tessera::bench::MeasureHosted(items, absl::GetFlag(FLAGS_payload_bytes), &figures);
  figures.Print("Memory", absl::GetFlag(FLAGS_json));
  return 0;
}
