// At stake: one caller's calls must not keep all others waiting.
#include "coordinator/service/call_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/edge/coordinator.h"
#include "tests/support/faulty_store.h"

namespace tessera::service {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Posts final : public Executor {
 public:
  void Post(Task task) override { tasks.push_back(std::move(task)); }
  std::deque<Task> tasks;
};

class NoFits final : public edge::FitExecutor {
 public:
  void Compute(core::FitWork, core::FitOptions, std::function<void(core::Fit)>) override {}
};

class CallQueueTest : public ::testing::Test {
 protected:
  void Add(const std::string& caller, const std::string& call, bool long_one = false) {
    queue_.Add(
        caller,
        [this, call, long_one](edge::Coordinator&) {
          ran_.push_back(call);
          const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
          while (long_one && std::chrono::steady_clock::now() < end) {
          }
        },
        coordinator_);
  }
  bool NextTurn() {
    if (posts_.tasks.empty()) return false;
    Executor::Task task = std::move(posts_.tasks.front());
    posts_.tasks.pop_front();
    task(coordinator_);
    return true;
  }

  testing::FaultyDisk disk_{{}};
  testing::FaultyStore store_{&disk_};
  NoFits fits_;
  edge::Coordinator coordinator_{{}, {&store_}, &fits_};
  Posts posts_;
  CallQueue queue_{&posts_};
  std::vector<std::string> ran_;
};

TEST_F(CallQueueTest, ACallThatComesAloneRunsAtOnce) {
  Add("a", "1");
  EXPECT_THAT(ran_, ElementsAre("1"));
  while (NextTurn()) {
  }
  Add("a", "2");
  EXPECT_THAT(ran_, ElementsAre("1", "2"));
}

TEST_F(CallQueueTest, WhatComesWhenATurnIsOverWaitsForTheNext) {
  Add("a", "long", true);
  Add("a", "2");
  EXPECT_THAT(ran_, ElementsAre("long"));
  EXPECT_TRUE(NextTurn());
  EXPECT_THAT(ran_, ElementsAre("long", "2"));
  while (NextTurn()) {
  }
  EXPECT_THAT(posts_.tasks, IsEmpty()) << "it would spin";
}

TEST_F(CallQueueTest, CallersTakeTurns) {
  Add("greedy", "g1", true);
  for (const char* call : {"g2", "g3", "g4"}) Add("greedy", call, true);
  Add("other", "o1", true);
  Add("third", "t1", true);
  for (int turns = 0; turns < 10 && NextTurn(); ++turns) {
  }
  EXPECT_THAT(ran_, ElementsAre("g1", "o1", "t1", "g2", "g3", "g4"));
}

}  // namespace
}  // namespace tessera::service
