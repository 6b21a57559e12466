// A rule that cannot fail is no rule: each checker catches a planted violation, and only that.
#include "tests/house_rules/house_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace tessera::house_rules {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::string Include(absl::string_view header) {
  return absl::StrCat("#include \"", header, "\"\n");
}

TEST(CheckImportsTest, AnImportUpwardsIsReportedWithItsLine) {
  EXPECT_THAT(
      CheckImports("coordinator/core/a.cc", "\n#include \"coordinator/store/redis_store.h\"\n"),
      ElementsAre("coordinator/core/a.cc:2: coordinator/core/ must not include "
                  "coordinator/store/redis_store.h"));
}

TEST(CheckImportsTest, EachFolderMayIncludeOnlyWhatIsBelowIt) {
  struct Case {
    const char* from;
    const char* header;
    bool allowed;
  };
  const Case cases[] = {
      {"common/a.h", "common/b.h", true},
      {"common/a.h", "coordinator/core/b.h", false},
      {"coordinator/core/a.h", "common/b.h", true},
      {"coordinator/core/a.h", "coordinator/edge/b.h", false},
      {"coordinator/core/a.h", "tessera/v1/job.pb.h", false},
      {"coordinator/edge/a.h", "coordinator/core/b.h", true},
      {"coordinator/edge/a.h", "tessera/v1/job.pb.h", true},
      {"coordinator/edge/a.h", "coordinator/store/b.h", false},
      {"coordinator/edge/a.h", "coordinator/service/b.h", false},
      {"coordinator/store/a.h", "coordinator/core/b.h", true},
      {"coordinator/store/a.h", "coordinator/edge/b.h", false},
      {"coordinator/service/a.h", "coordinator/edge/b.h", true},
      {"coordinator/service/a.h", "coordinator/store/b.h", false},
      {"coordinator/service/a.h", "tessera/v1/job.pb.h", true},
      {"coordinator/main.cc", "coordinator/service/b.h", true},
      {"coordinator/main.cc", "tests/support/temp_dir.h", false},
      {"client/a.cc", "coordinator/core/b.h", false},
      {"worker/a.cc", "client/b.h", true},
      {"worker/a.cc", "coordinator/service/b.h", false},
      {"tests/a.cc", "coordinator/service/b.h", true},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(CheckImports(c.from, Include(c.header)), SizeIs(c.allowed ? 0 : 1))
        << c.from << " -> " << c.header;
  }
}

TEST(CheckImportsTest, CommentsAndHeadersOfOthersDoNotCount) {
  EXPECT_THAT(CheckImports("coordinator/core/a.h",
                           "// #include \"coordinator/edge/b.h\"\n#include \"absl/time/time.h\"\n"),
              IsEmpty());
}

TEST(CheckDeterminismTest, ClocksThreadsIoAndTheTransportAreReported) {
  for (const char* code :
       {"auto now = absl::Now();", "std::chrono::steady_clock::now();", "std::thread t;",
        "#include <mutex>", "absl::Mutex mutex;", "std::random_device d;", "int r = rand();",
        "#include <fstream>", "#include <iostream>", "#include <cstdio>", "getenv(\"HOME\");",
        "#include <grpcpp/grpcpp.h>", "#include \"tessera/v1/work_service.grpc.pb.h\"",
        "#include \"hiredis/hiredis.h\""}) {
    EXPECT_THAT(CheckDeterminism("coordinator/core/a.cc", code), Not(IsEmpty())) << code;
    EXPECT_THAT(CheckDeterminism("coordinator/edge/a.h", code), Not(IsEmpty())) << code;
    EXPECT_THAT(CheckDeterminism("coordinator/store/a.cc", code), IsEmpty()) << code;
  }
}

TEST(CheckDeterminismTest, MessagesAreForTheEdgeAndNotForTheCore) {
  for (const char* code :
       {"#include \"tessera/v1/job.pb.h\"", "#include \"google/protobuf/message.h\"",
        "google::protobuf::Message* message;"}) {
    EXPECT_THAT(CheckDeterminism("coordinator/core/a.cc", code), Not(IsEmpty())) << code;
    EXPECT_THAT(CheckDeterminism("coordinator/edge/a.h", code), IsEmpty()) << code;
  }
}

TEST(CheckDeterminismTest, WordsInCommentsStringsAndLongerWordsDoNotCount) {
  EXPECT_THAT(CheckDeterminism("coordinator/core/a.cc", R"(
// No std::thread here, and no grpc.
/* absl::Now() is
   not called: std::mutex */
const char* text = "grpc \" getenv";
int operand = 10'000; int random_order = operand;
)"),
              IsEmpty());
}

TEST(CheckLengthTest, TheLimitIsOnTheLineAbove700) {
  EXPECT_THAT(CheckLength("a.cc", std::string(700, '\n')), IsEmpty());
  EXPECT_THAT(CheckLength("a.cc", std::string(701, '\n')),
              ElementsAre("a.cc: 701 lines, more than 700"));
}

TEST(CheckPragmaOnceTest, AHeaderWithoutItIsReported) {
  EXPECT_THAT(CheckPragmaOnce("a.h", "// Text.\n#pragma once\n"), IsEmpty());
  EXPECT_THAT(CheckPragmaOnce("a.h", "// #pragma once\n"), ElementsAre("a.h: no #pragma once"));
  EXPECT_THAT(CheckPragmaOnce("a.cc", ""), IsEmpty());
}

TEST(CheckNotesTest, ANoteToSelfIsReported) {
  EXPECT_THAT(CheckNotes("a.cc", absl::StrCat("\n// TO", "DO(me): later\n")), SizeIs(1));
  EXPECT_THAT(CheckNotes("a.cc", absl::StrCat("// FIX", "ME\n")), SizeIs(1));
  EXPECT_THAT(CheckNotes("a.cc", "// Nothing to do.\n"), IsEmpty());
}

}  // namespace
}  // namespace tessera::house_rules
