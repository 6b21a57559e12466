// What is logged is one line that any reader of logfmt takes apart again.
#include "coordinator/service/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::service {
namespace {

using ::testing::EndsWith;

TEST(LogTest, ValuesAreQuotedAsReadersOfLogfmtExpect) {
  ::testing::internal::CaptureStderr();
  Log(LogLevel::kError, "it's over",
      {{"plain", "a:1"},
       {"empty", ""},
       {"said", "'no' and \"yes\""},
       {"path", "C:\\x"},
       {"lines", "a\nb\tc"},
       {"name", "é"}});
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              EndsWith(R"( level=error msg="it's over" plain=a:1 empty="" )"
                       R"(said="'no' and \"yes\"" path="C:\\x" lines="a\nb c" name="é")"
                       "\n"));
}

}  // namespace
}  // namespace tessera::service
