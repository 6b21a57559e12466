// Time goes on, whatever is done to the clock.
#include "common/clock.h"

#include <gtest/gtest.h>

#include "tests/support/simulated_clock.h"

namespace tessera {
namespace {

class OnwardClockTest : public ::testing::Test {
 protected:
  testing::SimulatedClock clock_;
  OnwardClock time_{&clock_};
};

TEST_F(OnwardClockTest, ItIsTheClocksTimeWhileThatRuns) {
  for (int i = 0; i < 5; ++i) {
    clock_.AdvanceTime(absl::Milliseconds(1500));
    EXPECT_EQ(time_.Now(), clock_.Now());
  }
  clock_.SetTime(clock_.Now() + absl::Hours(3));  // It was slow, or the machine slept.
  EXPECT_EQ(time_.Now(), clock_.Now());
}

TEST_F(OnwardClockTest, ItGoesOnWhereTheClockIsSetBackUntilThatHasCaughtUp) {
  absl::Time last = time_.Now();
  clock_.SetTime(clock_.Now() - absl::Hours(1));
  EXPECT_EQ(time_.Now(), last);
  for (int second = 0; second < 1800; ++second) {
    clock_.AdvanceTime(absl::Seconds(1));
    EXPECT_EQ(time_.Now(), last + absl::Seconds(1));
    last = time_.Now();
  }
  EXPECT_EQ(time_.Now() - clock_.Now(), absl::Hours(1));
  clock_.SetTime(clock_.Now() + absl::Minutes(50));
  EXPECT_EQ(time_.Now(), last);
  clock_.SetTime(clock_.Now() + absl::Minutes(10));
  clock_.AdvanceTime(absl::Seconds(1));
  EXPECT_EQ(time_.Now(), last + absl::Seconds(1));
  EXPECT_EQ(time_.Now(), clock_.Now());
}

TEST_F(OnwardClockTest, ItGoesOnWhereTheClockStands) {
  const absl::Time stands = clock_.Now();
  for (int i = 1; i <= 10; ++i) {
    clock_.AdvanceTime(absl::Seconds(1));
    clock_.SetTime(stands);
    EXPECT_EQ(time_.Now(), stands + absl::Seconds(i));
  }
}

TEST(RealClockTest, WhatElapsesGoesOn) {
  const absl::Duration before = RealClock::Get()->Elapsed();
  absl::Duration after = before;
  for (int i = 0; i < 1'000'000 && after == before; ++i) after = RealClock::Get()->Elapsed();
  EXPECT_GT(after, before);
}

}  // namespace
}  // namespace tessera
