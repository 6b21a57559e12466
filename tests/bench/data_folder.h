// Where a benchmark's data lies: --folder, or else beside the program, on its disk. Not in /tmp,
// which may be memory: syncs would cost nothing.
#pragma once

#include <string>

namespace tessera::bench {

// After the flags are parsed. Sets TMPDIR, so that it holds for all that this process makes.
std::string UseDataFolder();

// Folder of the program that runs.
std::string ProgramFolder();

}  // namespace tessera::bench
