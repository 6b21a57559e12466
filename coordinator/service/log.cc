#include "coordinator/service/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace tessera::service {
namespace {

constexpr absl::string_view kNames[] = {"debug", "info", "warning", "error"};
std::atomic<LogLevel> log_level{LogLevel::kInfo};

// As it is where it is one plain word; else quoted. Escapes are those that readers of logfmt know.
void AppendValue(absl::string_view value, std::string& out) {
  const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(c) && c != '"' && c != '=' && c != '\\';
  });
  if (plain) {
    absl::StrAppend(&out, value);
  } else {
    out.push_back('"');
    for (const char c : value) {
      if (c == '"' || c == '\\') {
        out.push_back('\\');
        out.push_back(c);
      } else if (c == '\n') {
        out.append("\\n");
      } else {
        out.push_back(absl::ascii_iscntrl(c) ? ' ' : c);
      }
    }
    out.push_back('"');
  }
}

}  // namespace

std::optional<LogLevel> ParseLogLevel(absl::string_view name) {
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<LogLevel>(found - std::begin(kNames));
}

void SetLogLevel(LogLevel level) { log_level.store(level, std::memory_order_relaxed); }

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  if (level < log_level.load(std::memory_order_relaxed)) return;
  std::string line = absl::StrCat(
      "time=", absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()),
      " level=", kNames[static_cast<size_t>(level)], " msg=");
  AppendValue(message, line);
  for (const auto& [key, value] : fields) {
    absl::StrAppend(&line, " ", key, "=");
    AppendValue(value, line);
  }
  line.push_back('\n');
  // One write, so that lines of several threads do not mix.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace tessera::service
