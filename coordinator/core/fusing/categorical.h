// Fusing categorical answers: who said what, how far each is to be believed, what is most likely.
//
// A worker is a confusion matrix: how often they say `said` when the truth is `truth`. An item is a
// posterior over its classes. Confusions and posteriors are learnt from each other, without known
// answers, by expectation maximisation (Dawid & Skene 1979, Applied Statistics 28(1)), here with
// Dirichlet priors on prior and confusions (maximum a posteriori), because plain Dawid-Skene loses
// to the majority where workers have given few answers. Known answers (gold), where there are some,
// take part as items whose truth is given.
//
// The learnt parameters are a `Fit` (events.h): immutable and numbered. Between fits an item is
// scored under the fit that it names, by nothing but sums of logarithms held in the fit, in the
// order of its answers; so the same answers give the same bits on every machine.
//
// Pure functions. No state, no threads, no randomness.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "coordinator/core/events.h"
#include "coordinator/core/types.h"

namespace tessera::core {

// One counted answer to one item.
struct Vote {
  WorkerIndex worker;
  Label said = 0;
};

// An item's fused state.
struct Score {
  Label value = kNoLabel;  // The most likely class; of equals the first. kNoLabel without votes.
  float confidence = 0;    // Its posterior probability. 0 without votes.
};

// Everything that was said, item by item: what a fit is computed from.
struct VoteTable {
  uint16_t classes = 0;
  std::vector<uint64_t> begin = {0};  // Item i's votes are votes[begin[i], begin[i + 1]).
  std::vector<Vote> votes;
  std::vector<Label> known;  // Per item: its known truth or kNoLabel. Empty: none is known.

  size_t items() const { return begin.size() - 1; }
  void AddItem(absl::Span<const Vote> item_votes, Label truth = kNoLabel);
};

struct FitOptions {
  int rounds = 6;                   // Of EM. More lets hard items drift into a rare class.
  double confusion_strength = 4;    // Imaginary answers per truth in each worker's prior.
  double confusion_diagonal = 0.7;  // Of those, the share that is right, at least (see the .cc).
  double prior_strength = 1;        // Imaginary items per class.
  // Of all workers' confusions together, as a fit holds them: classes^2 floats each. A fit is one
  // event, and learning takes twice as much. Those with the most answers have one of their own, the
  // others are taken for one of the crowd: 2 workers of a job with 1,000 classes, 209 with 100,
  // 20,971 with 10.
  size_t confusion_bytes_max = 8 << 20;
  // Of all posteriors together, while learning: a double for each class of each item. Beyond, only
  // every third, fifth, ... item is learnt from: at most 134,217 of a job with 1,000 classes, 13
  // million with 10.
  size_t posterior_bytes_max = size_t{1} << 30;
};

// Fit number 0: what is believed before anything was learnt. Uniform classes, and workers who are
// right with `confusion_diagonal`. Small, and quickly made.
Fit PriorFit(uint16_t classes, const FitOptions& options = {});

// Learns fit `number` from all votes. Deterministic; the order of items does not matter beyond
// rounding, the order of votes within an item neither.
// Cost: rounds x (votes x classes). No votes give the prior.
Fit ComputeFit(const VoteTable& table, uint32_t number, const FitOptions& options = {});

// The posterior over classes of an item with these votes under `fit`; sums to 1.
// `votes` must be in the order of their assignments for the bits to be reproducible.
std::vector<double> Posterior(const Fit& fit, absl::Span<const Vote> votes);

// The most likely class and its probability.
Score ScoreVotes(const Fit& fit, absl::Span<const Vote> votes);

// What one more answer by `worker` is expected to add to the probability that the item's value is
// right: E[max posterior after] - max posterior now. In [0, 1]; 0 where no answer of theirs could
// change the value.
double ExpectedGain(const Fit& fit, absl::Span<const double> posterior, WorkerIndex worker);

// The yardstick: most votes; of equals the first.
Label Majority(uint16_t classes, absl::Span<const Vote> votes);

// log P(said | truth) for this worker under `fit`.
float LogConfusion(const Fit& fit, WorkerIndex worker, Label truth, Label said);

// Posterior weight that explains itself: the mean probability that this worker is right, over the
// fit's class prior.
double Accuracy(const Fit& fit, WorkerIndex worker);

}  // namespace tessera::core
