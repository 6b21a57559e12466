// What operators do to the world meanwhile: workers are blocked, pools change.
#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"

namespace tessera::simulation {

using edge::Coordinator;

void World::BlockOrUnblock() {
  v1::UpdateWorkerRequest request;
  v1::Worker& worker = *request.mutable_worker();
  worker.set_name(absl::StrCat("platforms/crowd/workers/gateway", random_.Int(0, 2), "-worker",
                               random_.Int(0, 4)));
  worker.set_blocked(random_.Chance(500));
  worker.set_blocked_reason("so an operator says");
  request.mutable_update_mask()->add_paths("blocked");
  request.set_allow_missing(random_.Chance(500));
  Call<v1::UpdateWorkerRequest, v1::Worker>(
      &Coordinator::UpdateWorker, request, [this](const absl::StatusOr<v1::Worker>& reply) {
        if (reply.ok() || absl::IsUnavailable(reply.status()) || absl::IsNotFound(reply.status()))
          return;
        Complain(absl::StrCat("a block is refused: ", reply.status().ToString()));
      });
}

// Prices change while leases are out, and a pool in which nobody works comes and goes.
void World::ChangePool() {
  const auto may = [this](const auto& reply) {
    if (reply.ok() || absl::IsUnavailable(reply.status()) || absl::IsNotFound(reply.status()) ||
        absl::IsAlreadyExists(reply.status())) {
      return;
    }
    Complain(absl::StrCat("a change of a pool is refused: ", reply.status().ToString()));
  };
  if (random_.Chance(600)) {
    bool there = false;
    for (uint32_t p = 0; p < partitions_; ++p) there |= state(p).pools().contains("extra");
    if (!there) {
      v1::CreatePoolRequest request;
      request.set_pool_id("extra");
      return Call<v1::CreatePoolRequest, v1::Pool>(&Coordinator::CreatePool, request, may);
    }
    v1::DeletePoolRequest request;
    request.set_name("pools/extra");
    return Call<v1::DeletePoolRequest, Coordinator::Empty>(&Coordinator::DeletePool, request, may);
  }
  v1::UpdatePoolRequest request;
  request.mutable_pool()->set_name("pools/default");
  request.mutable_pool()->set_price_per_item_micros(kPoolPriceMax / 3 * random_.Int(0, 3));
  request.mutable_update_mask()->add_paths("price_per_item_micros");
  Call<v1::UpdatePoolRequest, v1::Pool>(&Coordinator::UpdatePool, request, may);
}

}  // namespace tessera::simulation
