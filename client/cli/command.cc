#include "client/cli/command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/job_flags.h"
#include "client/cli/money.h"
#include "client/client.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

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

}  // namespace

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
  const bool has_rest = absl::StrContains(command.arguments, "[--");
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      std::vector<std::string>& after = has_rest ? rest_ : arguments_;
      after.insert(after.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      break;
    }
    if (word == "-h") {
      flags_["help"] = {""};
      continue;
    }
    if (!absl::StartsWith(word, "--")) {
      if (word.size() > 1 && word[0] == '-') {
        return UsageError(
            absl::StrCat("what is '", word, "'?",
                         has_rest ? "" : " An argument that begins so stands after --"));
      }
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
    if (!flag->value.empty() && !flag->may_be_empty &&
        value.find_first_not_of(", \t") == std::string::npos) {
      return UsageError(absl::StrCat("--", name, " is empty: write --", name, " ", flag->value,
                                     ", or leave it out"));
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

absl::StatusOr<std::optional<int64_t>> Invocation::GetInt(absl::string_view flag, int64_t low,
                                                          int64_t high) const {
  if (!Has(flag)) return std::nullopt;
  int64_t value = 0;
  if (!absl::SimpleAtoi(Get(flag), &value)) return FlagError(flag, Get(flag), "is no whole number");
  if (value >= low && value <= high) return value;
  const bool bounded = high < std::numeric_limits<int64_t>::max();
  return FlagError(flag, Get(flag),
                   bounded ? absl::StrCat("must be from ", low, " to ", high)
                           : absl::StrCat("must be ", low, " or more"));
}

absl::StatusOr<std::optional<double>> Invocation::GetDouble(absl::string_view flag, double low,
                                                            double high,
                                                            absl::string_view rule) const {
  if (!Has(flag)) return std::nullopt;
  double value = 0;
  if (!absl::SimpleAtod(Get(flag), &value)) return FlagError(flag, Get(flag), "is no number");
  if (value >= low && value <= high) return value;
  if (!rule.empty()) return FlagError(flag, Get(flag), rule);
  return FlagError(flag, Get(flag), absl::StrCat("must be from ", low, " to ", high));
}

absl::StatusOr<std::optional<int64_t>> Invocation::GetMoney(absl::string_view flag,
                                                            int64_t low_micros) const {
  if (!Has(flag)) return std::nullopt;
  const absl::StatusOr<int64_t> micros = ParseMoney(Get(flag));
  if (!micros.ok()) return UsageError(absl::StrCat("--", flag, ": ", micros.status().message()));
  if (*micros >= low_micros) return *micros;
  return FlagError(flag, Get(flag), absl::StrCat("must be ", FormatMoney(low_micros), " or more"));
}

absl::StatusOr<std::optional<absl::Duration>> Invocation::GetDuration(
    absl::string_view flag) const {
  if (!Has(flag)) return std::nullopt;
  absl::Duration value;
  double seconds = 0;
  if (absl::SimpleAtod(Get(flag), &seconds)) {
    value = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(Get(flag), &value)) {
    return FlagError(flag, Get(flag), "is no duration; write it like 90s, 5m, 2h");
  }
  if (value < absl::ZeroDuration()) return FlagError(flag, Get(flag), "must not be negative");
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
  if (timeout == absl::ZeroDuration()) {
    return FlagError("timeout", Get("timeout"), "must be above 0");
  }
  options.retry_for = std::max(retry_for, timeout.value_or(absl::Seconds(5)));
  options.try_timeout = timeout.value_or(absl::Seconds(10));
  if (Has("token-file")) {
    TESSERA_ASSIGN_OR_RETURN(options.token, ReadTextFile(Get("token-file")));
  } else {
    options.token = Environment("TESSERA_TOKEN");
  }
  options.token = std::string(absl::StripAsciiWhitespace(options.token));
  options.tls = Has("tls");
  if (Has("tls-ca")) {
    TESSERA_ASSIGN_OR_RETURN(options.tls_ca_pem, ReadTextFile(Get("tls-ca")));
  }
  return Client::Connect(std::move(options));
}

namespace {

int RunWords(const std::vector<std::string>& words, bool json, std::ostream& out,
             std::ostream& err) {
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
  if (!status.ok()) {
    code = ExitCodeOf(status);
    // Whoever interrupted knows that they did; what it left behind is news.
    if (code != kExitInterrupted || !NextStep(status, "").empty()) {
      ReportError(status, call.server(), command, call.json(), err);
    }
  }
  return code;
}

}  // namespace

int RunCommand(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  const auto flags_end = std::find(words.begin(), words.end(), "--");
  const bool json = std::find(words.begin(), flags_end, "--json") != flags_end;
  const int code = RunWords(words, json, out, err);
  // A script that goes on with half a file must not be told that all is well.
  if (out.flush()) return code;
  ReportError(absl::DataLossError("the output could not be written; is the disk full?"), "",
              nullptr, json, err);
  return code == kExitOk ? kExitFailed : code;
}

}  // namespace tessera::client
