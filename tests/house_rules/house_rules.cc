#include "tests/house_rules/house_rules.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace tessera::house_rules {
namespace {

// Who may include what, by the beginning of the path; the first rule that fits a file holds.
struct ImportRule {
  absl::string_view from;
  std::vector<absl::string_view> allowed;
};

const std::vector<ImportRule>& ImportRules() {
  static const auto* const rules = new std::vector<ImportRule>{
      {"common/", {"common/"}},
      {"coordinator/core/", {"common/", "coordinator/core/"}},
      {"coordinator/edge/", {"common/", "coordinator/core/", "coordinator/edge/", "tessera/"}},
      {"coordinator/store/", {"common/", "coordinator/core/", "coordinator/store/"}},
      {"coordinator/service/",
       {"common/", "coordinator/core/", "coordinator/edge/", "coordinator/service/", "tessera/",
        "google/rpc/"}},
      {"coordinator/", {"common/", "coordinator/", "tessera/", "google/rpc/"}},
      // The shell command looks into stores, and fuses a recording for comparison.
      {"client/cli/",
       {"common/", "client/", "coordinator/core/", "coordinator/inspect/", "tessera/",
        "google/rpc/"}},
      {"client/", {"common/", "client/", "tessera/", "google/rpc/"}},
      {"worker/", {"common/", "client/", "worker/", "tessera/", "google/rpc/"}},
  };
  return *rules;
}

// The folders that make an #include ours, and so subject to the rules above.
constexpr absl::string_view kOurs[] = {"common/", "coordinator/", "client/",    "worker/",
                                       "tests/",  "tessera/",     "google/rpc/"};

// Words that have no business where decisions are made.
constexpr absl::string_view kForbidden[] = {
    // Clocks.
    "absl::Now", "absl::GetCurrentTimeNanos", "absl::SleepFor", "system_clock", "steady_clock",
    "high_resolution_clock", "clock_gettime", "gettimeofday", "<chrono>", "<ctime>",
    "absl/time/clock.h", "RealClock",
    // Randomness.
    "random_device", "rand", "srand", "absl::BitGen", "absl/random",
    // I/O and the environment.
    "<fstream>", "<iostream>", "<cstdio>", "<stdio.h>", "<filesystem>", "<unistd.h>", "fopen",
    "printf", "std::cout", "std::cerr", "getenv",
    // Threads.
    "std::thread", "std::jthread", "std::async", "std::mutex", "std::atomic", "absl::Mutex",
    "<thread>", "<mutex>", "<atomic>", "<future>", "<condition_variable>", "absl/synchronization",
    "common/mutex.h", "thread_local",
    // The transport and the store.
    "grpc", "grpcpp", ".grpc.pb.h", "hiredis"};

// The core does not even know the messages of the contract; the edge translates them.
constexpr absl::string_view kForbiddenInCore[] = {"google/protobuf", "google::protobuf", ".pb.h"};

bool IsWordCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool StartsWithAny(absl::string_view text, const auto& prefixes) {
  return std::any_of(std::begin(prefixes), std::end(prefixes),
                     [&](absl::string_view prefix) { return absl::StartsWith(text, prefix); });
}

// Whether `word` stands in `line`, not as a part of a longer word.
bool HasWord(absl::string_view line, absl::string_view word) {
  for (size_t at = line.find(word); at != absl::string_view::npos; at = line.find(word, at + 1)) {
    const size_t end = at + word.size();
    const bool begins = at == 0 || !IsWordCharacter(word.front()) || !IsWordCharacter(line[at - 1]);
    const bool ends =
        end == line.size() || !IsWordCharacter(word.back()) || !IsWordCharacter(line[end]);
    if (begins && ends) return true;
  }
  return false;
}

bool IsIncludeLine(absl::string_view line) {
  line = absl::StripLeadingAsciiWhitespace(line);
  if (!absl::ConsumePrefix(&line, "#")) return false;
  return absl::StartsWith(absl::StripLeadingAsciiWhitespace(line), "include");
}

// Calls `visit(line, number)` for each line; numbers start at 1.
void ForEachLine(absl::string_view text, const auto& visit) {
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) visit(line, ++number);
}

bool IsCpp(absl::string_view path) {
  return absl::EndsWith(path, ".h") || absl::EndsWith(path, ".cc");
}

std::string At(absl::string_view path, size_t line, absl::string_view complaint) {
  return absl::StrCat(path, ":", line, ": ", complaint);
}

}  // namespace

std::string WithoutComments(absl::string_view text) {
  enum class In { kCode, kLineComment, kBlockComment, kString, kCharacter, kRawString };
  std::string out(text);
  In in = In::kCode;
  std::string raw_end;
  bool include_line = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const absl::string_view rest = text.substr(i);
    if (text[i] == '\n') {
      if (in != In::kBlockComment && in != In::kRawString) in = In::kCode;
      include_line = false;
      continue;
    }
    if (i == 0 || text[i - 1] == '\n')
      include_line = IsIncludeLine(rest.substr(0, rest.find('\n')));
    switch (in) {
      case In::kCode:
        if (absl::StartsWith(rest, "//")) {
          in = In::kLineComment;
          out[i] = ' ';
        } else if (absl::StartsWith(rest, "/*")) {
          in = In::kBlockComment;
          out[i] = out[i + 1] = ' ';
          ++i;
        } else if (absl::StartsWith(rest, "R\"") && (i == 0 || !IsWordCharacter(text[i - 1]))) {
          in = In::kRawString;
          const size_t open = rest.find('(');
          if (open == absl::string_view::npos) return out;
          raw_end = absl::StrCat(")", rest.substr(2, open - 2), "\"");
          i += open;
        } else if (text[i] == '"' && !include_line) {
          in = In::kString;
        } else if (text[i] == '\'' && (i == 0 || !IsWordCharacter(text[i - 1]))) {
          in = In::kCharacter;  // Not the separator in 10'000.
        }
        break;
      case In::kLineComment:
        out[i] = ' ';
        break;
      case In::kBlockComment:
        out[i] = ' ';
        if (absl::StartsWith(rest, "*/")) {
          out[++i] = ' ';
          in = In::kCode;
        }
        break;
      case In::kString:
      case In::kCharacter:
        if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] != '\n') {
          out[i] = out[i + 1] = ' ';
          ++i;
        } else if (text[i] == (in == In::kString ? '"' : '\'')) {
          in = In::kCode;
        } else {
          out[i] = ' ';
        }
        break;
      case In::kRawString:
        if (absl::StartsWith(rest, raw_end)) {
          i += raw_end.size() - 1;
          in = In::kCode;
        } else {
          out[i] = ' ';
        }
        break;
    }
  }
  return out;
}

Complaints CheckImports(absl::string_view path, absl::string_view text) {
  Complaints complaints;
  const ImportRule* rule = nullptr;
  for (const ImportRule& candidate : ImportRules()) {
    if (rule == nullptr && absl::StartsWith(path, candidate.from)) rule = &candidate;
  }
  if (rule == nullptr || !IsCpp(path)) return complaints;
  const std::string code = WithoutComments(text);
  ForEachLine(code, [&](absl::string_view line, size_t number) {
    if (!IsIncludeLine(line)) return;
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::ByAnyChar("\"<>"));
    if (parts.size() < 2) return;
    const absl::string_view included = parts[1];
    if (!StartsWithAny(included, kOurs) || StartsWithAny(included, rule->allowed)) return;
    complaints.push_back(
        At(path, number, absl::StrCat(rule->from, " must not include ", included)));
  });
  return complaints;
}

Complaints CheckDeterminism(absl::string_view path, absl::string_view text) {
  Complaints complaints;
  const bool in_core = absl::StartsWith(path, "coordinator/core/");
  if (!IsCpp(path) || (!in_core && !absl::StartsWith(path, "coordinator/edge/"))) return complaints;
  std::vector<absl::string_view> forbidden(std::begin(kForbidden), std::end(kForbidden));
  if (in_core) {
    forbidden.insert(forbidden.end(), std::begin(kForbiddenInCore), std::end(kForbiddenInCore));
  }
  const std::string code = WithoutComments(text);
  ForEachLine(code, [&](absl::string_view line, size_t number) {
    for (const absl::string_view word : forbidden) {
      if (!HasWord(line, word)) continue;
      complaints.push_back(At(path, number, absl::StrCat(word, " in code that must replay")));
    }
  });
  return complaints;
}

Complaints CheckLength(absl::string_view path, absl::string_view text) {
  constexpr int64_t kLinesMax = 700;
  const int64_t lines = std::count(text.begin(), text.end(), '\n');
  if (lines <= kLinesMax) return {};
  return {absl::StrCat(path, ": ", lines, " lines, more than ", kLinesMax)};
}

Complaints CheckPragmaOnce(absl::string_view path, absl::string_view text) {
  if (!absl::EndsWith(path, ".h")) return {};
  const std::string code = WithoutComments(text);
  for (const absl::string_view line : absl::StrSplit(code, '\n')) {
    if (absl::StripAsciiWhitespace(line) == "#pragma once") return {};
  }
  return {absl::StrCat(path, ": no #pragma once")};
}

Complaints CheckNotes(absl::string_view path, absl::string_view text) {
  // Spelt in halves, so that this file keeps the rule.
  static const auto* const notes = new std::vector<std::string>{
      absl::StrCat("TO", "DO"), absl::StrCat("FIX", "ME"), absl::StrCat("XX", "X")};
  Complaints complaints;
  ForEachLine(text, [&](absl::string_view line, size_t number) {
    for (const std::string& note : *notes) {
      if (HasWord(line, note)) complaints.push_back(At(path, number, absl::StrCat("a ", note)));
    }
  });
  return complaints;
}

}  // namespace tessera::house_rules
