// Gateways that answer whatever they are given, at once, and cost as little as they can.
//
//   Fleet fleet(coordinator, {.streams = 64, .credit = 32});
//   ... add items ...
//   fleet.committed();   // Answers acknowledged so far, over all streams.
//
// A gateway has one worker, one message being written and one being read. Credit that is not used
// up is never above `credit`: each message grants as much again as assignments came in. So no
// message can bring more assignments than that. Answers leave with what else has gathered while the
// last message was being written, at most kEntriesMax in one.
//
// Threads: all public calls from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/support/coordinator_process.h"

namespace tessera::bench {

class Fleet {
 public:
  static constexpr int kEntriesMax = 32;

  struct Options {
    int streams = 64;
    int credit = 32;
    // Called for each assignment as it arrives, with its item's key: on gRPC's threads.
    std::function<void(absl::string_view item_key)> on_assigned;
    // Called for each acknowledged answer, likewise.
    std::function<void()> on_committed;
  };

  // Connects; returns when each gateway has been welcomed.
  Fleet(const testing::CoordinatorProcess& coordinator, Options options);
  // Ends the streams.
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  int64_t committed() const { return counts_.committed.load(std::memory_order_relaxed); }

  // What messages brought, since the start.
  struct Messages {
    int64_t with_assignments = 0;
    int64_t assignments = 0;
    int64_t assignments_max = 0;  // In one.
  };
  Messages messages() const;

 private:
  class Gateway;
  struct Counts {
    std::atomic<int64_t> committed{0};
    std::atomic<int64_t> welcomed{0};
    std::atomic<int64_t> done{0};
    std::atomic<int64_t> with_assignments{0};
    std::atomic<int64_t> assignments{0};
    std::atomic<int64_t> assignments_max{0};
  };

  const Options options_;
  Counts counts_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
};

}  // namespace tessera::bench
