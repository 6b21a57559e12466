// Protobuf messages as JSON, for people and for `jq`.
//
// Fields have the names that they have in the .proto files; enums are their names; times are RFC
// 3339; durations are seconds with an `s`. So far it is proto3 JSON. It differs in one way: 64-bit
// numbers are written as numbers, not as strings (no amount or count here exceeds 2^53). Fields
// with their default value are written too, so that a script finds what it looks for; messages and
// `optional` fields that are not set are left out.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace google::protobuf {
class Message;
}

namespace tessera::client {

nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

// On one line, without a line's end. Bytes that are not UTF-8 are replaced.
std::string ToLine(const nlohmann::ordered_json& json);
std::string ToJsonLine(const google::protobuf::Message& message);

// Reads proto3 JSON, with names of fields in either form. INVALID_ARGUMENT names what is wrong,
// unknown fields included.
absl::Status FromJson(absl::string_view json, google::protobuf::Message* message);

}  // namespace tessera::client
