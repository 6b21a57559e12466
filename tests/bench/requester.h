// A tenant with one job, who adds items while it is being worked on.
//
//   Requester requester(coordinator, "tenant-a", {.payload_bytes = 200});
//   requester.Add(keys);    // One batch: returns when it was handed to gRPC.
//
// Batches leave on one stream that stays open. Messages are reused. Threads: none.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tests/support/coordinator_process.h"

namespace tessera::bench {

class Requester {
 public:
  struct Options {
    int payload_bytes = 200;  // Of each item's text.
  };
  // Creates the job: one answer an item, one item a microtask, two classes, a budget and a price.
  Requester(const testing::CoordinatorProcess& coordinator, absl::string_view tenant,
            Options options);
  // Ends the stream and checks that all items are in.
  ~Requester();
  Requester(const Requester&) = delete;
  Requester& operator=(const Requester&) = delete;

  const std::string& job() const { return job_; }
  int64_t added() const { return offset_; }

  // Blocks while gRPC's window is full.
  void Add(const std::vector<std::string>& keys);

  // As the coordinator has it.
  v1::Job Get();

 private:
  const std::string payload_;
  std::unique_ptr<v1::JobService::Stub> stub_;
  std::string job_;
  grpc::ClientContext context_;
  v1::AddItemsResponse response_;
  std::unique_ptr<grpc::ClientWriter<v1::AddItemsRequest>> writer_;
  v1::AddItemsRequest request_;
  int64_t offset_ = 0;
};

}  // namespace tessera::bench
