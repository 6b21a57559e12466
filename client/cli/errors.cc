// How a command that failed says so: the message, the next step, the exit code.

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/json.h"
#include "common/errors.h"

namespace tessera::client {
namespace {

constexpr char kUsageReason[] = "USAGE";
constexpr char kNextStepUrl[] = "tessera/next-step";
constexpr char kExitCodeUrl[] = "tessera/exit-code";

// Where a reason says more than its code does.
constexpr std::pair<absl::string_view, absl::string_view> kNextByReason[] = {
    {"JOB_NOT_FOUND", "`tessera jobs` lists the jobs that there are"},
    {"ITEM_NOT_FOUND", "`tessera results JOB` lists the items of a job"},
    {"PARTITION_NOT_FOUND", "`tessera partitions` lists them; their ids are p0, p1, ..."},
    {"BUDGET_BELOW_COMMITTED",
     "a budget cannot fall below what is reserved and spent; see `tessera watch JOB`"},
    {"JOB_NOT_ENDED", "end it first: `tessera cancel JOB` or `tessera finalise JOB`"},
    {"JOB_ENDED", "submit a new job; this one has ended"},
    {"ITEM_DIFFERS", "the key is there with another content: give each item a key of its own"},
    {"REQUEST_ID_REUSED",
     "this --request-id has made that job: with the flags of then, --name and the content of "
     "--template and --policy included, the command goes on with it (`tessera jobs JOB` shows it); "
     "another --request-id, or none, makes a second job"},
    {"STORE_UNAVAILABLE",
     "the coordinator answers, but its store takes no writes at the moment: `tessera partitions` "
     "and the coordinator's log say more"},
    // What a token may do stands in docs/operations.md.
    {"CREDENTIAL_UNKNOWN",
     "is the token whole, and in the coordinator's --tokens-file? It reads that file again on "
     "SIGHUP"},
    {"ROLE_DENIED",
     "give a token that has this role with --token-file FILE or TESSERA_TOKEN; the coordinator's "
     "--tokens-file says which has which"},
    {"TENANT_DENIED",
     "is --tenant right? If it is, give that tenant's token with --token-file FILE or "
     "TESSERA_TOKEN"},
    {"PLATFORM_DENIED",
     "give a token of that platform, or of all (*), with --token-file FILE or TESSERA_TOKEN"},
};

// Somebody is there, and the connection came to nothing: what gRPC says of it, and what it means.
constexpr std::pair<absl::string_view, absl::string_view> kNextByConnecting[] = {
    {"certificate verify failed",
     "its certificate is of nobody who is trusted here (give the one that vouches for it with "
     "--tls-ca FILE), or it has expired, or is not valid so far: `openssl s_client -connect "
     "HOST:PORT -CAfile FILE` says which"},
    {"is not in peer certificate",
     "its certificate is for another name: say one of the certificate's own with --server"},
    {"wrong version number", "it speaks without TLS: leave out --tls and --tls-ca"},
    {"Ssl handshake failed", "is it a coordinator with TLS? Without, leave out --tls and --tls-ca"},
    {"Socket closed",
     "something listens there: if it is a coordinator with TLS, give --tls or "
     "--tls-ca FILE"},
    {"SETTINGS frame",
     "something listens there: if it is a coordinator with TLS, give --tls or "
     "--tls-ca FILE"},
};

// The word for programs. Where no coordinator said one, what kept it from doing so, if anything.
std::string ReasonOf(const absl::Status& status) {
  const std::string reason = GetDetails(status).reason;
  if (!reason.empty()) return reason;
  if (absl::IsUnavailable(status)) return "UNREACHABLE";
  if (absl::IsDeadlineExceeded(status)) return "NO_ANSWER";
  if (absl::IsCancelled(status)) return "INTERRUPTED";
  return "";
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, kUsageReason, message);
}

absl::Status FlagError(absl::string_view flag, absl::string_view value, absl::string_view rule) {
  return UsageError(absl::StrCat("--", flag, ": '", value, "' ", rule));
}

absl::Status WithExitCode(absl::Status status, int code) {
  status.SetPayload(kExitCodeUrl, absl::Cord(absl::StrCat(code)));
  return status;
}

ExitCode ExitCodeOf(const absl::Status& status) {
  int own = 0;
  if (const auto code = status.GetPayload(kExitCodeUrl);
      code && absl::SimpleAtoi(std::string(*code), &own)) {
    return static_cast<ExitCode>(own);
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
      return kExitUnavailable;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
      return kExitRefused;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitDenied;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

absl::Status WithNextStep(absl::Status status, absl::string_view next) {
  status.SetPayload(kNextStepUrl, absl::Cord(next));
  return status;
}

std::string NextStep(const absl::Status& status, absl::string_view server) {
  if (const auto own = status.GetPayload(kNextStepUrl)) return std::string(*own);
  const std::string reason = GetDetails(status).reason;
  for (const auto& [known, next] : kNextByReason) {
    if (reason == known) return std::string(next);
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      if (absl::StrContains(status.message(), "failed to connect")) {
        for (const auto& [said, next] : kNextByConnecting) {
          if (absl::StrContains(status.message(), said)) return std::string(next);
        }
      }
      return absl::StrCat("is a coordinator serving at ", server,
                          "? `tessera up` starts one; --server names another");
    case absl::StatusCode::kDeadlineExceeded:
      return "the coordinator did not answer in time; try again, or give it longer with --timeout";
    case absl::StatusCode::kUnauthenticated:
      return "give a token with --token-file FILE or TESSERA_TOKEN";
    case absl::StatusCode::kPermissionDenied:
      return "give a token that may do that with --token-file FILE or TESSERA_TOKEN";
    case absl::StatusCode::kResourceExhausted:
      return "try again later, or with less";
    default:
      return "";
  }
}

void ReportError(const absl::Status& status, const std::string& server, const Command* command,
                 bool json, std::ostream& err) {
  const ErrorDetails details = GetDetails(status);
  const bool usage = details.reason == kUsageReason;
  const std::string next =
      !usage ? NextStep(status, server)
             : absl::StrCat("see `tessera ", command == nullptr ? "" : command->name,
                            command == nullptr ? "" : " ", "--help`");
  if (json) {
    nlohmann::ordered_json error;
    error["code"] = absl::StatusCodeToString(status.code());
    error["reason"] = ReasonOf(status);
    error["message"] = std::string(status.message());
    error["fields"] = nlohmann::ordered_json::array();
    for (const FieldViolation& field : details.fields) {
      error["fields"].push_back({{"field", field.field}, {"description", field.description}});
    }
    error["metadata"] = nlohmann::ordered_json::object();
    for (const auto& [key, value] : details.metadata) error["metadata"][key] = value;
    error["next"] = next;
    error["exit_code"] = static_cast<int>(ExitCodeOf(status));
    err << ToLine({{"error", error}}) << "\n";
    return;
  }
  const Terminal terminal = DetectTerminal(STDERR_FILENO);
  // It may repeat what others wrote; the line breaks are ours.
  const std::vector<std::string> lines = absl::StrSplit(std::string(status.message()), '\n');
  err << Styled(terminal, Style::kRed, "tessera:") << " "
      << absl::StrJoin(lines, "\n", [](std::string* out, const std::string& line) {
           absl::StrAppend(out, Printable(line));
         });
  if (!usage && !details.reason.empty()) err << " (" << details.reason << ")";
  err << "\n";
  for (const FieldViolation& field : details.fields) {
    err << "  " << Printable(field.field) << ": " << Printable(field.description) << "\n";
  }
  if (!next.empty()) err << Styled(terminal, Style::kDim, "next:") << " " << next << "\n";
}

}  // namespace tessera::client
