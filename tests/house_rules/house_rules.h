// The house rules that a program can check, each a function from one file's text to complaints.
//
// tree_test.cc runs them over the whole tree; house_rules_test.cc shows that each one catches what
// it should. `path` is relative to the root: "coordinator/core/partition.h".
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tessera::house_rules {

// Lines for people, `path:line: what is wrong`. Empty where all is well.
using Complaints = std::vector<std::string>;

// Imports run downwards only: service -> edge -> core, store -> core, all -> common. Only the main
// program (files directly in coordinator/) and tests put them together.
Complaints CheckImports(absl::string_view path, absl::string_view text);

// What decides has no clock, randomness, I/O, threads, gRPC or hiredis of its own: nothing in
// coordinator/core and coordinator/edge names one, outside of comments and strings. Messages of the
// contract are data, and the edge may take them; the core may not.
Complaints CheckDeterminism(absl::string_view path, absl::string_view text);

// No file has more lines than a reader can hold: 700.
Complaints CheckLength(absl::string_view path, absl::string_view text);

// Every header has #pragma once.
Complaints CheckPragmaOnce(absl::string_view path, absl::string_view text);

// No notes to self: what is left to do is an issue, not a comment.
Complaints CheckNotes(absl::string_view path, absl::string_view text);

// `text` with C++ comments blanked, and strings too except on #include lines; the lines stay.
std::string WithoutComments(absl::string_view text);

}  // namespace tessera::house_rules
