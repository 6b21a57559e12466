// A requester's file is read as it was meant, or refused with the line at fault.
#include "client/csv.h"

#include <random>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StatusIs;
using Records = std::vector<std::vector<std::string>>;

absl::StatusOr<Records> ReadAll(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(&in);
  Records records;
  std::vector<std::string> fields;
  while (true) {
    const absl::StatusOr<bool> more = reader.Next(&fields);
    if (!more.ok()) return more.status();
    if (!*more) return records;
    records.push_back(fields);
  }
}

Records MustRead(const std::string& text) {
  absl::StatusOr<Records> records = ReadAll(text);
  EXPECT_TRUE(records.ok()) << records.status();
  return records.ok() ? *records : Records{};
}

// Some bytes, and then a disk that fails.
class FailingBuffer : public std::stringbuf {
 public:
  using std::stringbuf::stringbuf;

 private:
  int_type underflow() override {
    const int_type next = std::stringbuf::underflow();
    if (next == traits_type::eof()) throw std::ios_base::failure("the disk fails");
    return next;
  }
};

// Half a file taken for the whole would be sealed and paid for.
TEST(CsvReaderTest, AnInputThatFailsHasNoEndThere) {
  for (const char* text : {"", "a,b\nc,d\n", "a,b\nc,d", "a,\"b"}) {
    FailingBuffer buffer(text);
    std::istream in(&buffer);
    CsvReader reader(&in);
    std::vector<std::string> fields;
    absl::StatusOr<bool> more = true;
    while (more.ok() && *more) more = reader.Next(&fields);
    EXPECT_THAT(more, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("reading failed")))
        << text;
    EXPECT_THAT(reader.Next(&fields), StatusIs(absl::StatusCode::kUnavailable));
  }
  FailingBuffer buffer("");
  std::istream in(&buffer);
  EXPECT_THAT(CsvTable::Open(&in), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(CsvReaderTest, FieldsAreSeparatedByCommasAndRecordsByEitherLineEnd) {
  EXPECT_THAT(MustRead("a,b\r\nc,d\ne,f"),
              ElementsAre(ElementsAre("a", "b"), ElementsAre("c", "d"), ElementsAre("e", "f")));
}

TEST(CsvReaderTest, EmptyFieldsCountEverywhere) {
  EXPECT_THAT(MustRead(",\n\"\",a,\n"), ElementsAre(ElementsAre("", ""), ElementsAre("", "a", "")));
}

TEST(CsvReaderTest, QuotedFieldsKeepCommasQuotesAndLineBreaks) {
  EXPECT_THAT(MustRead("\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\"\n"),
              ElementsAre(ElementsAre("a,b", "say \"hi\"", "two\r\nlines")));
}

TEST(CsvReaderTest, AByteOrderMarkAndEmptyLinesAreSkipped) {
  EXPECT_THAT(MustRead("\xEF\xBB\xBF"
                       "a\n\n\r\nb\n\n"),
              ElementsAre(ElementsAre("a"), ElementsAre("b")));
}

TEST(CsvReaderTest, ALineOfBlanksIsARecord) {
  EXPECT_THAT(MustRead(" \n"), ElementsAre(ElementsAre(" ")));
}

TEST(CsvReaderTest, ACarriageReturnByItselfIsACharacter) {
  EXPECT_THAT(MustRead("a\rb,c\r"), ElementsAre(ElementsAre("a\rb", "c")));
}

TEST(CsvReaderTest, NothingGivesNothing) {
  EXPECT_THAT(MustRead(""), ElementsAre());
  EXPECT_THAT(MustRead("\n\n"), ElementsAre());
  EXPECT_THAT(MustRead("\xEF\xBB\xBF"), ElementsAre());
}

TEST(CsvReaderTest, FaultsNameTheirLine) {
  const std::pair<std::string, const char*> cases[] = {
      {"a\nb,c\"d\n", "line 2: there is a quote in a field"},
      {"a\n\"b\" c\n", "line 2: after a closing quote"},
      {"a\n\"b\nc\n", "line 2: the quote that opens here is never closed"},
      {"\"two\nlines\",\"x\"y\n", "line 2: after a closing quote"},
      {std::string("a\n\0b\n", 5), "line 2: there is a NUL byte"},
      {std::string("\"\0\"", 3), "line 1: there is a NUL byte"},
      {"\xEF\xBB"
       "a",
       "line 1: the file begins with half a byte-order mark"},
      {"\xFF\xFE"
       "a",
       "line 1: the file is UTF-16"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ReadAll(text).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)))
        << text;
  }
}

TEST(CsvReaderTest, AnUnclosedQuoteStopsAtTheLimitInsteadOfSwallowingTheFile) {
  std::istringstream in("\"" + std::string(1000, 'x'));
  CsvReader reader(&in, /*record_bytes_max=*/100);
  std::vector<std::string> fields;
  EXPECT_THAT(reader.Next(&fields).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 100 bytes")));
}

TEST(CsvReaderTest, AfterAnErrorTheReaderStaysAtIt) {
  std::istringstream in("a\"\nb\n");
  CsvReader reader(&in);
  std::vector<std::string> fields;
  EXPECT_THAT(reader.Next(&fields).status(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(reader.Next(&fields).status(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CsvReaderTest, RecordsKnowTheLineTheyBeginAt) {
  std::istringstream in("a\n\"b\nb\"\n\nc\n");
  CsvReader reader(&in);
  std::vector<std::string> fields;
  std::vector<int64_t> lines;
  while (*reader.Next(&fields)) lines.push_back(reader.line());
  EXPECT_THAT(lines, ElementsAre(1, 2, 5));
}

// The pieces that a file is read in do not show: line ends and quotes lie across them.
TEST(CsvReaderTest, LongFilesReadLikeShortOnes) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) absl::StrAppend(&text, i, ",\"a\"\"b\r\n", i, "\"\r\n");
  const Records records = MustRead(text);
  ASSERT_EQ(records.size(), 20'000u);
  EXPECT_THAT(records.back(), ElementsAre("19999", "a\"b\r\n19999"));
}

// What CsvField writes, the reader reads back; and no bytes at all bring the reader down.
TEST(CsvReaderTest, WrittenFieldsAreReadBackAndRandomBytesAreReadOrRefused) {
  std::mt19937 random(7);
  const std::string alphabet = std::string("ab \",\r\n\xC3\xA9\0\xEF\xBB\xBF", 13);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (unsigned i = random() % 20; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    ReadAll(bytes).status().IgnoreError();
    std::erase(bytes, '\0');
    const std::string line = absl::StrCat("x,", CsvField(bytes), ",y\n");
    EXPECT_THAT(MustRead(line), ElementsAre(ElementsAre("x", bytes, "y"))) << line;
  }
}

TEST(CsvTableTest, TheFirstRecordNamesTheColumns) {
  std::istringstream in("key,text\n1,one\n");
  absl::StatusOr<CsvTable> table = CsvTable::Open(&in);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->Find("text"), 1);
  EXPECT_EQ(table->Find("other"), -1);
  std::vector<std::string> fields;
  EXPECT_TRUE(*table->Next(&fields));
  EXPECT_THAT(fields, ElementsAre("1", "one"));
  EXPECT_FALSE(*table->Next(&fields));
}

TEST(CsvTableTest, HeadingsThatNameNothingAreRefused) {
  for (const char* text : {"", "a,,b\n", "a,b,a\n"}) {
    std::istringstream in(text);
    EXPECT_THAT(CsvTable::Open(&in).status(), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(CsvTableTest, ARecordWithAnotherNumberOfFieldsIsRefused) {
  std::istringstream in("a,b\n1,2\n3\n");
  absl::StatusOr<CsvTable> table = CsvTable::Open(&in);
  ASSERT_TRUE(table.ok());
  std::vector<std::string> fields;
  ASSERT_TRUE(*table->Next(&fields));
  EXPECT_THAT(table->Next(&fields).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 3: 1 field,")));
}

}  // namespace
}  // namespace tessera::client
