#include "coordinator/core/fold.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/fold_impl.h"
#include "coordinator/core/seal.h"

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

void JobState::ForEachTally(const std::map<WorkerIndex, size_t>& workers,
                            absl::FunctionRef<void(size_t, const Tally&)> visit) const {
  for (const auto& [number, page] : tallies) {
    auto tally = page.by_worker.begin();
    auto worker = workers.lower_bound(WorkerIndex(number * kWorkersPerPage));
    while (tally != page.by_worker.end() && worker != workers.end()) {
      if (tally->first < worker->first.value()) {
        tally = page.by_worker.lower_bound(worker->first.value());
      } else if (worker->first.value() < tally->first) {
        worker = workers.lower_bound(WorkerIndex(tally->first));
      } else {
        visit(worker->second, tally->second);
        ++worker;
      }
    }
  }
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

RecordId PartitionState::latest_end() const {
  return rep_->partition.ends.empty() ? RecordId{} : rep_->partition.ends.back();
}

bool PartitionState::Remembers(RecordId record, RecordId last) const {
  if (record == RecordId{}) return true;
  if (record.epoch == last.epoch) return record <= last;
  const std::vector<RecordId>& ends = rep_->partition.ends;
  const auto end =
      std::find_if(ends.begin(), ends.end(), [&](RecordId e) { return e.epoch == record.epoch; });
  if (end != ends.end()) return record <= *end;
  return ends.size() >= kEndsKept && record.epoch < ends.front().epoch;
}
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

absl::StatusOr<RecordId> PartitionState::LoadObject(const ObjectKey& key,
                                                    std::optional<absl::string_view> bytes) {
  if (!bytes.has_value()) return RecordId{};  // Never stored, or erased: the journal has the rest.
  const std::string name = absl::StrCat("object ", key.ToString());
  TESSERA_ASSIGN_OR_RETURN(const absl::string_view sealed, Unseal(kObjectFormat, *bytes, name));
  Reader r(sealed);
  RecordId current;
  r.Get(current);
  const absl::string_view body = sealed.substr(sealed.size() - r.remaining());
  if (!r.ok() || !rep_->LoadBody(key, body, {.loaded = current, .current = current})) {
    return absl::DataLossError(absl::StrCat(name, " is malformed"));
  }
  return current;
}

bool PartitionState::Rep::LoadBody(const ObjectKey& key, absl::string_view body,
                                   const Version& version) {
  switch (key.kind) {
    case ObjectKind::kPartition: {
      auto object = Decode<PartitionObject>(body);
      if (!object.has_value()) return false;
      for (Pool& pool : object->pools) pools[pool.id] = std::move(pool);
      object->pools.clear();
      partition = *std::move(object);
      partition_version = version;
      return true;
    }
    case ObjectKind::kWorkers: {
      auto page = Decode<std::vector<WorkerRecord>>(body);
      if (!page.has_value() || page->size() > kWorkersPerPage) return false;
      for (uint32_t i = 0; i < page->size(); ++i) {
        const WorkerIndex index(key.page * kWorkersPerPage + i);
        WorkerRecord& worker = Worker(index);
        worker = std::move((*page)[i]);
        if (!worker.name.empty()) worker_by_name[worker.name] = index;
      }
      if (key.page < worker_pages.size()) worker_pages[key.page] = version;
      return true;
    }
    case ObjectKind::kJob: {
      auto head = Decode<JobHead>(body);
      if (!head.has_value()) return false;
      JobState& created = NewJob(JobIndex(key.job));
      created.head = *std::move(head);
      created.head_version = version;
      if (created.head.deleted) return true;
      const JobIdentity& identity = created.head.identity;
      job_by_name[JobName(identity.tenant, identity.id)] = JobIndex(key.job);
      created.items.Grow(created.head.items);
      return true;
    }
    default:
      break;
  }
  JobState* job = Job(JobIndex(key.job));
  if (job == nullptr) return false;
  switch (key.kind) {
    case ObjectKind::kItems:
      if (!job->items.LoadPage(key.page, body)) return false;
      job->items.PageVersion(key.page) = version;
      return true;
    case ObjectKind::kLeases: {
      auto rows = Decode<std::vector<LeaseRow>>(body);
      if (!rows.has_value()) return false;
      LeaseTable::Page& page = job->leases.pages()[key.page];
      page.version = version;
      for (LeaseRow& row : *rows) {
        row.assignment.route = job->leases.Share(*row.assignment.route);
        page.by_sequence[row.sequence] = std::move(row.assignment);
      }
      return true;
    }
    case ObjectKind::kTallies: {
      auto rows = Decode<std::vector<TallyRow>>(body);
      if (!rows.has_value()) return false;
      JobState::TallyPage& page = job->tallies[key.page];
      page.version = version;
      for (const TallyRow& row : *rows) page.by_worker[row.worker] = row.tally;
      return true;
    }
    case ObjectKind::kFit: {
      auto fit = Decode<Fit>(body);
      if (!fit.has_value()) return false;
      job->fits[key.page] = {version, *std::move(fit)};
      return true;
    }
    default:
      return false;
  }
}

absl::Status PartitionState::Check() const {
  const auto lost = [](auto&&... what) {
    return absl::DataLossError(absl::StrCat("a part of what was stored is gone: ", what...));
  };
  for (size_t i = 0; i < std::max<size_t>(rep_->workers.size(), rep_->partition.workers); ++i) {
    if (i >= rep_->workers.size() || rep_->workers[i].name.empty()) {
      return lost("worker ", i, " of ", rep_->partition.workers, " is not there");
    }
  }
  for (uint32_t j = 0; j < std::max<size_t>(rep_->jobs.size(), rep_->partition.jobs); ++j) {
    const JobState* const job = rep_->Job(JobIndex(j));
    if (job == nullptr) return lost("job ", j, " of ", rep_->partition.jobs, " is not there");
    if (job->head.deleted) continue;
    const JobHead& head = job->head;
    ItemCounts counts;
    for (ItemIndex i = 0; i < head.items; ++i) {
      ++counts.of(job->EffectiveState(job->items.State(i)));
    }
    if (counts != head.counts) return lost("the items of job ", j, " are not as many as it counts");
    uint64_t open = 0;
    for (const auto& [number, page] : job->leases.pages()) open += page.by_sequence.size();
    if (open != head.open_assignments) {
      return lost("job ", j, " counts ", head.open_assignments, " open assignments, not ", open);
    }
    uint64_t answers = 0;
    Micros earned = 0;
    for (const auto& [number, page] : job->tallies) {
      for (const auto& [worker, tally] : page.by_worker) {
        answers += tally.answered;
        earned += tally.earned_micros;
      }
    }
    const Ledger& l = head.ledger;
    if (answers != head.answers || earned != l.earned_micros + l.approved_micros + l.bonus_micros) {
      return lost("what was answered and earned in job ", j, " is not what its workers have");
    }
    for (const ObjectKey& key : PagesNamed(j, head)) {
      const Version* const version = rep_->FindVersion(key);
      if (version == nullptr || version->current == RecordId{}) return lost(key.ToString());
    }
  }
  return absl::OkStatus();
}

std::optional<std::string> PartitionState::EncodeObject(const ObjectKey& key) const {
  const Version* version = rep_->FindVersion(key);
  if (version == nullptr) return std::nullopt;
  if (key.kind == ObjectKind::kLeases) {
    // An empty page is erased; the head's list of pages does not name it.
    const JobState& job = *rep_->jobs[key.job];
    if (job.leases.pages().at(key.page).by_sequence.empty()) return std::nullopt;
  }
  std::string out(kSealBytes, '\0');
  Writer(&out).Put(version->current);
  out += rep_->ObjectBody(key);
  Seal(kObjectFormat, &out);
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
  // What is to be erased goes behind all that waits as long: of a deleted job no page goes before
  // the mark in its head is written, which holds the journal for all of them.
  const auto older = [](const DirtyObject& a, const DirtyObject& b) { return a.since < b.since; };
  const auto at = version == nullptr
                      ? std::upper_bound(rep_->dirty.begin(), rep_->dirty.end(), object, older)
                      : std::lower_bound(rep_->dirty.begin(), rep_->dirty.end(), object, older);
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
