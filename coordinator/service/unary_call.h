// A call with one request and one reply, from gRPC to the coordinator and back.
//
// For the .cc files of the services only: it brings gRPC's headers along.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/service/cutoff.h"
#include "coordinator/service/grpc_status.h"
#include "coordinator/service/service_context.h"
#include "coordinator/service/unread.h"
#include "coordinator/service/violations.h"

namespace tessera::service {

template <typename Request, typename Response>
using CoordinatorCall = void (edge::Coordinator::*)(const Request&,
                                                    edge::Coordinator::Reply<Response>);

// Where a caller has less room left for replies, calls are refused before they are carried out.
inline constexpr int64_t kReplyRoomMin = 1 << 20;

// Takes out of a reply what is not for this caller.
template <typename Response>
using Redaction = void (*)(const Principal& principal, Response* response);

// A call that was admitted. gRPC holds the reply until the client has taken it in: the call keeps
// its place for as long, and room for the reply, and is cut off where that takes too long.
template <typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  UnaryCall(ServiceContext& service, grpc::CallbackServerContext* context, Principal principal,
            Places::Place place, Response* response, Redaction<Response> redact)
      : service_(service),
        cutoff_(context),
        principal_(std::move(principal)),
        redact_(redact),
        response_(*response),
        place_(std::move(place)),
        held_(&service.reply_room(), principal_.caller()) {}

  std::string caller() const { return principal_.caller(); }

  // Once. The call may be gone afterwards.
  void Answer(absl::StatusOr<Response> reply) {
    if (reply.ok() && redact_ != nullptr) redact_(principal_, &*reply);
    size_t bytes = reply.ok() ? reply->ByteSizeLong() : 0;
    if (!held_.Resize(UnreadBytes(bytes))) {
      bytes = 0;
      reply = ErrorWith(absl::StatusCode::kResourceExhausted, v1::RATE_LIMITED,
                        "the call is done, but too much that answers calls is not read so far");
    }
    const grpc::Status finished = ToGrpc(reply.status());
    if (reply.ok()) response_ = *std::move(reply);
    const ServiceLimits& limits = service_.limits();
    cutoff_.Start(limits.end_grace + absl::Seconds(1) * (static_cast<double>(bytes) /
                                                         limits.reply_bytes_per_second_min));
    service_.ReplyBegins();
    Finish(finished);
  }

  void OnDone() override {
    service_.ReplyEnds();
    delete this;
  }

 private:
  ServiceContext& service_;
  Cutoff cutoff_;
  const Principal principal_;
  const Redaction<Response> redact_;
  Response& response_;
  const Places::Place place_;
  Room::Holding held_;
};

// gRPC keeps `context`, `request` and `response` until the call is finished.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* StartCall(ServiceContext& service, grpc::CallbackServerContext* context,
                                    const Request* request, Response* response, Roles any_of,
                                    const absl::StatusOr<Resource>& resource,
                                    CoordinatorCall<Request, Response> call,
                                    Redaction<Response> redact = nullptr) {
  Principal principal;
  const auto admit = [&]() -> absl::StatusOr<Places::Place> {
    TESSERA_ASSIGN_OR_RETURN(principal, service.Admit(*context, any_of, resource));
    TESSERA_RETURN_IF_ERROR(Validate(*request, service.limits().items));
    return service.TakeCall(principal);
  };
  absl::StatusOr<Places::Place> place = admit();
  if (!place.ok()) {
    grpc::ServerUnaryReactor* const refused = context->DefaultReactor();
    refused->Finish(ToGrpc(place.status()));
    return refused;
  }
  auto* const reactor = new UnaryCall<Response>(service, context, std::move(principal),
                                                *std::move(place), response, redact);
  const auto run = [=, &service, caller = reactor->caller()](edge::Coordinator& coordinator) {
    if (context->IsCancelled()) return reactor->Answer(absl::CancelledError("cancelled"));
    if (service.reply_room().Left(caller) < kReplyRoomMin) {
      return reactor->Answer(ErrorWith(absl::StatusCode::kResourceExhausted, v1::RATE_LIMITED,
                                       "too much that answers calls is not read so far"));
    }
    (coordinator.*call)(
        *request, [reactor](absl::StatusOr<Response> reply) { reactor->Answer(std::move(reply)); });
  };
  service.executor().Post(
      [&service, caller = reactor->caller(), run](edge::Coordinator& coordinator) {
        service.calls().Add(caller, run, coordinator);
      });
  return reactor;
}

}  // namespace tessera::service
