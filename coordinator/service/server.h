// The gRPC server: where it listens, with which encryption, and what it offers beside the contract.
//
// That is server reflection, so that generic tools can talk to it, and the standard health service,
// which says NOT_SERVING for "" and for each service once it ends, and for those that change
// something also while nothing can be committed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace tessera::service {

class ServiceContext;

struct TlsFiles {
  std::string certificate;  // PEM, the chain; empty: no TLS.
  std::string key;          // PEM.
  std::string client_ca;    // PEM; optional. Clients must then show a certificate of it.

  bool enabled() const { return !certificate.empty(); }
};

struct ServerOptions {
  std::string listen = "127.0.0.1:7070";  // host:port, [v6]:port, unix:path; port 0: any free one.
  TlsFiles tls;
  std::optional<bool>
      reflection;  // Whether it is served. Nothing: where only this machine can ask.
};

// Who gets in must be known before anybody does. INVALID_ARGUMENT, with what to change, for: an
// address that others can reach without TLS, or with TLS and without any credential (tokens, client
// certificates); a key without a certificate or the other way round.
absl::Status CheckDoors(const ServerOptions& options, bool has_tokens);

// What can be known before anything is started: whether the TLS files are there (NOT_FOUND) and are
// what they should be at `now` (INVALID_ARGUMENT), and whether the port is free (UNAVAILABLE).
absl::Status CheckListening(const ServerOptions& options, absl::Time now);

class Server {
 public:
  // Listens, and serves. `context` outlives the server. Errors are those of CheckListening().
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       ServiceContext* context, absl::Time now);
  ~Server();

  // What clients connect to: `listen` with the port that it got.
  const std::string& address() const { return address_; }

  // Until when the certificate is valid that it shows; the infinite future without TLS.
  absl::Time certificate_end() const { return certificate_end_; }

  // Whether calls that change something can succeed: what the health service says for "",
  // JobService and WorkService. OperatorService answers in any case, about the trouble too.
  void SetAvailable(bool available);
  // NOT_SERVING from here on, for all, whatever SetAvailable() says. Threads: both from any.
  void EndServing();

  // Takes no more calls, waits for those in progress, and cancels what is left after `grace`. The
  // coordinator's thread must be running until this returns.
  void Shutdown(absl::Duration grace);

 private:
  Server();

  std::unique_ptr<grpc::Service> jobs_;
  std::unique_ptr<grpc::Service> work_;
  std::unique_ptr<grpc::Service> operators_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  absl::Time certificate_end_;
};

}  // namespace tessera::service
