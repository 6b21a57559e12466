#include "coordinator/core/fold.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/fold_impl.h"

namespace tessera::core {
namespace {

struct TallyRow {
  uint32_t worker = 0;
  Tally tally;
};
void Fields(auto& v, TallyRow& r) {
  v("worker", r.worker);
  v("tally", r.tally);
}

struct LeaseRow {
  uint32_t sequence = 0;
  LiveAssignment assignment;
};
void Fields(auto& v, LeaseRow& r) {
  v("sequence", r.sequence);
  v("assignment", r.assignment);
}

}  // namespace

std::string ObjectKey::ToString() const {
  switch (kind) {
    case ObjectKind::kPartition:
      return "partition";
    case ObjectKind::kWorkers:
      return absl::StrCat("workers:", page);
    case ObjectKind::kJob:
      return absl::StrCat("job:", job);
    case ObjectKind::kItems:
      return absl::StrCat("items:", job, ":", page);
    case ObjectKind::kLeases:
      return absl::StrCat("leases:", job, ":", page);
    case ObjectKind::kTallies:
      return absl::StrCat("tallies:", job, ":", page);
    case ObjectKind::kFit:
      return absl::StrCat("fit:", job, ":", page);
    case ObjectKind::kPayload:
      return absl::StrCat("payload:", job, ":", page);
  }
  return "";
}

const Tally* JobState::FindTally(WorkerIndex worker) const {
  const auto page = tallies.find(worker.value() / kWorkersPerPage);
  if (page == tallies.end()) return nullptr;
  const auto found = page->second.by_worker.find(worker.value());
  return found == page->second.by_worker.end() ? nullptr : &found->second;
}

ItemState JobState::EffectiveState(ItemState stored) const {
  if (stored == ItemState::kResolved) return stored;
  if (head.phase == JobPhase::kFinalised) return ItemState::kUnresolved;
  if (head.phase == JobPhase::kCancelled) return ItemState::kCancelled;
  return stored;
}

PartitionState::PartitionState() : rep_(std::make_unique<Rep>()) {}
PartitionState::PartitionState(PartitionState&&) noexcept = default;
PartitionState& PartitionState::operator=(PartitionState&&) noexcept = default;
PartitionState::~PartitionState() = default;

void PartitionState::CloseRecord() { rep_->record_open = false; }

absl::Time PartitionState::time() const { return rep_->partition.time; }
uint32_t PartitionState::jobs() const { return static_cast<uint32_t>(rep_->jobs.size()); }

const JobState* PartitionState::job(JobIndex index) const {
  return const_cast<PartitionState*>(this)->mutable_job(index);
}

JobState* PartitionState::mutable_job(JobIndex index) {
  JobState* job = rep_->Job(index);
  return job == nullptr || job->head.deleted ? nullptr : job;
}

std::optional<JobIndex> PartitionState::FindJob(absl::string_view tenant,
                                                absl::string_view id) const {
  const auto found = rep_->job_by_name.find(Rep::JobName(tenant, id));
  if (found == rep_->job_by_name.end()) return std::nullopt;
  return found->second;
}

uint32_t PartitionState::workers() const { return static_cast<uint32_t>(rep_->workers.size()); }

const WorkerRecord& PartitionState::worker(WorkerIndex index) const {
  TESSERA_CHECK(index.value() < rep_->workers.size());
  return rep_->workers[index.value()];
}

std::optional<WorkerIndex> PartitionState::FindWorker(absl::string_view name) const {
  const auto found = rep_->worker_by_name.find(name);
  if (found == rep_->worker_by_name.end()) return std::nullopt;
  return found->second;
}

const std::map<std::string, Pool, std::less<>>& PartitionState::pools() const {
  return rep_->pools;
}

// --- Objects -------------------------------------------------------------------------------------

std::string PartitionState::Rep::ObjectBody(const ObjectKey& key) const {
  if (key.kind == ObjectKind::kPartition) {
    PartitionObject object = partition;
    for (const auto& [id, pool] : pools) object.pools.push_back(pool);
    return Encode(object);
  }
  if (key.kind == ObjectKind::kWorkers) {
    const size_t first = static_cast<size_t>(key.page) * kWorkersPerPage;
    const size_t end = std::min(first + kWorkersPerPage, workers.size());
    return Encode(std::vector<WorkerRecord>(workers.begin() + static_cast<ptrdiff_t>(first),
                                            workers.begin() + static_cast<ptrdiff_t>(end)));
  }
  const JobState& job = *jobs[key.job];
  switch (key.kind) {
    case ObjectKind::kJob:
      return Encode(job.head);
    case ObjectKind::kItems:
      return job.items.EncodePage(key.page);
    case ObjectKind::kLeases: {
      std::vector<LeaseRow> rows;
      for (const auto& [sequence, assignment] : job.leases.pages().at(key.page).by_sequence) {
        rows.push_back({sequence, assignment});
      }
      return Encode(rows);
    }
    case ObjectKind::kTallies: {
      std::vector<TallyRow> rows;
      for (const auto& [worker, tally] : job.tallies.at(key.page).by_worker) {
        rows.push_back({worker, tally});
      }
      return Encode(rows);
    }
    case ObjectKind::kFit:
      return Encode(job.fits.at(key.page).fit);
    default:
      return "";
  }
}

std::vector<ObjectKey> PartitionState::ObjectsToLoad() {
  std::vector<ObjectKey> keys;
  switch (rep_->load_round++) {
    case 0:
      keys.push_back({ObjectKind::kPartition});
      break;
    case 1:
      for (uint32_t page = 0; page * kWorkersPerPage < rep_->partition.workers; ++page) {
        keys.push_back({ObjectKind::kWorkers, 0, page});
      }
      for (uint32_t job = 0; job < rep_->partition.jobs; ++job)
        keys.push_back({ObjectKind::kJob, job});
      // Both rounds are never empty in between, so that the caller comes back for the next one.
      if (keys.empty()) return ObjectsToLoad();
      break;
    case 2:
      for (uint32_t j = 0; j < rep_->jobs.size(); ++j) {
        const JobState* job = rep_->jobs[j].get();
        if (job == nullptr || job->head.deleted) continue;
        const std::vector<ObjectKey> pages = PagesNamed(j, job->head);
        keys.insert(keys.end(), pages.begin(), pages.end());
      }
      break;
    default:
      break;
  }
  return keys;
}

absl::Status PartitionState::LoadObject(const ObjectKey& key,
                                        std::optional<absl::string_view> bytes) {
  if (!bytes.has_value())
    return absl::OkStatus();  // Never stored, or erased: the journal has the rest.
  const auto malformed = [&] {
    return absl::DataLossError(absl::StrCat("object ", key.ToString(), " is malformed"));
  };
  Reader r(*bytes);
  RecordId current;
  r.Get(current);
  if (!r.ok()) return malformed();
  const absl::string_view body = bytes->substr(bytes->size() - r.remaining());
  const Version version{.loaded = current, .current = current};
  switch (key.kind) {
    case ObjectKind::kPartition: {
      auto object = Decode<PartitionObject>(body);
      if (!object.has_value()) return malformed();
      for (Pool& pool : object->pools) rep_->pools[pool.id] = std::move(pool);
      object->pools.clear();
      rep_->partition = *std::move(object);
      rep_->partition_version = version;
      return absl::OkStatus();
    }
    case ObjectKind::kWorkers: {
      auto workers = Decode<std::vector<WorkerRecord>>(body);
      if (!workers.has_value() || workers->size() > kWorkersPerPage) return malformed();
      for (uint32_t i = 0; i < workers->size(); ++i) {
        const WorkerIndex index(key.page * kWorkersPerPage + i);
        WorkerRecord& worker = rep_->Worker(index);
        worker = std::move((*workers)[i]);
        if (!worker.name.empty()) rep_->worker_by_name[worker.name] = index;
      }
      if (key.page < rep_->worker_pages.size()) rep_->worker_pages[key.page] = version;
      return absl::OkStatus();
    }
    case ObjectKind::kJob: {
      auto head = Decode<JobHead>(body);
      if (!head.has_value()) return malformed();
      JobState& job = rep_->NewJob(JobIndex(key.job));
      job.head = *std::move(head);
      job.head_version = version;
      if (job.head.deleted) return absl::OkStatus();
      rep_->job_by_name[Rep::JobName(job.head.identity.tenant, job.head.identity.id)] =
          JobIndex(key.job);
      job.items.Grow(job.head.items);
      return absl::OkStatus();
    }
    default:
      break;
  }
  JobState* job = rep_->Job(JobIndex(key.job));
  if (job == nullptr) return malformed();
  switch (key.kind) {
    case ObjectKind::kItems:
      if (!job->items.LoadPage(key.page, body)) return malformed();
      job->items.PageVersion(key.page) = version;
      return absl::OkStatus();
    case ObjectKind::kLeases: {
      auto rows = Decode<std::vector<LeaseRow>>(body);
      if (!rows.has_value()) return malformed();
      LeaseTable::Page& page = job->leases.pages()[key.page];
      page.version = version;
      for (LeaseRow& row : *rows) {
        row.assignment.route = job->leases.Share(*row.assignment.route);
        page.by_sequence[row.sequence] = std::move(row.assignment);
      }
      return absl::OkStatus();
    }
    case ObjectKind::kTallies: {
      auto rows = Decode<std::vector<TallyRow>>(body);
      if (!rows.has_value()) return malformed();
      JobState::TallyPage& page = job->tallies[key.page];
      page.version = version;
      for (const TallyRow& row : *rows) page.by_worker[row.worker] = row.tally;
      return absl::OkStatus();
    }
    case ObjectKind::kFit: {
      auto fit = Decode<Fit>(body);
      if (!fit.has_value()) return malformed();
      job->fits[key.page] = {version, *std::move(fit)};
      return absl::OkStatus();
    }
    default:
      return malformed();
  }
}

std::optional<std::string> PartitionState::EncodeObject(const ObjectKey& key) const {
  const Version* version = rep_->FindVersion(key);
  if (version == nullptr) return std::nullopt;
  if (key.kind == ObjectKind::kLeases) {
    // An empty page is erased; the head's list of pages does not name it.
    const JobState& job = *rep_->jobs[key.job];
    if (job.leases.pages().at(key.page).by_sequence.empty()) return std::nullopt;
  }
  std::string out;
  Writer(&out).Put(version->current);
  out += rep_->ObjectBody(key);
  return out;
}

std::vector<std::pair<std::string, std::string>> PartitionState::ReadableFields(
    const ObjectKey& key) const {
  if (key.kind != ObjectKind::kJob) return {};
  const JobState* state = job(JobIndex(key.job));
  if (state == nullptr) return {};
  constexpr const char* kPhases[] = {"RUNNING", "PAUSED", "CLOSING", "FINALISED", "CANCELLED"};
  const JobHead& head = state->head;
  return {{"tenant", head.identity.tenant},
          {"id", head.identity.id},
          {"state", kPhases[static_cast<int>(head.phase)]},
          {"items", absl::StrCat(head.counts.total())},
          {"waiting", absl::StrCat(head.counts.waiting)},
          {"in_progress", absl::StrCat(head.counts.in_progress)},
          {"resolved", absl::StrCat(head.counts.resolved)},
          {"answers", absl::StrCat(head.answers)},
          {"budget_micros", absl::StrCat(head.ledger.budget_micros)},
          {"reserved_micros", absl::StrCat(head.ledger.reserved_micros)},
          {"earned_micros", absl::StrCat(head.ledger.earned_micros)},
          {"approved_micros", absl::StrCat(head.ledger.approved_micros)},
          {"bonus_micros", absl::StrCat(head.ledger.bonus_micros)}};
}

std::vector<DirtyObject> PartitionState::TakeDirty(size_t max) {
  TESSERA_CHECK(!rep_->record_open);
  std::vector<DirtyObject> taken;
  while (!rep_->dirty.empty() && taken.size() < max) {
    taken.push_back(rep_->dirty.front());
    rep_->dirty.pop_front();
    if (Version* version = rep_->FindVersion(taken.back().key)) version->dirty = false;
  }
  rep_->taken.insert(rep_->taken.end(), taken.begin(), taken.end());
  return taken;
}

void PartitionState::Stored(const DirtyObject& object) {
  rep_->Untake(object);
  if (object.key.kind == ObjectKind::kLeases) rep_->DropEmptyLeases(object.key);
}

void PartitionState::NotStored(const DirtyObject& object) {
  rep_->Untake(object);
  // It may be marked again since; twice in the list is harmless, and the older entry is the one
  // that holds the journal.
  Version* version = rep_->FindVersion(object.key);
  if (version != nullptr) version->dirty = true;
  if (version == nullptr && object.key.kind > ObjectKind::kJob && !rep_->dirty.empty()) {
    // A page of a deleted job, to be erased: not before the mark in the head is written, which
    // holds the journal for all of them.
    rep_->dirty.push_back({object.key, std::max(object.since, rep_->dirty.back().since)});
    return;
  }
  const auto at = std::lower_bound(
      rep_->dirty.begin(), rep_->dirty.end(), object,
      [](const DirtyObject& a, const DirtyObject& b) { return a.since < b.since; });
  rep_->dirty.insert(at, object);
}

size_t PartitionState::dirty_objects() const { return rep_->dirty.size() + rep_->taken.size(); }

std::optional<RecordId> PartitionState::OldestUnstored() const {
  std::optional<RecordId> oldest;
  if (!rep_->dirty.empty()) oldest = rep_->dirty.front().since;
  for (const DirtyObject& t : rep_->taken) {
    if (!oldest.has_value() || t.since < *oldest) oldest = t.since;
  }
  return oldest;
}

void PartitionState::ForEachObject(
    const std::function<void(const ObjectKey&, absl::string_view)>& visit) const {
  const auto show = [&](const ObjectKey& key) { visit(key, rep_->ObjectBody(key)); };
  show({ObjectKind::kPartition});
  for (uint32_t page = 0; page * kWorkersPerPage < rep_->workers.size(); ++page) {
    show({ObjectKind::kWorkers, 0, page});
  }
  for (uint32_t j = 0; j < rep_->jobs.size(); ++j) {
    if (rep_->jobs[j] == nullptr) continue;
    show({ObjectKind::kJob, j});
    const JobState& job = *rep_->jobs[j];
    for (uint32_t page = 0; page < job.items.pages(); ++page) show({ObjectKind::kItems, j, page});
    for (const auto& [page, leases] : job.leases.pages()) {
      if (!leases.by_sequence.empty()) show({ObjectKind::kLeases, j, page});
    }
    for (const auto& [page, tallies] : job.tallies) show({ObjectKind::kTallies, j, page});
    for (const auto& [number, fit] : job.fits) show({ObjectKind::kFit, j, number});
  }
}

}  // namespace tessera::core
