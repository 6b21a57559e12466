#include "client/files.h"

#include <filesystem>

#include "absl/strings/str_cat.h"

namespace tessera::client {

absl::StatusOr<std::ifstream> OpenFile(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is a folder, and no file"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'; is the name right?"));
  return in;
}

}  // namespace tessera::client
