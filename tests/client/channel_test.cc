// Whom a client connects to, and how it finds out that nobody is there any more.
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using testing::IsOk;

sockaddr_in Loopback(int port) {
  return {.sin_family = AF_INET,
          .sin_port = htons(static_cast<uint16_t>(port)),
          .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

// A port of this machine on which nobody answers by itself.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = Loopback(0);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(fd_, 10), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return port_; }
  int Accept() { return accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }
  // Whether somebody came, or comes in so many milliseconds.
  bool Visited(int milliseconds) {
    pollfd wanted = {.fd = fd_, .events = POLLIN};
    return poll(&wanted, 1, milliseconds) == 1;
  }

 private:
  const int fd_;
  int port_ = 0;
};

// A watch of it says one thing, and is then quiet.
class QuietJobs final : public v1::JobService::Service {
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest*, v1::Job*) override {
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::JobStatus>* writer) override {
    writer->Write({});
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    return grpc::Status::OK;
  }
};

class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&jobs_);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
    server_ = builder.BuildAndStart();
  }

  QuietJobs jobs_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// The token, and all else, would be read by it; and loopback is another machine there.
TEST_F(ChannelTest, AProxyIsForTlsAndOtherMachinesOnly) {
  for (const char* name : {"no_grpc_proxy", "no_proxy"}) unsetenv(name);
  Listener proxy;
  setenv("grpc_proxy", absl::StrCat("http://127.0.0.1:", proxy.port()).c_str(), 1);
  const std::string local = absl::StrCat("127.0.0.1:", port_);
  EXPECT_THAT((*Client::Connect({.address = local, .token = "secret"}))->GetJob("1"), IsOk());
  for (const ConnectOptions& options : {ConnectOptions{.address = local, .tls = true},
                                        ConnectOptions{.address = "tessera.invalid:7070"}}) {
    ConnectOptions hasty = options;
    hasty.retry_for = absl::Milliseconds(300);
    EXPECT_FALSE((*Client::Connect(hasty))->GetJob("1").ok());
  }
  EXPECT_FALSE(proxy.Visited(0));

  // It sees nothing of what is encrypted from end to end.
  const auto tls = *Client::Connect({.address = "tessera.invalid:7070", .tls = true});
  std::stop_source stop;
  std::jthread call([&] { EXPECT_FALSE(tls->GetJob("1", stop.get_token()).ok()); });
  EXPECT_TRUE(proxy.Visited(20'000));
  stop.request_stop();
  unsetenv("grpc_proxy");
}

// Passes one connection on, and counts the frames of HTTP/2 by which the client asks whether
// anybody is there.
class Relay {
 public:
  explicit Relay(int server_port)
      : thread_([this, server_port] {
          const int client = listener_.Accept();
          const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
          const sockaddr_in address = Loopback(server_port);
          EXPECT_EQ(connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
                    0);
          std::jthread back([&] {
            while (Pass(server, client) > 0) {
            }
            shutdown(client, SHUT_RDWR);
          });
          while (Pass(client, server, /*count=*/true) > 0) {
          }
          shutdown(server, SHUT_RDWR);
          back.join();
          close(client);
          close(server);
        }) {}

  int port() const { return listener_.port(); }
  int pings() const { return pings_; }

 private:
  ssize_t Pass(int from, int to, bool count = false) {
    char buffer[4096];
    const ssize_t size = recv(from, buffer, sizeof(buffer), 0);
    if (size > 0 && count) Count(absl::string_view(buffer, static_cast<size_t>(size)));
    return size > 0 ? send(to, buffer, static_cast<size_t>(size), MSG_NOSIGNAL) : size;
  }

  void Count(absl::string_view bytes) {
    constexpr size_t kHeader = 9;  // Three bytes of length, the type, flags, the stream.
    unread_.append(bytes.data(), bytes.size());
    while (unread_.size() >= next_frame_ + kHeader) {
      const auto byte = [this](size_t i) {
        return static_cast<unsigned char>(unread_[next_frame_ + i]);
      };
      if (byte(3) == 6 && (byte(4) & 1) == 0) ++pings_;  // PING, and no reply to one.
      next_frame_ += kHeader + (byte(0) << 16 | byte(1) << 8 | byte(2));
    }
  }

  Listener listener_;
  std::string unread_;
  size_t next_frame_ = 24;  // After the preface.
  std::atomic<int> pings_ = 0;
  std::jthread thread_;
};

TEST_F(ChannelTest, APeerIsAskedForAsLongAsItIsQuiet) {
  Relay relay(port_);
  const auto client = *Client::Connect(
      {.address = absl::StrCat("127.0.0.1:", relay.port()), .keepalive_time = absl::Seconds(1)});
  std::stop_source stop;
  std::jthread watch([&] {
    EXPECT_FALSE(client->WatchJob("1", stop.get_token(), [](const auto&) { return true; }).ok());
  });
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  while (relay.pings() < 5 && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_GE(relay.pings(), 5);
  stop.request_stop();
}

}  // namespace
}  // namespace tessera::client
