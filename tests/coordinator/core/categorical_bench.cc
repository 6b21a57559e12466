// What a refit costs: a million answers, five to an item, by five thousand workers.
#include <benchmark/benchmark.h>

#include "coordinator/core/fusing/categorical.h"

namespace tessera::core {
namespace {

VoteTable MillionAnswers(uint16_t classes) {
  VoteTable table = {.classes = classes};
  uint64_t state = 1;
  const auto below = [&state](uint64_t bound) {
    state = state * 6364136223846793005 + 1442695040888963407;
    return (state >> 33) % bound;
  };
  std::vector<Vote> votes(5);
  for (int item = 0; item < 200'000; ++item) {
    const Label truth = static_cast<Label>(below(classes));
    for (Vote& vote : votes) {
      vote.worker = WorkerIndex(static_cast<uint32_t>(below(5000)));
      vote.said = below(4) > 0 ? truth : static_cast<Label>(below(classes));
    }
    table.AddItem(votes);
  }
  return table;
}

void BM_ComputeFit(benchmark::State& state) {
  const VoteTable table = MillionAnswers(static_cast<uint16_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(ComputeFit(table, 1));
}
BENCHMARK(BM_ComputeFit)->Arg(2)->Arg(5)->Arg(10)->Unit(benchmark::kMillisecond);

void BM_ScoreVotes(benchmark::State& state) {
  const VoteTable table = MillionAnswers(2);
  const Fit fit = ComputeFit(table, 1);
  size_t item = 0;
  for (auto _ : state) {
    const absl::Span<const Vote> votes(&table.votes[table.begin[item]], 5);
    benchmark::DoNotOptimize(ScoreVotes(fit, votes));
    item = (item + 1) % table.items();
  }
}
BENCHMARK(BM_ScoreVotes);

}  // namespace
}  // namespace tessera::core
