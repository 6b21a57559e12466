#include "coordinator/service/fit_thread.h"

#include <utility>

#include "coordinator/core/fusing/categorical.h"

namespace tessera::service {

FitThread::FitThread(Executor* executor) : executor_(executor), thread_([this] { Run(); }) {}

FitThread::~FitThread() {
  {
    const MutexLock lock(&mutex_);
    ending_ = true;
    changed_.NotifyOne();
  }
  thread_.join();
}

void FitThread::Compute(core::FitWork work, core::FitOptions options,
                        std::function<void(core::Fit)> done) {
  const MutexLock lock(&mutex_);
  orders_.push_back({std::move(work), options, std::move(done)});
  changed_.NotifyOne();
}

void FitThread::Run() {
  while (true) {
    Order order;
    {
      const MutexLock lock(&mutex_);
      while (!ending_ && orders_.empty()) changed_.Wait(&mutex_);
      if (ending_) return;
      order = std::move(orders_.front());
      orders_.pop_front();
    }
    core::Fit fit = core::ComputeFit(order.work.votes, order.work.number, order.options);
    executor_->Post([done = std::move(order.done),
                     fit = std::move(fit)](edge::Coordinator&) mutable { done(std::move(fit)); });
  }
}

}  // namespace tessera::service
