// At stake: what is sent together says the same as what would have been sent one after the other.
#include "coordinator/service/merge_responses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"

namespace tessera::service {
namespace {

v1::WorkResponse Parse(const std::string& text) {
  v1::WorkResponse response;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &response)) << text;
  return response;
}

TEST(MergeResponsesTest, ListsAreAppendedInOrder) {
  v1::WorkResponse into = Parse("committed { tag: 1 } assigned { assignment: 'a' }");
  MergeInto(Parse("committed { tag: 2 } committed { tag: 3 } rejected { tag: 4 }"), into);
  EXPECT_EQ(into.ShortDebugString(),
            Parse("committed { tag: 1 } committed { tag: 2 } committed { tag: 3 } assigned { "
                  "assignment: 'a' } rejected { tag: 4 }")
                .ShortDebugString());
}

// A kind of entry that the contract gains and this forgets would be lost.
TEST(MergeResponsesTest, EveryKindOfEntryIsTakenAlong) {
  v1::WorkResponse from;
  const auto* const reflection = from.GetReflection();
  const auto* const type = v1::WorkResponse::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* const field = type->field(i);
    if (field->is_repeated()) {
      reflection->AddMessage(&from, field);
    } else {
      reflection->MutableMessage(&from, field);
    }
  }
  v1::WorkResponse into;
  MergeInto(from, into);
  EXPECT_EQ(into.SerializeAsString(), from.SerializeAsString());
}

}  // namespace
}  // namespace tessera::service
