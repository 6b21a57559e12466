// Messages that are no Protobuf, told apart from other trouble.
//
// gRPC's generated services answer bytes that cannot be parsed with UNIMPLEMENTED and nothing else,
// and take them for the end of a stream, which then ends well: a client would believe that its last
// batch was taken. So services here receive a message that says whether it could be parsed:
//
//   class JobService final : public ReceivingService<v1::JobService> {
//     JobService() { Take("GetJob", UnaryHandler(this, &JobService::GetJob)); }
//
// For the .cc files of the services only: it brings gRPC's headers along.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "coordinator/service/grpc_status.h"
#include "coordinator/service/service_context.h"
#include "coordinator/service/violations.h"
#include "google/protobuf/descriptor.h"

namespace tessera::service {

template <typename Message>
struct Received {
  Message message;
  bool malformed = false;  // Then there is nothing in `message` to be relied on.
};

// INVALID_ARGUMENT (FIELD_MALFORMED).
inline absl::Status MalformedMessage() {
  return ErrorWith(absl::StatusCode::kInvalidArgument, v1::FIELD_MALFORMED,
                   "the message cannot be parsed: it is not Protobuf of this type");
}

// The same, of a call's only message, which is read before the door is: who may not call at all is
// told that first.
inline absl::Status RefuseMalformed(const ServiceContext& service,
                                    const grpc::CallbackServerContext& context, Roles any_of) {
  TESSERA_RETURN_IF_ERROR(service.Admit(context, any_of).status());
  return MalformedMessage();
}

}  // namespace tessera::service

namespace grpc {

template <typename Message>
class SerializationTraits<tessera::service::Received<Message>> {
 public:
  static Status Deserialize(ByteBuffer* buffer, tessera::service::Received<Message>* received) {
    received->malformed =
        !SerializationTraits<Message>::Deserialize(buffer, &received->message).ok();
    return Status::OK;
  }
};

}  // namespace grpc

namespace tessera::service {

// A service of the contract, such as v1::JobService, that says how it receives its methods.
template <typename Service>
class ReceivingService : public Service::CallbackService {
 protected:
  explicit ReceivingService(ServiceContext* service) : service_(*service) {}

  // How `derived`, which is `this`, receives a method with one message.
  template <typename Derived, typename Request, typename Response>
  grpc::internal::MethodHandler* UnaryHandler(
      Derived* derived, grpc::ServerUnaryReactor* (Derived::*method)(grpc::CallbackServerContext*,
                                                                     const Request*, Response*)) {
    return new grpc::internal::CallbackUnaryHandler<Received<Request>, Response>(
        [this, derived, method](grpc::CallbackServerContext* context,
                                const Received<Request>* request,
                                Response* response) -> grpc::ServerUnaryReactor* {
          if (!request->malformed) return (derived->*method)(context, &request->message, response);
          grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
          // Which roles it asks for is between the method and StartCall().
          reactor->Finish(ToGrpc(RefuseMalformed(service_, *context, Roles::All())));
          return reactor;
        });
  }

  // Receives the method by `handler`, in place of the generated one.
  void Take(const char* method, grpc::internal::MethodHandler* handler) {
    const auto* const service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            Service::service_full_name());
    const auto* const found = service->FindMethodByName(method);
    TESSERA_CHECK(found != nullptr) << method;
    this->MarkMethodCallback(found->index(), handler);
  }

  ServiceContext& service_;
};

}  // namespace tessera::service
