// --help of everything, and of one command.

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"

namespace tessera::client {
namespace {

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

}  // namespace

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
      "\nEnds with 0: done; 1: the work failed; 2: the command line, a file or a value is wrong;\n"
      "3: there is no such thing; 4: nobody answers, or a limit is reached, so try again later;\n"
      "5: not in the job's present state; 6: the token may not; 130: interrupted.\n"
      "\n`tessera COMMAND --help` says more about one. docs/cli.md is the whole reference.\n");
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

}  // namespace tessera::client
