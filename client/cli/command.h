// The shell command's frame: what commands and flags there are, how a line is read, how it ends.
//
// One table describes every command. Parsing, --help, completion and the reference in docs/cli.md
// (checked by a test) are made from it, so that they cannot disagree.
//
// Threads: none; a command may start its own.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cli/terminal.h"

namespace tessera::client {

class Client;

// How the command ends, for scripts. Documented in docs/cli.md.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,    // The call or the work failed.
  kExitUsage = 2,     // The command line, a file or a value is wrong; trying again does not help.
  kExitNotFound = 3,  // There is no such job, item, worker, file.
  kExitUnavailable = 4,  // Nobody answers, or not in time; try again.
  kExitRefused = 5,      // Not in the present state: the job has ended, the key is taken.
  kExitDenied = 6,       // No credential, or one that does not allow it.
  kExitInterrupted = 130,
};

// The code that an error ends with: of its own (WithExitCode()), or told by its code.
ExitCode ExitCodeOf(const absl::Status& status);
absl::Status WithExitCode(absl::Status status, int code);

struct Flag {
  absl::string_view name;   // Without dashes.
  absl::string_view value;  // What stands for its value in --help; empty: a switch.
  absl::string_view help;
  bool repeated = false;      // May be given several times, and with commas.
  bool may_be_empty = false;  // `--name ''` means something; else it is refused.
};

// For how long commands that have begun something wait for a coordinator that went away.
inline constexpr absl::Duration kOutageMax = absl::Minutes(1);

class Invocation;

struct Command {
  absl::string_view name;
  absl::string_view arguments;  // As in usage: `JOB ITEM`; `[X]` may be left out.
  absl::string_view summary;    // One line, for the list of commands.
  absl::string_view text;       // What one should know; paragraphs.
  absl::string_view example;    // One or more shell lines.
  absl::Span<const Flag> flags;
  absl::StatusOr<ExitCode> (*run)(Invocation&) = nullptr;
};

// All commands, in the order of --help.
absl::Span<const Command> Commands();
const Command* FindCommand(absl::string_view name);

// Flags that every command has.
absl::Span<const Flag> GlobalFlags();

// One call of one command.
class Invocation {
 public:
  Invocation(std::ostream* out, std::ostream* err) : out_(*out), err_(*err) {}

  // Reads what comes after the command's name (and, in `before`, global flags before it).
  // INVALID_ARGUMENT for flags that are not known, values that are missing or empty, and too few or
  // too many arguments.
  absl::Status Parse(const Command& command, const std::vector<std::string>& words);

  const std::vector<std::string>& arguments() const { return arguments_; }
  std::string argument(size_t place) const;  // Empty if it was left out.
  // What stands after `--`, of a command that hands it on (`[--` in its usage); of the others that
  // is arguments.
  const std::vector<std::string>& rest() const { return rest_; }

  bool Has(absl::string_view flag) const;
  std::string Get(absl::string_view flag, absl::string_view otherwise = "") const;
  std::vector<std::string> GetAll(absl::string_view flag) const;  // Commas separate, too.
  // Nothing where the flag is not given. INVALID_ARGUMENT names the flag and says what is allowed:
  // the bounds are, and `rule` says it better where it is given.
  absl::StatusOr<std::optional<int64_t>> GetInt(absl::string_view flag, int64_t low,
                                                int64_t high) const;
  absl::StatusOr<std::optional<double>> GetDouble(absl::string_view flag, double low, double high,
                                                  absl::string_view rule = "") const;
  absl::StatusOr<std::optional<int64_t>> GetMoney(absl::string_view flag,
                                                  int64_t low_micros = 0) const;
  absl::StatusOr<std::optional<absl::Duration>> GetDuration(absl::string_view flag) const;

  bool json() const { return Has("json"); }
  std::ostream& out() const { return out_; }
  std::ostream& err() const { return err_; }
  // Of stdout and stderr. Plain with --json.
  Terminal terminal() const;
  Terminal err_terminal() const;

  // A client as the global flags and the environment say. Commands that outlast an outage pass
  // kOutageMax.
  absl::StatusOr<std::unique_ptr<Client>> Connect(
      absl::Duration retry_for = absl::ZeroDuration()) const;
  std::string server() const;

 private:
  std::ostream& out_;
  std::ostream& err_;
  std::map<std::string, std::vector<std::string>, std::less<>> flags_;
  std::vector<std::string> arguments_;
  std::vector<std::string> rest_;
};

// A usage error, which ends with kExitUsage and a pointer to --help.
absl::Status UsageError(absl::string_view message);
// A usage error about one flag: `--target: '0' must be above 0.5 and below 1`.
absl::Status FlagError(absl::string_view flag, absl::string_view value, absl::string_view rule);

// `--help` of everything, and of one command.
std::string HelpText();
std::string CommandHelp(const Command& command);

// What to do about an error, in a sentence; empty if there is nothing to say. It is told by the
// error's reason and code, unless WithNextStep() has put it beside the error.
std::string NextStep(const absl::Status& status, absl::string_view server);
absl::Status WithNextStep(absl::Status status, absl::string_view next);

// Writes an error as people, or with `json` programs, read it. `command` is null where none is
// known.
void ReportError(const absl::Status& status, const std::string& server, const Command* command,
                 bool json, std::ostream& err);

// The whole command: `words` are what stands after `tessera`.
int RunCommand(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

// Completion scripts, made from the table. `shell` is bash, zsh or fish.
absl::StatusOr<std::string> CompletionScript(absl::string_view shell);

// The commands.
absl::StatusOr<ExitCode> RunUp(Invocation& call);
absl::StatusOr<ExitCode> RunDemoCommand(Invocation& call);
absl::StatusOr<ExitCode> RunReplay(Invocation& call);
absl::StatusOr<ExitCode> RunSubmit(Invocation& call);
absl::StatusOr<ExitCode> RunPlan(Invocation& call);
absl::StatusOr<ExitCode> RunWatch(Invocation& call);
absl::StatusOr<ExitCode> RunJobs(Invocation& call);
absl::StatusOr<ExitCode> RunResults(Invocation& call);
absl::StatusOr<ExitCode> RunExplain(Invocation& call);
absl::StatusOr<ExitCode> RunPause(Invocation& call);
absl::StatusOr<ExitCode> RunResume(Invocation& call);
absl::StatusOr<ExitCode> RunCancel(Invocation& call);
absl::StatusOr<ExitCode> RunFinalise(Invocation& call);
absl::StatusOr<ExitCode> RunDelete(Invocation& call);
absl::StatusOr<ExitCode> RunUpdate(Invocation& call);
absl::StatusOr<ExitCode> RunWorkers(Invocation& call);
absl::StatusOr<ExitCode> RunPools(Invocation& call);
absl::StatusOr<ExitCode> RunPartitions(Invocation& call);
absl::StatusOr<ExitCode> RunInspect(Invocation& call);
absl::StatusOr<ExitCode> RunCompletion(Invocation& call);

}  // namespace tessera::client
