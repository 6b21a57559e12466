#include "client/cli/command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/money.h"
#include "client/client.h"
#include "common/errors.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr char kUsageReason[] = "USAGE";
constexpr char kVersion[] = "0.1.0";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

const Flag* FindFlag(const Command& command, absl::string_view name) {
  for (const auto flags : {command.flags, GlobalFlags()}) {
    for (const Flag& flag : flags) {
      if (flag.name == name) return &flag;
    }
  }
  return nullptr;
}

// The name in `names` that is most like `word`; empty if none is near.
std::string Nearest(absl::string_view word, const std::vector<absl::string_view>& names) {
  std::string best;
  size_t best_distance = 3;
  for (const absl::string_view name : names) {
    std::vector<size_t> row(name.size() + 1);
    for (size_t i = 0; i < row.size(); ++i) row[i] = i;
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i + 1);
      for (size_t k = 0; k < name.size(); ++k) {
        const size_t change = diagonal + (word[i] == name[k] ? 0 : 1);
        diagonal = row[k + 1];
        row[k + 1] = std::min({change, row[k] + 1, diagonal + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = std::string(name);
    }
  }
  return best;
}

std::string DidYouMean(absl::string_view word, const std::vector<absl::string_view>& names,
                       absl::string_view before = "") {
  const std::string near = Nearest(word, names);
  return near.empty() ? "" : absl::StrCat("; did you mean ", before, near, "?");
}

std::string FlagsHelp(absl::Span<const Flag> flags) {
  size_t width = 0;
  const auto left = [](const Flag& flag) {
    return absl::StrCat("  --", flag.name, flag.value.empty() ? "" : " ", flag.value);
  };
  for (const Flag& flag : flags) width = std::max(width, left(flag).size());
  width = std::min<size_t>(width, 30);
  std::string text;
  for (const Flag& flag : flags) {
    std::string line = left(flag);
    if (line.size() > width) {
      absl::StrAppend(&text, line, "\n");
      line.clear();
    }
    line.resize(width + 2, ' ');
    // Wrapped at 100 columns, under its own beginning.
    for (const absl::string_view word : absl::StrSplit(flag.help, ' ')) {
      if (line.size() + word.size() > 99) {
        absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
        line.assign(width + 2, ' ');
      }
      absl::StrAppend(&line, word, " ");
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return text;
}

void ReportError(const absl::Status& status, const std::string& server, const Command* command,
                 bool json, std::ostream& err) {
  const ErrorDetails details = GetDetails(status);
  const bool usage = details.reason == kUsageReason;
  std::string next = NextStep(status, server);
  if (usage) {
    next = absl::StrCat("see `tessera ", command == nullptr ? "" : command->name,
                        command == nullptr ? "" : " ", "--help`");
  }
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
    err << nlohmann::ordered_json{{"error", error}}.dump(
               -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
        << "\n";
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

}  // namespace

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

std::string NextStep(const absl::Status& status, absl::string_view server) {
  const std::string reason = GetDetails(status).reason;
  if (reason == "JOB_NOT_FOUND") return "`tessera jobs` lists the jobs that there are";
  if (reason == "ITEM_NOT_FOUND") return "`tessera results JOB` lists the items of a job";
  if (reason == "BUDGET_BELOW_COMMITTED") {
    return "a budget cannot fall below what is reserved and spent; see `tessera watch JOB`";
  }
  if (reason == "JOB_NOT_ENDED")
    return "end it first: `tessera cancel JOB` or `tessera finalise JOB`";
  if (reason == "JOB_ENDED") return "submit a new job; this one has ended";
  if (reason == "ITEM_DIFFERS") {
    return "the key is there with another content: give each item a key of its own";
  }
  if (reason == "REQUEST_ID_REUSED") {
    return "this --request-id belongs to another job: leave the flag out, or choose another id";
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
      return "this token may not do that; is --tenant right?";
    case absl::StatusCode::kResourceExhausted:
      return "try again later, or with less";
    default:
      return "";
  }
}

absl::Status UsageError(absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, kUsageReason, message);
}

const Command* FindCommand(absl::string_view name) {
  for (const Command& command : Commands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

absl::Status Invocation::Parse(const Command& command, const std::vector<std::string>& words) {
  std::vector<absl::string_view> names;
  for (const auto flags : {command.flags, GlobalFlags()}) {
    for (const Flag& flag : flags) names.push_back(flag.name);
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      rest_.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      break;
    }
    if (word == "-h") {
      flags_["help"] = {""};
      continue;
    }
    if (!absl::StartsWith(word, "--")) {
      if (word.size() > 1 && word[0] == '-')
        return UsageError(absl::StrCat("what is '", word, "'?"));
      arguments_.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const Flag* flag = FindFlag(command, name);
    if (flag == nullptr) {
      return UsageError(absl::StrCat("`tessera ", command.name, "` has no flag --", name,
                                     DidYouMean(name, names, "--")));
    }
    std::string value;
    if (flag->value.empty()) {
      if (equals != std::string::npos) {
        return UsageError(absl::StrCat("--", name, " takes no value"));
      }
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < words.size() && words[i + 1] != "--") {
      value = words[++i];
    } else {
      return UsageError(absl::StrCat("--", name, " needs a value: --", name, " ", flag->value));
    }
    std::vector<std::string>& values = flags_[name];
    if (!values.empty() && !flag->repeated && !flag->value.empty()) {
      return UsageError(absl::StrCat("--", name, " is given twice"));
    }
    values.push_back(std::move(value));
  }
  if (Has("help")) return absl::OkStatus();
  size_t required = 0;
  size_t allowed = 0;
  for (const absl::string_view each : absl::StrSplit(command.arguments, ' ', absl::SkipEmpty())) {
    if (each == "[--") break;
    ++allowed;
    if (each.front() != '[') ++required;
  }
  if (arguments_.size() < required || arguments_.size() > allowed) {
    return UsageError(
        absl::StrCat(arguments_.size() < required ? "something is missing" : "that is too much",
                     "; usage: tessera ", command.name, command.arguments.empty() ? "" : " ",
                     command.arguments));
  }
  return absl::OkStatus();
}

std::string Invocation::argument(size_t place) const {
  return place < arguments_.size() ? arguments_[place] : "";
}

bool Invocation::Has(absl::string_view flag) const {
  return flags_.find(std::string(flag)) != flags_.end();
}

std::string Invocation::Get(absl::string_view flag, absl::string_view otherwise) const {
  const auto found = flags_.find(std::string(flag));
  return found == flags_.end() ? std::string(otherwise) : found->second.back();
}

std::vector<std::string> Invocation::GetAll(absl::string_view flag) const {
  std::vector<std::string> all;
  const auto found = flags_.find(std::string(flag));
  if (found == flags_.end()) return all;
  for (const std::string& value : found->second) {
    for (absl::string_view part : absl::StrSplit(value, ',', absl::SkipWhitespace())) {
      all.emplace_back(absl::StripAsciiWhitespace(part));
    }
  }
  return all;
}

absl::StatusOr<std::optional<int64_t>> Invocation::GetInt(absl::string_view flag) const {
  if (!Has(flag)) return std::nullopt;
  int64_t value = 0;
  if (absl::SimpleAtoi(Get(flag), &value)) return value;
  return UsageError(absl::StrCat("--", flag, ": '", Get(flag), "' is no whole number"));
}

absl::StatusOr<std::optional<double>> Invocation::GetDouble(absl::string_view flag) const {
  if (!Has(flag)) return std::nullopt;
  double value = 0;
  if (absl::SimpleAtod(Get(flag), &value)) return value;
  return UsageError(absl::StrCat("--", flag, ": '", Get(flag), "' is no number"));
}

absl::StatusOr<std::optional<int64_t>> Invocation::GetMoney(absl::string_view flag) const {
  if (!Has(flag)) return std::nullopt;
  const absl::StatusOr<int64_t> micros = ParseMoney(Get(flag));
  if (micros.ok()) return *micros;
  return UsageError(absl::StrCat("--", flag, ": ", micros.status().message()));
}

absl::StatusOr<std::optional<absl::Duration>> Invocation::GetDuration(
    absl::string_view flag) const {
  if (!Has(flag)) return std::nullopt;
  absl::Duration value;
  double seconds = 0;
  if (absl::SimpleAtod(Get(flag), &seconds)) {
    value = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(Get(flag), &value)) {
    return UsageError(
        absl::StrCat("--", flag, ": '", Get(flag), "' is no duration; write it like 90s, 5m, 2h"));
  }
  if (value < absl::ZeroDuration()) {
    return UsageError(absl::StrCat("--", flag, " must not be negative"));
  }
  return value;
}

Terminal Invocation::terminal() const {
  if (json() || &out_ != &std::cout) return Terminal{};
  return DetectTerminal(STDOUT_FILENO);
}

Terminal Invocation::err_terminal() const {
  if (json() || &err_ != &std::cerr) return Terminal{};
  return DetectTerminal(STDERR_FILENO);
}

std::string Invocation::server() const {
  if (Has("server")) return Get("server");
  const std::string environment = Environment("TESSERA_SERVER");
  return environment.empty() ? "127.0.0.1:7070" : environment;
}

absl::StatusOr<std::unique_ptr<Client>> Invocation::Connect(absl::Duration retry_for) const {
  ConnectOptions options;
  options.address = server();
  options.tenant = Get("tenant", Environment("TESSERA_TENANT"));
  if (options.tenant.empty()) options.tenant = "default";
  TESSERA_ASSIGN_OR_RETURN(const std::optional<absl::Duration> timeout, GetDuration("timeout"));
  options.retry_for = std::max(retry_for, timeout.value_or(absl::Seconds(5)));
  options.try_timeout = std::max(absl::Seconds(10), timeout.value_or(absl::ZeroDuration()));
  if (timeout.has_value()) options.try_timeout = *timeout;
  const auto read = [](const std::string& path) -> absl::StatusOr<std::string> {
    std::ifstream in(path, std::ios::binary);
    std::stringstream content;
    content << in.rdbuf();
    if (!in) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'"));
    return content.str();
  };
  if (Has("token-file")) {
    TESSERA_ASSIGN_OR_RETURN(options.token, read(Get("token-file")));
  } else {
    options.token = Environment("TESSERA_TOKEN");
  }
  options.token = std::string(absl::StripAsciiWhitespace(options.token));
  options.tls = Has("tls");
  if (Has("tls-ca")) {
    TESSERA_ASSIGN_OR_RETURN(options.tls_ca_pem, read(Get("tls-ca")));
  }
  return Client::Connect(std::move(options));
}

std::string HelpText() {
  std::string text =
      "Tessera buys answers from people and models, and fuses them into results.\n"
      "\n"
      "usage: tessera COMMAND [ARGUMENTS] [FLAGS]\n"
      "\n";
  for (const Command& command : Commands()) {
    absl::StrAppendFormat(&text, "  %-11s %s\n", command.name, command.summary);
  }
  absl::StrAppend(
      &text, "\nFlags of every command:\n", FlagsHelp(GlobalFlags()),
      "\nA first look, with real people's answers:\n"
      "  tessera demo\n"
      "\n`tessera COMMAND --help` says more. docs/cli.md has exit codes and formats.\n");
  return text;
}

std::string CommandHelp(const Command& command) {
  std::string text =
      absl::StrCat("tessera ", command.name, ": ", command.summary, "\n\n", "usage: tessera ",
                   command.name, command.arguments.empty() ? "" : " ", command.arguments,
                   command.flags.empty() ? "" : " [FLAGS]", "\n\n", command.text, "\n\n");
  if (!command.flags.empty()) {
    absl::StrAppend(&text, "Flags:\n", FlagsHelp(command.flags), "\n");
  }
  absl::StrAppend(&text, "Flags of every command:\n", FlagsHelp(GlobalFlags()), "\nExample:\n");
  for (const absl::string_view line : absl::StrSplit(command.example, '\n')) {
    absl::StrAppend(&text, "  ", line, "\n");
  }
  return text;
}

int RunCommand(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  // Global flags may stand before the command's name.
  size_t place = 0;
  while (place < words.size() && absl::StartsWith(words[place], "-")) {
    const std::string& word = words[place];
    if (word == "--help" || word == "-h") {
      out << HelpText();
      return kExitOk;
    }
    if (word == "--version") {
      out << "tessera " << kVersion << "\n";
      return kExitOk;
    }
    bool takes_value = false;
    for (const Flag& flag : GlobalFlags()) {
      takes_value |= word == absl::StrCat("--", flag.name) && !flag.value.empty();
    }
    place += takes_value ? 2 : 1;
  }
  const bool json = std::find(words.begin(), words.end(), "--json") != words.end();
  if (place >= words.size()) {
    err << HelpText();
    return kExitUsage;
  }
  std::string name = words[place];
  std::vector<std::string> rest = words;
  rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(place));
  if (name == "help") {
    if (rest.empty()) {
      out << HelpText();
      return kExitOk;
    }
    name = rest[0];
    rest = {"--help"};
  }
  const Command* command = FindCommand(name);
  if (command == nullptr) {
    std::vector<absl::string_view> names;
    for (const Command& each : Commands()) names.push_back(each.name);
    const absl::Status unknown =
        UsageError(absl::StrCat("there is no command '", name, "'", DidYouMean(name, names)));
    ReportError(unknown, "", nullptr, json, err);
    return kExitUsage;
  }
  Invocation call(&out, &err);
  absl::Status status = call.Parse(*command, rest);
  if (status.ok() && call.Has("help")) {
    out << CommandHelp(*command);
    return kExitOk;
  }
  ExitCode code = kExitOk;
  if (status.ok()) {
    const absl::StatusOr<ExitCode> result = command->run(call);
    status = result.status();
    if (result.ok()) code = *result;
  }
  out.flush();
  if (!status.ok()) {
    code = ExitCodeOf(status);
    if (code != kExitInterrupted) ReportError(status, call.server(), command, call.json(), err);
  }
  return code;
}

}  // namespace tessera::client
