#include "coordinator/service/service_context.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "coordinator/service/validate_values.h"
#include "coordinator/service/violations.h"

namespace tessera::service {
namespace {

// `shared`: callers can be told apart, and each has its share.
Places::Options CallPlaces(const ServiceLimits& limits, bool shared) {
  const int64_t max = limits.calls_max;
  return {.max = max,
          .caller_max = shared ? std::max<int64_t>(1, max / limits.share) : max,
          .reason = v1::RATE_LIMITED,
          .what = "calls"};
}
Places::Options StreamPlaces(const ServiceLimits& limits, bool shared) {
  const int64_t max = limits.streams_max;
  return {.max = max,
          .caller_max = shared ? std::max<int64_t>(1, max / limits.share) : max,
          .reserve = shared ? max / limits.share : 0,
          .reason = v1::STREAM_LIMIT,
          .what = "streams"};
}

}  // namespace

void OpenStreams::Add(Stream* stream) {
  streams_.insert(stream);
  if (!ended_.ok() && (all_ended_ || !stream->drains())) stream->End(ended_);
}

void OpenStreams::Remove(Stream* stream) { streams_.erase(stream); }

void OpenStreams::End(const absl::Status& status, bool all) {
  ended_ = status;
  all_ended_ = all;
  // A copy, as those that end take themselves out.
  const std::vector<Stream*> streams(streams_.begin(), streams_.end());
  for (Stream* const stream : streams) {
    if (streams_.contains(stream) && (all || !stream->drains())) stream->End(status);
  }
}

ServiceContext::ServiceContext(Executor* executor, const Credentials* credentials,
                               const ServiceLimits& limits)
    : executor_(executor),
      credentials_(credentials),
      limits_(limits),
      call_queue_(executor),
      calls_(CallPlaces(limits, !credentials->open())),
      open_streams_(StreamPlaces(limits, !credentials->open())),
      queue_room_(limits.queue_memory_bytes_max,
                  limits.queue_memory_bytes_max / (credentials->open() ? 1 : limits.share)),
      reply_room_(limits.reply_memory_bytes_max,
                  limits.reply_memory_bytes_max / (credentials->open() ? 1 : limits.share)) {}

absl::StatusOr<Principal> ServiceContext::Admit(const grpc::CallbackServerContext& context,
                                                Roles any_of) const {
  if (closed_.load(std::memory_order_relaxed)) {
    return absl::Status(ErrorWith(absl::StatusCode::kUnavailable, v1::SHUTTING_DOWN,
                                  "the coordinator is shutting down"));
  }
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  absl::string_view authorization;
  const bool given = found != metadata.end();
  if (given) authorization = {found->second.data(), found->second.size()};
  TESSERA_ASSIGN_OR_RETURN(Principal principal,
                           credentials_->Find(given ? &authorization : nullptr));
  TESSERA_RETURN_IF_ERROR(AuthorizeRole(principal, any_of));
  return principal;
}

absl::StatusOr<Principal> ServiceContext::Admit(const grpc::CallbackServerContext& context,
                                                Roles any_of,
                                                const absl::StatusOr<Resource>& resource) const {
  TESSERA_ASSIGN_OR_RETURN(Principal principal, Admit(context, any_of));
  TESSERA_RETURN_IF_ERROR(resource.status());
  TESSERA_RETURN_IF_ERROR(Authorize(principal, any_of, *resource));
  return principal;
}

absl::StatusOr<Resource> TenantResource(absl::string_view name, absl::string_view field) {
  Violations violations;
  const auto tenant = CheckName("tenants", name, FieldPath(field), violations);
  if (!tenant.has_value()) return violations.ToStatus();
  return Resource::Tenant(*tenant);
}

absl::StatusOr<Resource> JobResource(absl::string_view name, absl::string_view field) {
  Violations violations;
  const auto job = CheckJobName(name, FieldPath(field), violations);
  if (!job.has_value()) return violations.ToStatus();
  return Resource::Tenant(job->tenant);
}

absl::StatusOr<Resource> PlatformResource(absl::string_view name, absl::string_view field) {
  Violations violations;
  const auto platform = CheckName("platforms", name, FieldPath(field), violations);
  if (!platform.has_value()) return violations.ToStatus();
  return Resource::Platform(*platform);
}

absl::StatusOr<Resource> WorkerResource(absl::string_view name, absl::string_view field) {
  Violations violations;
  const auto worker = CheckWorkerName(name, FieldPath(field), violations);
  if (!worker.has_value()) return violations.ToStatus();
  return Resource::Platform(worker->platform);
}

}  // namespace tessera::service
