#include <memory>

#include "coordinator/service/job_streams.h"
#include "coordinator/service/received.h"
#include "coordinator/service/services.h"
#include "coordinator/service/unary_call.h"
#include "tessera/v1/job_service.grpc.pb.h"

namespace tessera::service {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

constexpr Roles kRequesters = {Role::kRequester};

class JobService final : public ReceivingService<v1::JobService> {
 public:
  explicit JobService(ServiceContext* service) : ReceivingService(service) {
    Take("CreateJob", UnaryHandler(this, &JobService::CreateJob));
    Take("GetJob", UnaryHandler(this, &JobService::GetJob));
    Take("ListJobs", UnaryHandler(this, &JobService::ListJobs));
    Take("UpdateJob", UnaryHandler(this, &JobService::UpdateJob));
    Take("DeleteJob", UnaryHandler(this, &JobService::DeleteJob));
    Take("SealJob", UnaryHandler(this, &JobService::SealJob));
    Take("PauseJob", UnaryHandler(this, &JobService::PauseJob));
    Take("ResumeJob", UnaryHandler(this, &JobService::ResumeJob));
    Take("CancelJob", UnaryHandler(this, &JobService::CancelJob));
    Take("FinaliseJob", UnaryHandler(this, &JobService::FinaliseJob));
    Take("PlanJob", UnaryHandler(this, &JobService::PlanJob));
    Take("ListResults", UnaryHandler(this, &JobService::ListResults));
    Take("ExplainItem", UnaryHandler(this, &JobService::ExplainItem));
    Take("ReviewAnswers", UnaryHandler(this, &JobService::ReviewAnswers));
    Take("PayBonus", UnaryHandler(this, &JobService::PayBonus));
    Take("AddItems",
         new grpc::internal::CallbackClientStreamingHandler<Received<v1::AddItemsRequest>,
                                                            v1::AddItemsResponse>(
             [this](CallbackServerContext* context, v1::AddItemsResponse* response) {
               return StartAddItems(service_, context, response, kRequesters);
             }));
    Take("WatchJob",
         new grpc::internal::CallbackServerStreamingHandler<Received<v1::WatchJobRequest>,
                                                            v1::JobStatus>(
             [this](CallbackServerContext* context, const Received<v1::WatchJobRequest>* request) {
               return StartWatchJob(service_, context, *request, kRequesters);
             }));
    Take("StreamResults",
         new grpc::internal::CallbackServerStreamingHandler<Received<v1::StreamResultsRequest>,
                                                            v1::StreamResultsResponse>(
             [this](CallbackServerContext* context,
                    const Received<v1::StreamResultsRequest>* request) {
               return StartStreamResults(service_, context, *request, kRequesters);
             }));
  }

  ServerUnaryReactor* CreateJob(CallbackServerContext* context, const v1::CreateJobRequest* request,
                                v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     TenantResource(request->parent(), "parent"), &edge::Coordinator::CreateJob);
  }
  ServerUnaryReactor* GetJob(CallbackServerContext* context, const v1::GetJobRequest* request,
                             v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::GetJob);
  }
  ServerUnaryReactor* ListJobs(CallbackServerContext* context, const v1::ListJobsRequest* request,
                               v1::ListJobsResponse* response) override {
    return StartCall(service_, context, request, response, kRequesters,
                     TenantResource(request->parent(), "parent"), &edge::Coordinator::ListJobs);
  }
  ServerUnaryReactor* UpdateJob(CallbackServerContext* context, const v1::UpdateJobRequest* request,
                                v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->job().name(), "job.name"), &edge::Coordinator::UpdateJob);
  }
  ServerUnaryReactor* DeleteJob(CallbackServerContext* context, const v1::DeleteJobRequest* request,
                                google::protobuf::Empty* response) override {
    return StartCall(service_, context, request, response, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::DeleteJob);
  }
  ServerUnaryReactor* SealJob(CallbackServerContext* context, const v1::SealJobRequest* request,
                              v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::SealJob);
  }
  ServerUnaryReactor* PauseJob(CallbackServerContext* context, const v1::PauseJobRequest* request,
                               v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::PauseJob);
  }
  ServerUnaryReactor* ResumeJob(CallbackServerContext* context, const v1::ResumeJobRequest* request,
                                v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::ResumeJob);
  }
  ServerUnaryReactor* CancelJob(CallbackServerContext* context, const v1::CancelJobRequest* request,
                                v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::CancelJob);
  }
  ServerUnaryReactor* FinaliseJob(CallbackServerContext* context,
                                  const v1::FinaliseJobRequest* request, v1::Job* job) override {
    return StartCall(service_, context, request, job, kRequesters,
                     JobResource(request->name(), "name"), &edge::Coordinator::FinaliseJob);
  }
  ServerUnaryReactor* PlanJob(CallbackServerContext* context, const v1::PlanJobRequest* request,
                              v1::SplitPlan* plan) override {
    return StartCall(service_, context, request, plan, kRequesters,
                     TenantResource(request->parent(), "parent"), &edge::Coordinator::PlanJob);
  }
  ServerUnaryReactor* ListResults(CallbackServerContext* context,
                                  const v1::ListResultsRequest* request,
                                  v1::ListResultsResponse* response) override {
    return StartCall(service_, context, request, response, kRequesters,
                     JobResource(request->parent(), "parent"), &edge::Coordinator::ListResults);
  }
  ServerUnaryReactor* ExplainItem(CallbackServerContext* context,
                                  const v1::ExplainItemRequest* request,
                                  v1::ItemExplanation* response) override {
    return StartCall(service_, context, request, response, kRequesters,
                     JobResource(request->job(), "job"), &edge::Coordinator::ExplainItem);
  }
  ServerUnaryReactor* ReviewAnswers(CallbackServerContext* context,
                                    const v1::ReviewAnswersRequest* request,
                                    v1::ReviewAnswersResponse* response) override {
    return StartCall(service_, context, request, response, kRequesters,
                     JobResource(request->job(), "job"), &edge::Coordinator::ReviewAnswers);
  }
  ServerUnaryReactor* PayBonus(CallbackServerContext* context, const v1::PayBonusRequest* request,
                               v1::PayBonusResponse* response) override {
    return StartCall(service_, context, request, response, kRequesters,
                     JobResource(request->job(), "job"), &edge::Coordinator::PayBonus);
  }
};

}  // namespace

std::unique_ptr<grpc::Service> MakeJobService(ServiceContext* context) {
  return std::make_unique<JobService>(context);
}

}  // namespace tessera::service
