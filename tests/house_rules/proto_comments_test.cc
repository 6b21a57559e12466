// The contract is the manual: the checker misses nothing that a caller can name.
#include "tests/house_rules/proto_comments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::house_rules {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kGood[] = R"(syntax = "proto3";

package tessera.v1;

import "google/protobuf/timestamp.proto";

option java_package = "x";

// Serves.
service Jobs {
  // Gets.
  rpc Get(GetRequest) returns (Job) {
    option (http) = { get: "/v1/{name}" };
  }
}

// A job.
message Job {
  reserved 4, 5;
  // Its name.
  string name = 1 [
    json_name = "a;{b}",
    deprecated = true
  ];
  map<string, string> labels = 2;  // Its labels.
  // Its state.
  enum State {
    // Not said.
    STATE_UNSPECIFIED = 0;
    STATE_RUNNING = 1;  // It runs.
  }
  oneof kind {
    // One.
    int32 one = 6;
  }
}

/* Nothing. */
message Empty {}
)";

TEST(ProtoCommentsTest, AFullyCommentedFileIsFine) {
  EXPECT_THAT(CheckProtoComments("a.proto", kGood), IsEmpty());
}

TEST(ProtoCommentsTest, EachKindOfUncommentedThingIsReported) {
  EXPECT_THAT(CheckProtoComments("a.proto", R"(
service Jobs {
  rpc Get(A) returns (B);
}
message Job {
  string name = 1;
  oneof kind {
    int32 one = 2;
  }
  enum State {
    STATE_UNSPECIFIED = 0;
  }
}
)"),
              ElementsAre("a.proto:2: no comment on: service Jobs",
                          "a.proto:3: no comment on: rpc Get(A) returns (B)",
                          "a.proto:5: no comment on: message Job",
                          "a.proto:6: no comment on: string name = 1",
                          "a.proto:8: no comment on: int32 one = 2",
                          "a.proto:10: no comment on: enum State",
                          "a.proto:11: no comment on: STATE_UNSPECIFIED = 0"));
}

TEST(ProtoCommentsTest, ACommentCountsForItsNeighbourOnly) {
  EXPECT_THAT(CheckProtoComments("a.proto", R"(
// About the file, not the message.

message Job {  // Commented here.
  string name = 1;  // Commented here.
  string key = 2;
  // Above.
  int32 size = 3;
  // At the end of the block.
}
message Late {}
)"),
              ElementsAre("a.proto:6: no comment on: string key = 2",
                          "a.proto:11: no comment on: message Late"));
}

TEST(ProtoCommentsTest, OtherFilesAreNotLookedAt) {
  EXPECT_THAT(CheckProtoComments("a.cc", "message Job {}"), IsEmpty());
}

}  // namespace
}  // namespace tessera::house_rules
