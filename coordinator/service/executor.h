// The coordinator's thread, as calls see it.
#pragma once

#include "absl/functional/any_invocable.h"
#include "coordinator/edge/coordinator.h"

namespace tessera::service {

class Executor {
 public:
  using Task = absl::AnyInvocable<void(edge::Coordinator& coordinator)>;

  virtual ~Executor() = default;

  // Runs `task` on the coordinator's thread, within a turn, in the order of the posts; never inside
  // the call. From any thread. A task that has not run when the thread ends never does.
  virtual void Post(Task task) = 0;
};

}  // namespace tessera::service
