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

TEST_F(OnwardClockTest, ItRunsSlowerWhereTheClockIsSetBackUntilThatHasCaughtUp) {
  absl::Time last = time_.Now();
  clock_.SetTime(clock_.Now() - absl::Minutes(1));
  EXPECT_EQ(time_.Now(), last);
  for (int second = 1; second < 600; ++second) {
    clock_.AdvanceTime(absl::Seconds(1));
    EXPECT_EQ(time_.Now(), last + absl::Milliseconds(900));
    EXPECT_GT(time_.Now(), clock_.Now());
    last = time_.Now();
  }
  for (int second = 1; second < 10; ++second) {
    clock_.AdvanceTime(absl::Seconds(1));
    EXPECT_EQ(time_.Now(), clock_.Now());
  }
}

TEST_F(OnwardClockTest, ItGoesOnFromALaterTime) {
  const absl::Time behind = clock_.Now();
  time_.GoOnFrom(behind - absl::Hours(1));
  EXPECT_EQ(time_.Now(), behind);
  time_.GoOnFrom(behind + absl::Hours(1));
  EXPECT_EQ(time_.Now(), behind + absl::Hours(1));
  clock_.AdvanceTime(absl::Seconds(10));
  EXPECT_EQ(time_.Now(), behind + absl::Hours(1) + absl::Seconds(9));
}

TEST_F(OnwardClockTest, ItGoesOnWhereTheClockStands) {
  const absl::Time stands = clock_.Now();
  for (int i = 1; i <= 10; ++i) {
    clock_.AdvanceTime(absl::Seconds(1));
    clock_.SetTime(stands);
    EXPECT_EQ(time_.Now(), stands + i * absl::Milliseconds(900));
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
