// How each event changes the state.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/core/fold_impl.h"
#include "coordinator/core/mutation.h"

namespace tessera::core {
namespace {

// Changes that the state they are made to cannot bear are false, and are not made.

[[nodiscard]] bool TakeOne(uint64_t& count) {
  if (count == 0) return false;
  --count;
  return true;
}

[[nodiscard]] bool Move(ItemCounts& counts, ItemState before, ItemState after) {
  if (before == after) return true;
  if (!TakeOne(counts.of(before))) return false;
  ++counts.of(after);
  return true;
}

[[nodiscard]] bool Take(Micros& money, Micros amount) {
  if (amount < 0 || money < amount) return false;
  money -= amount;
  return true;
}

auto PageUseAt(std::vector<PageUse>& pages, uint32_t page) {
  return std::lower_bound(pages.begin(), pages.end(), page,
                          [](const PageUse& u, uint32_t p) { return u.page < p; });
}

void UsePage(std::vector<PageUse>& pages, uint32_t page) {
  auto at = PageUseAt(pages, page);
  if (at == pages.end() || at->page != page) at = pages.insert(at, PageUse{page, 0});
  ++at->live;
}

[[nodiscard]] bool LeavePage(std::vector<PageUse>& pages, uint32_t page) {
  const auto at = PageUseAt(pages, page);
  if (at == pages.end() || at->page != page) return false;
  if (--at->live == 0) pages.erase(at);
  return true;
}

ItemEntry::Status StatusOf(Disposition disposition) {
  switch (disposition) {
    case Disposition::kAnswered:
    case Disposition::kAnsweredLate:
      return ItemEntry::kAnswered;
    case Disposition::kReturned:
      return ItemEntry::kReturned;
    case Disposition::kMissed:
      return ItemEntry::kMissed;
    case Disposition::kForfeited:
      return ItemEntry::kForfeited;
    case Disposition::kRevoked:
      return ItemEntry::kRevoked;
  }
  return ItemEntry::kForfeited;
}

// Whether the fit can judge answers of this job.
bool IsFitOf(const JobState& job, const Fit& fit) {
  const size_t classes = job.head.identity.classes.size();
  return fit.classes == classes && fit.log_prior.size() == classes &&
         fit.log_confusion.size() == fit.workers.size() * classes * classes;
}

}  // namespace

// Applies one event to one object after another, each only if it is older than the record. What
// cannot follow from the state is Broken(), whichever of the objects shows it.
class PartitionState::Folder {
 public:
  Folder(Rep& rep, RecordId id) : rep_(rep), id_(id) {}

  void operator()(const OwnerStarted& e) {
    Time(e.at);
    if (!e.inherited.empty() && ChangesPartition()) {
      std::vector<RecordId>& ends = rep_.partition.ends;
      for (const RecordId end : e.inherited) {
        if (!ends.empty() && end.epoch <= ends.back().epoch) {
          return Broken("an owner is not the next one");
        }
        ends.push_back(end);
      }
      if (ends.size() > kEndsKept) ends.erase(ends.begin(), ends.end() - kEndsKept);
    }
    if (e.outage <= absl::ZeroDuration() || Mutated(Mutation::kDeadlineNotShifted)) return;
    for (uint32_t j = 0; j < rep_.jobs.size(); ++j) {
      if (rep_.jobs[j] == nullptr) continue;
      for (auto& [number, page] : rep_.jobs[j]->leases.pages()) {
        if (page.by_sequence.empty() || !Changes({ObjectKind::kLeases, j, number}, page.version))
          continue;
        for (auto& [sequence, assignment] : page.by_sequence) {
          if (!assignment.expired) assignment.deadline += e.outage;
          assignment.late_until += e.outage;
        }
      }
    }
  }

  void operator()(const Ticked& e) { Time(e.at); }

  void operator()(const WorkerSeen& e) {
    // Indexes are given one after another.
    if (e.worker.value() > rep_.workers.size()) return Broken("a worker is skipped");
    if (ChangesPartition()) {
      rep_.partition.workers = std::max(rep_.partition.workers, e.worker.value() + 1);
    }
    WorkerRecord& worker = rep_.Worker(e.worker);
    if (!ChangesWorker(e.worker)) return;
    worker.name = e.name;
    rep_.worker_by_name[e.name] = e.worker;
  }

  void operator()(const WorkerUpdated& e) {
    if (!Seen(e.worker)) return;
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
    if (e.job.value() > rep_.jobs.size()) return Broken("a job is skipped");
    if (ChangesPartition()) {
      rep_.partition.jobs = std::max(rep_.partition.jobs, e.job.value() + 1);
    }
    const bool there = rep_.Job(e.job) != nullptr;
    JobState& job = rep_.NewJob(e.job);
    if (!ChangesHead(e.job, job)) return;
    if (there) return Broken(absl::StrCat("job ", e.job.value(), " is created twice"));
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
    JobState* job = Job(e.job);
    if (job == nullptr) return;
    if (!e.traits.empty() && e.traits.size() != e.count) return Broken("items without traits");
    if (JobHead* head = Head(e.job)) {
      if (e.first != head->items) return Broken("items are added elsewhere than at the end");
      head->items = e.first + e.count;
      head->committed_offset = e.committed_offset;
      head->counts.waiting += e.count;
      head->strata_names.insert(head->strata_names.end(), e.new_strata.begin(), e.new_strata.end());
      head->updated_at = e.at;
    }
    if (e.count == 0) return;
    if (uint64_t{e.first} + e.count > job->head.items) return Broken("items that the job has not");
    job->items.Grow(e.first + e.count);
    const uint32_t last_page = (e.first + e.count - 1) / kItemsPerPage;
    for (uint32_t page = e.first / kItemsPerPage; page <= last_page; ++page) {
      const bool begins = e.first <= page * kItemsPerPage;
      if (!ChangesItems(e.job, *job, page, begins) || e.traits.empty()) continue;
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
      if (e.phase == JobPhase::kClosing) head->closed_paused |= head->pause_reasons;
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
    JobState* job = JobOrMark(e.job);
    if (job == nullptr) return;
    // The mark was stored, and whether all pages were erased before its owner died nobody knows.
    if (job->head.deleted) {
      std::vector<ObjectKey> pages = PagesNamed(e.job.value(), job->head);
      // A page of leases that was empty no head names, and may be in the store all the same.
      for (uint32_t page = 0; page * kLeasesPerPage < job->head.next_sequence; ++page) {
        pages.push_back({ObjectKind::kLeases, e.job.value(), page});
      }
      return MarkPagesErased(pages);
    }
    if (!ChangesHead(e.job, *job)) return;
    rep_.job_by_name.erase(Rep::JobName(job->head.identity.tenant, job->head.identity.id));
    // What is left is a mark, so that a recovery does not look for the rest.
    MarkErased(e.job.value(), *job);
    JobHead mark;
    mark.deleted = true;
    // What names its pages, so that whoever takes over can go on erasing them.
    mark.items = job->head.items;
    mark.fit = job->head.fit;
    mark.next_sequence = job->head.next_sequence;
    mark.tally_pages = std::move(job->head.tally_pages);
    job->head = std::move(mark);
    job->items = ItemTable();
    job->leases = LeaseTable();
    job->tallies.clear();
    job->fits.clear();
  }

  void operator()(const Granted& e) {
    Time(e.at);
    const JobIndex index = e.assignment.job;
    JobState* job = Job(index);
    if (job == nullptr || !Seen(e.worker)) return;
    for (const GrantedItem& i : e.items) {
      if (!Added(*job, i.item)) return;
    }
    const auto items = static_cast<uint32_t>(e.items.size());
    const uint32_t lease_page = e.assignment.sequence / kLeasesPerPage;
    const uint32_t tally_page = e.worker.value() / kWorkersPerPage;
    if (JobHead* head = Head(index)) {
      if (e.assignment.sequence != head->next_sequence) return Broken("an assignment is skipped");
      head->next_sequence = e.assignment.sequence + 1;
      head->open_assignments += 1;
      head->ledger.reserved_micros += e.price_micros * items;
      for (const GrantedItem& i : e.items) {
        if (!Move(head->counts, i.before, AfterGrant(i.before))) return Uncounted();
      }
      UsePage(head->lease_pages, lease_page);
      auto& pages = head->tally_pages;
      const auto at = std::lower_bound(pages.begin(), pages.end(), tally_page);
      if (at == pages.end() || *at != tally_page) pages.insert(at, tally_page);
    }
    LeaseTable::Page& page = job->leases.PageOf(e.assignment.sequence);
    if (Changes({ObjectKind::kLeases, index.value(), lease_page}, page.version)) {
      LiveAssignment& a = page.by_sequence[e.assignment.sequence];
      a.worker = e.worker;
      a.price_micros = e.price_micros;
      a.granted_at = e.at;
      a.deadline = e.deadline;
      a.late_until = e.late_until;
      a.route = job->leases.Share({.pool = e.pool, .gateway = e.gateway});
      a.items.reserve(items);
      for (const GrantedItem& i : e.items) a.items.push_back(LeasedItem{.item = i.item});
    }
    for (const GrantedItem& i : e.items) {
      if (!ChangesItem(index, *job, i.item)) continue;
      ItemEntry entry;
      entry.worker = e.worker;
      entry.sequence = e.assignment.sequence;
      entry.price = PackPrice(e.price_micros);
      job->items.AddEntry(i.item, entry);
    }
    if (Tally* tally = TallyOf(index, *job, e.worker)) tally->granted += items;
  }

  void operator()(const Drafted& e) {
    JobState* job = Job(e.assignment.job);
    if (job == nullptr) return;
    LiveAssignment* a = Assignment(*job, e.assignment);
    if (a == nullptr) return;
    LeasedItem* i = a->Find(e.item);
    if (i == nullptr) return Broken("a draft of an item that was not leased");
    i->draft = e.label;
    i->edit = e.edit;
  }

  void operator()(const ItemsEnded& e) {
    Time(e.at);
    const JobIndex index = e.assignment.job;
    JobState* job = Job(index);
    if (job == nullptr || !Seen(e.worker)) return;
    for (const ItemEnd& end : e.items) {
      if (!Added(*job, end.outcome.item)) return;
    }
    if (JobHead* head = Head(index)) EndInHead(*head, e);
    EndInLease(*job, e);
    for (const ItemEnd& end : e.items) {
      const ItemIndex item = end.outcome.item;
      if (!ChangesItem(index, *job, item)) continue;
      ItemEntry* entry = job->items.MutableEntry(item, e.assignment.sequence);
      if (entry == nullptr) return NoEntry(item, e.assignment);
      entry->status = StatusOf(end.disposition);
      entry->label = end.label;
      if (end.disposition == Disposition::kAnsweredLate) entry->flags |= ItemEntry::kLate;
      if (e.approved && entry->counted()) entry->flags |= ItemEntry::kApproved;
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
        case Disposition::kReturned:
          ++tally->returned;
          break;
        case Disposition::kMissed:
          ++tally->missed;
          break;
        default:
          break;
      }
    }
  }

  void operator()(const Extended& e) {
    JobState* job = Job(e.assignment.job);
    if (job == nullptr) return;
    LiveAssignment* a = Assignment(*job, e.assignment);
    if (a == nullptr) return;
    a->deadline = e.deadline;
    a->late_until = e.late_until;
    a->extended = e.extended;
  }

  void operator()(const AnswerReviewed& e) {
    const JobIndex index = e.assignment.job;
    JobState* job = Job(index);
    if (job == nullptr || !Seen(e.worker) || !Added(*job, e.outcome.item)) return;
    if (JobHead* head = Head(index)) {
      if (!Take(head->ledger.earned_micros, e.price_micros)) return Uncounted();
      if (e.approved) {
        head->ledger.approved_micros += e.price_micros;
      } else {
        // The one sum that no budget bounds: what was rejected is bought again.
        Micros& rejected = head->ledger.rejected_micros;
        rejected = AddSaturated(rejected, e.price_micros);
        if (!e.money_only) {
          if (!TakeOne(head->answers)) return Uncounted();
          head->answers_rejected += 1;
        }
        if (!Move(head->counts, e.outcome.before, e.outcome.after)) return Uncounted();
        head->revision = std::max(head->revision, e.outcome.revision);
      }
    }
    if (ChangesItem(index, *job, e.outcome.item)) {
      ItemEntry* entry = job->items.MutableEntry(e.outcome.item, e.assignment.sequence);
      if (entry == nullptr) return NoEntry(e.outcome.item, e.assignment);
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
    if (tally->answered == 0) return Uncounted();
    if (!e.money_only) --tally->answered;
    ++tally->rejected;
    tally->earned_micros -= e.price_micros;
  }

  void operator()(const BonusPaid& e) {
    JobState* job = Job(e.job);
    if (job == nullptr || !Seen(e.worker)) return;
    if (JobHead* head = Head(e.job)) {
      head->ledger.bonus_micros += e.amount_micros;
      head->bonus_requests.push_back(BonusKey(e.request_id, e.worker, e.amount_micros));
    }
    if (Tally* tally = TallyOf(e.job, *job, e.worker)) tally->earned_micros += e.amount_micros;
  }

  void operator()(const FitApplied& e) {
    JobState* job = JobOrMark(e.job);
    if (job == nullptr) return;
    // Before a new fit is asked for, all items have moved to the last one: two are named at most.
    // The one before them goes, also where a recovery did not read it, as its owner may have died
    // first, or where the job was deleted since, as its mark does not name it.
    if (e.fit.number > 2) {
      rep_.dirty.push_back({{ObjectKind::kFit, e.job.value(), e.fit.number - 2}, id_});
    }
    if (job->head.deleted) return;
    if (!IsFitOf(*job, e.fit)) return Broken("a fit of another job");
    if (JobHead* head = Head(e.job)) {
      if (e.fit.number != head->fit + 1) return Broken("a fit is skipped");
      head->fit = e.fit.number;
      head->fit_answers = e.fit.answers;
      head->fit_rejected = e.answers_rejected;
    }
    job->fits.erase(job->fits.begin(), job->fits.lower_bound(std::max(e.fit.number, 1u) - 1));
    JobState::FitObject& fit = job->fits[e.fit.number];
    if (!Changes({ObjectKind::kFit, e.job.value(), e.fit.number}, fit.version)) return;
    fit.fit = e.fit;
  }

  void operator()(const PageRefitted& e) {
    JobState* job = Job(e.job);
    if (job == nullptr) return;
    for (const ItemOutcome& o : e.outcomes) {
      if (!Added(*job, o.item)) return;
      if (o.item / kItemsPerPage != e.page) return Broken("an item of another page");
    }
    if (e.outcomes.empty()) return;
    if (JobHead* head = Head(e.job)) {
      for (const ItemOutcome& o : e.outcomes) {
        if (!Move(head->counts, o.before, o.after)) return Uncounted();
        head->revision = std::max(head->revision, o.revision);
      }
    }
    if (!ChangesItems(e.job, *job, e.page)) return;
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

  // A mark is what is left of a job that was deleted. A job that is not there at all never was:
  // what happens to one is of another partition's journal, or behind a hole.
  JobState* JobOrMark(JobIndex index) {
    JobState* job = rep_.Job(index);
    if (job == nullptr) Broken(absl::StrCat("there never was a job ", index.value()));
    return job;
  }
  // Nothing, too, for a job of which only the mark is left: a page of it may be gone.
  JobState* Job(JobIndex index) {
    JobState* job = JobOrMark(index);
    return job == nullptr || job->head.deleted ? nullptr : job;
  }
  // Whether the worker was seen, and the item was added. If not, the event is of another journal;
  // else its indexes would only make the tables larger.
  bool Seen(WorkerIndex worker) {
    const uint32_t w = worker.value();
    if (w < rep_.workers.size() && !rep_.workers[w].name.empty()) return true;
    Broken(absl::StrCat("nobody has seen worker ", w));
    return false;
  }
  bool Added(const JobState& job, ItemIndex item) {
    if (item < job.head.items) return true;
    Broken(absl::StrCat("there is no item ", item));
    return false;
  }
  void NoEntry(ItemIndex item, AssignmentId id) {
    Broken(absl::StrCat("item ", item, " knows nothing of assignment ", id.sequence));
  }
  void Uncounted() { Broken("more is taken from the job's counts than they hold"); }
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
  // A page of items begins when its first one is added. Where that is in neither the store nor the
  // journal, the page is gone, and must not begin anew as one of other items.
  bool ChangesItems(JobIndex index, JobState& job, uint32_t page, bool begins = false) {
    Version& version = job.items.PageVersion(page);
    if (!begins && version.current == RecordId{}) {
      Broken(absl::StrCat("page ", page, " of the items of job ", index.value(), " is gone"));
      return false;
    }
    return Changes({ObjectKind::kItems, index.value(), page}, version);
  }
  bool ChangesItem(JobIndex index, JobState& job, ItemIndex item) {
    if (!ChangesItems(index, job, item / kItemsPerPage)) return false;
    job.items.Grow(item + 1);
    return true;
  }
  JobHead* Head(JobIndex index) {
    JobState* job = Job(index);
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
      if (!Move(head.counts, end.outcome.before, end.outcome.after)) return Uncounted();
      head.revision = std::max(head.revision, end.outcome.revision);
      if (end.disposition == Disposition::kMissed) continue;  // Reserved until the grace ends.
      if (!Take(head.ledger.reserved_micros, e.price_micros)) return Uncounted();
      if (StatusOf(end.disposition) != ItemEntry::kAnswered) continue;
      (e.approved ? head.ledger.approved_micros : head.ledger.earned_micros) += e.price_micros;
      head.answers += 1;
      if (end.disposition == Disposition::kAnsweredLate) head.answers_late += 1;
    }
    if (e.active_seconds > 0) head.moments.Add(e.active_units, e.active_seconds);
    if (!e.over) return;
    if (!TakeOne(head.open_assignments) ||
        !LeavePage(head.lease_pages, e.assignment.sequence / kLeasesPerPage)) {
      Uncounted();
    }
  }

  void EndInLease(JobState& job, const ItemsEnded& e) {
    LiveAssignment* a = Assignment(job, e.assignment);
    if (a == nullptr) return;
    for (const ItemEnd& end : e.items) {
      LeasedItem* i = a->Find(end.outcome.item);
      if (i == nullptr) return Broken("the end of an item that was not leased");
      i->missed = end.disposition == Disposition::kMissed;
      i->ended = !i->missed;
      if (i->missed) a->expired = true;
    }
    if (e.over) job.leases.PageOf(e.assignment.sequence).by_sequence.erase(e.assignment.sequence);
  }

  // A recovery that finds one of a deleted job's pages gone must find the mark in the job's head:
  // so the head is written before any page is erased, and until then it holds the journal for all.
  void MarkErased(uint32_t j, JobState& job) {
    RecordId since = id_;
    std::erase_if(rep_.dirty, [&](const DirtyObject& d) {
      if (d.key.job != j || d.key.kind < ObjectKind::kJob) return false;
      since = std::min(since, d.since);
      // A fit that had gone before is to be erased still, and nothing else names it.
      return d.key.kind != ObjectKind::kFit || job.fits.contains(d.key.page);
    });
    for (const DirtyObject& t : rep_.taken) {
      if (t.key.job == j && t.key.kind >= ObjectKind::kJob) since = std::min(since, t.since);
    }
    job.head_version.dirty = true;
    const auto at =
        std::lower_bound(rep_.dirty.begin(), rep_.dirty.end(), since,
                         [](const DirtyObject& d, RecordId id) { return d.since < id; });
    rep_.dirty.insert(at, {{ObjectKind::kJob, j}, since});
    std::vector<ObjectKey> pages = PagesNamed(j, job.head);
    for (const auto& [page, leases] : job.leases.pages()) {
      if (leases.by_sequence.empty()) pages.push_back({ObjectKind::kLeases, j, page});
    }
    MarkPagesErased(pages);
  }

  void MarkPagesErased(const std::vector<ObjectKey>& pages) {
    for (const ObjectKey& page : pages) rep_.dirty.push_back({page, id_});
  }

  void Broken(absl::string_view what) {
    if (status_.ok())
      status_ = absl::DataLossError(absl::StrCat("record ", id_.ToString(), ": ", what));
  }

  Rep& rep_;
  const RecordId id_;
  absl::Status status_;
};

absl::Status PartitionState::Apply(RecordId id, const Event& event) {
  rep_->record_open = true;
  if (rep_->partition.time == absl::InfinitePast()) {
    // Only one thing can have happened first: that there was an owner, and none before it.
    const auto* owner = std::get_if<OwnerStarted>(&event);
    if (owner == nullptr || owner->outage > absl::ZeroDuration()) {
      return absl::DataLossError(absl::StrCat(
          "record ", id.ToString(), " is not the first one, and what was before it is gone"));
    }
  }
  Folder folder(*rep_, id);
  std::visit(folder, event);
  return folder.status();
}

}  // namespace tessera::core
