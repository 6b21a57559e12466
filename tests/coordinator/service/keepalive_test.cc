// At stake: who asks whether the coordinator is still there is told so, and not cut off for asking.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "coordinator/service/server.h"
#include "coordinator/service/service_context.h"
#include "tests/support/status_matchers.h"

namespace tessera::service {
namespace {

using testing::IsOk;

class NoExecutor final : public Executor {
 public:
  void Post(Task) override {}
};

// A client of HTTP/2 that makes no calls.
class IdleClient {
 public:
  explicit IdleClient(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, ""));
  }
  ~IdleClient() { close(fd_); }

  // Whether a ping is answered, and not with the end of the connection.
  bool Ping() {
    Send(Frame(kPing, "are you?"));
    std::string head;
    while (Receive(9, &head)) {
      const auto at = [&](size_t i) { return static_cast<unsigned char>(head[i]); };
      std::string body;
      if (!Receive(size_t{at(0)} << 16 | size_t{at(1)} << 8 | at(2), &body)) return false;
      if (at(3) == kGoAway) return false;
      if (at(3) == kPing && (at(4) & kAck) != 0) return true;
    }
    return false;
  }

 private:
  static constexpr unsigned char kSettings = 4, kPing = 6, kGoAway = 7;
  static constexpr unsigned char kAck = 1;

  static std::string Frame(unsigned char type, const std::string& body) {
    std::string frame(9, 0);
    frame[2] = static_cast<char>(body.size());
    frame[3] = static_cast<char>(type);
    return frame + body;
  }
  void Send(const std::string& bytes) {
    (void)send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);  // What follows says if it is over.
  }
  bool Receive(size_t size, std::string* out) {
    out->assign(size, 0);
    return size == 0 || recv(fd_, out->data(), size, MSG_WAITALL) == static_cast<ssize_t>(size);
  }

  const int fd_;
};

// How many of twenty pings in a row are answered.
int Answered(const ServiceLimits& limits) {
  NoExecutor executor;
  const auto credentials = Credentials::Open();
  ServiceContext context(&executor, credentials.get(), limits);
  const auto server = Server::Start({.listen = "127.0.0.1:0"}, &context, absl::Now());
  EXPECT_THAT(server.status(), IsOk());
  int answered = 0;
  {
    IdleClient client((*server)->address());
    while (answered < 20 && client.Ping()) ++answered;
  }
  (*server)->Shutdown(absl::ZeroDuration());
  return answered;
}

TEST(KeepaliveTest, PingsThatKeepTheirDistanceAreAnsweredAlsoWithoutACall) {
  EXPECT_EQ(Answered({.ping_interval_min = absl::ZeroDuration()}), 20);
}

TEST(KeepaliveTest, WhoFloodsIsCutOff) { EXPECT_LT(Answered({}), 20); }

}  // namespace
}  // namespace tessera::service
