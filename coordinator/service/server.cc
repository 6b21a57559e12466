#include "coordinator/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/address.h"
#include "common/pem.h"
#include "common/status_macros.h"
#include "coordinator/service/credentials.h"
#include "coordinator/service/service_context.h"
#include "coordinator/service/services.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/operator_service.grpc.pb.h"
#include "tessera/v1/work_service.grpc.pb.h"

namespace tessera::service {
namespace {

// Streams and calls in progress of one connection; others wait at the client. Calls that bring no
// message take memory, too, also from those whom nobody knows.
constexpr int64_t kCallsPerConnectionMax = 1000;

// Linking the plugin is what registers it, so it is taken out again.
class NoReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) { return plugin->name() == kReflectionPlugin; });
  }

 private:
  static constexpr char kReflectionPlugin[] = "proto_server_reflection";
};

absl::Status About(const std::string& file, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(file, " ", status.message()));
}

struct ServerTls {
  std::shared_ptr<grpc::ServerCredentials> credentials;
  absl::Time certificate_end;
};

absl::StatusOr<ServerTls> ReadTls(const TlsFiles& tls, absl::Time now) {
  if (!tls.enabled()) return ServerTls{grpc::InsecureServerCredentials(), absl::InfiniteFuture()};
  grpc::SslServerCredentialsOptions options;
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  TESSERA_ASSIGN_OR_RETURN(pair.cert_chain, ReadFile(tls.certificate));
  TESSERA_RETURN_IF_ERROR(About(tls.certificate, CheckCertificates(pair.cert_chain)));
  // The first one is the server's own. What else there is a client may do without.
  const Validity own = ValiditiesOf(pair.cert_chain).front();
  TESSERA_RETURN_IF_ERROR(About(tls.certificate, CheckTime(own, now)));
  TESSERA_ASSIGN_OR_RETURN(pair.private_key, ReadFile(tls.key));
  TESSERA_RETURN_IF_ERROR(About(tls.key, CheckPrivateKey(pair.private_key, pair.cert_chain)));
  options.pem_key_cert_pairs.push_back(std::move(pair));
  if (!tls.client_ca.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.pem_root_certs, ReadFile(tls.client_ca));
    TESSERA_RETURN_IF_ERROR(About(tls.client_ca, CheckRoots(options.pem_root_certs, now)));
    options.client_certificate_request = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return ServerTls{grpc::SslServerCredentials(options), own.end};
}

absl::Status CannotListen(absl::string_view listen, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", listen, ": ", why));
}

// Binds, and lets go. UNAVAILABLE where none of the host's addresses can be had; that a host is
// none is for gRPC to say.
absl::Status CheckPort(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  const absl::string_view host =
      absl::StripSuffix(absl::StripPrefix(absl::string_view(listen).substr(0, colon), "["), "]");
  const addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
  addrinfo* list = nullptr;
  if (getaddrinfo(host.empty() ? nullptr : std::string(host).c_str(),
                  listen.substr(colon + 1).c_str(), &hints, &list) != 0) {
    return absl::OkStatus();
  }
  int error = 0;
  bool bound = false;
  for (const addrinfo* each = list; each != nullptr && !bound; each = each->ai_next) {
    const int fd = socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
    const int on = 1;  // As gRPC has it: what an ended process left behind does not count.
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bound = fd >= 0 && bind(fd, each->ai_addr, each->ai_addrlen) == 0;
    if (!bound) error = errno;
    if (fd >= 0) close(fd);
  }
  freeaddrinfo(list);
  return bound ? absl::OkStatus() : CannotListen(listen, std::strerror(error));
}

}  // namespace

absl::Status CheckListening(const ServerOptions& options, absl::Time now) {
  TESSERA_RETURN_IF_ERROR(ReadTls(options.tls, now).status());
  return absl::StartsWith(options.listen, "unix:") ? absl::OkStatus() : CheckPort(options.listen);
}

absl::Status CheckDoors(const ServerOptions& options, bool has_tokens) {
  const TlsFiles& tls = options.tls;
  if (tls.certificate.empty() != tls.key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  if (!tls.client_ca.empty() && !tls.enabled()) {
    return absl::InvalidArgumentError("--tls-client-ca goes with --tls-cert and --tls-key");
  }
  if (!absl::StartsWith(options.listen, "unix:")) {
    // gRPC would take a larger number modulo 65,536.
    const absl::string_view listen = options.listen;
    const size_t colon = listen.rfind(':');
    int port = -1;
    if (colon == absl::string_view::npos || !absl::SimpleAtoi(listen.substr(colon + 1), &port) ||
        port < 0 || port > 65'535) {
      return absl::InvalidArgumentError(
          absl::StrCat("--listen takes host:port with a port up to 65535, not ", listen));
    }
  }
  if (IsLocalAddress(options.listen)) return absl::OkStatus();
  if (!tls.enabled()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "others can reach ", options.listen, ", so it needs --tls-cert and --tls-key",
        has_tokens ? ": tokens must not cross a network in the clear" : " and --tokens-file",
        ". Or listen on a loopback address, such as 127.0.0.1:7070"));
  }
  if (!has_tokens && tls.client_ca.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("others can reach ", options.listen,
                     ", and nothing says who may come in: give --tokens-file, or --tls-client-ca"));
  }
  return absl::OkStatus();
}

Server::Server() = default;
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      ServiceContext* context, absl::Time now) {
  TESSERA_ASSIGN_OR_RETURN(const ServerTls tls, ReadTls(options.tls, now));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  std::unique_ptr<Server> server(new Server);
  server->certificate_end_ = tls.certificate_end;
  server->jobs_ = MakeJobService(context);
  server->work_ = MakeWorkService(context);
  server->operators_ = MakeOperatorService(context);

  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.listen, tls.credentials, &port);
  builder.RegisterService(server->jobs_.get());
  builder.RegisterService(server->work_.get());
  builder.RegisterService(server->operators_.get());
  if (!options.reflection.value_or(IsLocalAddress(options.listen)))
    builder.SetOption(std::make_unique<NoReflection>());
  builder.SetMaxReceiveMessageSize(static_cast<int>(context->limits().message_bytes_max));
  builder.SetMaxSendMessageSize(-1);
  // A message's size is judged once it is unpacked, and a small one can be very large then.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // Messages are read before it is known who sends them, so this holds for everybody together.
  grpc::ResourceQuota quota("tessera");
  quota.Resize(static_cast<size_t>(context->limits().receive_memory_bytes_max));
  builder.SetResourceQuota(quota);
  builder.AddChannelArgument(
      GRPC_ARG_MAX_CONCURRENT_STREAMS,
      static_cast<int>(std::min<int64_t>(context->caller_max() + 100, kCallsPerConnectionMax)));
  // Streams may be silent for long, and what lies between forgets silent connections: either end may
  // ask whether the other is still there, with or without a call.
  const ServiceLimits& limits = context->limits();
  const auto millis = [](absl::Duration duration) {
    return static_cast<int>(absl::ToInt64Milliseconds(duration));
  };
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             millis(limits.ping_interval_min));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, millis(limits.keepalive_interval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, millis(limits.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // As many as it takes.
  // Two coordinators must not share a port without knowing it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  server->server_ = builder.BuildAndStart();
  const bool is_unix = absl::StartsWith(options.listen, "unix:");
  if (server->server_ == nullptr || (port == 0 && !is_unix)) {
    return CannotListen(options.listen, "the address is taken, or not ours to take");
  }
  server->address_ =
      is_unix ? options.listen
              : absl::StrCat(options.listen.substr(0, options.listen.rfind(':')), ":", port);
  server->server_->GetHealthCheckService()->SetServingStatus(
      v1::OperatorService::service_full_name(), true);
  server->SetAvailable(true);
  return server;
}

void Server::SetAvailable(bool available) {
  for (const char* const name :
       {"", v1::JobService::service_full_name(), v1::WorkService::service_full_name()}) {
    server_->GetHealthCheckService()->SetServingStatus(name, available);
  }
}

void Server::EndServing() { server_->GetHealthCheckService()->Shutdown(); }

void Server::Shutdown(absl::Duration grace) {
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
  server_->Wait();
}

}  // namespace tessera::service
