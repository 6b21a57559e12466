// A folder of a test's own, gone with the object.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace tessera::testing {

class TempDir {
 public:
  // Short paths, so that a unix socket in it stays below the limit of 107 bytes.
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

  // The path of `name` in the folder; nothing is created.
  std::string Join(absl::string_view name) const;

 private:
  std::string path_;
};

}  // namespace tessera::testing
