#include "coordinator/core/fusing/categorical.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "common/check.h"
#include "coordinator/core/fusing/portable_math.h"

namespace tessera::core {
namespace {

// What a worker says is, this often, nothing but a slip: any class, all alike. It bounds what a
// single vote can do, so that one vote never makes an item certain.
constexpr double kSlip = 0.002;

// Workers' strength, see Learner::LearnCrowd, is kept in these bounds: below, a worker's first
// answer would decide how they are seen; above, more makes no difference.
constexpr double kStrengthMin = 2;
constexpr double kStrengthMax = 64;

// How many pairs of answers (by one worker, of one truth) the options' strength counts for.
constexpr double kStrengthPairs = 100;

// How many answers the options' share of right ones counts for, per class.
constexpr double kDiagonalAnswers = 10;

using Distribution = absl::InlinedVector<double, 16>;

// The expectation maximisation, with one vector per quantity, all reused between rounds.
//
// Two choices differ from the textbook, both because they make confidences more honest:
// * A worker's prior is what is known of the crowd: the share of right answers over all workers and
//   classes, and how much workers differ about it. Which wrong class the crowd prefers is *not*
//   shared: where hard items fool many, that would teach every worker the crowd's mistake.
// * While an item is judged, each worker's confusion is taken without their vote on that very item,
//   or else a vote would be evidence for itself.
//
// Of the workers beyond FitOptions::confusion_bytes_max nothing is learnt but what they add to the
// crowd: they are judged, here and by the fit, as one of it.
class Learner {
 public:
  Learner(const VoteTable& table, const FitOptions& options)
      : table_(table),
        options_(options),
        classes_(table.classes),
        stride_(StrideOf(table, options)),
        posterior_((table.items() + stride_ - 1) / stride_ * classes_),
        class_prior_(classes_),
        strength_(classes_, options.confusion_strength),
        imagined_right_(classes_),
        imagined_wrong_(classes_) {
    TESSERA_CHECK(classes_ > 0);
    TESSERA_CHECK(table.known.empty() || table.known.size() == table.items());
    IndexWorkers();
    counts_.resize(workers_.size() * classes_ * classes_);
    totals_.resize(workers_.size() * classes_);
    StartFromShares();
  }

  Fit Learn(uint32_t number) {
    for (int round = 0; round < options_.rounds; ++round) {
      CountAnswers();
      LearnCrowd();
      JudgeItems();
    }
    CountAnswers();
    LearnCrowd();
    return Export(number);
  }

 private:
  // Chooses the workers of whom a confusion is kept: those with the most answers, of equals the
  // first.
  void IndexWorkers() {
    std::vector<WorkerIndex> voters;
    voters.reserve(table_.votes.size());
    for (const Vote& vote : table_.votes) {
      TESSERA_CHECK(vote.said < classes_);
      voters.push_back(vote.worker);
    }
    std::sort(voters.begin(), voters.end());
    std::vector<std::pair<size_t, WorkerIndex>> by_answers;
    for (size_t first = 0, end = 0; first < voters.size(); first = end) {
      while (end < voters.size() && voters[end] == voters[first]) ++end;
      by_answers.push_back({end - first, voters[first]});
    }
    const size_t kept = options_.confusion_bytes_max / (classes_ * classes_ * sizeof(float));
    if (by_answers.size() > kept) {
      std::stable_sort(by_answers.begin(), by_answers.end(),
                       [](const auto& a, const auto& b) { return a.first > b.first; });
      by_answers.resize(kept);
    }
    workers_.reserve(by_answers.size());
    for (const auto& [answers, worker] : by_answers) workers_.push_back(worker);
    std::sort(workers_.begin(), workers_.end());
    positions_.reserve(table_.votes.size());
    for (const Vote& vote : table_.votes) {
      const auto at = std::lower_bound(workers_.begin(), workers_.end(), vote.worker);
      const bool own = at != workers_.end() && *at == vote.worker;
      positions_.push_back(own ? static_cast<uint32_t>(at - workers_.begin()) : kOfTheCrowd);
    }
  }

  static size_t StrideOf(const VoteTable& table, const FitOptions& options) {
    const size_t bytes = table.items() * table.classes * sizeof(double);
    return (1 + bytes / (options.posterior_bytes_max + 1)) | 1;
  }

  Label Known(size_t item) const { return table_.known.empty() ? kNoLabel : table_.known[item]; }

  void StartFromShares() {
    for (size_t item = 0; item < table_.items(); item += stride_) {
      double* posterior = Row(item);
      if (const Label truth = Known(item); truth != kNoLabel) {
        TESSERA_CHECK(truth < classes_);
        posterior[truth] = 1;
        continue;
      }
      const double share = 1.0 / static_cast<double>(table_.begin[item + 1] - table_.begin[item]);
      for (uint64_t v = table_.begin[item]; v < table_.begin[item + 1]; ++v) {
        posterior[table_.votes[v].said] += share;
      }
    }
  }

  // Who said what how often when the truth was what, as far as the truth is known; and the classes.
  void CountAnswers() {
    std::fill(counts_.begin(), counts_.end(), 0.0);
    std::fill(class_prior_.begin(), class_prior_.end(), options_.prior_strength);
    crowd_answers_ = crowd_right_ = 0;
    for (size_t item = 0; item < table_.items(); item += stride_) {
      if (table_.begin[item] == table_.begin[item + 1]) continue;  // Nothing is known of it.
      const double* posterior = Row(item);
      for (size_t truth = 0; truth < classes_; ++truth) class_prior_[truth] += posterior[truth];
      for (uint64_t v = table_.begin[item]; v < table_.begin[item + 1]; ++v) {
        const size_t said = table_.votes[v].said;
        if (positions_[v] == kOfTheCrowd) {
          crowd_answers_ += 1;
          crowd_right_ += posterior[said];
          continue;
        }
        double* counts = Counts(positions_[v], said);
        for (size_t truth = 0; truth < classes_; ++truth) counts[truth] += posterior[truth];
      }
    }
    double sum = 0;
    for (const double share : class_prior_) sum += share;
    for (double& share : class_prior_) share /= sum;

    std::fill(totals_.begin(), totals_.end(), 0.0);
    for (size_t worker = 0; worker < workers_.size(); ++worker) {
      for (size_t said = 0; said < classes_; ++said) {
        const double* counts = Counts(worker, said);
        for (size_t truth = 0; truth < classes_; ++truth) {
          totals_[worker * classes_ + truth] += counts[truth];
        }
      }
    }
  }

  // What is known of all informs the one who has given three answers.
  //
  // The crowd's share of right answers, p, is one number. How far workers differ in it, per truth,
  // is seen from how far their counts a of n scatter: for workers drawn from Beta(s p, s (1 - p)),
  //   E (a - n p)^2 / (n p (1 - p)) = 1 + (n - 1) rho,  rho = 1 / (s + 1),
  // and s is how many imaginary answers the crowd's opinion counts for in each worker.
  void LearnCrowd() {
    double answers = kDiagonalAnswers * classes_;
    double right = answers * options_.confusion_diagonal;
    answers += crowd_answers_;
    right += crowd_right_;
    for (size_t worker = 0; worker < workers_.size(); ++worker) {
      for (size_t truth = 0; truth < classes_; ++truth) {
        answers += totals_[worker * classes_ + truth];
        right += Counts(worker, truth)[truth];
      }
    }
    right_ = classes_ == 1 ? 1 : std::clamp(right / answers, 1.0 / classes_, 0.999);
    LearnStrengths();
    for (size_t truth = 0; truth < classes_; ++truth) {
      imagined_right_[truth] = strength_[truth] * right_;
      imagined_wrong_[truth] = strength_[truth] * WrongShare();
    }
  }

  void LearnStrengths() {
    if (classes_ == 1) return;
    for (size_t truth = 0; truth < classes_; ++truth) {
      double excess = kStrengthPairs / (options_.confusion_strength + 1);
      double pairs = kStrengthPairs;
      for (size_t worker = 0; worker < workers_.size(); ++worker) {
        const double n = totals_[worker * classes_ + truth];
        if (n <= 1) continue;  // A single answer says nothing about how workers differ.
        const double off = Counts(worker, truth)[truth] - n * right_;
        excess += off * off / (n * right_ * (1 - right_)) - 1;
        pairs += n - 1;
      }
      const double rho = std::clamp(excess / pairs, 1 / (kStrengthMax + 1), 1 / (kStrengthMin + 1));
      strength_[truth] = 1 / rho - 1;
    }
  }

  // Judges each item by its votes. Products are rescaled after each vote: no logarithms, no
  // underflow.
  void JudgeItems() {
    for (size_t item = 0; item < table_.items(); item += stride_) {
      if (Known(item) != kNoLabel) continue;
      if (table_.begin[item] == table_.begin[item + 1]) continue;
      double* posterior = Row(item);
      Distribution next(class_prior_.begin(), class_prior_.end());
      for (uint64_t v = table_.begin[item]; v < table_.begin[item + 1]; ++v) {
        const size_t said = table_.votes[v].said;
        if (positions_[v] == kOfTheCrowd) {
          Weigh(
              said, next, [this](size_t /*truth*/) { return WrongShare(); }, right_);
        } else {
          const double* counts = Counts(positions_[v], said);
          const double* totals = &totals_[positions_[v] * classes_];
          const auto share = [&](size_t truth, double imagined) {
            const double own = posterior[truth];
            const double times = imagined + std::max(0.0, counts[truth] - own);
            const double of = strength_[truth] + std::max(0.0, totals[truth] - own);
            return times / of;
          };
          Weigh(
              said, next, [&](size_t truth) { return share(truth, imagined_wrong_[truth]); },
              share(said, imagined_right_[said]));
        }
        double sum = 0;
        for (const double p : next) sum += p;
        for (double& p : next) p /= sum;
      }
      std::copy(next.begin(), next.end(), posterior);
    }
  }

  // Multiplies `next` by how often one says `said` when the truth is each class: `wrong(truth)`, but
  // `right` for `said` itself.
  template <typename Wrong>
  void Weigh(size_t said, Distribution& next, Wrong wrong, double right) const {
    const double slip = kSlip / classes_;
    const double before = next[said];
    for (size_t truth = 0; truth < classes_; ++truth) {
      next[truth] *= (1 - kSlip) * wrong(truth) + slip;
    }
    next[said] = before * ((1 - kSlip) * right + slip);
  }

  Fit Export(uint32_t number) const {
    Fit fit;
    fit.number = number;
    fit.classes = table_.classes;
    fit.answers = table_.votes.size();
    fit.workers = workers_;
    fit.log_prior.reserve(classes_);
    for (const double share : class_prior_) {
      fit.log_prior.push_back(static_cast<float>(PortableLog(share)));
    }
    fit.crowd_log_right = LogSlipped(right_);
    fit.crowd_log_wrong = LogSlipped(WrongShare());
    fit.log_confusion.reserve(counts_.size());
    for (size_t worker = 0; worker < workers_.size(); ++worker) {
      for (size_t truth = 0; truth < classes_; ++truth) {
        const double of = strength_[truth] + totals_[worker * classes_ + truth];
        for (size_t said = 0; said < classes_; ++said) {
          const double imagined = truth == said ? imagined_right_[truth] : imagined_wrong_[truth];
          const double times = imagined + Counts(worker, said)[truth];
          fit.log_confusion.push_back(LogSlipped(times / of));
        }
      }
    }
    return fit;
  }

  // How often the crowd says one given class that is not the truth.
  double WrongShare() const {
    return classes_ == 1 ? 0 : (1 - right_) / static_cast<double>(classes_ - 1);
  }

  float LogSlipped(double share) const {
    return static_cast<float>(PortableLog((1 - kSlip) * share + kSlip / classes_));
  }

  // By truth. Said before truth, as a vote asks for all truths of the one thing that it said.
  double* Counts(size_t worker, size_t said) {
    return &counts_[(worker * classes_ + said) * classes_];
  }
  const double* Counts(size_t worker, size_t said) const {
    return &counts_[(worker * classes_ + said) * classes_];
  }

  double* Row(size_t item) { return &posterior_[item / stride_ * classes_]; }

  static constexpr uint32_t kOfTheCrowd = UINT32_MAX;

  const VoteTable& table_;
  const FitOptions& options_;
  const size_t classes_;
  // Every such item is learnt from, the others are passed over. Odd, as many a list alternates.
  const size_t stride_;
  std::vector<WorkerIndex> workers_;    // Whose confusion is kept. Ascending.
  std::vector<uint32_t> positions_;     // [vote]: its worker's place in workers_, or kOfTheCrowd.
  std::vector<double> posterior_;       // [item / stride][class]
  std::vector<double> class_prior_;     // [class]
  std::vector<double> counts_;          // [worker][said][truth]
  std::vector<double> totals_;          // [worker][truth]
  std::vector<double> strength_;        // [truth]: every worker's imaginary answers ...
  std::vector<double> imagined_right_;  // ... of them right ...
  std::vector<double> imagined_wrong_;  // ... and of them each single wrong one.
  double crowd_answers_ = 0;            // By workers whose confusion is not kept ...
  double crowd_right_ = 0;              // ... and of them right.
  double right_ = 0;                    // The crowd's share of right answers.
};

// The worker's own log confusion under the fit, [truth * classes + said]; null for one whom it
// takes for one of the crowd.
const float* OwnConfusion(const Fit& fit, WorkerIndex worker) {
  const auto at = std::lower_bound(fit.workers.begin(), fit.workers.end(), worker);
  if (at == fit.workers.end() || *at != worker) return nullptr;
  const size_t position = static_cast<size_t>(at - fit.workers.begin());
  return &fit.log_confusion[position * fit.classes * fit.classes];
}

Distribution PosteriorOf(const Fit& fit, absl::Span<const Vote> votes) {
  Distribution posterior(fit.log_prior.begin(), fit.log_prior.end());
  for (const Vote& vote : votes) {
    TESSERA_CHECK(vote.said < fit.classes);
    if (const float* own = OwnConfusion(fit, vote.worker); own != nullptr) {
      for (size_t truth = 0; truth < fit.classes; ++truth) {
        posterior[truth] += own[truth * fit.classes + vote.said];
      }
    } else {
      const double before = posterior[vote.said];
      for (double& p : posterior) p += fit.crowd_log_wrong;
      posterior[vote.said] = before + fit.crowd_log_right;
    }
  }
  const double most = *std::max_element(posterior.begin(), posterior.end());
  double sum = 0;
  for (double& p : posterior) {
    p = PortableExp(p - most);
    sum += p;
  }
  for (double& p : posterior) p /= sum;
  return posterior;
}

}  // namespace

void VoteTable::AddItem(absl::Span<const Vote> item_votes, Label truth) {
  if (truth != kNoLabel && known.empty()) known.assign(items(), kNoLabel);
  if (truth != kNoLabel || !known.empty()) known.push_back(truth);
  votes.insert(votes.end(), item_votes.begin(), item_votes.end());
  begin.push_back(votes.size());
}

Fit PriorFit(uint16_t classes, const FitOptions& options) {
  return ComputeFit(VoteTable{.classes = classes}, 0, options);
}

Fit ComputeFit(const VoteTable& table, uint32_t number, const FitOptions& options) {
  return Learner(table, options).Learn(number);
}

std::vector<double> Posterior(const Fit& fit, absl::Span<const Vote> votes) {
  const Distribution posterior = PosteriorOf(fit, votes);
  return {posterior.begin(), posterior.end()};
}

Score ScoreVotes(const Fit& fit, absl::Span<const Vote> votes) {
  if (votes.empty()) return {};
  const Distribution posterior = PosteriorOf(fit, votes);
  const auto best = std::max_element(posterior.begin(), posterior.end());
  return {.value = static_cast<Label>(best - posterior.begin()),
          .confidence = static_cast<float>(*best)};
}

double ExpectedGain(const Fit& fit, absl::Span<const double> posterior, WorkerIndex worker) {
  TESSERA_CHECK(posterior.size() == fit.classes);
  const size_t best =
      static_cast<size_t>(std::max_element(posterior.begin(), posterior.end()) - posterior.begin());
  const float* own = OwnConfusion(fit, worker);
  double gain = 0;
  if (own == nullptr) {
    // All wrong classes are alike and less likely than the right one, so what is said is either
    // the new value or changes nothing. For a thousand classes a sum, not a million of them.
    const double right = PortableExp(fit.crowd_log_right);
    const double stay = posterior[best] * PortableExp(fit.crowd_log_wrong);
    for (size_t said = 0; said < fit.classes; ++said) {
      if (said != best) gain += std::max(0.0, posterior[said] * right - stay);
    }
    return std::min(gain, 1.0);
  }
  for (size_t said = 0; said < fit.classes; ++said) {
    const auto joint = [&](size_t truth) {
      return posterior[truth] * PortableExp(own[truth * fit.classes + said]);
    };
    const double stay = joint(best);
    double most = stay;
    for (size_t truth = 0; truth < fit.classes; ++truth) {
      // At most its posterior: most classes need no exponential.
      if (posterior[truth] > most) most = std::max(most, joint(truth));
    }
    gain += most - stay;  // Exactly 0 where this answer leaves the value as it is.
  }
  return std::min(gain, 1.0);
}

Label Majority(uint16_t classes, absl::Span<const Vote> votes) {
  if (votes.empty()) return kNoLabel;
  absl::InlinedVector<uint32_t, 16> counts(classes);
  for (const Vote& vote : votes) {
    TESSERA_CHECK(vote.said < classes);
    ++counts[vote.said];
  }
  return static_cast<Label>(std::max_element(counts.begin(), counts.end()) - counts.begin());
}

float LogConfusion(const Fit& fit, WorkerIndex worker, Label truth, Label said) {
  TESSERA_CHECK(truth < fit.classes && said < fit.classes);
  const float* own = OwnConfusion(fit, worker);
  if (own == nullptr) return truth == said ? fit.crowd_log_right : fit.crowd_log_wrong;
  return own[truth * fit.classes + said];
}

double Accuracy(const Fit& fit, WorkerIndex worker) {
  const float* own = OwnConfusion(fit, worker);
  double accuracy = 0;
  for (size_t truth = 0; truth < fit.classes; ++truth) {
    const float right = own == nullptr ? fit.crowd_log_right : own[truth * fit.classes + truth];
    accuracy += PortableExp(fit.log_prior[truth]) * PortableExp(right);
  }
  return std::min(accuracy, 1.0);
}

}  // namespace tessera::core
