#include "tests/bench/machine.h"

#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace tessera::bench {
namespace {

// The first line that a command prints; empty where it fails.
std::string FirstLine(const char* command) {
  FILE* const pipe = popen(command, "r");
  if (pipe == nullptr) return "";
  char line[512] = "";
  if (fgets(line, sizeof(line), pipe) == nullptr) line[0] = '\0';
  while (fgetc(pipe) != EOF) {
  }
  return pclose(pipe) == 0 ? std::string(absl::StripAsciiWhitespace(line)) : "";
}

// The value behind the colon in the first line of the file that begins with `name`.
std::string ValueIn(const char* path, absl::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, name)) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(line.find(':') + 1)));
  }
  return "";
}

// Type of the file system whose mount point is the longest that `folder` is below.
std::string FileSystemOf(const std::string& folder) {
  char resolved[4096];
  if (realpath(folder.c_str(), resolved) == nullptr) return "";
  const std::string path = absl::StrCat(resolved, "/");
  std::ifstream mounts("/proc/self/mounts");
  std::string type;
  size_t longest = 0;
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() < 3) continue;
    const std::string point = words[1] == "/" ? "/" : absl::StrCat(words[1], "/");
    if (point.size() < longest || !absl::StartsWith(path, point)) continue;
    longest = point.size();
    type = words[2];
  }
  return type;
}

}  // namespace

nlohmann::json DescribeMachine(const std::string& folder) {
  utsname system{};
  uname(&system);
  const std::string dirty = FirstLine("git status --porcelain --untracked-files=no 2>/dev/null");
  return {
      {"cores", std::thread::hardware_concurrency()},
      {"processor", ValueIn("/proc/cpuinfo", "model name")},
      {"memory_bytes", sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)},
      {"kernel", absl::StrCat(system.sysname, " ", system.release)},
      {"file_system", FileSystemOf(folder)},
      {"redis", FirstLine("redis-server --version 2>/dev/null | sed 's/.*v=\\([^ ]*\\).*/\\1/'")},
      {"grpc", grpc::Version()},
      {"protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)},
      {"build_type", TESSERA_BUILD_TYPE},
      {"commit", absl::StrCat(FirstLine("git rev-parse --short=12 HEAD 2>/dev/null"),
                              dirty.empty() ? "" : "+")},
      {"load_average_before", std::strtod(FirstLine("cat /proc/loadavg").c_str(), nullptr)},
      {"time", absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone())},
  };
}

}  // namespace tessera::bench
