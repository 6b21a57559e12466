#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/address.h"
#include "client/channel_wait.h"
#include "client/retry.h"
#include "client/status.h"
#include "common/address.h"
#include "common/errors.h"
#include "common/pem.h"
#include "common/status_macros.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/operator_service.grpc.pb.h"

namespace tessera::client {
namespace {

constexpr int kBatchItemsMax = 1000;
constexpr size_t kBatchBytesMax = 1 << 20;     // An eighth of what a message may have.
constexpr size_t kBatchBytesLeast = 32 << 10;  // Half of what every deployment takes.
constexpr int kPageSize = 1000;
// For how long AddItems() asks where to go on: what it adds to `retry_for` at the most.
constexpr absl::Duration kOffsetTimeout = absl::Seconds(5);
constexpr absl::Duration kTransportPause = absl::Milliseconds(200);
constexpr int kBatchesPerCall = 8;  // Then half-close, to learn what is taken.

// A stream that is cancelled when somebody asks to stop.
class Cancellable {
 public:
  Cancellable(std::stop_token stop, grpc::ClientContext* context)
      : callback_(std::move(stop), [context] { context->TryCancel(); }) {}

 private:
  std::stop_callback<std::function<void()>> callback_;
};

absl::Status Stopped() { return absl::CancelledError("stopped"); }

// Calls once.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> CallOnce(const Client& client, Stub& stub,
                                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                               Response*),
                                  const Request& request, absl::Time deadline,
                                  const std::stop_token& stop, absl::Duration* asked) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  client.Authorize(&context);
  const Cancellable cancellable(stop, &context);
  Response response;
  TESSERA_RETURN_IF_ERROR(FromGrpc((stub.*method)(&context, request, &response), asked));
  return response;
}

// Calls until it is answered, trying again can help no more, or `stop` is requested (CANCELLED).
// `again`, if given, becomes true where there is a second try.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(const Client& client, Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request, const std::stop_token& stop = {},
                              bool* again = nullptr) {
  Tries tries(client.retry());
  while (true) {
    absl::Duration asked;
    absl::StatusOr<Response> response = CallOnce(
        client, stub, method, request, tries.Deadline(client.options().try_timeout), stop, &asked);
    if (response.ok()) return response;
    if (stop.stop_requested()) return Stopped();
    if (!tries.Again(response.status(), asked, stop)) {
      return stop.stop_requested() ? Stopped() : tries.error();
    }
    if (again != nullptr) *again = true;
  }
}

// All pages of a list, one after another, until `on_page(&page)` returns false.
template <typename Stub, typename Request, typename Response>
absl::Status CallForPages(const Client& client, Stub& stub,
                          grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                       Response*),
                          Request request, const std::stop_token& stop, const auto& on_page) {
  if (request.page_size() == 0) request.set_page_size(kPageSize);
  do {
    if (stop.stop_requested()) return Stopped();
    TESSERA_ASSIGN_OR_RETURN(Response page, Call(client, stub, method, request, stop));
    if (!on_page(&page)) break;
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

// All entries of all pages; `entries(&page)` are those of one.
template <typename Entry, typename Stub, typename Request, typename Response>
absl::StatusOr<std::vector<Entry>> CallForAll(const Client& client, Stub& stub,
                                              grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                           const Request&,
                                                                           Response*),
                                              const Request& request, const auto& entries) {
  std::vector<Entry> all;
  const auto take = [&](Response* page) {
    for (Entry& entry : *entries(page)) all.push_back(std::move(entry));
    return true;
  };
  TESSERA_RETURN_IF_ERROR(CallForPages(client, stub, method, request, {}, take));
  return all;
}

template <typename Request>
Request Named(std::string name) {
  Request request;
  request.set_name(std::move(name));
  return request;
}

// Which item of its batch a refusal of AddItems is about: `items[3].key`. Nothing where it says no
// such thing.
std::optional<int64_t> RefusedItem(const absl::Status& status) {
  for (const FieldViolation& field : GetDetails(status).fields) {
    absl::string_view path = field.field;
    int64_t index = 0;
    if (absl::ConsumePrefix(&path, "items[") &&
        absl::SimpleAtoi(path.substr(0, path.find(']')), &index)) {
      return index;
    }
  }
  return std::nullopt;
}

// gRPC itself refused, for want of memory or because a message is too large, and says no more
// (errors.proto).
bool TransportRefused(const absl::Status& status) {
  return absl::IsResourceExhausted(status) && GetDetails(status).reason.empty();
}

// `status` with the place of item number `offset`, if it can be read again.
absl::Status AtItem(const absl::Status& status, int64_t offset, ItemSource* source) {
  v1::Item item;
  if (!source->Seek(offset).ok() || !source->Next(&item).value_or(false)) return status;
  return WithDetails(source->At(status), GetDetails(status));
}

bool UsesTls(const ConnectOptions& options) { return options.tls || !options.tls_ca_pem.empty(); }

absl::Status CheckToken(const ConnectOptions& options) {
  if (options.token.empty()) return absl::OkStatus();
  // gRPC would print a header that cannot be one, the token with it, and end the process.
  const bool sendable = std::all_of(options.token.begin(), options.token.end(),
                                    [](char c) { return c >= 0x21 && c <= 0x7e; });
  if (!sendable) {
    return absl::InvalidArgumentError(
        "the token has a blank, a line break or another byte that no token has; is it one token, "
        "and nothing else?");
  }
  if (!UsesTls(options) && !IsLocalAddress(options.address)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the token would cross the network to ", options.address,
                     " in the clear; connect with TLS (--tls, --tls-ca FILE)"));
  }
  return absl::OkStatus();
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
  TESSERA_RETURN_IF_ERROR(CheckToken(options));
  if (!options.tls_ca_pem.empty()) {
    if (const absl::Status pem = CheckRoots(options.tls_ca_pem, absl::Now()); !pem.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("what is to be trusted (--tls-ca) ", pem.message()));
    }
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  // A coordinator that is back is noticed soon; one that vanished without a word, too.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // How long a connect may take.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_time)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Whoever watches says nothing for hours; gRPC would ask twice, and then never again.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A proxy that the environment names would read everything that is not encrypted, the token too,
  // and does not reach this machine.
  if (!UsesTls(options) || IsLocalAddress(options.address)) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (UsesTls(options)) {
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

RetryOptions Client::retry() const {
  return {.retry_for = options_.retry_for,
          .backoff_first = options_.backoff_first,
          .backoff_max = options_.backoff_max,
          .wait = [channel = stubs_->channel](absl::Duration wait, const std::stop_token& stop) {
            return WaitOn(channel.get(), wait, stop);
          }};
}

void Client::Authorize(grpc::ClientContext* context) const {
  if (!options_.token.empty()) {
    context->AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
  }
}

absl::StatusOr<v1::Job> Client::CreateJob(v1::CreateJobRequest request, std::stop_token stop) {
  if (request.parent().empty()) request.set_parent(tenant_name());
  if (request.request_id().empty()) request.set_request_id(RandomRequestId());
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::CreateJob, request, stop);
}

absl::StatusOr<v1::Job> Client::GetJob(absl::string_view job, std::stop_token stop) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::GetJob,
              Named<v1::GetJobRequest>(JobName(job)), stop);
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
  // Of a try that failed, gRPC does not tell whether it reached anybody. Only of a job that was there
  // does it mean anything that a later try finds none.
  TESSERA_RETURN_IF_ERROR(GetJob(job).status());
  bool again = false;
  const absl::Status status = Call(*this, *stubs_->jobs, &v1::JobService::Stub::DeleteJob,
                                   Named<v1::DeleteJobRequest>(JobName(job)), {}, &again)
                                  .status();
  // The try before may have deleted it, and its reply been lost.
  return again && absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::StatusOr<v1::Job> Client::SealJob(absl::string_view job, int64_t expected_offset,
                                        std::stop_token stop) {
  v1::SealJobRequest request = Named<v1::SealJobRequest>(JobName(job));
  request.set_expected_offset(expected_offset);
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::SealJob, request, stop);
}

absl::StatusOr<v1::Job> Client::PauseJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::PauseJob,
              Named<v1::PauseJobRequest>(JobName(job)));
}

absl::StatusOr<v1::Job> Client::ResumeJob(absl::string_view job) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::ResumeJob,
              Named<v1::ResumeJobRequest>(JobName(job)));
}

absl::StatusOr<v1::Job> Client::CancelJob(absl::string_view job, std::stop_token stop) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::CancelJob,
              Named<v1::CancelJobRequest>(JobName(job)), stop);
}

absl::StatusOr<v1::Job> Client::FinaliseJob(absl::string_view job, std::stop_token stop) {
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::FinaliseJob,
              Named<v1::FinaliseJobRequest>(JobName(job)), stop);
}

absl::StatusOr<v1::SplitPlan> Client::PlanJob(v1::PlanJobRequest request, std::stop_token stop) {
  if (request.parent().empty()) request.set_parent(tenant_name());
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::PlanJob, request, stop);
}

absl::StatusOr<v1::ItemExplanation> Client::ExplainItem(absl::string_view job,
                                                        absl::string_view key,
                                                        std::stop_token stop) {
  v1::ExplainItemRequest request;
  request.set_job(JobName(job));
  request.set_item_key(std::string(key));
  return Call(*this, *stubs_->jobs, &v1::JobService::Stub::ExplainItem, request, stop);
}

absl::Status Client::ListResults(
    const v1::ListResultsRequest& request, std::stop_token stop,
    const std::function<bool(const v1::ListResultsResponse&)>& on_page) {
  v1::ListResultsRequest named = request;
  named.set_parent(JobName(request.parent()));
  return CallForPages(*this, *stubs_->jobs, &v1::JobService::Stub::ListResults, named, stop,
                      [&](v1::ListResultsResponse* page) { return on_page(*page); });
}

absl::StatusOr<v1::AddItemsResponse> Client::AddItems(
    const v1::Job& job, ItemSource* source, const std::function<void(int64_t items)>& on_progress,
    std::stop_token stop) {
  const std::string name = JobName(job.name());
  v1::AddItemsResponse total;
  int64_t committed = job.committed_offset();  // As far as is known.
  int64_t taken = 0;   // How many items of `source` are known to be in the job.
  int64_t offset = 0;  // Of `next`.
  int batches_max = kBatchesPerCall;
  size_t bytes_max = kBatchBytesMax;  // Of a batch.
  bool has_next = false;
  v1::Item next;
  Tries tries(retry());
  // A large file is read for long, which is no outage.
  const auto go_on_from_taken = [&] {
    const absl::Time begun = absl::Now();
    offset = taken;
    has_next = false;
    const absl::Status status = source->Seek(offset);
    tries.Spare(absl::Now() - begun);
    return status;
  };
  while (true) {
    if (stop.stop_requested()) return Stopped();
    if (!has_next) {
      TESSERA_ASSIGN_OR_RETURN(has_next, source->Next(&next));
      if (!has_next) return total;
    }
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(tries.Deadline(options_.try_timeout)));
    Authorize(&context);
    v1::AddItemsResponse response;
    const auto writer = stubs_->jobs->AddItems(&context, &response);
    const Cancellable cancellable(stop, &context);
    absl::Status input;
    int batches = 0;
    while (batches < batches_max && has_next && input.ok() && !stop.stop_requested()) {
      ++batches;
      v1::AddItemsRequest request;
      request.set_job(name);
      request.set_offset(offset);
      size_t bytes = 0;
      while (has_next && request.items_size() < kBatchItemsMax) {
        const size_t size = next.ByteSizeLong();
        if (request.items_size() > 0 && bytes + size > bytes_max) break;
        // What is there is compared, and what is new added, in batches of their own.
        if (request.items_size() > 0 && offset + request.items_size() == committed) break;
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
      committed = response.committed_offset();
      taken = offset;
      total.set_committed_offset(committed);
      total.set_added(total.added() + response.added());
      total.set_present(total.present() + response.present());
      if (on_progress) on_progress(taken);
      if (!input.ok()) return input;
      continue;
    }
    if (stop.stop_requested()) return Stopped();
    // Smaller pieces get through before their time is over, and where larger ones are refused.
    if (absl::IsDeadlineExceeded(status) && batches_max > 1) {
      batches_max /= 2;
    } else if (absl::IsDeadlineExceeded(status) || TransportRefused(status)) {
      bytes_max = std::max(bytes_max / 2, kBatchBytesLeast);
    }
    if (TransportRefused(status)) asked = std::max(asked, kTransportPause);
    const bool moved = absl::IsOutOfRange(status);
    if (!moved && !WorthAnotherTry(status, asked)) {
      const std::optional<int64_t> refused = RefusedItem(status);
      if (!refused.has_value()) return status;
      if (batches <= 1) return AtItem(status, taken + *refused, source);
      // Of which batch it is shows when they are sent one by one.
      batches_max = 1;
      TESSERA_RETURN_IF_ERROR(go_on_from_taken());
      continue;
    }
    // All that was sent was new to the job: nothing was being compared.
    const bool added_only = taken >= committed;
    // Where to go on is for the job to say. While it says nothing, the time for tries goes on.
    while (true) {
      absl::Duration asked_now;
      const absl::StatusOr<v1::Job> now = CallOnce(
          *this, *stubs_->jobs, &v1::JobService::Stub::GetJob, Named<v1::GetJobRequest>(name),
          absl::Now() + std::min(options_.try_timeout, kOffsetTimeout), stop, &asked_now);
      if (stop.stop_requested()) return Stopped();
      if (!now.ok() && TransportRefused(now.status())) asked_now = kTransportPause;
      if (!now.ok() && !WorthAnotherTry(now.status(), asked_now)) return now.status();
      if (now.ok()) {
        if (!moved && now->committed_offset() > committed) tries.Restart();
        committed = now->committed_offset();
      }
      if (!tries.Again(moved ? absl::UnavailableError("the offset moved") : status,
                       std::max(asked, asked_now), stop)) {
        if (stop.stop_requested()) return Stopped();
        if (!moved) return tries.error();
        return absl::AbortedError(absl::StrCat("somebody else adds items to ", name,
                                               " at the same time: ", status.message()));
      }
      if (now.ok()) break;
    }
    // What we were adding is ours as far as it is committed. What was there before us, and what
    // came from somebody else, is compared; what a store has lost is sent again.
    taken = std::min(committed, added_only && !moved ? offset : taken);
    if (on_progress) on_progress(taken);
    TESSERA_RETURN_IF_ERROR(go_on_from_taken());
  }
}

absl::Status Client::WatchJob(absl::string_view job, std::stop_token stop,
                              const std::function<bool(const v1::JobStatus&)>& on_status,
                              const std::function<void(const absl::Status&)>& on_break) {
  const v1::WatchJobRequest request = Named<v1::WatchJobRequest>(JobName(job));
  Tries tries(retry());
  while (true) {
    grpc::ClientContext context;  // No deadline: a job may take weeks. Keepalive finds dead peers.
    Authorize(&context);
    const auto reader = stubs_->jobs->WatchJob(&context, request);
    const Cancellable cancellable(stop, &context);
    v1::JobStatus status;
    bool wanted = true;
    bool heard = false;
    while (wanted && reader->Read(&status)) {
      heard = true;
      wanted = on_status(status);
    }
    if (heard) tries.Restart();  // It worked until now, however quiet it was.
    if (!wanted) context.TryCancel();
    absl::Duration asked;
    const absl::Status end = FromGrpc(reader->Finish(), &asked);
    if (!wanted || end.ok()) return absl::OkStatus();
    if (stop.stop_requested()) return Stopped();
    if (on_break && MayRetry(end)) on_break(end);
    if (!tries.Again(end, asked, stop)) {
      return stop.stop_requested() ? Stopped() : tries.error();
    }
  }
}

absl::Status Client::StreamResults(
    const v1::StreamResultsRequest& request, std::stop_token stop,
    const std::function<bool(const v1::StreamResultsResponse&)>& on_results) {
  v1::StreamResultsRequest next = request;
  next.set_job(JobName(request.job()));
  Tries tries(retry());
  while (true) {
    grpc::ClientContext context;  // No deadline: as WatchJob.
    Authorize(&context);
    const auto reader = stubs_->jobs->StreamResults(&context, next);
    const Cancellable cancellable(stop, &context);
    v1::StreamResultsResponse response;
    bool wanted = true;
    bool heard = false;
    while (wanted && reader->Read(&response)) {
      heard = true;
      if (!response.resume_token().empty()) next.set_resume_token(response.resume_token());
      wanted = on_results(response);
    }
    if (heard) tries.Restart();  // As WatchJob.
    if (!wanted) context.TryCancel();
    absl::Duration asked;
    const absl::Status end = FromGrpc(reader->Finish(), &asked);
    if (!wanted || end.ok()) return absl::OkStatus();
    if (stop.stop_requested()) return Stopped();
    if (!tries.Again(end, asked, stop)) {
      return stop.stop_requested() ? Stopped() : tries.error();
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
