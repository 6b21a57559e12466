#include "common/contract_text.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

TEST(ContractTextTest, IdsHaveTheFormOfTheContract) {
  for (const char* const good : {"a", "0", "a-b_c.d", "p0-7k3m"}) EXPECT_TRUE(IsId(good)) << good;
  for (const char* const bad : {"", "A", "-a", ".", ".a", "a b", "a/b", "\xc3\xa4"}) {
    EXPECT_FALSE(IsId(bad)) << bad;
  }
  EXPECT_TRUE(IsId(std::string(63, 'a')));
  EXPECT_FALSE(IsId(std::string(64, 'a')));
}

TEST(ContractTextTest, AWorkersIdMayHaveUpperCase) {
  EXPECT_TRUE(IsWorkerId("A1B2"));
  EXPECT_FALSE(IsWorkerId("-A"));
  EXPECT_FALSE(IsWorkerId(""));
  EXPECT_FALSE(IsWorkerId(std::string(64, 'A')));
}

TEST(ContractTextTest, ControlCharactersAreFoundInUtf8) {
  EXPECT_TRUE(HasControlCharacter("a\tb"));
  EXPECT_TRUE(HasControlCharacter("\x7f"));
  EXPECT_TRUE(HasControlCharacter("\xc2\x85"));   // U+0085.
  EXPECT_FALSE(HasControlCharacter("\xc2\xa0"));  // U+00A0.
  EXPECT_FALSE(HasControlCharacter("\xe4\xb8\xad \xf0\x9f\x98\x80"));
}

}  // namespace
}  // namespace tessera
