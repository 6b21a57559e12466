#include "coordinator/core/fold.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/core/archive.h"

namespace tessera::core {
namespace {

// What is stored of the partition itself.
struct PartitionObject {
  absl::Time time = absl::InfinitePast();
  uint32_t jobs = 0;
  uint32_t workers = 0;
  std::vector<Pool> pools;
};
void Fields(auto& v, PartitionObject& p) {
  v("time", p.time);
  v("jobs", p.jobs);
  v("workers", p.workers);
  v("pools", p.pools);
}

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

uint64_t& CountOf(ItemCounts& counts, ItemState state) {
  switch (state) {
    case ItemState::kWaiting: return counts.waiting;
    case ItemState::kInProgress: return counts.in_progress;
    case ItemState::kResolved: return counts.resolved;
    case ItemState::kUnresolved: return counts.unresolved;
    case ItemState::kCancelled: return counts.cancelled;
  }
  return counts.cancelled;
}

void Move(ItemCounts& counts, ItemState before, ItemState after) {
  if (before == after) return;
  --CountOf(counts, before);
  ++CountOf(counts, after);
}

void UsePage(std::vector<PageUse>& pages, uint32_t page, int change) {
  auto at = std::lower_bound(pages.begin(), pages.end(), page,
                             [](const PageUse& u, uint32_t p) { return u.page < p; });
  if (at == pages.end() || at->page != page) at = pages.insert(at, PageUse{page, 0});
  at->live = static_cast<uint32_t>(static_cast<int64_t>(at->live) + change);
  if (at->live == 0) pages.erase(at);
}

ItemEntry::Status StatusOf(Disposition disposition) {
  switch (disposition) {
    case Disposition::kAnswered:
    case Disposition::kAnsweredLate: return ItemEntry::kAnswered;
    case Disposition::kReturned: return ItemEntry::kReturned;
    case Disposition::kMissed: return ItemEntry::kMissed;
    case Disposition::kForfeited: return ItemEntry::kForfeited;
    case Disposition::kRevoked: return ItemEntry::kRevoked;
  }
  return ItemEntry::kForfeited;
}

}  // namespace

std::string ObjectKey::ToString() const {
  switch (kind) {
    case ObjectKind::kPartition: return "partition";
    case ObjectKind::kWorkers: return absl::StrCat("workers:", page);
    case ObjectKind::kJob: return absl::StrCat("job:", job);
    case ObjectKind::kItems: return absl::StrCat("items:", job, ":", page);
    case ObjectKind::kLeases: return absl::StrCat("leases:", job, ":", page);
    case ObjectKind::kTallies: return absl::StrCat("tallies:", job, ":", page);
    case ObjectKind::kFit: return absl::StrCat("fit:", job, ":", page);
    case ObjectKind::kPayload: return absl::StrCat("payload:", job, ":", page);
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

struct PartitionState::Rep {
  PartitionObject partition;
  Version partition_version;
  std::map<std::string, Pool, std::less<>> pools;

  std::vector<WorkerRecord> workers;
  std::vector<Version> worker_pages;
  absl::flat_hash_map<std::string, WorkerIndex> worker_by_name;

  std::vector<std::unique_ptr<JobState>> jobs;  // Nothing where one was deleted.
  absl::flat_hash_map<std::string, JobIndex> job_by_name;

  std::deque<DirtyObject> dirty;   // By `since`.
  std::vector<DirtyObject> taken;  // Being written.
  bool record_open = false;

  // Recovery reads in rounds: the partition, then heads and workers, then what the heads name.
  int load_round = 0;

  static std::string JobName(absl::string_view tenant, absl::string_view id) {
    return absl::StrCat(tenant, "/", id);
  }

  void Mark(const ObjectKey& key, Version& version, RecordId id) {
    if (version.dirty) return;
    version.dirty = true;
    dirty.push_back({key, id});
  }

  JobState* Job(JobIndex index) {
    return index.value() < jobs.size() ? jobs[index.value()].get() : nullptr;
  }

  WorkerRecord& Worker(WorkerIndex index) {
    if (workers.size() <= index.value()) workers.resize(index.value() + 1);
    const uint32_t pages = index.value() / kWorkersPerPage + 1;
    if (worker_pages.size() < pages) worker_pages.resize(pages);
    return workers[index.value()];
  }

  JobState& NewJob(JobIndex index) {
    if (jobs.size() <= index.value()) jobs.resize(index.value() + 1);
    auto& job = jobs[index.value()];
    if (job == nullptr) job = std::make_unique<JobState>();
    return *job;
  }

  Version* FindVersion(const ObjectKey& key) {
    if (key.kind == ObjectKind::kPartition) return &partition_version;
    if (key.kind == ObjectKind::kWorkers) {
      return key.page < worker_pages.size() ? &worker_pages[key.page] : nullptr;
    }
    JobState* job = Job(JobIndex(key.job));
    if (job == nullptr) return nullptr;
    if (job->head.deleted && key.kind != ObjectKind::kJob) return nullptr;
    switch (key.kind) {
      case ObjectKind::kJob: return &job->head_version;
      case ObjectKind::kItems: return &job->items.PageVersion(key.page);
      case ObjectKind::kLeases: {
        const auto page = job->leases.pages().find(key.page);
        return page == job->leases.pages().end() ? nullptr : &page->second.version;
      }
      case ObjectKind::kTallies: {
        const auto page = job->tallies.find(key.page);
        return page == job->tallies.end() ? nullptr : &page->second.version;
      }
      case ObjectKind::kFit: {
        const auto fit = job->fits.find(key.page);
        return fit == job->fits.end() ? nullptr : &fit->second.version;
      }
      default: return nullptr;
    }
  }

  std::string ObjectBody(const ObjectKey& key) const;
};

// Applies one event to one object after another, each only if it is older than the record.
class PartitionState::Folder {
 public:
  Folder(Rep& rep, RecordId id) : rep_(rep), id_(id) {}

  void operator()(const OwnerStarted& e) {
    Time(e.at);
    if (e.outage <= absl::ZeroDuration()) return;
    for (uint32_t j = 0; j < rep_.jobs.size(); ++j) {
      if (rep_.jobs[j] == nullptr) continue;
      for (auto& [number, page] : rep_.jobs[j]->leases.pages()) {
        if (page.by_sequence.empty() || !Changes({ObjectKind::kLeases, j, number}, page.version)) continue;
        for (auto& [sequence, assignment] : page.by_sequence) {
          if (!assignment.expired) assignment.deadline += e.outage;
          assignment.late_until += e.outage;
        }
      }
    }
  }

  void operator()(const Ticked& e) { Time(e.at); }

  void operator()(const WorkerSeen& e) {
    if (ChangesPartition()) {
      rep_.partition.workers = std::max(rep_.partition.workers, e.worker.value() + 1);
    }
    WorkerRecord& worker = rep_.Worker(e.worker);
    if (!ChangesWorker(e.worker)) return;
    worker.name = e.name;
    rep_.worker_by_name[e.name] = e.worker;
  }

  void operator()(const WorkerUpdated& e) {
    WorkerRecord& worker = rep_.Worker(e.worker);
    if (!ChangesWorker(e.worker)) return;
    worker.skills = e.skills;
    worker.languages = e.languages;
    worker.blocked = e.blocked;
    worker.blocked_reason = e.blocked_reason;
  }

  void operator()(const PoolPut& e) {
    if (ChangesPartition()) rep_.pools[e.pool.id] = e.pool;
  }

  void operator()(const PoolDeleted& e) {
    if (ChangesPartition()) rep_.pools.erase(e.id);
  }

  void operator()(const JobCreated& e) {
    Time(e.at);
    if (ChangesPartition()) {
      rep_.partition.jobs = std::max(rep_.partition.jobs, e.job.value() + 1);
    }
    JobState& job = rep_.NewJob(e.job);
    if (!ChangesHead(e.job, job)) return;
    job.head.identity = e.identity;
    job.head.policy = e.policy;
    job.head.created_at = job.head.updated_at = e.at;
    job.head.pause_reasons = e.pause_reasons;
    job.head.phase = e.pause_reasons != 0 ? JobPhase::kPaused : JobPhase::kRunning;
    job.head.ledger.budget_micros = e.policy.budget_micros;
    job.head.strata_names = {""};
    rep_.job_by_name[Rep::JobName(e.identity.tenant, e.identity.id)] = e.job;
  }

  void operator()(const JobUpdated& e) {
    Time(e.at);
    JobHead* head = Head(e.job);
    if (head == nullptr) return;
    head->identity.document = e.document;
    head->policy = e.policy;
    head->ledger.budget_micros = e.policy.budget_micros;
    head->updated_at = e.at;
  }

  void operator()(const ItemsAdded& e) {
    Time(e.at);
    JobState* job = rep_.Job(e.job);
    if (job == nullptr) return;
    if (JobHead* head = Head(e.job)) {
      head->items = e.first + e.count;
      head->committed_offset = e.committed_offset;
      head->counts.waiting += e.count;
      head->strata_names.insert(head->strata_names.end(), e.new_strata.begin(), e.new_strata.end());
      head->updated_at = e.at;
    }
    if (e.count == 0) return;
    job->items.Grow(e.first + e.count);
    const uint32_t last_page = (e.first + e.count - 1) / kItemsPerPage;
    for (uint32_t page = e.first / kItemsPerPage; page <= last_page; ++page) {
      if (!Changes({ObjectKind::kItems, e.job.value(), page}, job->items.PageVersion(page))) continue;
      if (e.traits.empty()) continue;
      const ItemIndex from = std::max(e.first, page * kItemsPerPage);
      const ItemIndex to = std::min(e.first + e.count, (page + 1) * kItemsPerPage);
      for (ItemIndex i = from; i < to; ++i) job->items.SetTraits(i, e.traits[i - e.first]);
    }
  }

  void operator()(const JobSealed& e) {
    Time(e.at);
    if (JobHead* head = Head(e.job)) {
      head->sealed = true;
      head->sealed_at = head->updated_at = e.at;
    }
  }

  void operator()(const JobPhaseChanged& e) {
    Time(e.at);
    if (JobHead* head = Head(e.job)) {
      head->phase = e.phase;
      head->pause_reasons = e.pause_reasons;
      head->cancelling = e.cancelling;
      head->updated_at = e.at;
    }
  }

  void operator()(const JobEnded& e) {
    Time(e.at);
    JobHead* head = Head(e.job);
    if (head == nullptr) return;
    head->phase = e.phase;
    head->pause_reasons = 0;
    head->ended_at = head->updated_at = e.at;
    ItemCounts& counts = head->counts;
    uint64_t& open = e.phase == JobPhase::kCancelled ? counts.cancelled : counts.unresolved;
    open += counts.waiting + counts.in_progress;
    counts.waiting = counts.in_progress = 0;
  }

  void operator()(const JobDeleted& e) {
    JobState* job = rep_.Job(e.job);
    if (job == nullptr || !ChangesHead(e.job, *job)) return;
    rep_.job_by_name.erase(Rep::JobName(job->head.identity.tenant, job->head.identity.id));
    // What is left is a mark, so that a recovery does not look for the rest.
    MarkErased(e.job.value(), *job);
    job->head = JobHead();
    job->head.deleted = true;
    job->items = ItemTable();
    job->leases = LeaseTable();
    job->tallies.clear();
    job->fits.clear();
  }

  void operator()(const Granted& e) {
    Time(e.at);
    const JobIndex index = e.assignment.job;
    JobState* job = rep_.Job(index);
    if (job == nullptr) return;
    const auto items = static_cast<uint32_t>(e.items.size());
    const uint32_t lease_page = e.assignment.sequence / kLeasesPerPage;
    const uint32_t tally_page = e.worker.value() / kWorkersPerPage;
    if (JobHead* head = Head(index)) {
      head->next_sequence = e.assignment.sequence + 1;
      head->open_assignments += 1;
      head->ledger.reserved_micros += e.price_micros * items;
      for (const GrantedItem& i : e.items) Move(head->counts, i.before, AfterGrant(i.before));
      UsePage(head->lease_pages, lease_page, +1);
      auto& pages = head->tally_pages;
      const auto at = std::lower_bound(pages.begin(), pages.end(), tally_page);
      if (at == pages.end() || *at != tally_page) pages.insert(at, tally_page);
    }
    LeaseTable::Page& page = job->leases.PageOf(e.assignment.sequence);
    if (Changes({ObjectKind::kLeases, index.value(), lease_page}, page.version)) {
      LiveAssignment& a = page.by_sequence[e.assignment.sequence];
      a.worker = e.worker;
      a.pool = e.pool;
      a.price_micros = e.price_micros;
      a.granted_at = e.at;
      a.deadline = e.deadline;
      a.late_until = e.late_until;
      a.items.reserve(items);
      for (const GrantedItem& i : e.items) a.items.push_back(LeasedItem{.item = i.item});
    }
    for (const GrantedItem& i : e.items) {
      if (!ChangesItem(index, *job, i.item)) continue;
      ItemEntry entry;
      entry.worker = e.worker;
      entry.sequence = e.assignment.sequence;
      entry.price_micros = static_cast<uint32_t>(e.price_micros);
      job->items.AddEntry(i.item, entry);
    }
    if (Tally* tally = TallyOf(index, *job, e.worker)) tally->granted += items;
  }

  void operator()(const Drafted& e) {
    JobState* job = rep_.Job(e.assignment.job);
    if (job == nullptr) return;
    LiveAssignment* a = Assignment(*job, e.assignment);
    LeasedItem* i = a == nullptr ? nullptr : a->Find(e.item);
    if (i == nullptr) return;
    i->draft = e.label;
    i->edit = e.edit;
  }

  void operator()(const ItemsEnded& e) {
    Time(e.at);
    const JobIndex index = e.assignment.job;
    JobState* job = rep_.Job(index);
    if (job == nullptr) return;
    if (JobHead* head = Head(index)) EndInHead(*head, e);
    EndInLease(*job, e);
    for (const ItemEnd& end : e.items) {
      const ItemIndex item = end.outcome.item;
      if (!ChangesItem(index, *job, item)) continue;
      ItemEntry* entry = job->items.MutableEntry(item, e.assignment.sequence);
      if (entry == nullptr) {
        Broken(absl::StrCat("item ", item, " knows nothing of assignment ", e.assignment.sequence));
        continue;
      }
      entry->status = StatusOf(end.disposition);
      entry->label = end.label;
      if (end.disposition == Disposition::kAnsweredLate) entry->flags |= ItemEntry::kLate;
      job->items.SetOutcome(end.outcome);
      job->items.PackIfDone(item);
    }
    Tally* tally = TallyOf(index, *job, e.worker);
    if (tally == nullptr) return;
    tally->active_seconds += e.active_seconds;
    for (const ItemEnd& end : e.items) {
      switch (end.disposition) {
        case Disposition::kAnswered:
        case Disposition::kAnsweredLate:
          ++tally->answered;
          tally->earned_micros += e.price_micros;
          break;
        case Disposition::kReturned: ++tally->returned; break;
        case Disposition::kMissed: ++tally->missed; break;
        default: break;
      }
    }
  }

  void operator()(const Extended& e) {
    JobState* job = rep_.Job(e.assignment.job);
    if (job == nullptr) return;
    LiveAssignment* a = Assignment(*job, e.assignment);
    if (a == nullptr) return;
    a->deadline = e.deadline;
    a->late_until = e.late_until;
    a->extended = e.extended;
  }

  void operator()(const AnswerReviewed& e) {
    const JobIndex index = e.assignment.job;
    JobState* job = rep_.Job(index);
    if (job == nullptr) return;
    if (JobHead* head = Head(index)) {
      head->ledger.earned_micros -= e.price_micros;
      if (e.approved) {
        head->ledger.approved_micros += e.price_micros;
      } else {
        head->ledger.rejected_micros += e.price_micros;
        if (!e.money_only) head->answers -= 1;
        Move(head->counts, e.outcome.before, e.outcome.after);
        head->revision = std::max(head->revision, e.outcome.revision);
      }
    }
    if (ChangesItem(index, *job, e.outcome.item)) {
      ItemEntry* entry = job->items.MutableEntry(e.outcome.item, e.assignment.sequence);
      if (entry == nullptr) return Broken("a review of an answer that is not there");
      if (e.approved) {
        entry->flags |= ItemEntry::kApproved;
      } else if (e.money_only) {
        entry->flags |= ItemEntry::kUnpaid;
      } else {
        entry->status = ItemEntry::kRejected;
        job->items.SetOutcome(e.outcome);
      }
      job->items.PackIfDone(e.outcome.item);
    }
    Tally* tally = e.approved ? nullptr : TallyOf(index, *job, e.worker);
    if (tally == nullptr) return;
    if (!e.money_only) --tally->answered;
    ++tally->rejected;
    tally->earned_micros -= e.price_micros;
  }

  void operator()(const BonusPaid& e) {
    JobState* job = rep_.Job(e.job);
    if (job == nullptr) return;
    if (JobHead* head = Head(e.job)) {
      head->ledger.bonus_micros += e.amount_micros;
      head->bonus_requests.push_back(e.request_id);
    }
    if (Tally* tally = TallyOf(e.job, *job, e.worker)) tally->earned_micros += e.amount_micros;
  }

  void operator()(const FitApplied& e) {
    JobState* job = rep_.Job(e.job);
    if (job == nullptr) return;
    if (JobHead* head = Head(e.job)) {
      head->fit = e.fit.number;
      head->fit_answers = e.fit.answers;
    }
    // Before a new fit is asked for, all items have moved to the last one: two are named at most.
    for (auto at = job->fits.begin(); at != job->fits.end() && at->first + 1 < e.fit.number;) {
      rep_.dirty.push_back({{ObjectKind::kFit, e.job.value(), at->first}, id_});
      at = job->fits.erase(at);
    }
    JobState::FitObject& fit = job->fits[e.fit.number];
    if (!Changes({ObjectKind::kFit, e.job.value(), e.fit.number}, fit.version)) return;
    fit.fit = e.fit;
  }

  void operator()(const PageRefitted& e) {
    JobState* job = rep_.Job(e.job);
    if (job == nullptr) return;
    if (JobHead* head = Head(e.job)) {
      for (const ItemOutcome& o : e.outcomes) {
        Move(head->counts, o.before, o.after);
        head->revision = std::max(head->revision, o.revision);
      }
    }
    if (!Changes({ObjectKind::kItems, e.job.value(), e.page}, job->items.PageVersion(e.page))) return;
    for (const ItemOutcome& o : e.outcomes) {
      job->items.SetOutcome(o);
      job->items.PackIfDone(o.item);
    }
  }

  absl::Status status() const { return status_; }

 private:
  static ItemState AfterGrant(ItemState before) {
    return before == ItemState::kWaiting ? ItemState::kInProgress : before;
  }

  bool Changes(const ObjectKey& key, Version& version) {
    if (!version.Advance(id_)) return false;
    rep_.Mark(key, version, id_);
    return true;
  }
  bool ChangesPartition() { return Changes({ObjectKind::kPartition}, rep_.partition_version); }
  bool ChangesHead(JobIndex index, JobState& job) {
    return Changes({ObjectKind::kJob, index.value()}, job.head_version);
  }
  bool ChangesWorker(WorkerIndex worker) {
    const uint32_t page = worker.value() / kWorkersPerPage;
    return Changes({ObjectKind::kWorkers, 0, page}, rep_.worker_pages[page]);
  }
  bool ChangesItem(JobIndex index, JobState& job, ItemIndex item) {
    const uint32_t page = item / kItemsPerPage;
    if (!Changes({ObjectKind::kItems, index.value(), page}, job.items.PageVersion(page))) return false;
    job.items.Grow(item + 1);
    return true;
  }
  JobHead* Head(JobIndex index) {
    JobState* job = rep_.Job(index);
    return job != nullptr && ChangesHead(index, *job) ? &job->head : nullptr;
  }
  void Time(absl::Time at) {
    if (at > rep_.partition.time && ChangesPartition()) rep_.partition.time = at;
  }

  // The assignment, if its page is older than the record and knows it. A page that was erased when
  // it was empty, and is folded again from an earlier record, need not know every assignment that
  // ended before.
  LiveAssignment* Assignment(JobState& job, AssignmentId id) {
    LeaseTable::Page& page = job.leases.PageOf(id.sequence);
    const ObjectKey key{ObjectKind::kLeases, id.job.value(), id.sequence / kLeasesPerPage};
    if (!Changes(key, page.version)) return nullptr;
    const auto found = page.by_sequence.find(id.sequence);
    return found == page.by_sequence.end() ? nullptr : &found->second;
  }

  Tally* TallyOf(JobIndex index, JobState& job, WorkerIndex worker) {
    const uint32_t number = worker.value() / kWorkersPerPage;
    JobState::TallyPage& page = job.tallies[number];
    if (!Changes({ObjectKind::kTallies, index.value(), number}, page.version)) return nullptr;
    return &page.by_worker[worker.value()];
  }

  void EndInHead(JobHead& head, const ItemsEnded& e) {
    for (const ItemEnd& end : e.items) {
      Move(head.counts, end.outcome.before, end.outcome.after);
      head.revision = std::max(head.revision, end.outcome.revision);
      switch (end.disposition) {
        case Disposition::kAnswered:
        case Disposition::kAnsweredLate:
          head.ledger.reserved_micros -= e.price_micros;
          head.ledger.earned_micros += e.price_micros;
          head.answers += 1;
          break;
        case Disposition::kMissed: break;  // Reserved until the grace ends.
        default: head.ledger.reserved_micros -= e.price_micros; break;
      }
    }
    if (e.active_seconds > 0) head.moments.Add(e.active_units, e.active_seconds);
    if (!e.over) return;
    head.open_assignments -= 1;
    UsePage(head.lease_pages, e.assignment.sequence / kLeasesPerPage, -1);
  }

  void EndInLease(JobState& job, const ItemsEnded& e) {
    LiveAssignment* a = Assignment(job, e.assignment);
    if (a == nullptr) return;
    for (const ItemEnd& end : e.items) {
      LeasedItem* i = a->Find(end.outcome.item);
      if (i == nullptr) continue;
      i->missed = end.disposition == Disposition::kMissed;
      i->ended = !i->missed;
      if (i->missed) a->expired = true;
    }
    if (e.over) job.leases.PageOf(e.assignment.sequence).by_sequence.erase(e.assignment.sequence);
  }

  // A deleted job's head is marked before its pages, and objects are written in the order in which
  // they were marked: a recovery that finds a page gone finds the mark in the head.
  void MarkErased(uint32_t j, const JobState& job) {
    const auto erase = [&](ObjectKind kind, uint32_t page) {
      rep_.dirty.push_back({{kind, j, page}, id_});
    };
    for (uint32_t page = 0; page < job.items.pages(); ++page) erase(ObjectKind::kItems, page);
    for (const auto& [page, leases] : job.leases.pages()) erase(ObjectKind::kLeases, page);
    for (const auto& [page, tallies] : job.tallies) erase(ObjectKind::kTallies, page);
    for (const auto& [number, fit] : job.fits) erase(ObjectKind::kFit, number);
  }

  void Broken(absl::string_view what) {
    if (status_.ok()) status_ = absl::DataLossError(absl::StrCat("record ", id_.ToString(), ": ", what));
  }

  Rep& rep_;
  const RecordId id_;
  absl::Status status_;
};

PartitionState::PartitionState() : rep_(std::make_unique<Rep>()) {}
PartitionState::PartitionState(PartitionState&&) noexcept = default;
PartitionState& PartitionState::operator=(PartitionState&&) noexcept = default;
PartitionState::~PartitionState() = default;

absl::Status PartitionState::Apply(RecordId id, const Event& event) {
  rep_->record_open = true;
  Folder folder(*rep_, id);
  std::visit(folder, event);
  return folder.status();
}

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

std::optional<JobIndex> PartitionState::FindJob(absl::string_view tenant, absl::string_view id) const {
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

const std::map<std::string, Pool, std::less<>>& PartitionState::pools() const { return rep_->pools; }

// --- Objects --------------------------------------------------------------------------------------

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
    case ObjectKind::kJob: return Encode(job.head);
    case ObjectKind::kItems: return job.items.EncodePage(key.page);
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
    case ObjectKind::kFit: return Encode(job.fits.at(key.page).fit);
    default: return "";
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
      for (uint32_t job = 0; job < rep_->partition.jobs; ++job) keys.push_back({ObjectKind::kJob, job});
      // Both rounds are never empty in between, so that the caller comes back for the next one.
      if (keys.empty()) return ObjectsToLoad();
      break;
    case 2:
      for (uint32_t j = 0; j < rep_->jobs.size(); ++j) {
        const JobState* job = rep_->jobs[j].get();
        if (job == nullptr || job->head.deleted) continue;
        for (uint32_t page = 0; page * kItemsPerPage < job->head.items; ++page) {
          keys.push_back({ObjectKind::kItems, j, page});
        }
        for (const PageUse& use : job->head.lease_pages) keys.push_back({ObjectKind::kLeases, j, use.page});
        for (const uint32_t page : job->head.tally_pages) keys.push_back({ObjectKind::kTallies, j, page});
        for (uint32_t fit = std::max(job->head.fit, 2u) - 1; fit <= job->head.fit; ++fit) {
          keys.push_back({ObjectKind::kFit, j, fit});
        }
      }
      break;
    default:
      break;
  }
  return keys;
}

absl::Status PartitionState::LoadObject(const ObjectKey& key, std::optional<absl::string_view> bytes) {
  if (!bytes.has_value()) return absl::OkStatus();  // Never stored, or erased: the journal has the rest.
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
      rep_->job_by_name[Rep::JobName(job.head.identity.tenant, job.head.identity.id)] = JobIndex(key.job);
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
      for (LeaseRow& row : *rows) page.by_sequence[row.sequence] = std::move(row.assignment);
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
  auto& taken = rep_->taken;
  const auto at = std::find_if(taken.begin(), taken.end(), [&](const DirtyObject& t) {
    return t.key == object.key && t.since == object.since;
  });
  if (at != taken.end()) taken.erase(at);
}

void PartitionState::NotStored(const DirtyObject& object) {
  Stored(object);
  // It may be marked again since; twice in the list is harmless, and the older entry is the one that
  // holds the journal.
  if (Version* version = rep_->FindVersion(object.key)) version->dirty = true;
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
