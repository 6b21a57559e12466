// Who is believed decides what is bought and what the requester gets: the fused value must be
// better than a vote, its confidence a probability, and both the same bits whenever they are asked
// for.
#include "coordinator/core/fusing/categorical.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "coordinator/core/fusing/portable_math.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::core {
namespace {

Vote By(uint32_t worker, Label said) { return {.worker = WorkerIndex(worker), .said = said}; }

// Every field, bit for bit.
std::string Bits(const Fit& fit) { return Encode(fit); }

// Arbitrary and the same everywhere.
class Arbitrary {
 public:
  explicit Arbitrary(uint64_t seed) : state_(seed) {}
  double Unit() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<double>(state_ >> 33) / 2147483648.0;
  }
  bool Chance(double p) { return Unit() < p; }

 private:
  uint64_t state_;
};

struct Crowd {
  VoteTable table;
  std::vector<Label> truth;
};

// `items` with truth 0, 1, 0, 1, ...; worker w answers all, right with probability right[w].
Crowd MakeCrowd(size_t items, const std::vector<double>& right, uint64_t seed = 7) {
  Arbitrary arbitrary(seed);
  Crowd crowd;
  crowd.table.classes = 2;
  for (size_t item = 0; item < items; ++item) {
    const Label truth = item % 2;
    std::vector<Vote> votes;
    for (uint32_t worker = 0; worker < right.size(); ++worker) {
      votes.push_back(By(worker, arbitrary.Chance(right[worker]) ? truth : 1 - truth));
    }
    crowd.table.AddItem(votes);
    crowd.truth.push_back(truth);
  }
  return crowd;
}

absl::Span<const Vote> VotesOf(const VoteTable& table, size_t item) {
  return absl::MakeConstSpan(table.votes)
      .subspan(table.begin[item], table.begin[item + 1] - table.begin[item]);
}

size_t RightUnder(const Fit& fit, const Crowd& crowd) {
  size_t right = 0;
  for (size_t item = 0; item < crowd.truth.size(); ++item) {
    right += ScoreVotes(fit, VotesOf(crowd.table, item)).value == crowd.truth[item];
  }
  return right;
}

// Two classes. A tie counts as half: which of equals comes first is no merit.
double RightByMajority(const Crowd& crowd) {
  double right = 0;
  for (size_t item = 0; item < crowd.truth.size(); ++item) {
    const absl::Span<const Vote> votes = VotesOf(crowd.table, item);
    const auto ones = std::count_if(votes.begin(), votes.end(), [](Vote v) { return v.said == 1; });
    const bool tie = 2 * static_cast<size_t>(ones) == votes.size();
    right += tie ? 0.5 : Majority(2, votes) == crowd.truth[item];
  }
  return right;
}

// The recording that the demo replays: 800 pairs, 164 people, 10 answers each.
Crowd ReadRecording() {
  const char* source = std::getenv("TESSERA_SOURCE_DIR");
  const std::string folder = std::string(source == nullptr ? "." : source) + "/demo/rte/";
  const auto rows = [&](const std::string& file) {
    std::ifstream in(folder + file);
    std::vector<std::vector<int>> all;
    std::string line;
    std::getline(in, line);  // The header.
    while (std::getline(in, line)) {
      std::vector<int>& row = all.emplace_back();
      for (const auto field : absl::StrSplit(line, ',')) {
        int number = -1;
        if (absl::SimpleAtoi(field, &number)) row.push_back(number);
      }
    }
    return all;
  };
  std::map<int, std::vector<Vote>> votes;
  for (const auto& row : rows("votes.csv")) {
    votes[row.at(0)].push_back(By(row.at(1), static_cast<Label>(row.at(2))));
  }
  std::map<int, Label> gold;
  for (const auto& row : rows("gold.csv")) gold[row.at(0)] = static_cast<Label>(row.at(1));
  Crowd crowd;
  crowd.table.classes = 2;
  for (const auto& [item, item_votes] : votes) {
    crowd.table.AddItem(item_votes);
    crowd.truth.push_back(gold.at(item));
  }
  return crowd;
}

TEST(PortableMathTest, AgreesWithTheLibrary) {
  for (double x = -600; x <= 600; x += 0.37) {
    EXPECT_NEAR(PortableExp(x) / std::exp(x), 1, 5e-16) << x;
    EXPECT_NEAR(PortableLog(std::exp(x)), std::log(std::exp(x)), 1e-15 * (1 + std::abs(x))) << x;
  }
  EXPECT_EQ(PortableExp(0), 1);
  EXPECT_EQ(PortableLog(1), 0);
  EXPECT_EQ(PortableExp(-1e9), 0);
}

TEST(PriorFitTest, WorkersAreRightWithTheDiagonalAndClassesAlike) {
  const Fit fit = PriorFit(4, {.confusion_diagonal = 0.7});
  EXPECT_EQ(fit.number, 0);
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(9)), 0.7, 0.002);
  for (const float log_share : fit.log_prior) EXPECT_NEAR(std::exp(log_share), 0.25, 1e-6);
  for (Label truth = 0; truth < 4; ++truth) {
    double sum = 0;
    for (Label said = 0; said < 4; ++said) {
      sum += std::exp(LogConfusion(fit, WorkerIndex(9), truth, said));
    }
    EXPECT_NEAR(sum, 1, 1e-6);
  }
}

TEST(PriorFitTest, ATinyCaseWorkedOutByHand) {
  // Right with .7 (of which .002 slips: .6996), classes alike. Votes 1, 1, 0:
  // odds of 1 to 0 are .6996 / .3004.
  const Fit fit = PriorFit(2, {.confusion_diagonal = 0.7});
  const Score score = ScoreVotes(fit, {By(1, 1), By(2, 1), By(3, 0)});
  EXPECT_EQ(score.value, 1);
  EXPECT_NEAR(score.confidence, 0.6996, 1e-6);
}

TEST(ScoreVotesTest, WithoutVotesThereIsNoValue) {
  const Score score = ScoreVotes(PriorFit(2), {});
  EXPECT_EQ(score.value, kNoLabel);
  EXPECT_EQ(score.confidence, 0);
}

TEST(ScoreVotesTest, OfEqualsTheFirstIsTheValue) {
  EXPECT_EQ(ScoreVotes(PriorFit(3), {By(1, 2), By(2, 1)}).value, 1);
}

TEST(PosteriorTest, SumsToOneHoweverManyVotesThereAre) {
  const Fit fit = PriorFit(5);
  std::vector<Vote> votes;
  for (uint32_t i = 0; i < 3000; ++i) {
    if (i % 100 < 3) {
      double sum = 0;
      for (const double p : Posterior(fit, votes)) sum += p;
      EXPECT_NEAR(sum, 1, 1e-12);
    }
    votes.push_back(By(i, i % 7 == 0 ? 3 : 1));
  }
  EXPECT_EQ(ScoreVotes(fit, votes).value, 1);
}

TEST(ComputeFitTest, NoVotesGiveThePrior) {
  VoteTable table = {.classes = 3};
  table.AddItem({});
  table.AddItem({}, 2);
  EXPECT_EQ(Bits(ComputeFit(table, 0)), Bits(PriorFit(3)));
}

TEST(ComputeFitTest, ASingleClassIsCertain) {
  VoteTable table = {.classes = 1};
  table.AddItem({By(1, 0)});
  EXPECT_EQ(ScoreVotes(ComputeFit(table, 1), {By(1, 0)}).confidence, 1);
}

TEST(ComputeFitTest, RepeatsItsBits) {
  const Crowd crowd = MakeCrowd(200, {0.9, 0.8, 0.6, 0.7});
  EXPECT_EQ(Bits(ComputeFit(crowd.table, 3)), Bits(ComputeFit(crowd.table, 3)));
  EXPECT_EQ(ComputeFit(crowd.table, 3).number, 3);
  EXPECT_EQ(ComputeFit(crowd.table, 3).answers, 800);
}

TEST(ComputeFitTest, TheOrderOfItemsDoesNotMatter) {
  const Crowd crowd = MakeCrowd(200, {0.9, 0.8, 0.6, 0.7});
  VoteTable backwards = {.classes = 2};
  for (size_t item = 200; item-- > 0;) {
    std::vector<Vote> votes(VotesOf(crowd.table, item).rbegin(), VotesOf(crowd.table, item).rend());
    backwards.AddItem(votes);
  }
  const Fit a = ComputeFit(crowd.table, 1);
  const Fit b = ComputeFit(backwards, 1);
  EXPECT_EQ(a.workers, b.workers);
  EXPECT_THAT(a.log_confusion, testing::Pointwise(testing::FloatNear(1e-5f), b.log_confusion));
  EXPECT_THAT(a.log_prior, testing::Pointwise(testing::FloatNear(1e-5f), b.log_prior));
}

TEST(ComputeFitTest, LearnsWhoIsGood) {
  const Fit fit = ComputeFit(MakeCrowd(1000, {0.95, 0.9, 0.8, 0.7, 0.6}).table, 1);
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(0)), 0.95, 0.03);
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(2)), 0.8, 0.04);
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(4)), 0.6, 0.04);
}

TEST(ComputeFitTest, ALiarIsAsUsefulAsAnHonestWorker) {
  const Crowd crowd = MakeCrowd(600, {0.8, 0.8, 0.8, 0.05});
  const Fit fit = ComputeFit(crowd.table, 1);
  EXPECT_LT(Accuracy(fit, WorkerIndex(3)), 0.15);
  // Alone, what they say speaks for the other class, and strongly.
  const Score score = ScoreVotes(fit, {By(3, 0)});
  EXPECT_EQ(score.value, 1);
  EXPECT_GT(score.confidence, 0.85);
  EXPECT_GT(RightUnder(fit, crowd), 0.94 * 600);
}

TEST(ComputeFitTest, ABiasIsSeenThrough) {
  // Worker 3 says 1 to everything that is 1 and to half of the rest: their 0 is worth much more.
  Arbitrary arbitrary(3);
  VoteTable table = {.classes = 2};
  for (size_t item = 0; item < 1000; ++item) {
    const Label truth = item % 2;
    std::vector<Vote> votes;
    for (uint32_t w = 0; w < 3; ++w) {
      votes.push_back(By(w, arbitrary.Chance(0.85) ? truth : 1 - truth));
    }
    votes.push_back(By(3, truth == 1 || arbitrary.Chance(0.5) ? 1 : 0));
    table.AddItem(votes);
  }
  const Fit fit = ComputeFit(table, 1);
  EXPECT_GT(ScoreVotes(fit, {By(3, 0)}).confidence, 0.9);
  EXPECT_LT(ScoreVotes(fit, {By(3, 1)}).confidence, 0.75);
}

TEST(ComputeFitTest, ACoinFlipperDoesNotHurt) {
  const std::vector<double> honest = {0.85, 0.8, 0.8, 0.75};
  std::vector<double> with_flipper = honest;
  with_flipper.push_back(0.5);
  const Crowd with = MakeCrowd(800, with_flipper);
  Crowd without = with;
  without.table = {.classes = 2};
  for (size_t item = 0; item < 800; ++item) {
    without.table.AddItem(VotesOf(with.table, item).first(honest.size()));
  }
  const Fit fit = ComputeFit(with.table, 1);
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(4)), 0.5, 0.06);
  EXPECT_GE(RightUnder(fit, with) + 8, RightUnder(ComputeFit(without.table, 1), without));
}

TEST(ComputeFitTest, KnownAnswersTurnACrowdThatIsWrongTogether) {
  // Two of three workers are mostly wrong. By votes alone they win; a few known answers decide.
  Crowd crowd = MakeCrowd(300, {0.2, 0.2, 0.9});
  EXPECT_LT(RightUnder(ComputeFit(crowd.table, 1), crowd), 150);
  VoteTable with_gold = {.classes = 2};
  for (size_t item = 0; item < 300; ++item) {
    with_gold.AddItem(VotesOf(crowd.table, item), item < 60 ? crowd.truth[item] : kNoLabel);
  }
  ASSERT_EQ(with_gold.known.size(), 300);
  const Fit fit = ComputeFit(with_gold, 1);
  EXPECT_LT(Accuracy(fit, WorkerIndex(0)), 0.5);
  EXPECT_GT(RightUnder(fit, crowd), 255);
}

TEST(ComputeFitTest, AnUnknownWorkerIsTakenForOneOfTheCrowd) {
  const Fit good = ComputeFit(MakeCrowd(500, {0.95, 0.95, 0.95}).table, 1);
  const Fit poor = ComputeFit(MakeCrowd(500, {0.7, 0.7, 0.7, 0.7, 0.7}).table, 1);
  EXPECT_NEAR(Accuracy(good, WorkerIndex(77)), 0.95, 0.03);
  EXPECT_NEAR(Accuracy(poor, WorkerIndex(77)), 0.7, 0.05);
}

TEST(ComputeFitTest, OnlyThoseWithTheMostAnswersHaveAConfusionOfTheirOwnAndTheRestAreTheCrowd) {
  // All answer each item, but worker 4 only every second and worker 0 only every third.
  const Crowd all = MakeCrowd(600, {0.95, 0.6, 0.8, 0.8, 0.8, 0.8});
  VoteTable table = {.classes = 2};
  for (size_t item = 0; item < 600; ++item) {
    std::vector<Vote> votes;
    for (const Vote& vote : VotesOf(all.table, item)) {
      if (vote.worker == WorkerIndex(4) && item % 2 != 0) continue;
      if (vote.worker == WorkerIndex(0) && item % 3 != 0) continue;
      votes.push_back(vote);
    }
    table.AddItem(votes);
  }
  const Fit whole = ComputeFit(table, 1);
  EXPECT_EQ(whole.workers.size(), 6u);
  // Room for three matrices of four floats: of equals, the first.
  const Fit fit = ComputeFit(table, 1, {.confusion_bytes_max = 3 * 4 * sizeof(float) + 1});
  EXPECT_THAT(fit.workers, testing::ElementsAre(WorkerIndex(1), WorkerIndex(2), WorkerIndex(3)));
  EXPECT_EQ(fit.log_confusion.size(), 3u * 4);
  EXPECT_EQ(fit.answers, table.votes.size());
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(1)), 0.6, 0.05);
  // The others have answers all the same, and are in what is known of the crowd.
  EXPECT_EQ(Accuracy(fit, WorkerIndex(0)), Accuracy(fit, WorkerIndex(99)));
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(0)), Accuracy(whole, WorkerIndex(99)), 0.02);
  EXPECT_NEAR(Accuracy(fit, WorkerIndex(0)), 0.78, 0.03);
}

TEST(ComputeFitTest, OfMoreItemsThanThereIsRoomForEveryFewAreLearntFrom) {
  const Crowd crowd = MakeCrowd(6000, {0.95, 0.9, 0.8, 0.7});
  const Fit whole = ComputeFit(crowd.table, 1);
  const Fit fit = ComputeFit(crowd.table, 1, {.posterior_bytes_max = 1300 * 2 * sizeof(double)});
  EXPECT_NE(Bits(fit), Bits(whole));
  EXPECT_EQ(fit.answers, crowd.table.votes.size());
  EXPECT_EQ(fit.workers, whole.workers);
  for (uint32_t w = 0; w < 4; ++w) {
    EXPECT_NEAR(Accuracy(fit, WorkerIndex(w)), Accuracy(whole, WorkerIndex(w)), 0.04) << w;
  }
}

TEST(ComputeFitTest, AFitStaysSmallHoweverManyClassesAndWorkersThereAre) {
  VoteTable table = {.classes = 1000};
  std::vector<Vote> votes;
  for (uint32_t item = 0; item < 50; ++item) {
    votes.clear();
    for (uint32_t worker = 0; worker < 24; ++worker) {
      votes.push_back(By(worker, static_cast<Label>(worker % 5 == 0 ? worker : item)));
    }
    table.AddItem(votes);
  }
  const Fit fit = ComputeFit(table, 1);
  EXPECT_EQ(fit.workers.size(), 2u);
  EXPECT_LE(Encode(fit).size(), FitOptions().confusion_bytes_max + 8192);
  const Score score = ScoreVotes(fit, VotesOf(table, 7));
  EXPECT_EQ(score.value, 7);
  EXPECT_GT(score.confidence, 0.99f);
  EXPECT_LT(Encode(PriorFit(1000)).size(), 8192u);
}

TEST(ExpectedGainTest, IsTheMeanOverWhatOneOfTheCrowdMaySay) {
  const Fit fit = PriorFit(5);
  const std::vector<double> posterior = {0.1, 0.3, 0.25, 0.05, 0.3};
  double after = 0;
  for (Label said = 0; said < 5; ++said) {
    double most = 0;
    for (Label truth = 0; truth < 5; ++truth) {
      most = std::max(most,
                      posterior[truth] * std::exp(LogConfusion(fit, WorkerIndex(0), truth, said)));
    }
    after += most;
  }
  EXPECT_NEAR(ExpectedGain(fit, posterior, WorkerIndex(0)), after - 0.3, 1e-6);
}

TEST(VoteTableTest, KnownAnswersMayStartLate) {
  VoteTable table = {.classes = 2};
  table.AddItem({By(1, 0)});
  EXPECT_TRUE(table.known.empty());
  table.AddItem({By(1, 1)}, 1);
  table.AddItem({By(2, 1)});
  EXPECT_THAT(table.known, testing::ElementsAre(kNoLabel, 1, kNoLabel));
  EXPECT_EQ(table.items(), 3);
}

TEST(ExpectedGainTest, IsNeverNegativeAndIsTheMeanOverWhatTheWorkerMaySay) {
  const Fit fit = ComputeFit(MakeCrowd(300, {0.95, 0.8, 0.6, 0.5, 0.2}).table, 1);
  for (double p = 0.02; p < 1; p += 0.02) {
    const std::vector<double> posterior = {1 - p, p};
    for (uint32_t worker = 0; worker < 6; ++worker) {
      const double gain = ExpectedGain(fit, posterior, WorkerIndex(worker));
      double after = 0;
      for (Label said = 0; said < 2; ++said) {
        double most = 0;
        for (Label truth = 0; truth < 2; ++truth) {
          most = std::max(most, posterior[truth] *
                                    std::exp(LogConfusion(fit, WorkerIndex(worker), truth, said)));
        }
        after += most;
      }
      EXPECT_GE(gain, 0);
      EXPECT_NEAR(gain, after - std::max(p, 1 - p), 1e-6);
    }
  }
}

TEST(ExpectedGainTest, IsExactlyZeroWhereNoAnswerCouldChangeTheValue) {
  const Fit fit = ComputeFit(MakeCrowd(300, {0.9, 0.9, 0.6}).table, 1);
  EXPECT_EQ(ExpectedGain(fit, {{0.02, 0.98}}, WorkerIndex(2)), 0);
  EXPECT_GT(ExpectedGain(fit, {{0.45, 0.55}}, WorkerIndex(2)), 0);
  EXPECT_GT(ExpectedGain(fit, {{0.45, 0.55}}, WorkerIndex(0)),
            ExpectedGain(fit, {{0.45, 0.55}}, WorkerIndex(2)));
}

TEST(MajorityTest, MostVotesWinAndOfEqualsTheFirst) {
  EXPECT_EQ(Majority(3, {By(1, 2), By(2, 2), By(3, 0)}), 2);
  EXPECT_EQ(Majority(3, {By(1, 2), By(2, 1)}), 1);
  EXPECT_EQ(Majority(3, {}), kNoLabel);
}

TEST(RecordingTest, FusingBeatsTheMajority) {
  const Crowd crowd = ReadRecording();
  ASSERT_EQ(crowd.truth.size(), 800);
  const double fused = static_cast<double>(RightUnder(ComputeFit(crowd.table, 1), crowd));
  EXPECT_GE(fused, 740);  // 92.5 %.
  EXPECT_GE(fused, RightByMajority(crowd) + 20);
}

// Starts with two answers an item and buys another while it is not sure enough; the recording's own
// order stands for the order of arrival.
TEST(RecordingTest, HalfTheAnswersGiveTheSameQuality) {
  const Crowd crowd = ReadRecording();
  std::vector<size_t> bought(800, 2);
  Fit fit;
  size_t answers = 0;
  for (bool any = true; any;) {
    any = false;
    VoteTable table = {.classes = 2};
    for (size_t item = 0; item < 800; ++item) {
      table.AddItem(VotesOf(crowd.table, item).first(bought[item]));
    }
    answers = table.votes.size();
    fit = ComputeFit(table, 1);
    for (size_t item = 0; item < 800; ++item) {
      const absl::Span<const Vote> votes = VotesOf(crowd.table, item);
      if (bought[item] == votes.size()) continue;
      if (ScoreVotes(fit, votes.first(bought[item])).confidence >= 0.92f) continue;
      ++bought[item];
      any = true;
    }
  }
  size_t right = 0;
  for (size_t item = 0; item < 800; ++item) {
    right +=
        ScoreVotes(fit, VotesOf(crowd.table, item).first(bought[item])).value == crowd.truth[item];
  }
  EXPECT_LE(answers, 5 * 800);
  EXPECT_GE(right, 728);  // 91 %; the majority of all ten has 89.7.
}

}  // namespace
}  // namespace tessera::core
