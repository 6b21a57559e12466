// A record that was damaged on its way to disk and back is noticed; both ways to compute agree.
#include "common/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(Crc32cTest, GivesThePublishedValues) {
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending.push_back(c);
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
}

TEST(Crc32cTest, TheInstructionAndTheTablesAgreeAtEveryLengthAndOffset) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes.push_back(static_cast<char>(i * 37 + 11));
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; begin + size <= bytes.size(); ++size) {
      const absl::string_view part = absl::string_view(bytes).substr(begin, size);
      ASSERT_EQ(ExtendCrc32c(0x12345678, part), ExtendCrc32cPortable(0x12345678, part));
    }
  }
}

TEST(Crc32cTest, ExtendingEqualsOneGo) {
  EXPECT_EQ(ExtendCrc32c(Crc32c("1234"), "56789"), Crc32c("123456789"));
}

}  // namespace
}  // namespace tessera
