// A coordinator that goes away, or a disk that is full, costs nobody a second job or a result.
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <sstream>
#include <streambuf>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Takes every change, and is then gone for longer than a call may take.
class ShakyJobs final : public v1::JobService::Service {
 public:
  std::string request_id;

  grpc::Status PlanJob(grpc::ServerContext*, const v1::PlanJobRequest*, v1::SplitPlan*) override {
    return grpc::Status::OK;
  }
  grpc::Status CreateJob(grpc::ServerContext*, const v1::CreateJobRequest* request,
                         v1::Job*) override {
    request_id = request->request_id();
    return {grpc::StatusCode::UNAVAILABLE, "lost"};
  }
  grpc::Status CancelJob(grpc::ServerContext*, const v1::CancelJobRequest* request,
                         v1::Job* response) override {
    response->set_name(request->name());
    response->set_state(v1::JOB_STATE_CLOSING);
    back_ = absl::Now() + absl::Milliseconds(800);
    return grpc::Status::OK;
  }
  // Its deadline has passed, which a resume does not change.
  grpc::Status ResumeJob(grpc::ServerContext*, const v1::ResumeJobRequest* request,
                         v1::Job* response) override {
    response->set_name(request->name());
    response->set_state(v1::JOB_STATE_PAUSED);
    response->add_pause_reasons(v1::PAUSE_REASON_PAST_DEADLINE);
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobStatus>* writer) override {
    if (absl::Now() < back_) return {grpc::StatusCode::UNAVAILABLE, "gone"};
    v1::JobStatus status;
    status.mutable_job()->set_name(request->name());
    status.mutable_job()->set_state(v1::JOB_STATE_CANCELLED);
    writer->Write(status);
    return grpc::Status::OK;
  }
  grpc::Status StreamResults(grpc::ServerContext*, const v1::StreamResultsRequest*,
                             grpc::ServerWriter<v1::StreamResultsResponse>* writer) override {
    v1::StreamResultsResponse response;
    response.add_results()->set_item_key("a");
    response.set_resume_token("after-a");
    writer->Write(response);
    return grpc::Status::OK;
  }

 private:
  absl::Time back_;
};

// As /dev/full does.
class FullBuffer : public std::streambuf {
  int_type overflow(int_type) override { return traits_type::eof(); }
};

class OutageTest : public ::testing::Test {
 protected:
  OutageTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&jobs_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  int Run(std::vector<std::string> words, std::ostream* out) {
    words.insert(words.end(), {"--timeout", "0.5", "--server", address_});
    return RunCommand(words, *out, err_);
  }

  ShakyJobs jobs_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(OutageTest, AJobThatMayBeThereIsFoundByTheIdThatWasDrawnForIt) {
  const tessera::testing::TempDir folder;
  std::ofstream(folder.Join("a.csv")) << "id,a\n1,x\n";
  EXPECT_EQ(Run({"submit", folder.Join("a.csv"), "--classes", "a,b", "--budget", "1", "--deadline",
                 "2030-01-31T18:00:00Z"},
                &out_),
            kExitUnavailable);
  EXPECT_NE(jobs_.request_id, "");
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("lost"),
                                HasSubstr(absl::StrCat("--request-id ", jobs_.request_id,
                                                       " --deadline 2030-01-31T18:00:00Z "))));
}

TEST_F(OutageTest, WhoeverWaitsForAnEndOutwaitsAnOutage) {
  EXPECT_EQ(Run({"cancel", "j", "--wait"}, &out_), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("is cancelled"));
}

TEST_F(OutageTest, WhoeverResumesWhatStaysPausedIsToldWhatWouldHelp) {
  EXPECT_EQ(Run({"resume", "j"}, &out_), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("is paused: past deadline"));
  EXPECT_EQ(err_.str(), "it stays paused: set a later deadline with `tessera update --deadline`\n");
}

TEST_F(OutageTest, TheTokenIsNotForResultsThatCouldNotBeWritten) {
  FullBuffer full;
  std::ostream out(&full);
  EXPECT_EQ(Run({"results", "j", "--resume-token", "before-a"}, &out), kExitFailed);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("--resume-token before-a"), Not(HasSubstr("after-a")),
                                HasSubstr("could not be written")));
  EXPECT_EQ(Run({"results", "j", "--resume-token", "before-a"}, &out_), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("--resume-token after-a"));
}

}  // namespace
}  // namespace tessera::client
