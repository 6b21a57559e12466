// What would be refused on its way in is refused before anything is sent, and nothing else is: the
// client's rules are those of the server, item by item.
#include "client/item_check.h"

#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "coordinator/service/validate_item.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

v1::Item MakeItem(const std::string& key = "k") {
  v1::Item item;
  item.set_key(key);
  v1::Part& part = *item.add_content();
  part.set_name("text");
  part.set_text("hello");
  return item;
}

v1::TaskTemplate MakeTask() {
  v1::TaskTemplate task;
  v1::Field& field = *task.add_fields();
  field.set_name("answer");
  for (const char* value : {"no", "yes"}) field.mutable_choice()->add_classes()->set_value(value);
  return task;
}

void AddLink(v1::Item* item, const std::string& uri, const std::string& type = "image/png") {
  v1::Part& part = *item->add_content();
  part.set_name("picture");
  part.mutable_link()->set_uri(uri);
  part.mutable_link()->set_media_type(type);
}

// Each changes a good item; both sides must say the same of it.
TEST(ItemCheckTest, ClientAndServerAreOfOneMindAboutEveryItem) {
  const struct {
    const char* what;
    std::function<void(v1::Item*)> change;
    const char* message;  // Null: the item is good.
  } cases[] = {
      {"as it is", [](v1::Item*) {}, nullptr},
      {"no key", [](v1::Item* i) { i->clear_key(); }, "no key"},
      {"256 bytes of key", [](v1::Item* i) { i->set_key(std::string(256, 'k')); }, nullptr},
      {"257 bytes of key", [](v1::Item* i) { i->set_key(std::string(257, 'k')); }, "257 bytes"},
      {"a tab in the key", [](v1::Item* i) { i->set_key("a\tb"); }, "a\\tb' has a control"},
      {"U+0085 in the key", [](v1::Item* i) { i->set_key("a\xC2\x85"); }, "control character"},
      {"U+00A0 in the key", [](v1::Item* i) { i->set_key("a\xC2\xA0"); }, nullptr},
      {"no content", [](v1::Item* i) { i->clear_content(); }, "no content"},
      {"a part without content", [](v1::Item* i) { i->add_content()->set_name("b"); }, "neither"},
      {"a part without a name", [](v1::Item* i) { i->add_content()->set_text("b"); }, "name"},
      {"a part of upper case", [](v1::Item* i) { i->mutable_content(0)->set_name("Text"); },
       "'Text' needs another name"},
      {"a part twice", [](v1::Item* i) { *i->add_content() = i->content(0); }, "two parts"},
      {"16 parts",
       [](v1::Item* i) {
         for (int k = 1; k < 16; ++k) {
           *i->add_content() = i->content(0);
           i->mutable_content(k)->set_name(absl::StrCat("p", k));
         }
       },
       nullptr},
      {"17 parts",
       [](v1::Item* i) {
         for (int k = 1; k < 17; ++k) {
           *i->add_content() = i->content(0);
           i->mutable_content(k)->set_name(absl::StrCat("p", k));
         }
       },
       "--content-column"},
      {"a long entity",
       [](v1::Item* i) { i->mutable_content(0)->set_entity(std::string(257, 'e')); }, "entity"},
      {"a link", [](v1::Item* i) { AddLink(i, "https://e.org/a.png"); }, nullptr},
      {"a link by http", [](v1::Item* i) { AddLink(i, "http://e.org/a.png"); }, "https://"},
      {"a link to nowhere", [](v1::Item* i) { AddLink(i, "https://"); }, "https://"},
      {"a link with a blank", [](v1::Item* i) { AddLink(i, "https://e.org/a b"); }, "blanks"},
      {"a long link",
       [](v1::Item* i) { AddLink(i, absl::StrCat("https://", std::string(2041, 'a'))); }, "2048"},
      {"a link of no type", [](v1::Item* i) { AddLink(i, "https://e.org", ""); }, "media type"},
      {"a link of half a type", [](v1::Item* i) { AddLink(i, "https://e.org", "image/"); },
       "media type"},
      {"a link with a bad digest",
       [](v1::Item* i) {
         AddLink(i, "https://e.org");
         i->mutable_content(1)->mutable_link()->set_sha256("ABC");
       },
       "sha256"},
      {"a medium without bytes",
       [](v1::Item* i) { i->mutable_content(0)->mutable_inline_()->set_media_type("a/b"); },
       "no bytes"},
      {"a medium without a type",
       [](v1::Item* i) { i->mutable_content(0)->mutable_inline_()->set_data("x"); }, "media type"},
      {"a long item", [](v1::Item* i) { i->set_length(1e6); }, nullptr},
      {"a longer item", [](v1::Item* i) { i->set_length(1.1e6); }, "length"},
      {"a negative length", [](v1::Item* i) { i->set_length(-1); }, "length"},
      {"no number as length",
       [](v1::Item* i) { i->set_length(std::numeric_limits<double>::quiet_NaN()); }, "length"},
      {"a stratum", [](v1::Item* i) { i->set_stratum("hard-1"); }, nullptr},
      {"a stratum with a blank", [](v1::Item* i) { i->set_stratum("hard one"); }, "stratum"},
      {"little importance", [](v1::Item* i) { i->set_importance(0.001); }, nullptr},
      {"too little importance", [](v1::Item* i) { i->set_importance(0.0001); }, "importance"},
      {"negative importance", [](v1::Item* i) { i->set_importance(-1); }, "importance"},
      {"a language", [](v1::Item* i) { i->set_language("zh-Hans"); }, nullptr},
      {"no language", [](v1::Item* i) { i->set_language("en_US"); }, "language"},
      {"a note", [](v1::Item* i) { (*i->mutable_metadata())["a"] = "b"; }, nullptr},
      {"a note without a name", [](v1::Item* i) { (*i->mutable_metadata())[""] = "b"; }, "1 to 64"},
      {"a long note", [](v1::Item* i) { (*i->mutable_metadata())["a"] = std::string(1025, 'b'); },
       "1025 bytes"},
      {"65 notes",
       [](v1::Item* i) {
         for (int k = 0; k < 65; ++k) (*i->mutable_metadata())[absl::StrCat("n", k)] = "b";
       },
       "65 entries"},
      {"just small enough",
       [](v1::Item* i) {
         i->mutable_content(0)->set_text(std::string(65'536 - 20, 'x'));
         while (i->ByteSizeLong() < 65'536) i->mutable_content(0)->mutable_text()->push_back('x');
       },
       nullptr},
      {"just too large",
       [](v1::Item* i) {
         i->mutable_content(0)->set_text(std::string(65'536 - 20, 'x'));
         while (i->ByteSizeLong() < 65'537) i->mutable_content(0)->mutable_text()->push_back('x');
       },
       "65537 bytes, and at most 65536"},
  };
  for (const auto& c : cases) {
    v1::Item item = MakeItem();
    c.change(&item);
    service::Violations violations;
    service::CheckItem(item, service::ItemLimits(), service::FieldPath("item"), violations);
    EXPECT_EQ(violations.empty(), c.message == nullptr) << "the server about " << c.what;
    if (c.message == nullptr) {
      EXPECT_THAT(CheckItem(item), IsOk()) << c.what;
    } else {
      EXPECT_THAT(CheckItem(item),
                  StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
          << c.what;
    }
  }
}

TEST(ItemCheckTest, AKeyIsOneItems) {
  ItemCheck check(MakeTask());
  v1::Item item = MakeItem("a");
  EXPECT_THAT(check.Check(item, 2), IsOk());
  EXPECT_THAT(check.Check(MakeItem("b"), 3), IsOk());
  EXPECT_THAT(check.Check(item, 4), IsOk());  // The same once more changes nothing.
  EXPECT_EQ(check.repeated(), 1);
  item.mutable_content(0)->set_text("another");
  EXPECT_THAT(check.Check(item, 5), StatusIs(absl::StatusCode::kInvalidArgument,
                                             AllOf(HasSubstr("'a'"), HasSubstr("line 2"),
                                                   HasSubstr("a key of its own"))));
}

TEST(ItemCheckTest, GoldIsOneOfTheClasses) {
  ItemCheck check(MakeTask());
  v1::Item item = MakeItem("a");
  v1::FieldAnswer& gold = *item.mutable_gold()->add_fields();
  gold.set_choice("yes");
  EXPECT_THAT(check.Check(item, 1), IsOk());
  gold.set_choice("maybe");
  EXPECT_THAT(check.Check(item, 2),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'maybe' is none of")));
  gold.set_choice("yes");
  gold.set_field("question");
  EXPECT_THAT(check.Check(item, 3), StatusIs(absl::StatusCode::kInvalidArgument));
  item.mutable_gold()->clear_fields();
  EXPECT_THAT(check.Check(item, 4), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ItemCheckTest, AJobHas256StrataWithTheDefaultOne) {
  ItemCheck check(MakeTask());
  for (int i = 0; i < 255; ++i) {
    v1::Item item = MakeItem(absl::StrCat(i));
    item.set_stratum(absl::StrCat("s", i));
    ASSERT_THAT(check.Check(item, i), IsOk());
  }
  v1::Item item = MakeItem("more");
  item.set_stratum("default");
  EXPECT_THAT(check.Check(item, 256), IsOk());
  item = MakeItem("too many");
  item.set_stratum("s255");
  EXPECT_THAT(check.Check(item, 257), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ItemCheckTest, ADeploymentMayAllowLargerItems) {
  v1::Item item = MakeItem();
  item.mutable_content(0)->set_text(std::string(100'000, 'x'));
  EXPECT_THAT(CheckItem(item), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ItemCheck(MakeTask(), 200'000).Check(item, 1), IsOk());
}

}  // namespace
}  // namespace tessera::client
