// Whatever bytes come back from a store, a record is read as it was written or refused.

#include "coordinator/core/record.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "coordinator/core/seal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;

Record Example() {
  Record record{
      .nonce = 0xfeedfacecafebeef,
      .at = absl::FromUnixMicros(1'700'000'000'123'456),
      .follows = {6, 41},
      .kept_from = {5, 3},
  };
  AppendEvent(Ticked{.at = absl::FromUnixSeconds(12)}, &record.events);
  AppendEvent(JobSealed{.job = JobIndex(3), .at = absl::FromUnixSeconds(13)}, &record.events);
  record.payloads.push_back({.job = JobIndex(3),
                             .first = 64,
                             .payloads = {{"a.png", std::string("\0\xff\n", 3)}, {"b.png", ""}}});
  record.payloads.push_back({.job = JobIndex(4), .first = 0, .payloads = {}});
  return record;
}

// `bytes` with a checksum that fits, so that a test gets past it.
std::string Sealed(std::string bytes) {
  Seal(static_cast<uint8_t>(bytes[0]), &bytes);
  return bytes;
}

TEST(RecordTest, ARecordIsReadAsItWasWritten) {
  const Record written = Example();
  const absl::StatusOr<Record> read = DecodeRecord(EncodeRecord(written));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->nonce, written.nonce);
  EXPECT_EQ(read->at, written.at);
  EXPECT_EQ(read->follows, written.follows);
  EXPECT_EQ(read->kept_from, written.kept_from);
  EXPECT_EQ(read->events, written.events);
  EXPECT_EQ(Encode(read->payloads), Encode(written.payloads));
  const absl::StatusOr<std::vector<Event>> events = DecodeEvents(*read);
  ASSERT_THAT(events, IsOk());
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ(EventName((*events)[0]), "Ticked");
  EXPECT_EQ(EventName((*events)[1]), "JobSealed");
}

TEST(RecordTest, AnyFlippedBitIsDataLoss) {
  const std::string good = EncodeRecord(Example());
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_THAT(DecodeRecord(bad), StatusIs(absl::StatusCode::kDataLoss)) << "bit " << bit;
  }
}

TEST(RecordTest, ARecordThatIsCutOffIsDataLoss) {
  const std::string good = EncodeRecord(Example());
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_THAT(DecodeRecord(good.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss)) << size;
  }
}

TEST(RecordTest, ANewerFormatIsRefusedByName) {
  std::string bytes = EncodeRecord(Example());
  bytes[0] = 2;
  EXPECT_THAT(DecodeRecord(bytes),
              StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("format 2")));
}

TEST(RecordTest, ALengthThatLiesIsDataLossAndAllocatesNothing) {
  // A header of two to the sixty bytes.
  std::string bytes("\x01....\x80\x80\x80\x80\x80\x80\x80\x80\x10", 14);
  EXPECT_THAT(DecodeRecord(Sealed(bytes)), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(RecordTest, AnEventOfAnUnknownKindIsDataLoss) {
  Record record = Example();
  Writer writer(&record.events);
  writer.PutVarint(200);
  writer.Put(std::string("?"));
  EXPECT_THAT(DecodeEvents(record), StatusIs(absl::StatusCode::kDataLoss));
}

// What has the right checksum may still be anything: a forger's, or a fuzzer's.
class RecordSeedTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(RecordSeedTest, DamageUnderAGoodChecksumNeverCrashes) {
  std::mt19937 random(GetParam());
  const std::string good = EncodeRecord(Example());
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    for (uint32_t damage = random() % 4; damage-- > 0;) {
      bad[5 + random() % (bad.size() - 5)] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bad.resize(5 + random() % (bad.size() - 5));
    const absl::StatusOr<Record> record = DecodeRecord(Sealed(bad));
    if (!record.ok()) {
      ASSERT_THAT(record, StatusIs(absl::StatusCode::kDataLoss));
      continue;
    }
    const absl::StatusOr<std::vector<Event>> events = DecodeEvents(*record);
    if (!events.ok()) {
      ASSERT_THAT(events, StatusIs(absl::StatusCode::kDataLoss));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RecordSeedTest, ::testing::Range(0u, 4u));

}  // namespace
}  // namespace tessera::core
