// What the hot path pays for the store: a post to the coordinator's thread, one append in flight,
// four pages in a fenced script. A real redis-server with `appendfsync always`.
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "common/check.h"
#include "coordinator/store/poll_loop.h"
#include "coordinator/store/redis_connection.h"
#include "coordinator/store/redis_store.h"
#include "tests/bench/data_folder.h"
#include "tests/support/redis_fixture.h"

namespace tessera::store {
namespace {

constexpr absl::Duration kLong = absl::Minutes(1);

void PostFromOwnThread(benchmark::State& state) {
  PollLoop loop;
  int64_t ran = 0;
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) loop.Post([&ran] { ++ran; });
    loop.RunOnce(absl::ZeroDuration());
  }
  state.SetItemsProcessed(ran);
}
BENCHMARK(PostFromOwnThread);

void PostToAWaitingThreadAndBack(benchmark::State& state) {
  PollLoop there;
  PollLoop here;
  bool end = false;
  std::thread thread([&] {
    while (!end) there.RunOnce(kLong);
  });
  int64_t returned = 0;
  for (auto _ : state) {
    const int64_t wanted = returned + 1;
    there.Post([&] { here.Post([&returned] { ++returned; }); });
    here.RunUntil([&] { return returned == wanted; }, kLong);
  }
  there.Post([&end] { end = true; });
  thread.join();
}
BENCHMARK(PostToAWaitingThreadAndBack)->UseRealTime();

// One store on a Redis of its own, its journal begun.
struct Bench {
  Bench() : connection(&loop, {.address = redis.address()}), store(&loop, &connection, {}) {
    TESSERA_CHECK(loop.RunUntil([&] { return connection.connected(); }, kLong));
  }
  void Append(size_t bytes) {
    bool done = false;
    store.Append({1, sequence++}, std::string(bytes, 'x'), [&](const absl::Status& status) {
      TESSERA_CHECK_OK(status);
      done = true;
    });
    TESSERA_CHECK(loop.RunUntil([&] { return done; }, kLong));
  }

  const std::string data_folder = bench::UseDataFolder();
  testing::RedisFixture redis;
  PollLoop loop;
  RedisConnection connection;
  RedisStore store;
  uint64_t sequence = 0;
};

void AppendOneInFlight(benchmark::State& state) {
  Bench bench;
  const auto bytes = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    bench.Append(bytes);
    if (bench.sequence % 64 == 0) {
      bench.store.Trim(1, {1, bench.sequence - 1},
                       [](const absl::Status& status) { TESSERA_CHECK_OK(status); });
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}
BENCHMARK(AppendOneInFlight)
    ->Arg(1 << 10)
    ->Arg(8 << 10)
    ->Arg(32 << 10)
    ->Arg(128 << 10)
    ->UseRealTime();

// The argument is the size of the last record, which the fence must not depend on.
void WriteFourPages(benchmark::State& state) {
  Bench bench;
  bench.Append(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    std::vector<core::ObjectWrite> writes;
    for (const char* key : {"items:1:0", "items:1:1", "items:1:2", "items:1:3"}) {
      writes.push_back({.key = key, .bytes = std::string(16'000, 'x')});
    }
    bool done = false;
    bench.store.WriteObjects(1, std::move(writes), [&](const absl::Status& status) {
      TESSERA_CHECK_OK(status);
      done = true;
    });
    TESSERA_CHECK(bench.loop.RunUntil([&] { return done; }, kLong));
  }
  state.SetItemsProcessed(state.iterations() * 4);
}
BENCHMARK(WriteFourPages)->Arg(1 << 10)->Arg(256 << 10)->UseRealTime();

}  // namespace
}  // namespace tessera::store
