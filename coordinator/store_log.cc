#include "coordinator/store_log.h"

#include <string>

#include "coordinator/edge/names.h"
#include "coordinator/service/log.h"

namespace tessera {

using service::Log;
using service::LogLevel;

void StoreLog::Look(const store::RedisConnection& connection) {
  if (connection.connected() && connection.persistent() == forgetful_) {
    forgetful_ = !connection.persistent();
    if (forgetful_) {
      Log(LogLevel::kWarning,
          "Redis keeps no append-only file: what is acknowledged is lost when it "
          "restarts");
    }
  }
  const absl::Status& now = connection.last_error();
  if (now == connection_) return;
  connection_ = now;
  if (now.ok()) {
    Log(LogLevel::kInfo, "connected to the store");
  } else {
    Log(LogLevel::kWarning, "no connection to the store", {{"error", std::string(now.message())}});
  }
}

void StoreLog::Look(const edge::Coordinator& coordinator, uint32_t partitions) {
  for (uint32_t p = 0; p < partitions; ++p) {
    const absl::Status trouble = coordinator.trouble(p);
    if (!trouble.ok() && suspended_.insert(p).second) {
      Log(LogLevel::kWarning, "commits are suspended",
          {{"partition", edge::PartitionId(p)}, {"error", std::string(trouble.message())}});
    }
    if (trouble.ok() && suspended_.erase(p) > 0) {
      Log(LogLevel::kInfo, "commits go on", {{"partition", edge::PartitionId(p)}});
    }
    const absl::Status damage = coordinator.damage(p);
    if (!damage.ok() && damaged_.insert(p).second) {
      Log(LogLevel::kError, "the store has lost an item's content",
          {{"partition", edge::PartitionId(p)}, {"error", std::string(damage.message())}});
    }
  }
}

}  // namespace tessera
