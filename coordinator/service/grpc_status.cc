#include "coordinator/service/grpc_status.h"

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <string>

#include "common/errors.h"
#include "coordinator/service/violations.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tessera/v1/errors.pb.h"

namespace tessera::service {
namespace {

constexpr char kDomain[] = "tessera";
// Metadata travels in HTTP/2 headers, of which clients take 8 KiB unless told otherwise.
constexpr size_t kMessageBytesMax = 1024;
constexpr size_t kDetailsBytesMax = 4096;

// Of an error that came without a reason: what its code most probably means here.
v1::ErrorReason ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnavailable:
      return v1::STORE_UNAVAILABLE;
    case absl::StatusCode::kDataLoss:
      return v1::HISTORY_LOST;
    case absl::StatusCode::kInvalidArgument:
      return v1::FIELD_MALFORMED;
    case absl::StatusCode::kResourceExhausted:
      return v1::RATE_LIMITED;
    default:
      return v1::DEFECT;
  }
}

int64_t RetryMillis(absl::StatusCode code, const std::string& reason) {
  if (code == absl::StatusCode::kUnavailable) return 500;
  if (reason == v1::ErrorReason_Name(v1::RATE_LIMITED)) return 200;
  return 0;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The codes of Abseil and of gRPC have the same numbers.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message(Utf8Prefix(status.message(), kMessageBytesMax));
  // Nobody is at the other end to read details.
  if (absl::IsCancelled(status)) return grpc::Status(code, message);

  const ErrorDetails details = GetDetails(status);
  google::rpc::Status rich;
  rich.set_code(static_cast<int32_t>(status.code()));
  rich.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  info.set_reason(details.reason.empty() ? v1::ErrorReason_Name(ReasonOf(status.code()))
                                         : details.reason);
  for (const auto& [key, value] : details.metadata) (*info.mutable_metadata())[key] = value;
  rich.add_details()->PackFrom(info);
  const int64_t retry_millis = RetryMillis(status.code(), info.reason());
  if (retry_millis > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(retry_millis * 1'000'000));
    rich.add_details()->PackFrom(retry);
  }
  if (!details.fields.empty()) {
    google::rpc::BadRequest bad;
    size_t bytes = rich.ByteSizeLong();
    for (const FieldViolation& field : details.fields) {
      bytes += field.field.size() + field.description.size() + 8;
      if (bytes > kDetailsBytesMax) break;
      auto& violation = *bad.add_field_violations();
      violation.set_field(field.field);
      violation.set_description(field.description);
    }
    if (!bad.field_violations().empty()) rich.add_details()->PackFrom(bad);
  }
  return grpc::Status(code, message, rich.SerializeAsString());
}

}  // namespace tessera::service
