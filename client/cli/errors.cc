// How a command that failed says so: the message, the next step, the exit code.

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/json.h"
#include "common/errors.h"

namespace tessera::client {
namespace {

constexpr char kUsageReason[] = "USAGE";
constexpr char kNextStepUrl[] = "tessera/next-step";

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
     "this --request-id belongs to another job: leave the flag out, or choose another id"},
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

}  // namespace

absl::Status UsageError(absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, kUsageReason, message);
}

absl::Status FlagError(absl::string_view flag, absl::string_view value, absl::string_view rule) {
  return UsageError(absl::StrCat("--", flag, ": '", value, "' ", rule));
}

ExitCode ExitCodeOf(const absl::Status& status) {
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
    error["reason"] = details.reason;
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
  err << Styled(terminal, Style::kRed, "tessera:") << " " << status.message();
  if (!usage && !details.reason.empty()) err << " (" << details.reason << ")";
  err << "\n";
  for (const FieldViolation& field : details.fields) {
    err << "  " << field.field << ": " << field.description << "\n";
  }
  if (!next.empty()) err << Styled(terminal, Style::kDim, "next:") << " " << next << "\n";
}

}  // namespace tessera::client
