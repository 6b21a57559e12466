#include "tests/support/temp_dir.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tessera::testing {

TempDir::TempDir() {
  const char* root = getenv("TMPDIR");
  path_ = absl::StrCat(root != nullptr ? root : "/tmp", "/tessera.XXXXXX");
  TESSERA_CHECK(mkdtemp(path_.data()) != nullptr) << path_;
}

TempDir::~TempDir() {
  std::error_code ignored;  // A child that is still shutting down may create files meanwhile.
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Join(absl::string_view name) const { return absl::StrCat(path_, "/", name); }

}  // namespace tessera::testing
