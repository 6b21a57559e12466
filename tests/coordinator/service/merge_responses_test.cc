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

TEST(MergeResponsesTest, WhatIsTooLargeComesInPartsOfWhichTemplatesComeFirst) {
  v1::WorkResponse response = Parse("welcome { session: 's' } drain {}");
  for (int i = 0; i < 50; ++i) {
    const std::string text(i == 20 ? 3000 : 200, 'x');
    response.add_committed()->set_assignment(text);
    response.add_assigned()->set_assignment(text);
    response.add_templates()->set_job(text);
  }
  v1::WorkResponse together;
  bool assigned = false;
  const std::vector<v1::WorkResponse> parts = SplitBySize(response, 2000);
  EXPECT_TRUE(parts[0].has_welcome());
  for (const v1::WorkResponse& part : parts) {
    const int entries = part.committed_size() + part.assigned_size() + part.templates_size();
    EXPECT_TRUE(entries == 1 || part.ByteSizeLong() <= 2000) << part.ByteSizeLong();
    EXPECT_FALSE(assigned && part.templates_size() > 0);
    assigned = assigned || part.assigned_size() > 0;
    MergeInto(part, together);
  }
  EXPECT_EQ(together.SerializeAsString(), response.SerializeAsString());
  EXPECT_LE(parts.size(), 24u);
  EXPECT_EQ(SplitBySize(response, 1 << 20).size(), 1u);
  EXPECT_EQ(SplitBySize({}, 10).size(), 1u);
}

TEST(MergeResponsesTest, NoKindOfEntryIsLostInSplitting) {
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
  v1::WorkResponse together;
  for (const v1::WorkResponse& part : SplitBySize(from, 1)) MergeInto(part, together);
  EXPECT_EQ(together.SerializeAsString(), from.SerializeAsString());
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
