// At stake: generic tools find out whether a coordinator serves, and what.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "common/check.h"
#include "tests/support/coordinator_process.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

TEST(HealthTest, EachServiceSaysThatItServes) {
  CoordinatorProcess coordinator;
  const auto channel = coordinator.Channel();
  for (const char* const service :
       {"", "tessera.v1.JobService", "tessera.v1.WorkService", "tessera.v1.OperatorService"}) {
    EXPECT_EQ(HealthOf(channel, service), "SERVING") << service;
  }
  EXPECT_EQ(HealthOf(channel, "tessera.v1.NoService"), "NOT_FOUND");
}

// The reply of server reflection to one request, as bytes: the names in it are legible, and the
// distribution has no generated code for it.
std::string Reflect(const std::shared_ptr<grpc::Channel>& channel, const std::string& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto next = [&] { return queue.Next(&tag, &ok) && ok; };
  grpc::GenericStub stub(channel);
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  TESSERA_CHECK(next());
  const grpc::Slice slice(request);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  TESSERA_CHECK(next());
  grpc::ByteBuffer reply;
  call->Read(&reply, nullptr);
  if (!next()) return "";
  call->WritesDone(nullptr);
  next();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  std::vector<grpc::Slice> slices;
  TESSERA_CHECK(reply.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& part : slices) {
    bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  return bytes;
}

TEST(ReflectionTest, ServicesAndTheirFilesCanBeAskedFor) {
  CoordinatorProcess coordinator;
  const auto channel = coordinator.Channel();
  const std::string services = Reflect(channel, std::string("\x3a\x00", 2));  // list_services: "".
  EXPECT_THAT(services, HasSubstr("tessera.v1.JobService"));
  EXPECT_THAT(services, HasSubstr("tessera.v1.WorkService"));
  EXPECT_THAT(services, HasSubstr("tessera.v1.OperatorService"));
  EXPECT_THAT(services, HasSubstr("grpc.health.v1.Health"));
  const std::string symbol = "tessera.v1.WorkService";
  const std::string file =
      Reflect(channel, std::string("\x22") + static_cast<char>(symbol.size()) + symbol);
  EXPECT_THAT(file, HasSubstr("tessera/v1/work_service.proto"));
}

// It asks for no token, so there may be none.
TEST(ReflectionTest, ItIsNotServedWhereThatIsSaid) {
  CoordinatorProcess coordinator({.flags = {"--reflection", "off"}});
  EXPECT_EQ(Reflect(coordinator.Channel(), std::string("\x3a\x00", 2)), "");
  EXPECT_EQ(HealthOf(coordinator.Channel(), ""), "SERVING");
}

}  // namespace
}  // namespace tessera::testing
