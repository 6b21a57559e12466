#include "client/status.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <string>
#include <utility>

#include "client/messages.h"
#include "common/errors.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace tessera::client {

absl::Status FromGrpc(const grpc::Status& status, absl::Duration* retry_delay) {
  if (status.ok()) return absl::OkStatus();
  ErrorDetails details;
  google::rpc::Status rich;
  if (rich.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& any : rich.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad;
      google::rpc::RetryInfo retry;
      if (any.UnpackTo(&info)) {
        details.reason = info.reason();
        for (const auto& [key, value] : info.metadata()) details.metadata.emplace_back(key, value);
        std::sort(details.metadata.begin(), details.metadata.end());  // A map has no order.
      } else if (any.UnpackTo(&bad)) {
        for (const auto& field : bad.field_violations()) {
          details.fields.push_back({.field = field.field(), .description = field.description()});
        }
      } else if (any.UnpackTo(&retry) && retry_delay != nullptr) {
        *retry_delay = ToDuration(retry.retry_delay());
      }
    }
  }
  // The codes of gRPC and of Abseil have the same numbers.
  auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kCancelled) code = absl::StatusCode::kUnavailable;
  absl::Status converted(code, status.error_message());
  return WithDetails(std::move(converted), details);
}

bool MayRetry(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace tessera::client
