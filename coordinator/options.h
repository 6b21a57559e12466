// What the command line of tessera-coordinator says.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/service/log.h"
#include "coordinator/service/server.h"
#include "coordinator/service/service_context.h"

namespace tessera {

struct CoordinatorFlags {
  bool help = false;
  std::string name;  // Empty: the host's.
  service::ServerOptions server;
  std::string tokens_file;

  std::string data_dir = "tessera-data";
  std::string redis;  // Empty: a private one in data_dir.
  std::string redis_user;
  std::string redis_password_file;
  std::string appendfsync = "always";
  int64_t redis_memory_bytes_max = 0;
  uint32_t partitions = 1;
  bool trim = true;

  service::ServiceLimits limits;
  absl::Duration start_timeout = absl::Minutes(10);
  absl::Duration drain_timeout = absl::Seconds(10);
  service::LogLevel log_level = service::LogLevel::kInfo;
};

// INVALID_ARGUMENT, saying which flag and why.
absl::StatusOr<CoordinatorFlags> ParseFlags(int argc, char** argv);

// What --help prints.
std::string HelpText();

}  // namespace tessera
