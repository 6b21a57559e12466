#include "coordinator/service/call_queue.h"

#include <utility>

namespace tessera::service {

void CallQueue::Add(const std::string& caller, Executor::Task call,
                    edge::Coordinator& coordinator) {
  waiting_[caller].push_back(std::move(call));
  if (next_turn_ && std::chrono::steady_clock::now() >= turn_end_) return;
  if (!next_turn_) turn_end_ = std::chrono::steady_clock::now() + kTurn;
  Run(coordinator);
}

void CallQueue::Run(edge::Coordinator& coordinator) {
  bool any = false;
  while (!waiting_.empty() && (!any || std::chrono::steady_clock::now() < turn_end_)) {
    auto next = waiting_.upper_bound(last_);
    if (next == waiting_.end()) next = waiting_.begin();
    last_ = next->first;
    Executor::Task call = std::move(next->second.front());
    next->second.pop_front();
    if (next->second.empty()) waiting_.erase(next);
    call(coordinator);
    any = true;
  }
  if (std::exchange(next_turn_, true)) return;
  executor_.Post([this](edge::Coordinator& c) {
    next_turn_ = false;
    if (waiting_.empty()) return;
    turn_end_ = std::chrono::steady_clock::now() + kTurn;
    Run(c);
  });
}

}  // namespace tessera::service
