// Computes fits beside the coordinator, on one thread of its own.
//
// A fit takes as long as a job has answers; on the coordinator's thread it would hold up everybody.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/service/executor.h"

namespace tessera::service {

class FitThread final : public edge::FitExecutor {
 public:
  // Fits are brought back through `executor`, which outlives this.
  explicit FitThread(Executor* executor);
  // Waits for the fit that is being computed; those that wait for it are dropped.
  ~FitThread() override;

  // On the coordinator's thread. Fits are computed in the order of the calls.
  void Compute(core::FitWork work, core::FitOptions options,
               std::function<void(core::Fit)> done) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Order {
    core::FitWork work;
    core::FitOptions options;
    std::function<void(core::Fit)> done;
  };
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  Executor* const executor_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Order> orders_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Last: it begins when all else is there.
};

}  // namespace tessera::service
