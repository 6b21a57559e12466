// A proto is the manual: everything in it that a caller can name has a comment.
#pragma once

#include "absl/strings/string_view.h"
#include "tests/house_rules/house_rules.h"

namespace tessera::house_rules {

// Complains of each message, enum, service, rpc, field and enum value of a .proto file that has
// neither a comment directly above it nor one on its own line. A oneof groups fields that have
// theirs.
Complaints CheckProtoComments(absl::string_view path, absl::string_view text);

}  // namespace tessera::house_rules
