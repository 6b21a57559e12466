#include <memory>

#include "coordinator/service/job_streams.h"
#include "coordinator/service/services.h"
#include "coordinator/service/unary_call.h"
#include "tessera/v1/job_service.grpc.pb.h"

namespace tessera::service {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

constexpr Roles kRequesters = {Role::kRequester};

class JobService final : public v1::JobService::CallbackService {
 public:
  explicit JobService(ServiceContext* service) : service_(*service) {}

  ServerUnaryReactor* CreateJob(CallbackServerContext* context, const v1::CreateJobRequest* request,
                                v1::Job* job) override {
    return Call(context, request, job, TenantResource(request->parent(), "parent"),
                &edge::Coordinator::CreateJob);
  }
  ServerUnaryReactor* GetJob(CallbackServerContext* context, const v1::GetJobRequest* request,
                             v1::Job* job) override {
    return Call(context, request, job, JobResource(request->name(), "name"),
                &edge::Coordinator::GetJob);
  }
  ServerUnaryReactor* ListJobs(CallbackServerContext* context, const v1::ListJobsRequest* request,
                               v1::ListJobsResponse* response) override {
    return Call(context, request, response, TenantResource(request->parent(), "parent"),
                &edge::Coordinator::ListJobs);
  }
  ServerUnaryReactor* UpdateJob(CallbackServerContext* context, const v1::UpdateJobRequest* request,
                                v1::Job* job) override {
    return Call(context, request, job, JobResource(request->job().name(), "job.name"),
                &edge::Coordinator::UpdateJob);
  }
  ServerUnaryReactor* DeleteJob(CallbackServerContext* context, const v1::DeleteJobRequest* request,
                                google::protobuf::Empty* response) override {
    return Call(context, request, response, JobResource(request->name(), "name"),
                &edge::Coordinator::DeleteJob);
  }
  ServerUnaryReactor* SealJob(CallbackServerContext* context, const v1::SealJobRequest* request,
                              v1::Job* job) override {
    return Call(context, request, job, JobResource(request->name(), "name"),
                &edge::Coordinator::SealJob);
  }
  ServerUnaryReactor* PauseJob(CallbackServerContext* context, const v1::PauseJobRequest* request,
                               v1::Job* job) override {
    return Call(context, request, job, JobResource(request->name(), "name"),
                &edge::Coordinator::PauseJob);
  }
  ServerUnaryReactor* ResumeJob(CallbackServerContext* context, const v1::ResumeJobRequest* request,
                                v1::Job* job) override {
    return Call(context, request, job, JobResource(request->name(), "name"),
                &edge::Coordinator::ResumeJob);
  }
  ServerUnaryReactor* CancelJob(CallbackServerContext* context, const v1::CancelJobRequest* request,
                                v1::Job* job) override {
    return Call(context, request, job, JobResource(request->name(), "name"),
                &edge::Coordinator::CancelJob);
  }
  ServerUnaryReactor* FinaliseJob(CallbackServerContext* context,
                                  const v1::FinaliseJobRequest* request, v1::Job* job) override {
    return Call(context, request, job, JobResource(request->name(), "name"),
                &edge::Coordinator::FinaliseJob);
  }
  ServerUnaryReactor* PlanJob(CallbackServerContext* context, const v1::PlanJobRequest* request,
                              v1::SplitPlan* plan) override {
    return Call(context, request, plan, TenantResource(request->parent(), "parent"),
                &edge::Coordinator::PlanJob);
  }
  ServerUnaryReactor* ListResults(CallbackServerContext* context,
                                  const v1::ListResultsRequest* request,
                                  v1::ListResultsResponse* response) override {
    return Call(context, request, response, JobResource(request->parent(), "parent"),
                &edge::Coordinator::ListResults);
  }
  ServerUnaryReactor* ExplainItem(CallbackServerContext* context,
                                  const v1::ExplainItemRequest* request,
                                  v1::ItemExplanation* response) override {
    return Call(context, request, response, JobResource(request->job(), "job"),
                &edge::Coordinator::ExplainItem);
  }
  ServerUnaryReactor* ReviewAnswers(CallbackServerContext* context,
                                    const v1::ReviewAnswersRequest* request,
                                    v1::ReviewAnswersResponse* response) override {
    return Call(context, request, response, JobResource(request->job(), "job"),
                &edge::Coordinator::ReviewAnswers);
  }
  ServerUnaryReactor* PayBonus(CallbackServerContext* context, const v1::PayBonusRequest* request,
                               v1::PayBonusResponse* response) override {
    return Call(context, request, response, JobResource(request->job(), "job"),
                &edge::Coordinator::PayBonus);
  }

  grpc::ServerReadReactor<v1::AddItemsRequest>* AddItems(CallbackServerContext* context,
                                                         v1::AddItemsResponse* response) override {
    return StartAddItems(service_, context, response, kRequesters);
  }
  grpc::ServerWriteReactor<v1::JobStatus>* WatchJob(CallbackServerContext* context,
                                                    const v1::WatchJobRequest* request) override {
    return StartWatchJob(service_, context, *request, kRequesters);
  }
  grpc::ServerWriteReactor<v1::StreamResultsResponse>* StreamResults(
      CallbackServerContext* context, const v1::StreamResultsRequest* request) override {
    return StartStreamResults(service_, context, *request, kRequesters);
  }

 private:
  template <typename Request, typename Response>
  ServerUnaryReactor* Call(CallbackServerContext* context, const Request* request,
                           Response* response, const absl::StatusOr<Resource>& resource,
                           CoordinatorCall<Request, Response> call) {
    return StartCall(service_, context, request, response, kRequesters, resource, call);
  }

  ServiceContext& service_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeJobService(ServiceContext* context) {
  return std::make_unique<JobService>(context);
}

}  // namespace tessera::service
