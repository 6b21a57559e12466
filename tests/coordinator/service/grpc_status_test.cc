// At stake: programs find code, reason and fields where google.rpc says that they are.
#include "coordinator/service/grpc_status.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "common/errors.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace tessera::service {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status rich;
  EXPECT_TRUE(rich.ParseFromString(status.error_details()));
  return rich;
}

template <typename T>
T Detail(const grpc::Status& status) {
  const google::rpc::Status rich = Details(status);
  T out;
  for (const auto& any : rich.details()) {
    if (any.UnpackTo(&out)) return out;
  }
  return T();
}

TEST(GrpcStatusTest, OkIsOk) { EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok()); }

TEST(GrpcStatusTest, EverythingThatAnErrorSaysArrives) {
  const absl::Status status =
      Error(absl::StatusCode::kOutOfRange, "OFFSET_MISMATCH", "a gap before 7")
          .Field("offset", "must be 5")
          .Meta("committed_offset", "5");
  const grpc::Status sent = ToGrpc(status);
  EXPECT_EQ(sent.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(sent.error_message(), "a gap before 7");
  EXPECT_EQ(Details(sent).code(), 11);
  EXPECT_EQ(Details(sent).message(), "a gap before 7");
  const auto info = Detail<google::rpc::ErrorInfo>(sent);
  EXPECT_EQ(info.domain(), "tessera");
  EXPECT_EQ(info.reason(), "OFFSET_MISMATCH");
  EXPECT_EQ(info.metadata().at("committed_offset"), "5");
  const auto bad = Detail<google::rpc::BadRequest>(sent);
  ASSERT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "offset");
  EXPECT_EQ(bad.field_violations(0).description(), "must be 5");
  EXPECT_FALSE(Detail<google::rpc::RetryInfo>(sent).has_retry_delay());
}

TEST(GrpcStatusTest, EveryErrorHasAReason) {
  for (int code = 2; code <= 16; ++code) {
    const grpc::Status sent = ToGrpc(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    EXPECT_NE(Detail<google::rpc::ErrorInfo>(sent).reason(), "") << code;
  }
}

TEST(GrpcStatusTest, WhereWaitingHelpsItSaysHowLong) {
  const auto retry = Detail<google::rpc::RetryInfo>(ToGrpc(absl::UnavailableError("later")));
  EXPECT_GT(retry.retry_delay().nanos(), 0);
}

// A client takes 8 KiB of metadata, and drops the call beyond.
TEST(GrpcStatusTest, DetailsStayWithinWhatClientsTake) {
  Error error(absl::StatusCode::kInvalidArgument, "FIELD_REQUIRED", std::string(10'000, 'm'));
  for (int i = 0; i < 50; ++i) error.Field(std::string(500, 'f'), "is required");
  const grpc::Status sent = ToGrpc(error);
  EXPECT_LT(sent.error_message().size() + sent.error_details().size() * 4 / 3, 8000u);
  EXPECT_GT(Detail<google::rpc::BadRequest>(sent).field_violations_size(), 0);
}

}  // namespace
}  // namespace tessera::service
