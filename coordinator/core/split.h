// Splitting: in which order a job's items are offered, how many to a sitting, what that will cost.
//
// A microtask of l units takes a + b l + c l^2 seconds (start-up, per unit, fatigue). Per unit that
// is least at l = sqrt(a / c): the cheapest length, clamped to the job's bounds. Under a budget,
// which items to admit is a fractional knapsack, where greedy by value per cost is optimal (Dantzig
// 1957). The derivation is in docs/architecture.md, "Splitting".
//
// Pure: the same input gives the same plan. Nothing here knows of leases or answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/core/events.h"
#include "coordinator/core/policy.h"

namespace tessera::core {

// The cheapest number of units in one sitting: sqrt(a / c) clamped to [units_min, units_max].
// Without fatigue (c = 0) the longest is the cheapest.
double CheapestLength(const CostModel& model, double units_min, double units_max);

// Seconds that one sitting of `units` takes.
double SittingSeconds(const CostModel& model, double units);

// The stratum that the plan counts an item to: UNIFORM knows only one.
uint16_t PlannedStratum(const SplitPolicy& policy, const ItemTraits& traits);

// Items to a microtask, where `items` of one stratum are to be worked on and one is `mean_units`
// long: as many as are cheapest per unit, within the policy's bounds, and then parts of the same
// size rather than a remnant at the end. The plan says so and leases do so.
uint32_t BundleItems(const SplitPolicy& policy, const CostModel& cost, double mean_units,
                     uint64_t items);

// A sitting that is being filled with the next of `items` waiting ones, which are `mean_units` long
// in the mean: with as many units as BundleItems() of the mean length have, so that short items
// come in larger numbers than long ones, and sittings take about the same time. The plan is made of
// these and leases are.
class Sitting {
 public:
  Sitting(const SplitPolicy& policy, const CostModel& cost, double mean_units, uint64_t items);

  // Takes an item of this length, unless the sitting is nearer to its units without it.
  bool Take(double length);
  uint32_t items() const { return items_; }
  double units() const { return units_; }

 private:
  uint32_t items_min_;
  uint32_t items_max_;
  double units_wanted_;
  uint32_t items_ = 0;
  double units_ = 0;
};

// Items that are worked on one after the other, bundled alike.
struct Stratum {
  std::string name;  // "" for the only one of UNIFORM.
  uint64_t items = 0;
  uint64_t items_admitted = 0;  // What the budget reaches, best value per cost first.
  uint64_t items_begun = 0;     // Beside those.
  double units = 0;             // Of all its items, begun ones included.
  double importance = 1;        // Mean.
  uint32_t bundle_items = 1;    // To a microtask, in the mean.
  double answers_expected = 0;  // From now on, of the admitted items and those begun.
  Micros cost_micros = 0;       // Of those answers.
  double sittings = 0;          // That they take.
  double worker_seconds = 0;
};

struct SplitPlan {
  std::vector<Stratum> strata;   // In the order in which they are offered.
  std::vector<ItemIndex> order;  // Items in the order of offering. Empty: by index.
  uint64_t items_admitted = 0;   // A prefix of the order.
  uint64_t items_begun = 0;      // Beside the order: whose turn they are is no matter of the plan.
  double answers_per_item = 0;   // As the plan expects it.
  double answers_expected = 0;
  Micros cost_micros = 0;
  double worker_seconds = 0;
  bool budget_suffices = true;
};

// Items of one stratum that were leased before and are not done.
struct BegunItems {
  uint64_t items = 0;
  double units = 0;    // Their lengths, summed.
  double answers = 0;  // Expected from now on; the budget pays for these first.
};

// Items of one stratum that nobody was given so far.
struct WaitingItems {
  uint64_t items = 0;
  double units = 0;       // Their lengths, summed.
  double importance = 0;  // Summed.
};

struct SplitInput {
  uint64_t items = 0;                          // That nobody was given so far.
  absl::Span<const ItemTraits> traits;         // Empty: all defaults. Else `items` of them.
  absl::Span<const std::string> strata_names;  // By ItemTraits::stratum; index 0 is "".
  Micros price_micros = 0;                     // Of one answer.
  double answers_per_item = 2;         // Expected: learnt, or a guess from the quality policy.
  Micros budget_micros = 0;            // What is left of it.
  CostModel cost;                      // As learnt, or the policy's.
  absl::Span<const BegunItems> begun;  // By PlannedStratum().
  // By PlannedStratum(), where there are too many items to look at each: what those above, some of
  // each stratum, stand for. Such a plan has no order. Empty: they are all there are.
  absl::Span<const WaitingItems> sampled_from;
};

// Plans all items. UNIFORM: contiguous parts of near-equal estimated duration. STRATIFIED:
// by stratum, most important first, each bundled on its own. ADAPTIVE: STRATIFIED under the learnt
// cost model (the caller passes it). Items with more value per cost are admitted first where the
// budget does not reach all. `random_order` shuffles within a stratum by the policy's seed.
SplitPlan PlanSplit(const SplitPolicy& policy, const QualityPolicy& quality,
                    const SplitInput& input);

// How often people are right, unless more is known: the mean over the 164 of Mechanical Turk who
// judged 800 pairs of sentences (Snow et al. 2008; demo/rte). Of their answers fewer were right
// (0.73): some answered much and badly, which a fit finds out.
inline constexpr double kAnswersRight = 0.84;

// How many answers an item is expected to need before any was seen, where so many are right: a
// guess between answers_min and answers_max that rises with the target and is lower where there are
// more classes to err in.
double GuessAnswersPerItem(const QualityPolicy& quality, uint32_t classes,
                           double right = kAnswersRight);

// Learns a, b, c from finished sittings by least squares with a pull towards the policy's guess, so
// that a few odd sittings cannot bend it. Keeps sums only: folding one in is adding numbers, exact
// and in order, so it may be stored state.
struct CostMoments {
  double n = 0, l = 0, l2 = 0, l3 = 0, l4 = 0;  // Sums of powers of the units.
  double t = 0, tl = 0, tl2 = 0;                // Sums of seconds times them.

  void Add(double units, double seconds);
};
inline void Fields(auto& v, CostMoments& m) {
  v("n", m.n);
  v("l", m.l);
  v("l2", m.l2);
  v("l3", m.l3);
  v("l4", m.l4);
  v("t", m.t);
  v("tl", m.tl);
  v("tl2", m.tl2);
}

// The model after these sittings; `guess` counts as `guess_weight` sittings. Never negative.
CostModel LearnCost(const CostMoments& moments, const CostModel& guess, double guess_weight = 20);

}  // namespace tessera::core
