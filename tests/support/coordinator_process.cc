#include "tests/support/coordinator_process.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <csignal>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/check.h"

namespace tessera::testing {
namespace {

constexpr char kProgram[] = "tessera-coordinator";
constexpr char kServingOn[] = "serving on ";

}  // namespace

CoordinatorProcess::CoordinatorProcess(Options options) : options_(std::move(options)) { Start(); }

CoordinatorProcess::~CoordinatorProcess() { Kill(); }

void CoordinatorProcess::Start() {
  TESSERA_CHECK(!running());
  std::vector<std::string> flags = {"--listen", address_, "--data-dir", folder_.Join("data")};
  flags.insert(flags.end(), options_.flags.begin(), options_.flags.end());
  program_ = std::make_unique<Program>(kProgram, flags);
  const std::string line = program_->WaitForLine(kServingOn, options_.start_timeout);
  absl::string_view address = line;
  TESSERA_CHECK(absl::ConsumePrefix(&address, kServingOn)) << "no coordinator: '" << line << "'\n"
                                                           << log();
  address_ = std::string(address);
  if (!options_.wait_for_health) return;
  const std::string health = HealthOf(Channel(), "");
  TESSERA_CHECK(health == "SERVING") << health << "\n" << log();
}

std::shared_ptr<grpc::Channel> CoordinatorProcess::Channel() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A connection of its own.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);          // It is on this machine.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
}

std::string CoordinatorProcess::log() const {
  return running() ? absl::StrCat(earlier_log_, program_->err()) : earlier_log_;
}

void CoordinatorProcess::Kill() {
  if (!running()) return;
  program_->Signal(SIGKILL);
  Wait();
}

int CoordinatorProcess::Stop() {
  Signal(SIGTERM);
  return Wait();
}

void CoordinatorProcess::Signal(int signal) {
  TESSERA_CHECK(running());
  program_->Signal(signal);
}

int CoordinatorProcess::Wait() {
  TESSERA_CHECK(running());
  const Ended ended = program_->Wait(absl::InfiniteDuration());
  program_.reset();
  absl::StrAppend(&earlier_log_, ended.err);
  return ended.code > 128 ? 128 - ended.code : ended.code;
}

void CoordinatorProcess::Restart() {
  Kill();
  Start();
}

CoordinatorRun RunCoordinator(const std::vector<std::string>& flags) {
  Ended ended = RunProgram(kProgram, flags);
  return {ended.code, std::move(ended.out), std::move(ended.err)};
}

std::string HealthOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  // HealthCheckRequest and -Response by hand: the distribution has no generated code for them.
  std::string request;
  if (!service.empty()) {
    request = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
  }
  const grpc::Slice slice(request);
  const grpc::ByteBuffer sent(&slice, 1);
  grpc::ByteBuffer received;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  context.set_wait_for_ready(true);
  grpc::GenericStub stub(channel);
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &sent, &received,
                 [&](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) {
    return absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
  }
  std::vector<grpc::Slice> slices;
  TESSERA_CHECK(received.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& part : slices) {
    bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  if (bytes == "\x08\x01") return "SERVING";
  return bytes == "\x08\x02" ? "NOT_SERVING" : "UNKNOWN";
}

}  // namespace tessera::testing
