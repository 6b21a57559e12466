// A price is held in 32 bits and read back as it was quoted.
#include "coordinator/core/money.h"

#include <limits>

#include "gtest/gtest.h"

namespace tessera::core {
namespace {

constexpr Micros kMost = std::numeric_limits<Micros>::max();

TEST(PriceTest, EveryPriceComesBackAsItWas) {
  for (const Micros price :
       {Micros{0}, Micros{1}, Micros{999}, kPriceExactMaxMicros - 1, kPriceExactMaxMicros,
        Micros{2'147'484'000}, Micros{4'294'967'000}, Micros{4'294'968'000}, Micros{50'000'000'000},
        kPriceMaxMicros - 1000, kPriceMaxMicros}) {
    EXPECT_TRUE(IsPrice(price)) << price;
    EXPECT_EQ(UnpackPrice(PackPrice(price)), price);
  }
}

TEST(PriceTest, WhatWouldNotComeBackIsNoPrice) {
  for (const Micros price :
       {Micros{-1}, kPriceExactMaxMicros + 1, Micros{2'147'484'001}, kPriceMaxMicros - 1,
        kPriceMaxMicros + 1, kPriceMaxMicros + 1000, kMost}) {
    EXPECT_FALSE(IsPrice(price)) << price;
  }
}

TEST(SaturatedTest, TheLargestAmountIsTheMostThatASumComesTo) {
  EXPECT_EQ(AddSaturated(kMost - 1, 1), kMost);
  EXPECT_EQ(AddSaturated(kMost - 1, 2), kMost);
  EXPECT_EQ(AddSaturated(5, -7), -2);
  EXPECT_EQ(ToMicros(1e30), kMost);
  EXPECT_EQ(ToMicros(2.9), 2);
  EXPECT_EQ(ToMicros(-1), 0);
}

}  // namespace
}  // namespace tessera::core
