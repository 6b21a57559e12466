// Log lines: one a line on stderr, for people and for programs (logfmt).
//
//   Log(LogLevel::kInfo, "serving", {{"address", address}, {"partitions", absl::StrCat(n)}});
//   time=2025-01-02T03:04:05.678Z level=info msg=serving address=127.0.0.1:7070 partitions=1
//
// Tokens, items and answers are never logged. Threads: any.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace tessera::service {

enum class LogLevel : uint8_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// `debug`, `info`, `warning`, `error`.
std::optional<LogLevel> ParseLogLevel(absl::string_view name);

// Lines below it are left out. Info, unless set.
void SetLogLevel(LogLevel level);

using LogField = std::pair<absl::string_view, std::string>;
void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace tessera::service
