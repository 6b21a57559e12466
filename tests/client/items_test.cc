// What a requester's file says becomes the items that were meant, or an error that names the line.
#include "client/items.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "client/crowd.h"
#include "client/json.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::StatusIs;

class ItemsTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_.Join(name);
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  absl::StatusOr<std::vector<v1::Item>> Read(const std::string& name, const std::string& text,
                                             const ItemColumns& columns = {}) {
    absl::StatusOr<std::unique_ptr<ItemSource>> source = OpenItems(Write(name, text), columns);
    if (!source.ok()) return source.status();
    std::vector<v1::Item> items;
    v1::Item item;
    while (true) {
      const absl::StatusOr<bool> more = (*source)->Next(&item);
      if (!more.ok()) return more.status();
      if (!*more) return items;
      items.push_back(item);
    }
  }

  tessera::testing::TempDir folder_;
};

TEST_F(ItemsTest, AColumnIsTheKeyAndTheOthersAreShown) {
  const auto items = Read("a.csv", "id,Source Text,note\n7,\"Hello, you\",\n");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 1u);
  EXPECT_EQ(items->front().key(), "7");
  ASSERT_EQ(items->front().content_size(), 1);  // An empty field makes no part.
  EXPECT_EQ(items->front().content(0).name(), "source_text");
  EXPECT_EQ(items->front().content(0).text(), "Hello, you");
}

TEST_F(ItemsTest, AColumnThatLosesMoreThanCaseAndBlanksOnTheWayIsKnown) {
  const std::string path =
      Write("a.csv", "id,größe,Source  Text,größe 2,_a.b-c,preis €,note!\n1,x,x,x,x,,x\n");
  const auto source = OpenItems(path, {.metadata = {"note!"}});
  ASSERT_TRUE(source.ok()) << source.status();
  v1::Item item;
  ASSERT_TRUE((*source)->Next(&item).value_or(false));
  EXPECT_THAT((*source)->renamed(), ::testing::UnorderedElementsAre(std::pair("größe", "gre"),
                                                                    std::pair("größe 2", "gre_2")));
}

TEST_F(ItemsTest, AFolderIsNoEmptyFile) {
  for (const char* name : {"folder.csv", "folder.jsonl"}) {
    std::filesystem::create_directory(folder_.Join(name));
    EXPECT_THAT(OpenItems(folder_.Join(name)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a folder")));
    EXPECT_THAT(ReadCrowdFile(folder_.Join(name)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a folder")));
  }
}

// `--gold-column truht` would show workers the column `truth`.
TEST_F(ItemsTest, AColumnThatNoRecordHasIsRefusedAtTheEnd) {
  const std::string text = "{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"y\",\"truth\":\"yes\"}\n";
  EXPECT_THAT(Read("a.jsonl", text, {.gold = "truht"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("a.jsonl: there is no column 'truht'; there are: a, id, truth")));
  const auto items = Read("a.jsonl", text, {.gold = "truth"});  // Some records may lack it.
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_FALSE(items->at(0).has_gold());
  EXPECT_TRUE(items->at(1).has_gold());
  EXPECT_TRUE(Read("b.jsonl", "{\"id\":1,\"a\":\"x\",\"truth\":null}\n", {.gold = "truth"}).ok());
  EXPECT_THAT(Read("c.jsonl", "{\"key\":\"a\",\"content\":[{\"name\":\"t\",\"text\":\"x\"}]}\n",
                   {.metadata = {"note"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no column 'note'")));
  EXPECT_TRUE(Read("d.jsonl", "\n", {.gold = "truth"}).ok());  // No record, no slip.
}

TEST_F(ItemsTest, ColumnsHaveTheMeaningTheyWereGiven) {
  const auto items = Read("a.csv",
                          "k,text,len,part,weight,lang,truth,source,pic\n"
                          "x,hi,2.5,hard,3,en,yes,web,https://e.org/a.PNG?x=1\n",
                          {.key = "k",
                           .length = "len",
                           .stratum = "part",
                           .importance = "weight",
                           .language = "lang",
                           .gold = "truth",
                           .content = {"text"},
                           .metadata = {"source"},
                           .links = {"pic"}});
  ASSERT_TRUE(items.ok()) << items.status();
  const v1::Item& item = items->front();
  EXPECT_EQ(item.length(), 2.5);
  EXPECT_EQ(item.stratum(), "hard");
  EXPECT_EQ(item.importance(), 3);
  EXPECT_EQ(item.language(), "en");
  EXPECT_EQ(item.gold().fields(0).choice(), "yes");
  EXPECT_EQ(item.metadata().at("source"), "web");
  ASSERT_EQ(item.content_size(), 2);
  EXPECT_EQ(item.content(1).link().media_type(), "image/png");
}

TEST_F(ItemsTest, JsonLinesAreWholeItemsOrFlatRecords) {
  const auto items =
      Read("a.jsonl",
           "{\"key\":\"1\",\"content\":[{\"name\":\"t\",\"text\":\"a\"}],\"length\":2}\n"
           "\n"
           "{\"item\":2,\"text\":\"b\",\"none\":null}\n");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ((*items)[0].length(), 2);
  EXPECT_EQ((*items)[1].key(), "2");
  EXPECT_EQ((*items)[1].content(0).text(), "b");
}

TEST_F(ItemsTest, FaultsNameFileAndLine) {
  const struct {
    const char* name;
    std::string text;
    ItemColumns columns;
    const char* message;
  } cases[] = {
      {"a.csv", "a,b\n1,2\n", {}, "which column is the item's key? There are: a, b"},
      {"a.csv", "id,b\n1,2\n", {.key = "x"}, "there is no column 'x'"},
      {"a.csv", "id,b\n1,2\n,3\n", {}, "line 3: the key (column 'id') is empty"},
      {"a.csv", "id,b\n1,\n", {}, "line 2: item '1' has no content"},
      {"a.csv", "id,b,n\n1,x,y\n", {.length = "n"}, "line 2: column 'n' holds 'y'"},
      {"a.csv", "id,b,B\n1,x,y\n", {}, "two columns become the part 'b'"},
      {"a.csv", "id,\xC3\x9C\n1,x\n", {}, "cannot name a part"},
      {"a.csv", "id,b\n1,\xE9\n", {}, "line 2: column 'b' is not UTF-8"},
      {"a.csv", "id,b,\xE9\n1,x,y\n", {.metadata = {"\xE9"}}, "line 1: the column"},
      {"a.csv", "id,b\n1,ftp\n", {.links = {"b"}}, "the media type of 'ftp'"},
      {"a.jsonl", "[1]\n", {}, "line 1: this is no JSON object"},
      {"a.jsonl", "{\"id\":1,\"a\":{}}\n", {}, "line 1: 'a' is neither text nor number"},
      {"a.jsonl", "{\"key\":\"1\",\"content\":[{\"nme\":1}]}\n", {}, "line 1: "},
      {"a.txt", "x", {}, "ends neither in .csv nor in .jsonl"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(Read(c.name, c.text, c.columns).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(c.name), HasSubstr(c.message))))
        << c.text;
  }
  EXPECT_THAT(OpenItems(folder_.Join("missing.csv")).status(),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ItemsTest, AProblemIsTiedToTheLineOfTheItemThatWasReadLast) {
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"a.csv", "id,t\n1,\"x\ny\"\n2,z\n"},
           {"a.jsonl", "{\"id\":1,\"t\":\"x\"}\n\n\n{\"id\":2,\"t\":\"z\"}\n"}}) {
    auto source = OpenItems(Write(name, text));
    ASSERT_TRUE(source.ok());
    v1::Item item;
    ASSERT_TRUE(*(*source)->Next(&item));
    ASSERT_TRUE(*(*source)->Next(&item));
    EXPECT_EQ((*source)->line(), 4);
    EXPECT_THAT((*source)->At(absl::InvalidArgumentError("bad")),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name + ": line 4: bad")));
  }
  ItemList list({v1::Item(), v1::Item()});
  v1::Item item;
  ASSERT_TRUE(*list.Next(&item));
  EXPECT_THAT(list.At(absl::InvalidArgumentError("bad")),
              StatusIs(absl::StatusCode::kInvalidArgument, "item 1: bad"));
}

TEST_F(ItemsTest, ANameThatStandsTwiceInOneObjectIsRefused) {
  for (const char* line : {R"({"id":1,"t":"x","t":"y"})",
                           R"({"key":"a","content":[{"name":"t","name":"u","text":""}]})"}) {
    auto source = OpenItems(Write("a.jsonl", absl::StrCat("{\"id\":0,\"t\":\"t\"}\n", line, "\n")));
    ASSERT_TRUE(source.ok());
    v1::Item item;
    EXPECT_TRUE(*(*source)->Next(&item));
    EXPECT_THAT((*source)->Next(&item),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a.jsonl: line 2: '")));
  }
}

// An intake that broke goes on from the committed offset: the same item must be there again.
TEST_F(ItemsTest, SeekingBackAndForthFindsTheSameItems) {
  std::string text = "id,t\n";
  for (int i = 0; i < 100; ++i) text += std::to_string(i) + ",x\n";
  auto source = OpenItems(Write("a.csv", text));
  ASSERT_TRUE(source.ok());
  v1::Item item;
  for (const int offset : {50, 10, 99, 0}) {
    ASSERT_TRUE((*source)->Seek(offset).ok());
    ASSERT_TRUE(*(*source)->Next(&item));
    EXPECT_EQ(item.key(), std::to_string(offset));
  }
  EXPECT_THAT((*source)->Seek(101), StatusIs(absl::StatusCode::kOutOfRange));
  ASSERT_TRUE((*source)->Seek(100).ok());
  EXPECT_FALSE(*(*source)->Next(&item));
}

TEST_F(ItemsTest, ARecordedCrowdIsGroupedByWorkerAndRepeatsAreLeftOut) {
  const auto crowd = ReadCrowdFile(Write(
      "v.csv", "item,worker,label,seconds\n1,ann,yes,2.5\n2,bob,no,\n2,ann,no,1\n1,ann,no,3\n"));
  ASSERT_TRUE(crowd.ok()) << crowd.status();
  ASSERT_EQ(crowd->workers.size(), 2u);
  EXPECT_EQ(crowd->workers[0].name, "ann");
  EXPECT_EQ(crowd->workers[0].answers.size(), 2u);
  EXPECT_EQ(crowd->workers[0].answers[0].seconds, 2.5);
  EXPECT_EQ(crowd->workers[1].answers[0].seconds, std::nullopt);
  EXPECT_EQ(crowd->answers, 3);
  EXPECT_EQ(crowd->repeated, 1);
}

TEST_F(ItemsTest, AnswersAreTakenOutOfARecordingWithTheWorkersWhoHadNoOthers) {
  auto crowd = ReadCrowdFile(
      Write("v.csv", "item,worker,label\n1,ann,yes\n2,ann,no\n1,bob,no\n2,cid,no\n2,dan,yes\n"));
  ASSERT_TRUE(crowd.ok()) << crowd.status();
  const auto is_yes = [](const RecordedAnswer& answer) { return answer.label == "yes"; };
  EXPECT_EQ(DropAnswers(&*crowd, is_yes), 3);
  EXPECT_EQ(crowd->answers, 2);
  ASSERT_EQ(crowd->workers.size(), 2u);
  EXPECT_EQ(crowd->workers[0].name, "ann");
  EXPECT_EQ(crowd->workers[0].answers.size(), 1u);
  EXPECT_EQ(crowd->workers[1].name, "dan");
}

TEST_F(ItemsTest, ARecordingThatIsNoneIsRefused) {
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"item,label\n1,a\n", "has the columns item, worker and label"},
           {"item,worker,label\n", "holds no answer"},
           {"item,worker,label\n1,a b,x\n", "line 2: 'a b' cannot name a worker"},
           {"item,worker,label\n1,a,\n", "line 2: the label is empty"},
           {"item,worker,label,seconds\n1,a,x,-1\n", "line 2: '-1' is no number of seconds"}}) {
    EXPECT_THAT(ReadCrowdFile(Write("v.csv", text)).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

TEST(JsonTest, NumbersAreNumbersDefaultsAreWrittenAndUnsetMessagesAreNot) {
  v1::Item item;
  item.set_key("k");
  (*item.mutable_metadata())["b"] = "2";
  (*item.mutable_metadata())["a"] = "1";
  EXPECT_EQ(ToJsonLine(item),
            R"({"key":"k","content":[],"length":0.0,"stratum":"","importance":0.0,"language":"",)"
            R"("metadata":{"a":"1","b":"2"}})");
}

TEST(JsonTest, WhatIsWrittenIsReadBack) {
  v1::Item item;
  item.set_key("k\"\n");
  item.add_content()->mutable_inline_()->set_data("\x01\xFF");
  item.mutable_gold()->add_fields()->set_scale(-3);
  v1::Item back;
  ASSERT_TRUE(FromJson(ToJsonLine(item), &back).ok());
  EXPECT_EQ(back.SerializeAsString(), item.SerializeAsString());
}

TEST(JsonTest, UnknownMembersAreRefusedByName) {
  v1::Item item;
  EXPECT_THAT(FromJson("{\"keey\":\"1\"}", &item),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("keey")));
}

}  // namespace
}  // namespace tessera::client
