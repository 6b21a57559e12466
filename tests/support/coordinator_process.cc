#include "tests/support/coordinator_process.h"

#include <fcntl.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/check.h"

namespace tessera::testing {
namespace {

constexpr absl::string_view kServingOn = "serving on ";

std::string ProgramPath() {
  if (const char* const folder = std::getenv("TESSERA_BIN_DIR"); folder != nullptr) {
    return absl::StrCat(folder, "/tessera-coordinator");
  }
  // Run by hand: the test is bin/tests/name.
  char self[4096];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self));
  TESSERA_CHECK(size > 0);
  const std::string path(self, static_cast<size_t>(size));
  const std::string tests = path.substr(0, path.rfind('/'));
  return absl::StrCat(tests.substr(0, tests.rfind('/')), "/tessera-coordinator");
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// Starts the program with its output and errors in these descriptors. It dies with the test.
pid_t Spawn(const std::vector<std::string>& flags, int out, int err) {
  const std::string program = ProgramPath();
  std::vector<char*> arguments = {const_cast<char*>(program.c_str())};
  for (const std::string& flag : flags) arguments.push_back(const_cast<char*>(flag.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = fork();
  TESSERA_CHECK(pid >= 0);
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execv(program.c_str(), arguments.data());
  _exit(127);
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) TESSERA_CHECK(errno == EINTR);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// The first line that comes from `fd`; what has come by `limit`, or by the end, otherwise.
std::string ReadLine(int fd, absl::Time limit) {
  std::string line;
  while (absl::Now() < limit) {
    pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 100) <= 0) continue;
    char c = 0;
    if (read(fd, &c, 1) <= 0 || c == '\n') break;
    line.push_back(c);
  }
  return line;
}

}  // namespace

CoordinatorProcess::CoordinatorProcess(Options options) : options_(std::move(options)) { Start(); }

CoordinatorProcess::~CoordinatorProcess() { Kill(); }

void CoordinatorProcess::Start() {
  TESSERA_CHECK(pid_ < 0);
  std::vector<std::string> flags = {"--listen", address_, "--data-dir", folder_.Join("data")};
  flags.insert(flags.end(), options_.flags.begin(), options_.flags.end());
  const int err =
      open(folder_.Join("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int out[2];
  TESSERA_CHECK(err >= 0 && pipe2(out, O_CLOEXEC) == 0);
  pid_ = Spawn(flags, out[1], err);
  close(out[1]);
  close(err);
  const std::string line = ReadLine(out[0], absl::Now() + options_.start_timeout);
  close(out[0]);
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
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
}

std::string CoordinatorProcess::log() const { return Contents(folder_.Join("log")); }

void CoordinatorProcess::Kill() {
  if (!running()) return;
  kill(pid_, SIGKILL);
  Wait();
}

int CoordinatorProcess::Stop() {
  Signal(SIGTERM);
  return Wait();
}

void CoordinatorProcess::Signal(int signal) {
  TESSERA_CHECK(running());
  TESSERA_CHECK(kill(pid_, signal) == 0);
}

int CoordinatorProcess::Wait() {
  TESSERA_CHECK(running());
  return WaitFor(std::exchange(pid_, -1));
}

void CoordinatorProcess::Restart() {
  Kill();
  Start();
}

CoordinatorRun RunCoordinator(const std::vector<std::string>& flags) {
  const TempDir folder;
  const auto create = [&](absl::string_view name) {
    const int fd = open(folder.Join(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    TESSERA_CHECK(fd >= 0);
    return fd;
  };
  const int out = create("out");
  const int err = create("err");
  const pid_t pid = Spawn(flags, out, err);
  close(out);
  close(err);
  const int exit_status = WaitFor(pid);
  return {exit_status, Contents(folder.Join("out")), Contents(folder.Join("err"))};
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
