#include "coordinator/core/split.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "common/check.h"
#include "coordinator/core/money.h"

namespace tessera::core {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014). Ours, and not the standard library's, because std::shuffle
// and the standard distributions give each library's own order; a plan is the same everywhere.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // 0 .. bound - 1, all alike: draws from the incomplete last round are thrown away.
  uint64_t Below(uint64_t bound) {
    const uint64_t incomplete = (0 - bound) % bound;
    uint64_t draw = Next();
    while (draw < incomplete) draw = Next();
    return draw % bound;
  }

 private:
  uint64_t state_;
};

// Fisher-Yates.
void Shuffle(absl::Span<ItemIndex> items, uint64_t seed) {
  SplitMix64 random(seed);
  for (size_t left = items.size(); left > 1; --left) {
    std::swap(items[left - 1], items[random.Below(left)]);
  }
}

// The items of one stratum, on the way to a Stratum.
struct Group {
  uint16_t stratum = 0;
  BegunItems begun;
  std::vector<ItemIndex> items;  // In the order in which they are offered.
  double units = 0;              // Of these.
  WaitingItems all;              // That these stand for.
  double importance = 0;         // Mean.
  std::vector<bool> admitted;    // Beside `items`. Empty: all of them.
  uint64_t admitted_count = 0;   // Of `all`.

  // How many the item at this place stands for.
  uint64_t StandsFor(size_t place) const {
    return (place + 1) * all.items / items.size() - place * all.items / items.size();
  }
};

class Planner {
 public:
  Planner(const SplitPolicy& policy, const QualityPolicy& quality, const SplitInput& input)
      : policy_(policy),
        input_(input),
        // A mean below the least that each item gets would be a mistake of the caller's.
        answers_per_item_(
            std::max(input.answers_per_item, static_cast<double>(quality.answers_min))) {
    TESSERA_CHECK(input.traits.empty() || input.traits.size() == input.items);
    TESSERA_CHECK(input.items <= std::numeric_limits<ItemIndex>::max());
    TESSERA_CHECK(input.price_micros >= 0);
  }

  SplitPlan Plan() {
    MakeGroups();
    OrderGroups();
    if (policy_.random_order) {
      for (Group& group : groups_) {
        // The stratum's own order, whatever becomes of the others.
        Shuffle(absl::MakeSpan(group.items), SplitMix64(policy_.seed + group.stratum).Next());
      }
    }
    Admit();
    SplitPlan plan;
    plan.answers_per_item = answers_per_item_;
    for (const Group& group : groups_) Append(Describe(group), &plan);
    plan.budget_suffices = plan.items_admitted == items_ &&
                           (input_.price_micros == 0 || plan.cost_micros <= input_.budget_micros);
    if (input_.sampled_from.empty()) plan.order = Order();
    return plan;
  }

 private:
  double Length(ItemIndex item) const {
    return input_.traits.empty() ? ItemTraits{}.length : input_.traits[item].length;
  }
  double Importance(ItemIndex item) const {
    return input_.traits.empty() ? ItemTraits{}.importance : input_.traits[item].importance;
  }
  uint16_t StratumOf(ItemIndex item) const {
    return input_.traits.empty() ? 0 : PlannedStratum(policy_, input_.traits[item]);
  }
  std::string Name(uint16_t stratum) const {
    if (policy_.strategy == SplitStrategy::kUniform || input_.strata_names.empty()) return "";
    TESSERA_CHECK(stratum < input_.strata_names.size());
    return input_.strata_names[stratum];
  }

  void MakeGroups() {
    constexpr size_t kNone = std::numeric_limits<size_t>::max();
    std::vector<size_t> group_of;  // By stratum.
    const auto group_at = [&](uint16_t stratum) -> Group& {
      if (stratum >= group_of.size()) group_of.resize(stratum + size_t{1}, kNone);
      if (group_of[stratum] == kNone) {
        group_of[stratum] = groups_.size();
        groups_.push_back({.stratum = stratum});
      }
      return groups_[group_of[stratum]];
    };
    for (ItemIndex item = 0; item < input_.items; ++item) {
      Group& group = group_at(StratumOf(item));
      group.items.push_back(item);
      group.units += Length(item);
      group.all.importance += Importance(item);
    }
    for (Group& group : groups_) {
      group.all.items = group.items.size();
      group.all.units = group.units;
      if (!input_.sampled_from.empty()) group.all = input_.sampled_from[group.stratum];
      TESSERA_CHECK(group.all.items >= group.items.size());
      items_ += group.all.items;
      group.importance = group.all.importance / static_cast<double>(group.all.items);
    }
    for (size_t stratum = 0; stratum < input_.begun.size(); ++stratum) {
      if (input_.begun[stratum].items == 0) continue;
      group_at(static_cast<uint16_t>(stratum)).begun = input_.begun[stratum];
      begun_answers_ += input_.begun[stratum].answers;
    }
  }

  void OrderGroups() {
    std::sort(groups_.begin(), groups_.end(), [this](const Group& a, const Group& b) {
      if (a.importance != b.importance) return a.importance > b.importance;
      if (const int order = Name(a.stratum).compare(Name(b.stratum)); order != 0) return order < 0;
      return a.stratum < b.stratum;
    });
  }

  // Greedy by value per cost. All items cost the same (expected answers times the price), so that
  // is by importance; between equals the earlier in the plan, so that neighbours stay together.
  void Admit() {
    const uint64_t affordable = Affordable();
    if (affordable >= items_) {
      for (Group& group : groups_) {
        group.admitted_count = group.all.items;
      }
      return;
    }
    struct Candidate {
      double importance = 0;
      size_t group = 0;
      size_t place = 0;
    };
    std::vector<Candidate> candidates;
    candidates.reserve(input_.items);
    for (size_t g = 0; g < groups_.size(); ++g) {
      groups_[g].admitted.resize(groups_[g].items.size());
      for (size_t place = 0; place < groups_[g].items.size(); ++place) {
        candidates.push_back({Importance(groups_[g].items[place]), g, place});
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const auto& a, const auto& b) { return a.importance > b.importance; });
    uint64_t left = affordable;
    for (const Candidate& candidate : candidates) {
      Group& group = groups_[candidate.group];
      if (left == 0) {
        rest_.push_back(group.items[candidate.place]);
        continue;
      }
      const uint64_t taken = std::min(left, group.StandsFor(candidate.place));
      left -= taken;
      group.admitted[candidate.place] = true;
      group.admitted_count += taken;
    }
  }

  // How many items the budget pays all expected answers of.
  uint64_t Affordable() const {
    const double item_cost = answers_per_item_ * static_cast<double>(input_.price_micros);
    if (item_cost <= 0) return items_;
    const double budget = static_cast<double>(input_.budget_micros) -
                          begun_answers_ * static_cast<double>(input_.price_micros);
    if (budget <= 0) return 0;
    const double items = std::floor(budget / item_cost);
    if (items >= static_cast<double>(items_)) return items_;
    uint64_t count = static_cast<uint64_t>(items);
    // The quotient may have been rounded up across a whole number.
    if (count > 0 && static_cast<double>(count) * item_cost > budget) --count;
    return count;
  }

  Stratum Describe(const Group& group) const {
    Stratum stratum;
    stratum.name = Name(group.stratum);
    stratum.items = group.all.items;
    stratum.items_admitted = group.admitted_count;
    stratum.items_begun = group.begun.items;
    stratum.units = group.all.units + group.begun.units;
    stratum.importance = group.importance;
    stratum.answers_expected =
        static_cast<double>(group.admitted_count) * answers_per_item_ + group.begun.answers;
    stratum.cost_micros =
        ToMicros(stratum.answers_expected * static_cast<double>(input_.price_micros));
    if (group.begun.items > 0) {
      const auto begun = static_cast<double>(group.begun.items);
      const double mean = group.begun.units / begun;
      stratum.bundle_items = BundleItems(policy_, input_.cost, mean, group.begun.items);
      stratum.sittings = group.begun.answers / stratum.bundle_items;
      stratum.worker_seconds =
          stratum.sittings * SittingSeconds(input_.cost, mean * stratum.bundle_items);
    }
    if (group.admitted_count > 0) AddFirstAnswers(group, &stratum);
    return stratum;
  }

  // Cuts the admitted items into sittings as they will be leased, and takes it that later answers
  // come in such sittings too. Where items stand for others, each of them is cut once, the last
  // sitting is filled from the first ones, and the others are taken to be cut alike.
  void AddFirstAnswers(const Group& group, Stratum* stratum) const {
    std::vector<double> lengths;  // Of the admitted ones; a sitting may go round them many times.
    for (size_t place = 0; place < group.items.size(); ++place) {
      if (group.admitted.empty() || group.admitted[place]) {
        lengths.push_back(Length(group.items[place]));
      }
    }
    const uint64_t given = lengths.size();
    double sittings = 0;
    double seconds = 0;
    uint64_t cut = 0;
    auto waiting = static_cast<double>(group.items.size());
    double waiting_units = group.units;
    for (size_t place = 0; cut < given;) {
      const uint64_t left = (given - cut) * group.admitted_count / given;
      Sitting sitting(policy_, input_.cost, waiting_units / waiting, left);
      for (; sitting.items() < left; place = (place + 1) % lengths.size()) {
        if (!sitting.Take(lengths[place])) break;
      }
      sittings += 1;
      seconds += SittingSeconds(input_.cost, sitting.units());
      cut += sitting.items();
      waiting -= sitting.items();
      waiting_units -= sitting.units();
    }
    const double each =
        answers_per_item_ * (static_cast<double>(group.admitted_count) / static_cast<double>(cut));
    stratum->bundle_items = static_cast<uint32_t>(std::ceil(static_cast<double>(cut) / sittings));
    stratum->sittings += sittings * each;
    stratum->worker_seconds += seconds * each;
  }

  static void Append(Stratum stratum, SplitPlan* plan) {
    plan->items_admitted += stratum.items_admitted;
    plan->items_begun += stratum.items_begun;
    plan->answers_expected += stratum.answers_expected;
    plan->cost_micros = AddSaturated(plan->cost_micros, stratum.cost_micros);
    plan->worker_seconds += stratum.worker_seconds;
    plan->strata.push_back(std::move(stratum));
  }

  // The admitted items stratum by stratum, neighbours together; then the rest, the most valuable
  // first, as it is what more money (or fewer answers than expected) would reach next.
  std::vector<ItemIndex> Order() const {
    std::vector<ItemIndex> order;
    order.reserve(input_.items);
    for (const Group& group : groups_) {
      for (size_t place = 0; place < group.items.size(); ++place) {
        if (group.admitted.empty() || group.admitted[place]) order.push_back(group.items[place]);
      }
    }
    order.insert(order.end(), rest_.begin(), rest_.end());
    // A permutation that ascends is the identity.
    if (std::is_sorted(order.begin(), order.end())) return {};
    return order;
  }

  const SplitPolicy& policy_;
  const SplitInput& input_;
  const double answers_per_item_;
  std::vector<Group> groups_;
  uint64_t items_ = 0;  // Of all groups, those begun aside.
  double begun_answers_ = 0;
  std::vector<ItemIndex> rest_;  // Not admitted.
};

}  // namespace

double CheapestLength(const CostModel& model, double units_min, double units_max) {
  if (model.fatigue_seconds <= 0) return units_max;
  const double cheapest = std::sqrt(std::max(0.0, model.startup_seconds) / model.fatigue_seconds);
  return std::min(std::max(cheapest, units_min), units_max);
}

double SittingSeconds(const CostModel& model, double units) {
  return model.startup_seconds + (model.seconds_per_unit + model.fatigue_seconds * units) * units;
}

uint16_t PlannedStratum(const SplitPolicy& policy, const ItemTraits& traits) {
  return policy.strategy == SplitStrategy::kUniform ? 0 : traits.stratum;
}

uint32_t BundleItems(const SplitPolicy& policy, const CostModel& cost, double mean_units,
                     uint64_t items) {
  const double mean = mean_units > 0 ? mean_units : 1;
  const double items_min = policy.items_min;
  const double items_max = std::max(policy.items_min, policy.items_max);
  const double cheapest = CheapestLength(cost, items_min * mean, items_max * mean) / mean;
  const auto per_unit = [&](double count) {
    return SittingSeconds(cost, count * mean) / (count * mean);
  };
  double bundle = std::clamp(std::floor(cheapest), std::max(items_min, 1.0), items_max);
  if (bundle + 1 <= items_max && per_unit(bundle + 1) < per_unit(bundle)) ++bundle;
  const auto all = static_cast<double>(std::max<uint64_t>(items, 1));
  const double parts = std::ceil(all / bundle);
  return static_cast<uint32_t>(std::max(std::ceil(all / parts), std::min(items_min, bundle)));
}

Sitting::Sitting(const SplitPolicy& policy, const CostModel& cost, double mean_units,
                 uint64_t items)
    : items_min_(std::max(policy.items_min, 1u)),
      items_max_(std::max(items_min_, policy.items_max)),
      units_wanted_(BundleItems(policy, cost, mean_units, items) * mean_units) {}

bool Sitting::Take(double length) {
  const bool nearer = units_ + length / 2 <= units_wanted_;
  if (items_ >= items_max_ || (items_ >= items_min_ && !nearer)) return false;
  ++items_;
  units_ += length;
  return true;
}

SplitPlan PlanSplit(const SplitPolicy& policy, const QualityPolicy& quality,
                    const SplitInput& input) {
  return Planner(policy, quality, input).Plan();
}

// The expected length of a sequential test (Wald 1945) in which each answer is right with
// probability `right` and every wrong class is as likely as another. What counts is the lead of the
// true class over its strongest rival: it takes the least one at which the posterior reaches the
// target, on either side. The lead is a walk that stops there, from answers_min on, or at
// answers_max; its mean is summed up step by step. Of several wrong classes, votes for another than
// the rival are taken to leave the lead as it is.
double GuessAnswersPerItem(const QualityPolicy& quality, uint32_t classes, double right) {
  constexpr double kLeadMax = 64;
  const double answers_min = quality.answers_min;
  const double answers_max = std::max(quality.answers_min, quality.answers_max);
  const double rivals = std::max(classes, 2u) - 1;
  const double wrong = (1 - right) / rivals;
  if (quality.target_confidence >= 1) return answers_max;
  const double goal =
      std::log(quality.target_confidence / (1 - quality.target_confidence)) + std::log(rivals);
  const double steps = std::ceil(std::clamp(goal / std::log(right / wrong), 0.0, kLeadMax));
  const auto lead = static_cast<size_t>(steps);
  if (lead == 0 || answers_min >= answers_max) return answers_min;
  // Of items that want another answer, the share at each lead from -`lead` to `lead` and, before
  // answers_min, beyond.
  const size_t reach = std::max(lead, static_cast<size_t>(answers_min));
  std::vector<double> share(2 * reach + 1), next(2 * reach + 1);
  share[reach] = 1;
  double answers = 0;
  for (double n = 1; n <= answers_max; ++n) {
    const double open = std::accumulate(share.begin(), share.end(), 0.0);
    answers += open;
    if (open < 1e-9) break;
    std::fill(next.begin(), next.end(), 0.0);
    for (size_t at = 0; at < share.size(); ++at) {
      next[std::min(at + 1, 2 * reach)] += share[at] * right;
      next[at == 0 ? 0 : at - 1] += share[at] * wrong;
      next[at] += share[at] * (1 - right - wrong);
    }
    if (n >= answers_min) {
      std::fill(next.begin(), next.begin() + static_cast<ptrdiff_t>(reach - lead + 1), 0.0);
      std::fill(next.begin() + static_cast<ptrdiff_t>(reach + lead), next.end(), 0.0);
    }
    std::swap(share, next);
  }
  return std::clamp(answers, answers_min, answers_max);
}

}  // namespace tessera::core
