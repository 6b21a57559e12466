// At stake: what the doors let in is what the flags say, from the first call to the last.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coordinator/service/credentials.h"
#include "tessera/v1/operator_service.grpc.pb.h"
#include "tests/coordinator/service/service_world.h"
#include "tests/support/certificate.h"
#include "tests/support/coordinator_process.h"
#include "tests/support/program.h"
#include "tests/support/redis_fixture.h"
#include "tests/support/temp_dir.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

grpc::Status ListPools(const std::shared_ptr<grpc::Channel>& channel,
                       const std::string& authorization) {
  const auto stub = v1::OperatorService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  v1::ListPoolsResponse response;
  return stub->ListPools(&context, {}, &response);
}

TEST(DoorsTest, WithoutTokensEverybodyOnTheMachineMayDoEverything) {
  CoordinatorProcess coordinator;
  EXPECT_TRUE(ListPools(coordinator.Channel(), "").ok());
}

TEST(DoorsTest, AnAddressThatOthersReachNeedsTlsAndTokens) {
  const TempDir folder;
  std::ofstream(folder.Join("tokens")) << TokensFile();
  const auto bare = RunCoordinator({"--listen", "0.0.0.0:0", "--data-dir", folder.Join("data")});
  EXPECT_EQ(bare.exit_status, 2);
  EXPECT_THAT(bare.err, HasSubstr("--tls-cert"));
  const auto clear = RunCoordinator({"--listen", "0.0.0.0:0", "--data-dir", folder.Join("data"),
                                     "--tokens-file", folder.Join("tokens")});
  EXPECT_EQ(clear.exit_status, 2);
  EXPECT_THAT(clear.err, HasSubstr("in the clear"));
}

TEST(DoorsTest, ABadTokensFileIsToldWithItsLine) {
  const TempDir folder;
  std::ofstream(folder.Join("tokens")) << "# tokens\nplain requester tenant=acme\n";
  const auto run = RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", folder.Join("data"),
                                   "--tokens-file", folder.Join("tokens")});
  EXPECT_EQ(run.exit_status, 2);
  EXPECT_THAT(run.err, HasSubstr("line 2"));
}

TEST(DoorsTest, TokensAreReadAgainOnAHangUp) {
  const TempDir folder;
  const std::string tokens = folder.Join("tokens");
  std::ofstream(tokens) << TokensFile();
  CoordinatorProcess coordinator({.flags = {"--tokens-file", tokens}});
  const auto channel = coordinator.Channel();
  EXPECT_TRUE(ListPools(channel, absl::StrCat("Bearer ", kOperator)).ok());
  std::ofstream(tokens) << "sha256:" << absl::BytesToHexString(service::Sha256("new"))
                        << " operator *\n";
  coordinator.Signal(SIGHUP);
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (!ListPools(channel, "Bearer new").ok() && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_TRUE(ListPools(channel, "Bearer new").ok());
  EXPECT_EQ(ListPools(channel, absl::StrCat("Bearer ", kOperator)).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

// Whoever changes them while a start waits for its Redis need not know that it does.
TEST(DoorsTest, TokensAreReadAgainOnAHangUpDuringTheStart) {
  const TempDir folder;
  const std::string tokens = folder.Join("tokens");
  std::ofstream(tokens) << TokensFile();
  RedisFixture redis;
  redis.Stop();
  Program coordinator("tessera-coordinator",
                      {"--listen", "127.0.0.1:0", "--tokens-file", tokens, "--redis",
                       absl::StrCat("unix:", redis.address().unix_path)});
  while (!absl::StrContains(coordinator.err(), "no connection") && coordinator.Running()) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  std::ofstream(tokens) << "sha256:" << absl::BytesToHexString(service::Sha256("new"))
                        << " operator *\n";
  coordinator.Signal(SIGHUP);
  redis.Restart();
  const std::string line = coordinator.WaitForLine("serving on ");
  ASSERT_NE(line, "") << coordinator.err();
  const auto channel = grpc::CreateChannel(line.substr(11), grpc::InsecureChannelCredentials());
  EXPECT_TRUE(ListPools(channel, "Bearer new").ok());
  EXPECT_EQ(ListPools(channel, absl::StrCat("Bearer ", kOperator)).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  coordinator.Signal(SIGTERM);
  EXPECT_EQ(coordinator.Wait().code, 0);
}

// A share tells who else is there.
TEST(DoorsTest, ARequesterSeesNoOtherTenantsShareOfAPool) {
  ServiceWorld world;
  ASSERT_EQ(world
                .Call(kOperator, "OperatorService/CreatePool",
                      {"pool_id: 'shared' pool { tenant_weights { key: 'tenants/acme' value: 2 } "
                       "tenant_weights { key: 'tenants/rival' value: 3 } }"})
                .code,
            grpc::StatusCode::OK);
  const auto seen = [&](const char* token) {
    const Outcome got = world.Call(token, "OperatorService/GetPool", {"name: 'pools/shared'"});
    const Outcome listed = world.Call(token, "OperatorService/ListPools", {""});
    std::vector<std::string> tenants;
    for (const auto& [tenant, weight] : got.reply<v1::Pool>().tenant_weights()) {
      tenants.push_back(tenant);
      for (const v1::Pool& pool : listed.reply<v1::ListPoolsResponse>().pools()) {
        if (pool.name() != "pools/shared") continue;
        EXPECT_EQ(pool.tenant_weights().size(), got.reply<v1::Pool>().tenant_weights().size());
        EXPECT_EQ(pool.tenant_weights().at(tenant), weight);
      }
    }
    return tenants;
  };
  EXPECT_THAT(seen(kAcme), ::testing::ElementsAre("tenants/acme"));
  EXPECT_THAT(seen(kRival), ::testing::ElementsAre("tenants/rival"));
  for (const char* const token : {kOperator, kEverybody}) {
    EXPECT_THAT(seen(token), ::testing::UnorderedElementsAre("tenants/acme", "tenants/rival"));
  }
}

// --- TLS -----------------------------------------------------------------------------------------

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

class TlsTest : public ::testing::Test {
 protected:
  // Valid since then, and for so long from now.
  void Make(const std::string& name, absl::Duration since = absl::Hours(1),
            absl::Duration left = absl::Hours(24 * 30)) {
    const absl::Time now = absl::Now();
    const TestCertificate made = MakeCertificate(now - since, now + left);
    std::ofstream(folder_.Join(name + ".key")) << made.key;
    std::ofstream(folder_.Join(name + ".pem")) << made.certificate;
  }

  std::shared_ptr<grpc::Channel> Channel(const CoordinatorProcess& coordinator,
                                         const std::string& client) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Contents(folder_.Join("server.pem"));
    if (!client.empty()) {
      options.pem_cert_chain = Contents(folder_.Join(client + ".pem"));
      options.pem_private_key = Contents(folder_.Join(client + ".key"));
    }
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    return grpc::CreateCustomChannel(coordinator.address(), grpc::SslCredentials(options),
                                     arguments);
  }

  TempDir folder_;
};

TEST_F(TlsTest, TokensTravelEncrypted) {
  Make("server");
  std::ofstream(folder_.Join("tokens")) << TokensFile();
  CoordinatorProcess coordinator(
      {.flags = {"--tls-cert", folder_.Join("server.pem"), "--tls-key", folder_.Join("server.key"),
                 "--tokens-file", folder_.Join("tokens")},
       .wait_for_health = false});
  const auto channel = Channel(coordinator, "");
  EXPECT_TRUE(ListPools(channel, absl::StrCat("Bearer ", kOperator)).ok());
  EXPECT_EQ(ListPools(channel, "").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  // Not at all without it.
  EXPECT_EQ(ListPools(coordinator.Channel(), absl::StrCat("Bearer ", kOperator)).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(TlsTest, AFileThatIsNoGoodIsNamed) {
  Make("server");
  Make("other");
  std::ofstream(folder_.Join("junk")) << "junk";
  std::ofstream(folder_.Join("torn"))
      << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  for (const auto& [certificate, key, authority, named] : std::vector<std::array<std::string, 4>>{
           {"junk", "server.key", "server.pem", "junk holds"},
           {"torn", "server.key", "server.pem", "torn is damaged"},
           {"server.pem", "junk", "server.pem", "junk holds"},
           {"server.pem", "server.key", "junk", "junk holds"},
           {"server.pem", "other.key", "server.pem", "other.key is not the certificate's"}}) {
    const auto run =
        RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", folder_.Join("data"), "--tls-cert",
                        folder_.Join(certificate), "--tls-key", folder_.Join(key),
                        "--tls-client-ca", folder_.Join(authority)});
    EXPECT_EQ(run.exit_status, 2) << named;
    EXPECT_THAT(run.err, HasSubstr(named));
    EXPECT_FALSE(std::filesystem::exists(folder_.Join("data")));
  }
}

TEST_F(TlsTest, ACertificateIsTakenInItsTimeOnly) {
  Make("server");
  Make("expired", absl::Hours(48), -absl::Hours(24));
  Make("future", -absl::Hours(24), absl::Hours(48));
  for (const auto& [own, authority, named] : std::vector<std::array<std::string, 3>>{
           {"expired", "server", "expired.pem cannot be used: its certificate expired on "},
           {"future", "server", "future.pem cannot be used: its certificate is not valid before "},
           {"server", "expired", "expired.pem cannot be used: its certificate expired on "}}) {
    const auto run =
        RunCoordinator({"--listen", "127.0.0.1:0", "--data-dir", folder_.Join("data"), "--tls-cert",
                        folder_.Join(own + ".pem"), "--tls-key", folder_.Join(own + ".key"),
                        "--tls-client-ca", folder_.Join(authority + ".pem")});
    EXPECT_EQ(run.exit_status, 2) << named;
    EXPECT_THAT(run.err, HasSubstr(named));
    EXPECT_FALSE(std::filesystem::exists(folder_.Join("data")));
  }
}

TEST_F(TlsTest, ACertificateThatEndsSoonIsInTheLog) {
  const auto log_of = [&](const std::string& name) {
    CoordinatorProcess coordinator({.flags = {"--tls-cert", folder_.Join(name + ".pem"),
                                              "--tls-key", folder_.Join(name + ".key")},
                                    .wait_for_health = false});
    EXPECT_EQ(coordinator.Stop(), 0);
    return coordinator.log();
  };
  Make("soon", absl::Hours(1), absl::Hours(24 * 13));
  EXPECT_THAT(log_of("soon"),
              HasSubstr("level=warning msg=\"the TLS certificate ends soon\" end="));
  Make("later");
  EXPECT_THAT(log_of("later"), Not(HasSubstr("the TLS certificate")));
}

TEST_F(TlsTest, WithAClientAuthorityOnlyItsHoldersConnect) {
  Make("server");
  Make("client");
  Make("stranger");
  CoordinatorProcess coordinator(
      {.flags = {"--tls-cert", folder_.Join("server.pem"), "--tls-key", folder_.Join("server.key"),
                 "--tls-client-ca", folder_.Join("client.pem")},
       .wait_for_health = false});
  EXPECT_TRUE(ListPools(Channel(coordinator, "client"), "").ok());
  EXPECT_EQ(ListPools(Channel(coordinator, "stranger"), "").error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ListPools(Channel(coordinator, ""), "").error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace tessera::testing
