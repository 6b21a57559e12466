// What a Mutex guards is seen by one thread at a time, and ThreadSanitizer sees that it is.
#include "common/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "tests/support/simulated_clock.h"

namespace tessera {
namespace {

TEST(MutexTest, NoIncrementIsLost) {
  Mutex mutex;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        const MutexLock lock(&mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 4000);
}

TEST(CondVarTest, AWaiterSeesWhatWasSetBeforeItWasWoken) {
  Mutex mutex;
  CondVar changed;
  int value = 0;
  std::thread setter([&] {
    const MutexLock lock(&mutex);
    value = 7;
    changed.NotifyAll();
  });
  {
    const MutexLock lock(&mutex);
    while (value == 0) changed.Wait(&mutex);
    EXPECT_EQ(value, 7);
  }
  setter.join();
}

TEST(SimulatedClockTest, StandsStillUntilItIsTurned) {
  testing::SimulatedClock clock;
  const absl::Time start = clock.Now();
  EXPECT_EQ(clock.Now(), start);
  clock.AdvanceTime(absl::Minutes(5));
  EXPECT_EQ(clock.Now() - start, absl::Minutes(5));
  clock.SetTime(start);
  EXPECT_EQ(clock.Now(), start);
}

}  // namespace
}  // namespace tessera
