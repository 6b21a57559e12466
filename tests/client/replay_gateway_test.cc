// A crowd that can do nothing more for a job goes home by itself; one that may be needed stays.
#include "client/replay_gateway.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tessera/v1/work_service.grpc.pb.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

using testing::IsOk;

// A job that stands as it is told to, for ever, and says so again and again.
class FakeJobs final : public v1::JobService::Service {
 public:
  v1::Job job;

  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest*, v1::Job* response) override {
    *response = job;
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::JobStatus>* writer) override {
    v1::JobStatus status;
    *status.mutable_job() = job;
    while (!context->IsCancelled() && writer->Write(status)) absl::SleepFor(absl::Milliseconds(1));
    return grpc::Status::CANCELLED;
  }
};

// Welcomes everybody and has no work for anybody.
class FakeWork final : public v1::WorkService::Service {
 public:
  std::deque<grpc::Status> ends;  // Of streams without a welcome.
  absl::Duration end_after;       // How long these take.

  grpc::Status Work(grpc::ServerContext*,
                    grpc::ServerReaderWriter<v1::WorkResponse, v1::WorkRequest>* stream) override {
    if (!ends.empty()) {
      absl::SleepFor(end_after);
      const grpc::Status end = ends.front();
      ends.pop_front();
      return end;
    }
    v1::WorkRequest request;
    while (stream->Read(&request)) {
      if (!request.has_hello()) continue;
      v1::WorkResponse response;
      response.mutable_welcome();
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
};

class ReplayGatewayTest : public ::testing::Test {
 protected:
  ReplayGatewayTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&jobs_);
    builder.RegisterService(&work_);
    server_ = builder.BuildAndStart();
    client_ = std::move(*Client::Connect({.address = absl::StrCat("127.0.0.1:", port)}));
    jobs_.job.set_name("tenants/t/jobs/j");
    jobs_.job.set_state(v1::JOB_STATE_RUNNING);
  }

  // How a crowd of one ends whose item nobody wants; stopped once it has been seen waiting for work
  // `seen_waiting_max` times.
  ReplayEnd Run(absl::Duration idle_max, absl::Duration quiet_max, int seen_waiting_max) {
    Crowd crowd;
    crowd.workers.push_back({.name = "ann", .answers = {{.item_key = "a", .label = "yes"}}});
    crowd.answers = 1;
    std::stop_source stop;
    int seen_waiting = 0;
    ReplayGateway gateway(client_.get(), crowd,
                          {.replay = {.job = jobs_.job.name(), .speed = kSpeedMax},
                           .idle_max = idle_max,
                           .quiet_max = quiet_max,
                           .on_status = [&](const v1::JobStatus&, const ReplayCounts& counts) {
                             if (counts.asking == 1 && ++seen_waiting == seen_waiting_max)
                               stop.request_stop();
                           }});
    const absl::StatusOr<ReplayOutcome> outcome = gateway.Run(stop.get_token());
    EXPECT_THAT(outcome, IsOk());
    return outcome.ok() ? outcome->end : ReplayEnd::kStopped;
  }

  const absl::Duration kAtOnce = absl::ZeroDuration();
  const absl::Duration kNever = absl::Hours(1);
  const int kAlways = std::numeric_limits<int>::max();
  FakeJobs jobs_;
  FakeWork work_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ReplayGatewayTest, AJobThatSaysWhyNobodyCanHelpItIsLeftSoon) {
  for (const v1::StallReason reason :
       {v1::STALL_REASON_NO_ELIGIBLE_WORKER, v1::STALL_REASON_OUT_OF_BUDGET,
        v1::STALL_REASON_WAITING_FOR_FINALISE}) {
    jobs_.job.clear_stall();
    jobs_.job.add_stall(reason);
    EXPECT_EQ(Run(kAtOnce, kNever, kAlways), ReplayEnd::kIdle) << v1::StallReason_Name(reason);
  }
}

// Its items are not in the job, or not yet: the job itself sees nothing wrong.
TEST_F(ReplayGatewayTest, AJobThatOffersNothingWithoutAReasonIsLeftAfterAWhile) {
  EXPECT_EQ(Run(kNever, kAtOnce, kAlways), ReplayEnd::kIdle);
  jobs_.job.add_stall(v1::STALL_REASON_NO_ITEMS);
  EXPECT_EQ(Run(kNever, kAtOnce, kAlways), ReplayEnd::kIdle);
}

TEST_F(ReplayGatewayTest, AJobThatMayStillWantSomethingIsWaitedFor) {
  for (const v1::StallReason reason :
       {v1::STALL_REASON_PAUSED, v1::STALL_REASON_RATE_LIMITED, v1::STALL_REASON_NOT_STARTED,
        v1::STALL_REASON_STORE_UNAVAILABLE}) {
    jobs_.job.clear_stall();
    jobs_.job.add_stall(reason);
    EXPECT_EQ(Run(kAtOnce, kAtOnce, 100), ReplayEnd::kStopped) << v1::StallReason_Name(reason);
  }
  jobs_.job.clear_stall();
  jobs_.job.mutable_counts()->set_assignments_open(1);  // What they answer may open items again.
  EXPECT_EQ(Run(kAtOnce, kAtOnce, 100), ReplayEnd::kStopped);
}

// To find nobody may take as long as a stream that works for a while.
TEST_F(ReplayGatewayTest, WhoeverIsNeverWelcomedGivesUp) {
  work_.end_after = absl::Seconds(1.1);
  work_.ends = {{grpc::StatusCode::UNAVAILABLE, "nobody"}, {grpc::StatusCode::INTERNAL, "again"}};
  Crowd crowd;
  crowd.workers.push_back({.name = "ann", .answers = {{.item_key = "a", .label = "yes"}}});
  crowd.answers = 1;
  ReplayGateway gateway(
      client_.get(), crowd,
      {.replay = {.job = jobs_.job.name(), .speed = kSpeedMax}, .reconnect_for = absl::Seconds(1)});
  EXPECT_THAT(gateway.Run({}), testing::StatusIs(absl::StatusCode::kUnavailable, "nobody"));
}

}  // namespace
}  // namespace tessera::client
