#include "tests/bench/data_folder.h"

#include <cstdlib>
#include <filesystem>

#include "absl/flags/flag.h"

ABSL_FLAG(std::string, folder, "", "Where data goes; default: beside the program, on its disk.");

namespace tessera::bench {

std::string ProgramFolder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

std::string UseDataFolder() {
  std::string folder = absl::GetFlag(FLAGS_folder);
  if (folder.empty()) folder = ProgramFolder();
  setenv("TMPDIR", folder.c_str(), 1);
  return folder;
}

}  // namespace tessera::bench
