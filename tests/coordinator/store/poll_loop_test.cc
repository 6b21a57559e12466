// The coordinator hangs on this loop: a wake-up lost is a coordinator that stands still.
#include "coordinator/store/poll_loop.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kLong = absl::Seconds(50);

// Two connected sockets.
class SocketPair {
 public:
  SocketPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds_.data()), 0); }
  ~SocketPair() {
    close(fds_[0]);
    CloseOther();
  }
  int fd() const { return fds_[0]; }
  void Send() { EXPECT_EQ(write(fds_[1], "x", 1), 1); }
  void Receive() {
    char byte;
    EXPECT_EQ(read(fds_[0], &byte, 1), 1);
  }
  void CloseOther() {
    if (fds_[1] >= 0) close(fds_[1]);
    fds_[1] = -1;
  }

 private:
  std::array<int, 2> fds_;
};

TEST(PollLoopTest, APostRunsLaterAndInOrder) {
  PollLoop loop;
  std::vector<int> ran;
  loop.Post([&] {
    ran.push_back(1);
    loop.Post([&] { ran.push_back(3); });
  });
  loop.Post([&] { ran.push_back(2); });
  EXPECT_THAT(ran, IsEmpty());
  EXPECT_EQ(loop.RunOnce(kLong), 2u);
  EXPECT_THAT(ran, ElementsAre(1, 2));
  EXPECT_EQ(loop.RunOnce(kLong), 1u);
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
  EXPECT_EQ(loop.RunOnce(absl::ZeroDuration()), 0u);
}

TEST(PollLoopTest, PostsOfOtherThreadsWakeAWaitingLoopAndNoneIsLost) {
  PollLoop loop;
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  std::array<int, kThreads> next = {};
  int total = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kPosts; ++i) {
        loop.Post([&, thread, i] {
          EXPECT_EQ(next[thread]++, i);
          ++total;
        });
        if (i % 16 == 0) std::this_thread::yield();  // So that the loop gets to wait.
      }
    });
  }
  EXPECT_TRUE(loop.RunUntil([&] { return total == kThreads * kPosts; }, kLong));
  for (std::thread& thread : threads) thread.join();
}

TEST(PollLoopTest, APostMayHoldWhatCannotBeCopied) {
  PollLoop loop;
  int got = 0;
  loop.Post([&, value = std::make_unique<int>(7)] { got = *value; });
  loop.RunOnce(kLong);
  EXPECT_EQ(got, 7);
}

TEST(PollLoopTest, TimersRunInTheOrderOfTheirTimesAndNotBefore) {
  PollLoop loop;
  std::vector<int> ran;
  const absl::Time start = absl::Now();
  loop.After(absl::Milliseconds(20), [&] { ran.push_back(2); });
  loop.After(absl::Milliseconds(10), [&] { ran.push_back(1); });
  loop.After(absl::Milliseconds(20), [&] { ran.push_back(3); });
  const EventLoop::TimerId cancelled = loop.After(absl::ZeroDuration(), [&] { ran.push_back(9); });
  loop.Cancel(cancelled);
  loop.Cancel(cancelled);
  EXPECT_TRUE(loop.RunUntil([&] { return ran.size() == 3; }, kLong));
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(19));
}

TEST(PollLoopTest, ATimerSetByATimerWaitsForTheNextRound) {
  PollLoop loop;
  int ran = 0;
  std::function<void()> again = [&] {
    ++ran;
    loop.After(absl::ZeroDuration(), again);
  };
  again();
  loop.RunOnce(kLong);
  EXPECT_EQ(ran, 2);
}

TEST(PollLoopTest, ATimerMayCancelAnother) {
  PollLoop loop;
  bool second_ran = false;
  EventLoop::TimerId second = 0;
  loop.After(absl::ZeroDuration(), [&] { loop.Cancel(second); });
  second = loop.After(absl::ZeroDuration(), [&] { second_ran = true; });
  loop.RunOnce(kLong);
  loop.RunOnce(absl::ZeroDuration());
  EXPECT_FALSE(second_ran);
}

TEST(PollLoopTest, DeferredRunsAtTheEndOfTheRoundThatAskedForIt) {
  PollLoop loop;
  std::vector<std::string> ran;
  loop.Post([&] {
    ran.push_back("post");
    loop.Defer([&] {
      ran.push_back("deferred");
      loop.Defer([&] { ran.push_back("deferred by it"); });
    });
  });
  loop.Post([&] { ran.push_back("second post"); });
  loop.RunOnce(kLong);
  EXPECT_THAT(ran, ElementsAre("post", "second post", "deferred", "deferred by it"));
}

TEST(PollLoopTest, WhatIsDeferredOutsideARoundDoesNotWait) {
  PollLoop loop;
  bool ran = false;
  loop.Defer([&] { ran = true; });
  loop.RunOnce(kLong);
  EXPECT_TRUE(ran);
}

TEST(PollLoopTest, ADescriptorIsReportedForWhatWasAsked) {
  PollLoop loop;
  SocketPair pair;
  std::vector<std::pair<bool, bool>> seen;
  loop.Watch(pair.fd(),
             [&](bool readable, bool writable) { seen.emplace_back(readable, writable); });
  pair.Send();
  EXPECT_EQ(loop.RunOnce(absl::ZeroDuration()), 0u);
  loop.SetInterest(pair.fd(), /*read=*/true, /*write=*/false);
  loop.RunOnce(kLong);
  loop.SetInterest(pair.fd(), /*read=*/true, /*write=*/true);
  loop.RunOnce(kLong);
  pair.Receive();
  loop.RunOnce(kLong);
  loop.SetInterest(pair.fd(), /*read=*/false, /*write=*/false);
  EXPECT_EQ(loop.RunOnce(absl::ZeroDuration()), 0u);
  loop.Unwatch(pair.fd());
  EXPECT_THAT(seen,
              ElementsAre(std::pair(true, false), std::pair(true, true), std::pair(false, true)));
}

TEST(PollLoopTest, AHangUpIsReportedAsReadableAndWritable) {
  PollLoop loop;
  SocketPair pair;
  std::vector<std::pair<bool, bool>> seen;
  loop.Watch(pair.fd(), [&](bool readable, bool writable) {
    seen.emplace_back(readable, writable);
    loop.Unwatch(pair.fd());  // From inside its own callback.
  });
  pair.CloseOther();
  loop.RunOnce(kLong);
  EXPECT_THAT(seen, ElementsAre(std::pair(true, true)));
}

TEST(PollLoopTest, NothingIsReportedAfterUnwatchNotEvenInTheSameRound) {
  PollLoop loop;
  std::array<SocketPair, 2> pairs;
  int reports = 0;
  for (int i = 0; i < 2; ++i) {
    loop.Watch(pairs[i].fd(), [&, i](bool, bool) {
      ++reports;
      loop.Unwatch(pairs[1 - i].fd());
      // The number is watched anew; the event of the old watch is not the new one's.
      loop.Watch(pairs[1 - i].fd(), [&](bool, bool) { reports += 100; });
    });
    loop.SetInterest(pairs[i].fd(), /*read=*/true, /*write=*/false);
    pairs[i].Send();
  }
  loop.RunOnce(kLong);
  EXPECT_EQ(reports, 1);
}

TEST(PollLoopTest, RunUntilGivesUpInTime) {
  PollLoop loop;
  EXPECT_FALSE(loop.RunUntil([] { return false; }, absl::Milliseconds(5)));
  EXPECT_TRUE(loop.RunUntil([] { return true; }, absl::ZeroDuration()));
}

}  // namespace
}  // namespace tessera::store
