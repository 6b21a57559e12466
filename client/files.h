// Files that people name.
#pragma once

#include <fstream>
#include <string>

#include "absl/status/statusor.h"

namespace tessera::client {

// Opens a file to be read, byte by byte. NOT_FOUND if it cannot be; INVALID_ARGUMENT for a folder,
// which opens like a file and reads like an empty one.
absl::StatusOr<std::ifstream> OpenFile(const std::string& path);

}  // namespace tessera::client
