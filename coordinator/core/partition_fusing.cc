// Scores, fits, and moving items from one fit to the next.
#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "coordinator/core/partition_impl.h"

namespace tessera::core {
namespace {

// What a requester is told of a confidence: its whole thousandths. A new fit moves every item a
// little, and that is no news; but many small steps are, and only by the value itself can it be
// seen what was said last. So one that was streamed is never 0.001 from the one that is held. (One
// that goes to and fro over the edge of a thousandth is news each time: at most once in a fit.)
double Told(float confidence) { return std::floor(static_cast<double>(confidence) * 1000); }

// Whether the change is one that result streams show: into RESOLVED, out of it, or within it.
bool IsNews(const ItemOutcome& o, const ItemRecord& before) {
  const bool was = before.state == ItemState::kResolved;
  const bool is = o.after == ItemState::kResolved;
  if (was != is) return true;
  return is && (o.value != before.value || Told(o.confidence) != Told(before.confidence));
}

}  // namespace

const Fit& Partition::Impl::FitOf(const JobState& job, uint32_t number) const {
  if (const auto found = job.fits.find(number); found != job.fits.end()) return found->second.fit;
  const auto classes = static_cast<uint16_t>(job.head.identity.classes.size());
  auto prior = priors_.find(classes);
  if (prior == priors_.end()) {
    prior = priors_.emplace(classes, PriorFit(classes, options_.fit)).first;
  }
  return prior->second;
}

const Fit& Partition::Impl::NewestFit(JobIndex index) {
  const JobState& j = job(index);
  return FitOf(j, j.head.fit);
}

ItemOutcome Partition::Impl::Score(JobIndex index, ItemIndex item,
                                   absl::Span<const ItemEntry> entries, const ItemRecord& before) {
  const JobState& j = job(index);
  const QualityPolicy& quality = j.head.policy.quality;
  const Votes votes = CountedVotes(entries);
  const core::Score score = ScoreVotes(NewestFit(index), votes);
  const auto counted = static_cast<uint32_t>(votes.size());
  const bool resolved =
      counted >= quality.answers_max ||
      (counted >= quality.answers_min && score.confidence >= quality.target_confidence);
  ItemOutcome o{.item = item,
                .before = before.state,
                .after = resolved ? ItemState::kResolved : ItemState::kInProgress,
                .value = score.value,
                .confidence = score.confidence,
                .fit = j.head.fit,
                .revision = 0};
  // A closing job buys nothing more: what was resolved is not opened again.
  if (j.head.phase == JobPhase::kClosing && before.state == ItemState::kResolved && counted > 0) {
    o.after = ItemState::kResolved;
  }
  if (IsNews(o, before)) o.revision = j.head.revision + 1;
  return o;
}

ItemOutcome Partition::Impl::OutcomeWith(JobIndex index, ItemIndex item, uint32_t sequence,
                                         ItemEntry::Status status, Label label) {
  const ItemRecord before = job(index).items.Get(item);
  std::vector<ItemEntry> entries(before.entries.begin(), before.entries.end());
  for (ItemEntry& e : entries) {
    if (e.sequence != sequence) continue;
    e.status = status;
    e.label = label;
  }
  return Score(index, item, entries, before);
}

bool Partition::Impl::LearnsFromAnswers(const JobState& job) {
  return job.head.identity.classes.size() >= 2 && job.head.policy.quality.answers_max >= 2;
}

void Partition::Impl::MaybeFit(JobIndex index) {
  const JobHead& head = job(index).head;
  const Runtime& r = runtime(index);
  if (r.fit_asked.has_value() || r.refit_page.has_value()) return;
  if (!LearnsFromAnswers(job(index))) return;
  const uint64_t news = head.answers - std::min(head.answers, head.fit_answers);
  const double share = head.fit_answers < options_.refit_answers_large
                           ? options_.refit_growth
                           : options_.refit_growth_large;
  const auto growth = static_cast<uint64_t>(share * static_cast<double>(head.fit_answers));
  if (news >= std::max(options_.refit_answers_min, growth)) AskForFit(index);
}

void Partition::Impl::AskForFit(JobIndex index) {
  const JobState& j = job(index);
  FitWork work{.job = index, .number = j.head.fit + 1, .votes = {}};
  work.votes.classes = static_cast<uint16_t>(j.head.identity.classes.size());
  for (ItemIndex i = 0; i < j.items.size(); ++i) {
    const Votes votes = CountedVotes(j.items.Get(i).entries);
    if (!votes.empty()) work.votes.AddItem(votes, j.items.Traits(i).gold);
  }
  runtime(index).fit_asked = work.number;
  runtime(index).fit_rejected = j.head.answers_rejected;
  fit_work_.push_back(std::move(work));
}

void Partition::Impl::FitComputed(JobIndex index, Fit fit, absl::Time now) {
  const JobState* j = state_.job(index);
  if (j == nullptr) return;
  Runtime& r = runtime(index);
  if (r.fit_asked != fit.number || j->ended()) return;
  r.fit_asked.reset();
  Emit(FitApplied{.job = index, .fit = std::move(fit), .answers_rejected = r.fit_rejected});
  Refit(index);
  MoveOn(index, now);
}

bool Partition::Impl::FitIsBehind(const JobHead& head) {
  return head.answers != head.fit_answers || head.answers_rejected != head.fit_rejected;
}

void Partition::Impl::Refit(JobIndex index) {
  runtime(index).refit_page = 0;
  attention_.insert(index);
}

void Partition::Impl::RefitPage(JobIndex index) {
  Runtime& r = runtime(index);
  const JobState& j = job(index);
  const uint32_t page = *r.refit_page;
  if (page >= j.items.pages()) {
    r.refit_page.reset();
    return;
  }
  PageRefitted moved{.job = index, .page = page, .outcomes = {}};
  const ItemIndex first = page * kItemsPerPage;
  const ItemIndex end = std::min(first + kItemsPerPage, j.items.size());
  uint32_t revision = j.head.revision;
  for (ItemIndex i = first; i < end; ++i) {
    Requeue(index, i);
    const ItemRecord before = j.items.Get(i);
    if (before.Counted() == 0) continue;
    const std::vector<ItemEntry> entries(before.entries.begin(), before.entries.end());
    ItemOutcome o = Score(index, i, entries, before);
    if (o.fit == before.fit && o.after == before.state && o.value == before.value &&
        o.confidence == before.confidence) {
      continue;
    }
    if (o.revision != 0) o.revision = ++revision;
    moved.outcomes.push_back(o);
  }
  r.refit_page = page + 1;
  if (!moved.outcomes.empty()) Emit(std::move(moved));
  if (*r.refit_page >= j.items.pages()) r.refit_page.reset();
}

void Partition::Impl::MovePages(absl::Span<const JobIndex> jobs) {
  std::map<absl::string_view, std::vector<JobIndex>> sweeping;  // By tenant.
  for (const JobIndex index : jobs) {
    if (runtime(index).refit_page.has_value()) {
      sweeping[job(index).head.identity.tenant].push_back(index);
    }
  }
  for (uint32_t pages = options_.refit_pages_per_step; pages > 0 && !sweeping.empty(); --pages) {
    auto turn = sweeping.upper_bound(refit_tenant_);
    if (turn == sweeping.end()) turn = sweeping.begin();
    auto& [tenant, own] = *turn;
    refit_tenant_ = std::string(tenant);
    const auto next = std::min_element(own.begin(), own.end(), [this](JobIndex a, JobIndex b) {
      return runtime(a).refit_turn < runtime(b).refit_turn;
    });
    RefitPage(*next);
    runtime(*next).refit_turn = ++refit_turn_;
    if (runtime(*next).refit_page.has_value()) continue;
    own.erase(next);
    if (own.empty()) sweeping.erase(turn);
  }
}

}  // namespace tessera::core
