// Whose call is next, where more come than the coordinator's thread can take at once.
//
// A call with a large reply takes the thread some milliseconds and the reply's memory. So calls are
// taken for so long a turn, the callers one after another: one who sends thousands waits for
// oneself, streams have their turns in between, and of what is built only a turn's worth is there
// before it is known whether there is room for it.
//
// Threads: the coordinator's.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>

#include "coordinator/edge/coordinator.h"
#include "coordinator/service/executor.h"

namespace tessera::service {

class CallQueue {
 public:
  explicit CallQueue(Executor* executor) : executor_(*executor) {}
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  // Runs `call`, now or in one of the next turns. Those of one caller run in order.
  void Add(const std::string& caller, Executor::Task call, edge::Coordinator& coordinator);

 private:
  // Of calls, in one turn.
  static constexpr std::chrono::milliseconds kTurn{5};

  void Run(edge::Coordinator& coordinator);

  Executor& executor_;
  std::map<std::string, std::deque<Executor::Task>> waiting_;  // By caller; none is empty.
  std::string last_;                                           // Whose call ran last.
  bool next_turn_ = false;                                     // Run() is going to be called again.
  std::chrono::steady_clock::time_point turn_end_;
};

}  // namespace tessera::service
