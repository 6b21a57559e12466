// What a figure was measured on: without it, it is no figure.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace tessera::bench {

// Processor, cores, memory, kernel, file system of `folder`, versions of Redis, gRPC and Protobuf,
// build type, commit (with "+" if files have changed since), time. Unknown ones are empty.
nlohmann::json DescribeMachine(const std::string& folder);

}  // namespace tessera::bench
