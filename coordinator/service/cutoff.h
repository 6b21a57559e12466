// Cuts a stream off whose client does not take its end.
//
// gRPC finishes a stream behind what is being written to it, and a client that reads no more puts
// that off for ever: the stream would keep its place and its memory for as long as the connection
// stands.
//
//   cutoff_.Start(limits.end_grace);   // The stream is to end: it has so long to do so by itself.
//
// For the .cc files of the services only: it brings gRPC's headers along. Threads: Start() from one
// at a time, once; the end comes from gRPC's.
#pragma once

#include <grpc/grpc.h>
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>

#include "absl/time/time.h"

namespace tessera::service {

class Cutoff {
 public:
  explicit Cutoff(grpc::CallbackServerContext* context)
      : call_(std::make_shared<const Call>(context->c_call())) {}

  // The call is cancelled after `grace`, unless this object is gone by then.
  void Start(absl::Duration grace) {
    alarm_.Set(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace),
               [call = call_](bool due) {
                 if (due) call->Cancel();
               });
  }

 private:
  // Keeps gRPC's call, whose context goes with the stream, for an alarm that rings at that moment.
  class Call {
   public:
    explicit Call(grpc_call* call) : call_(call) { grpc_call_ref(call_); }
    ~Call() { grpc_call_unref(call_); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    void Cancel() const { grpc_call_cancel(call_, nullptr); }

   private:
    grpc_call* const call_;
  };

  grpc::Alarm alarm_;  // First: it keeps gRPC itself until the call is gone.
  std::shared_ptr<const Call> call_;
};

}  // namespace tessera::service
