// How that is done differs by version, and all of the differences are here. gRPC before 1.65 and
// Protobuf before 4.22 let a function be set; later ones log through Abseil, which takes a sink.
#include "coordinator/service/library_logs.h"

#include <google/protobuf/stubs/common.h>
#include <grpcpp/version_info.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "coordinator/service/line_limit.h"
#include "coordinator/service/log.h"

#define TESSERA_GRPC_SETS_LOG_FUNCTION (GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR < 65)
#define TESSERA_PROTOBUF_SETS_LOG_HANDLER (GOOGLE_PROTOBUF_VERSION < 4022000)
#define TESSERA_ABSEIL_LOGS (!TESSERA_GRPC_SETS_LOG_FUNCTION || !TESSERA_PROTOBUF_SETS_LOG_HANDLER)

#if TESSERA_GRPC_SETS_LOG_FUNCTION
#include <grpc/support/log.h>
#endif
#if TESSERA_PROTOBUF_SETS_LOG_HANDLER
#include <google/protobuf/stubs/logging.h>
#endif
#if TESSERA_ABSEIL_LOGS
#include "absl/log/globals.h"
#include "absl/log/initialize.h"
#include "absl/log/log_entry.h"
#include "absl/log/log_sink.h"
#include "absl/log/log_sink_registry.h"
#endif

namespace tessera::service {
namespace {

// An error of theirs is at most a warning of ours: a peer can bring it about, and what it means for
// us we say ourselves. Nor can a peer fill the log with it.
void LogOf(absl::string_view library, LogLevel level, absl::string_view file, int line,
           absl::string_view text) {
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0.
  const std::string at = absl::StrCat(file, ":", line);
  static LineLimit& limit = *new LineLimit;  // Their threads may outlive main().
  const std::optional<int64_t> left_out =
      level >= LogLevel::kWarning ? limit.Take(at, absl::Now()) : 0;
  if (!left_out.has_value()) return;
  if (*left_out > 0) {
    Log(level, "lines of a library were left out",
        {{"library", std::string(library)}, {"lines", absl::StrCat(*left_out)}, {"at", at}});
  }
  Log(level, library, {{"text", std::string(text)}, {"at", at}});
}

#if TESSERA_GRPC_SETS_LOG_FUNCTION
void OnGrpc(gpr_log_func_args* args) {
  LogOf("gRPC", args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug,
        args->file, args->line, args->message);
}
#endif

#if TESSERA_PROTOBUF_SETS_LOG_HANDLER
void OnProtobuf(google::protobuf::LogLevel level, const char* file, int line,
                const std::string& text) {
  LogOf("Protobuf",
        level >= google::protobuf::LOGLEVEL_WARNING ? LogLevel::kWarning : LogLevel::kDebug, file,
        line, text);
}
#endif

#if TESSERA_ABSEIL_LOGS
class Sink final : public absl::LogSink {
  void Send(const absl::LogEntry& entry) override {
    LogOf(
        "library",
        entry.log_severity() >= absl::LogSeverity::kWarning ? LogLevel::kWarning : LogLevel::kDebug,
        entry.source_basename(), entry.source_line(), entry.text_message());
  }
};
#endif

}  // namespace

void RouteLibraryLogs() {
#if TESSERA_GRPC_SETS_LOG_FUNCTION
  gpr_set_log_function(&OnGrpc);
#endif
#if TESSERA_PROTOBUF_SETS_LOG_HANDLER
  google::protobuf::SetLogHandler(&OnProtobuf);
#endif
#if TESSERA_ABSEIL_LOGS
  absl::InitializeLog();
  absl::SetStderrThreshold(absl::LogSeverityAtLeast::kInfinity);
  absl::AddLogSink(new Sink);  // For as long as the process lives.
#endif
}

}  // namespace tessera::service
