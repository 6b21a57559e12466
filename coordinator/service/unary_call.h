// A call with one request and one reply, from gRPC to the coordinator and back.
//
// For the .cc files of the services only: it brings gRPC's headers along.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/service/grpc_status.h"
#include "coordinator/service/service_context.h"

namespace tessera::service {

template <typename Request, typename Response>
using CoordinatorCall = void (edge::Coordinator::*)(const Request&,
                                                    edge::Coordinator::Reply<Response>);

// Takes out of a reply what is not for this caller.
template <typename Response>
using Redaction = void (*)(const Principal& principal, Response* response);

// gRPC keeps `context`, `request` and `response` until the call is finished.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* StartCall(ServiceContext& service, grpc::CallbackServerContext* context,
                                    const Request* request, Response* response, Roles any_of,
                                    const absl::StatusOr<Resource>& resource,
                                    CoordinatorCall<Request, Response> call,
                                    Redaction<Response> redact = nullptr) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  Principal principal;
  const auto admit = [&]() -> absl::StatusOr<Places::Place> {
    TESSERA_ASSIGN_OR_RETURN(principal, service.Admit(*context, any_of, resource));
    TESSERA_RETURN_IF_ERROR(Validate(*request, service.limits().items));
    return service.TakeCall(principal);
  };
  absl::StatusOr<Places::Place> place = admit();
  if (!place.ok()) {
    reactor->Finish(ToGrpc(place.status()));
    return reactor;
  }
  // Shared, because a reply can be copied and a place cannot.
  auto held = std::make_shared<Places::Place>(*std::move(place));
  service.executor().Post([=, held = std::move(held), principal = std::move(principal)](
                              edge::Coordinator& coordinator) mutable {
    if (context->IsCancelled()) {
      reactor->Finish(grpc::Status::CANCELLED);
      return;
    }
    (coordinator.*call)(*request,
                        [reactor, response, redact, held = std::move(held),
                         principal = std::move(principal)](absl::StatusOr<Response> reply) {
                          const grpc::Status finished = ToGrpc(reply.status());
                          if (reply.ok()) *response = *std::move(reply);
                          if (reply.ok() && redact != nullptr) redact(principal, response);
                          reactor->Finish(finished);
                        });
  });
  return reactor;
}

}  // namespace tessera::service
