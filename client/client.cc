#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/address.h"
#include "client/retry.h"
#include "client/status.h"
#include "common/status_macros.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/operator_service.grpc.pb.h"

namespace tessera::client {
namespace {

constexpr int kBatchItemsMax = 1000;
constexpr size_t kBatchBytesMax = 1 << 20;  // A quarter of what a message may have.
constexpr int kPageSize = 1000;
constexpr int kBatchesPerCall = 8;  // Then half-close, to learn what is committed.

// A stream that is cancelled when somebody asks to stop.
class Cancellable {
 public:
  Cancellable(std::stop_token stop, grpc::ClientContext* context)
      : callback_(std::move(stop), [context] { context->TryCancel(); }) {}

 private:
  std::stop_callback<std::function<void()>> callback_;
};

// Calls until it is answered, or trying again can help no more.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(const Client& client, Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  Tries tries(client.options().retry());
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + client.options().try_timeout));
    client.Authorize(&context);
    Response response;
    absl::Duration asked;
    const absl::Status status = FromGrpc((stub.*method)(&context, request, &response), &asked);
    if (status.ok()) return response;
    if (!tries.Again(status, asked)) return status;
  }
}

// All pages of a list; `entries(&page)` are those of one.
template <typename Entry, typename Stub, typename Request, typename Response>
absl::StatusOr<std::vector<Entry>> CallForAll(const Client& client, Stub& stub,
                                              grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                           const Request&,
                                                                           Response*),
                                              Request request, const auto& entries) {
  std::vector<Entry> all;
  request.set_page_size(kPageSize);
  do {
    TESSERA_ASSIGN_OR_RETURN(Response page, Call(client, stub, method, request));
    for (Entry& entry : *entries(&page)) all.push_back(std::move(entry));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

template <typename Request>
Request Named(std::string name) {
  Request request;
  request.set_name(std::move(name));
  return request;
}

}  // namespace

struct Client::Stubs {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::unique_ptr<v1::OperatorService::Stub> operators;
};

Client::Client(ConnectOptions options)
    : options_(std::move(options)), stubs_(std::make_unique<Stubs>()) {}

Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(ConnectOptions options) {
  TESSERA_RETURN_IF_ERROR(CheckAddress(options.address));
  if (options.tenant.empty()) return absl::InvalidArgumentError("there is no tenant");
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  // A coordinator that is back is noticed soon; one that vanished without a word, too.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // How long a connect may take.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (options.tls || !options.tls_ca_pem.empty()) {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = options.tls_ca_pem;
    credentials = grpc::SslCredentials(ssl);
  }
  std::unique_ptr<Client> client(new Client(std::move(options)));
  client->stubs_->channel =
      grpc::CreateCustomChannel(client->options_.address, credentials, arguments);
  client->stubs_->jobs = v1::JobService::NewStub(client->stubs_->channel);
  client->stubs_->operators = v1::OperatorService::NewStub(client->stubs_->channel);
  return client;
}

std::string Client::tenant_name() const {
  return absl::StartsWith(options_.tenant, "tenants/") ? options_.tenant
                                                       : absl::StrCat("tenants/", options_.tenant);
}

std::string Client::JobName(absl::string_view job) const {
  if (absl::StartsWith(job, "tenants/")) return std::string(job);
  return absl::StrCat(tenant_name(), "/jobs/", job);
}

std::shared_ptr<grpc::Channel> Client::channel() const { return stubs_->channel; }

void Client::Authorize(grpc::ClientContext* context) const {
  if (!options_.token.empty()) {
    context->AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
  }
}

absl::StatusOr<v1::Job> Client::CreateJob(v1::CreateJobRequest request) {
  if (request.parent().empty()) request.set_parent(tenant_name());
  if (request.request_id().empty()) request.set_request_id(RandomRequestId());
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::CreateJob, request);
}

absl::StatusOr<v1::Job> Client::GetJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::GetJob,
              Named<v1::GetJobRequest>(JobName(job)));
}

absl::StatusOr<std::vector<v1::Job>> Client::ListJobs(const std::vector<v1::JobState>& states) {
  v1::ListJobsRequest request;
  request.set_parent(tenant_name());
  for (const v1::JobState state : states) request.add_states(state);
  return CallForAll<v1::Job>(*this, *stubs_->jobs, &v1::JobService::Stub::ListJobs, request,
                             [](auto* page) { return page->mutable_jobs(); });
}

absl::StatusOr<v1::Job> Client::UpdateJob(const v1::UpdateJobRequest& request) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::UpdateJob, request);
}

absl::Status Client::DeleteJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::DeleteJob,
              Named<v1::DeleteJobRequest>(JobName(job)))
      .status();
}

absl::StatusOr<v1::Job> Client::SealJob(absl::string_view job, int64_t expected_offset) {
  v1::SealJobRequest request = Named<v1::SealJobRequest>(JobName(job));
  request.set_expected_offset(expected_offset);
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::SealJob, request);
}

absl::StatusOr<v1::Job> Client::PauseJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::PauseJob,
              Named<v1::PauseJobRequest>(JobName(job)));
}

absl::StatusOr<v1::Job> Client::ResumeJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::ResumeJob,
              Named<v1::ResumeJobRequest>(JobName(job)));
}

absl::StatusOr<v1::Job> Client::CancelJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::CancelJob,
              Named<v1::CancelJobRequest>(JobName(job)));
}

absl::StatusOr<v1::Job> Client::FinaliseJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::FinaliseJob,
              Named<v1::FinaliseJobRequest>(JobName(job)));
}

absl::StatusOr<v1::SplitPlan> Client::PlanJob(v1::PlanJobRequest request) {
  if (request.parent().empty()) request.set_parent(tenant_name());
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::PlanJob, request);
}

absl::StatusOr<v1::ItemExplanation> Client::ExplainItem(absl::string_view job,
                                                        absl::string_view key) {
  v1::ExplainItemRequest request;
  request.set_job(JobName(job));
  request.set_item_key(std::string(key));
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::ExplainItem, request);
}

absl::StatusOr<v1::ListResultsResponse> Client::ListResults(const v1::ListResultsRequest& request) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::ListResults, request);
}

absl::StatusOr<v1::AddItemsResponse> Client::AddItems(
    absl::string_view job, ItemSource* source,
    const std::function<void(int64_t committed_offset)>& on_progress) {
  const std::string name = JobName(job);
  v1::AddItemsResponse total;
  int64_t offset = 0;  // Of `next`.
  bool has_next = false;
  v1::Item next;
  Tries tries(options_.retry());
  while (true) {
    if (!has_next) {
      TESSERA_ASSIGN_OR_RETURN(has_next, source->Next(&next));
      if (!has_next) return total;
    }
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + options_.try_timeout * 3));
    Authorize(&context);
    v1::AddItemsResponse response;
    const auto writer = stubs_->jobs->AddItems(&context, &response);
    absl::Status input;
    for (int batch = 0; batch < kBatchesPerCall && has_next && input.ok(); ++batch) {
      v1::AddItemsRequest request;
      request.set_job(name);
      request.set_offset(offset);
      size_t bytes = 0;
      while (has_next && request.items_size() < kBatchItemsMax) {
        const size_t size = next.ByteSizeLong();
        if (request.items_size() > 0 && bytes + size > kBatchBytesMax) break;
        bytes += size;
        request.add_items()->Swap(&next);
        absl::StatusOr<bool> more = source->Next(&next);
        if (!more.ok()) input = more.status();  // What comes before it is sent all the same.
        has_next = more.ok() && *more;
      }
      offset += request.items_size();
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    absl::Duration asked;
    const absl::Status status = FromGrpc(writer->Finish(), &asked);
    if (status.ok()) {
      tries.Restart();
      total.set_committed_offset(response.committed_offset());
      total.set_added(total.added() + response.added());
      total.set_present(total.present() + response.present());
      if (on_progress) on_progress(response.committed_offset());
      if (!input.ok()) return input;
      continue;
    }
    const bool moved = absl::IsOutOfRange(status);
    if (!tries.Again(moved ? absl::UnavailableError("the offset moved") : status, asked)) {
      if (!moved) return status;
      return absl::AbortedError(absl::StrCat("somebody else adds items to ", name,
                                             " at the same time: ", status.message()));
    }
    // Where to go on is for the job to say.
    TESSERA_ASSIGN_OR_RETURN(const v1::Job now, GetJob(name));
    if (on_progress) on_progress(now.committed_offset());
    offset = now.committed_offset();
    has_next = false;
    TESSERA_RETURN_IF_ERROR(source->Seek(offset));
  }
}

absl::Status Client::WatchJob(absl::string_view job, std::stop_token stop,
                              const std::function<bool(const v1::JobStatus&)>& on_status,
                              const std::function<void(const absl::Status&)>& on_break) {
  const v1::WatchJobRequest request = Named<v1::WatchJobRequest>(JobName(job));
  Tries tries(options_.retry());
  while (true) {
    grpc::ClientContext context;  // No deadline: a job may take weeks. Keepalive finds dead peers.
    Authorize(&context);
    const auto reader = stubs_->jobs->WatchJob(&context, request);
    const Cancellable cancellable(stop, &context);
    v1::JobStatus status;
    bool wanted = true;
    while (wanted && reader->Read(&status)) {
      tries.Restart();
      wanted = on_status(status);
    }
    if (!wanted) context.TryCancel();
    absl::Duration asked;
    const absl::Status end = FromGrpc(reader->Finish(), &asked);
    if (!wanted || end.ok()) return absl::OkStatus();
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    if (on_break && MayRetry(end)) on_break(end);
    if (!tries.Again(end, asked, stop)) {
      return stop.stop_requested() ? absl::CancelledError("stopped") : end;
    }
  }
}

absl::Status Client::StreamResults(
    const v1::StreamResultsRequest& request, std::stop_token stop,
    const std::function<bool(const v1::StreamResultsResponse&)>& on_results) {
  v1::StreamResultsRequest next = request;
  next.set_job(JobName(request.job()));
  Tries tries(options_.retry());
  while (true) {
    grpc::ClientContext context;  // No deadline: as WatchJob.
    Authorize(&context);
    const auto reader = stubs_->jobs->StreamResults(&context, next);
    const Cancellable cancellable(stop, &context);
    v1::StreamResultsResponse response;
    bool wanted = true;
    while (wanted && reader->Read(&response)) {
      tries.Restart();
      if (!response.resume_token().empty()) next.set_resume_token(response.resume_token());
      wanted = on_results(response);
    }
    if (!wanted) context.TryCancel();
    absl::Duration asked;
    const absl::Status end = FromGrpc(reader->Finish(), &asked);
    if (!wanted || end.ok()) return absl::OkStatus();
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    if (!tries.Again(end, asked, stop)) {
      return stop.stop_requested() ? absl::CancelledError("stopped") : end;
    }
  }
}

absl::StatusOr<std::vector<v1::Pool>> Client::ListPools() {
  v1::ListPoolsRequest request;
  return CallForAll<v1::Pool>(*this, *stubs_->operators, &v1::OperatorService::Stub::ListPools,
                              request, [](auto* page) { return page->mutable_pools(); });
}

absl::StatusOr<v1::Worker> Client::GetWorker(absl::string_view worker) {
  return Call(*this, *stubs_->operators, &v1::OperatorService::Stub::GetWorker,
              Named<v1::GetWorkerRequest>(std::string(worker)));
}

absl::StatusOr<std::vector<v1::Worker>> Client::ListWorkers(absl::string_view platform,
                                                            absl::string_view job) {
  v1::ListWorkersRequest request;
  request.set_parent(absl::StrCat("platforms/", platform.empty() ? "-" : platform));
  if (!job.empty()) request.set_job(JobName(job));
  return CallForAll<v1::Worker>(*this, *stubs_->operators, &v1::OperatorService::Stub::ListWorkers,
                                request, [](auto* page) { return page->mutable_workers(); });
}

absl::StatusOr<v1::Worker> Client::UpdateWorker(const v1::UpdateWorkerRequest& request) {
  return Call(*this, *stubs_->operators, &v1::OperatorService::Stub::UpdateWorker, request);
}

absl::StatusOr<v1::Partition> Client::GetPartition(absl::string_view partition) {
  return Call(*this, *stubs_->operators, &v1::OperatorService::Stub::GetPartition,
              Named<v1::GetPartitionRequest>(absl::StartsWith(partition, "partitions/")
                                                 ? std::string(partition)
                                                 : absl::StrCat("partitions/", partition)));
}

absl::StatusOr<std::vector<v1::Partition>> Client::ListPartitions() {
  v1::ListPartitionsRequest request;
  return CallForAll<v1::Partition>(*this, *stubs_->operators,
                                   &v1::OperatorService::Stub::ListPartitions, request,
                                   [](auto* page) { return page->mutable_partitions(); });
}

}  // namespace tessera::client
