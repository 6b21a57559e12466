// A client of Tessera: jobs, items, results, and what operators look after.
//
//   TESSERA_ASSIGN_OR_RETURN(auto client, Client::Connect({.address = "127.0.0.1:7070"}));
//   v1::CreateJobRequest create;
//   create.mutable_job()->...;
//   TESSERA_ASSIGN_OR_RETURN(v1::Job job, client->CreateJob(create));
//   TESSERA_RETURN_IF_ERROR(client->AddItems(job, &items).status());
//   // As many as we meant to add: that the job holds as many as it holds would guard nothing.
//   TESSERA_RETURN_IF_ERROR(client->SealJob(job.name(), items_count).status());
//
// Every call blocks, has a deadline, and is tried again for as long as trying again can help:
// UNAVAILABLE (what a server cut off, too) and DEADLINE_EXCEEDED, with exponential back-off and full
// jitter (a random time between nothing and the back-off, so that clients that failed together do
// not return together), or as long as the server asked to wait. That is safe, because the contract
// makes every call safe to repeat; a request id is made once for each logical create, and kept over
// the tries. A server that is back is found again within about two seconds: gRPC tries to connect
// once a second at the least, and a call follows within `backoff_max`.
//
// A call that takes a `stop` ends with CANCELLED once that is requested.
//
// Errors are those of the .proto files, with their details (common/errors.h: GetDetails). After
// the last try it is the error of that try.
//
// Threads: every method may be called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/items.h"
#include "client/retry.h"
#include "tessera/v1/job.pb.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/operator.pb.h"
#include "tessera/v1/operator_service.pb.h"

namespace grpc {
class Channel;
class ClientContext;
}  // namespace grpc

namespace tessera::client {

// The largest message that is taken in. Coordinators send no more than 3 MiB, unless a single entry
// is larger, which only a deployment with a raised `--item-bytes-max` can have; gRPC's own limit of
// 4 MiB would then be too little.
inline constexpr int kReceiveBytesMax = 256 << 20;

struct ConnectOptions {
  std::string address = "127.0.0.1:7070";  // As client/address.h takes it.
  std::string tenant = "default";          // Jobs without a tenant in their name are this one's.
  std::string token;                       // Sent as `authorization: Bearer ...`; empty: none.
  bool tls = false;                        // Implied by `tls_ca_pem`.
  std::string tls_ca_pem;                  // Trust these roots; empty: the machine's.
  absl::Duration try_timeout = absl::Seconds(10);  // Of each try, within `retry_for`.
  absl::Duration retry_for = absl::Seconds(30);    // Of all tries of one call together.
  absl::Duration backoff_first = absl::Milliseconds(100);
  absl::Duration backoff_max = absl::Seconds(1);
  // A peer that says nothing for so long is asked whether it lives; coordinators take such a
  // question every 10 s at the most.
  absl::Duration keepalive_time = absl::Seconds(30);
};

class Client {
 public:
  // Makes a client. Nothing is sent yet, so that an address where nobody listens is noticed by the
  // first call. INVALID_ARGUMENT for an address that cannot be one, a token that cannot be one, a
  // token that would leave this machine without TLS, and `tls_ca_pem` that holds no certificates, or
  // none that is valid now.
  // A proxy that the environment names (`grpc_proxy`, `https_proxy`, `http_proxy`) is used with TLS
  // only, and never for this machine's own addresses.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(ConnectOptions options);
  ~Client();

  const ConnectOptions& options() const { return options_; }

  // `tenants/{tenant}`.
  std::string tenant_name() const;
  // A job's full name from its id; a full name stays as it is.
  std::string JobName(absl::string_view job) const;

  // Jobs. `parent` and `request_id` of a request are filled in where they are empty.
  absl::StatusOr<v1::Job> CreateJob(v1::CreateJobRequest request, std::stop_token stop = {});
  absl::StatusOr<v1::Job> GetJob(absl::string_view job, std::stop_token stop = {});
  absl::StatusOr<std::vector<v1::Job>> ListJobs(const std::vector<v1::JobState>& states = {});
  absl::StatusOr<v1::Job> UpdateJob(const v1::UpdateJobRequest& request);
  // NOT_FOUND where there is no such job to begin with; OK where a try after the first one finds it
  // gone: the first may have deleted it.
  absl::Status DeleteJob(absl::string_view job);
  absl::StatusOr<v1::Job> SealJob(absl::string_view job, int64_t expected_offset,
                                  std::stop_token stop = {});
  absl::StatusOr<v1::Job> PauseJob(absl::string_view job);
  absl::StatusOr<v1::Job> ResumeJob(absl::string_view job);
  absl::StatusOr<v1::Job> CancelJob(absl::string_view job, std::stop_token stop = {});
  absl::StatusOr<v1::Job> FinaliseJob(absl::string_view job, std::stop_token stop = {});
  absl::StatusOr<v1::SplitPlan> PlanJob(v1::PlanJobRequest request, std::stop_token stop = {});
  absl::StatusOr<v1::ItemExplanation> ExplainItem(absl::string_view job, absl::string_view key,
                                                  std::stop_token stop = {});
  // Hears every page of the results, one after another, until the last one, or until `on_page`
  // returns false (OK). Pages have 1,000 results where the request states no size.
  absl::Status ListResults(const v1::ListResultsRequest& request, std::stop_token stop,
                           const std::function<bool(const v1::ListResultsResponse&)>& on_page);

  // Adds all items of `source`, beginning at its first, to `job`, as CreateJob or GetJob returned
  // it. Those that it held then are sent, too, and the server compares them. After a break it goes
  // on in comparing where it was, and in adding from the committed offset; every piece that is
  // taken begins the time that trying again may take anew, and reading `source` again does not count
  // as trying. What is not sent in time, or refused by gRPC itself for its size or for want of memory
  // (RESOURCE_EXHAUSTED without a reason), is sent again in smaller pieces. `on_progress` hears after each piece how
  // many items are known to be in the job. Does not seal.
  //
  // ALREADY_EXISTS (ITEM_DIFFERS): the job holds another item with that key, or, of those that it
  // held, none of it.
  // ABORTED where the offset moves on without us: somebody else adds to the same job. An error about
  // one item says its place (ItemSource::At()). Where it is stopped, what was sent may be committed
  // or not.
  absl::StatusOr<v1::AddItemsResponse> AddItems(
      const v1::Job& job, ItemSource* source,
      const std::function<void(int64_t items)>& on_progress = nullptr, std::stop_token stop = {});

  // Hears every status of a job until it has ended (OK), `on_status` returns false (OK), `stop` is
  // requested (CANCELLED), or an error lasts. `on_break`, if given, hears of each break that is
  // being waited out. `retry_for` is counted anew from each break of a stream that had brought
  // anything.
  absl::Status WatchJob(absl::string_view job, std::stop_token stop,
                        const std::function<bool(const v1::JobStatus&)>& on_status,
                        const std::function<void(const absl::Status&)>& on_break = nullptr);

  // Streams results from `request.resume_token` on; resumes by itself after a break. Ends as
  // WatchJob does, or at the current end where the request does not follow.
  absl::Status StreamResults(
      const v1::StreamResultsRequest& request, std::stop_token stop,
      const std::function<bool(const v1::StreamResultsResponse&)>& on_results);

  // What operators look after.
  absl::StatusOr<std::vector<v1::Pool>> ListPools();
  absl::StatusOr<v1::Worker> GetWorker(absl::string_view worker);
  absl::StatusOr<std::vector<v1::Worker>> ListWorkers(absl::string_view platform,
                                                      absl::string_view job = "");
  absl::StatusOr<v1::Worker> UpdateWorker(const v1::UpdateWorkerRequest& request);
  absl::StatusOr<v1::Partition> GetPartition(absl::string_view partition);
  absl::StatusOr<std::vector<v1::Partition>> ListPartitions();

  // For streams of their own (client/replay_gateway.cc): the channel, what every call carries, and
  // how calls are tried again: with a wait during which the channel goes on connecting.
  std::shared_ptr<grpc::Channel> channel() const;
  RetryOptions retry() const;
  void Authorize(grpc::ClientContext* context) const;

 private:
  struct Stubs;
  explicit Client(ConnectOptions options);

  const ConnectOptions options_;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace tessera::client
