#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/command.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

// In single quotes for any of the three shells.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "’"}}), "'");
}

// For zsh's _arguments, brackets and colons have a meaning.
std::string ZshQuoted(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"'", "’"}, {"[", "("}, {"]", ")"}, {":", "\\:"}});
}

std::vector<std::string> FlagWords(absl::Span<const Flag> flags) {
  std::vector<std::string> words;
  for (const Flag& flag : flags) words.push_back(absl::StrCat("--", flag.name));
  return words;
}

std::string Bash() {
  std::vector<absl::string_view> names;
  for (const Command& command : Commands()) names.push_back(command.name);
  // Flags before the command whose value is a word of its own, and not the command.
  std::vector<std::string> with_value;
  for (const Flag& flag : GlobalFlags()) {
    if (!flag.value.empty()) with_value.push_back(absl::StrCat("--", flag.name));
  }
  // Bash takes `--server=h:1` for five words: `=` and `:` separate.
  std::string script = absl::StrCat(
      "# bash completion for tessera\n"
      "_tessera() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} command= flags=\n"
      "  local i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      ",
      absl::StrJoin(with_value, "|"),
      ")\n"
      "        i=$((i + 1))\n"
      "        [[ ${COMP_WORDS[i]} == '=' ]] && i=$((i + 1)) ;;\n"
      "      ",
      absl::StrJoin(names, "|"),
      ") command=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  case $command in\n"
      "    '') COMPREPLY=($(compgen -W '",
      absl::StrJoin(names, " "), " ", absl::StrJoin(FlagWords(GlobalFlags()), " "),
      "' -- \"$current\")); return ;;\n");
  for (const Command& command : Commands()) {
    absl::StrAppend(&script, "    ", command.name, ") flags='",
                    absl::StrJoin(FlagWords(command.flags), " "), "' ;;\n");
  }
  absl::StrAppend(&script,
                  "  esac\n"
                  "  if [[ $current == -* ]]; then\n"
                  "    COMPREPLY=($(compgen -W \"$flags ",
                  absl::StrJoin(FlagWords(GlobalFlags()), " "),
                  "\" -- \"$current\"))\n"
                  "  elif [[ $command == completion ]]; then\n"
                  "    COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$current\"))\n"
                  "  else\n"
                  "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
                  "  fi\n"
                  "}\n"
                  "complete -o filenames -F _tessera tessera\n");
  return script;
}

std::string ZshFlags(absl::Span<const Flag> flags) {
  std::string text;
  for (const Flag& flag : flags) {
    absl::StrAppend(&text, " \\\n        '", flag.repeated ? "*" : "", "--", flag.name, "[",
                    ZshQuoted(flag.help), "]");
    if (!flag.value.empty()) {
      absl::StrAppend(&text, ":", ZshQuoted(flag.value), ":_files");
    }
    absl::StrAppend(&text, "'");
  }
  return text;
}

std::string Zsh() {
  std::string script =
      "#compdef tessera\n"
      "_tessera() {\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const Command& command : Commands()) {
    absl::StrAppend(&script, "    '", command.name, ":", ZshQuoted(command.summary), "'\n");
  }
  absl::StrAppend(&script,
                  "  )\n"
                  "  if (( CURRENT == 2 )); then\n"
                  "    _describe command commands\n"
                  "    return\n"
                  "  fi\n"
                  "  case $words[2] in\n");
  for (const Command& command : Commands()) {
    absl::StrAppend(&script, "    ", command.name, ")\n      _arguments '*:file:",
                    command.name == "completion" ? "(bash zsh fish)" : "_files", "'",
                    ZshFlags(command.flags), ZshFlags(GlobalFlags()), " ;;\n");
  }
  absl::StrAppend(&script, "  esac\n}\n_tessera \"$@\"\n");
  return script;
}

std::string Fish() {
  std::string script = "# fish completion for tessera\n";
  for (const Command& command : Commands()) {
    absl::StrAppend(&script, "complete -c tessera -n __fish_use_subcommand -f -a ", command.name,
                    " -d ", Quoted(command.summary), "\n");
  }
  const auto flag = [&script](const Flag& each, absl::string_view condition) {
    absl::StrAppend(&script, "complete -c tessera", condition, " -l ", each.name,
                    each.value.empty() ? "" : " -r", " -d ", Quoted(each.help), "\n");
  };
  for (const Flag& each : GlobalFlags()) flag(each, "");
  for (const Command& command : Commands()) {
    const std::string condition =
        absl::StrCat(" -n '__fish_seen_subcommand_from ", command.name, "'");
    for (const Flag& each : command.flags) flag(each, condition);
  }
  absl::StrAppend(&script,
                  "complete -c tessera -n '__fish_seen_subcommand_from completion' -f -a "
                  "'bash zsh fish'\n");
  return script;
}

}  // namespace

absl::StatusOr<std::string> CompletionScript(absl::string_view shell) {
  if (shell == "bash") return Bash();
  if (shell == "zsh") return Zsh();
  if (shell == "fish") return Fish();
  return UsageError(absl::StrCat("no completion for '", shell, "'; there is bash, zsh and fish"));
}

absl::StatusOr<ExitCode> RunCompletion(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::string script, CompletionScript(call.argument(0)));
  call.out() << script;
  return kExitOk;
}

}  // namespace tessera::client
