// A submission that breaks off says how to go on without making a second job.
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "tessera/v1/job_service.grpc.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Plans, and is never heard of again.
class LostJobs final : public v1::JobService::Service {
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
};

TEST(SubmitTest, AJobThatMayBeThereIsFoundByTheIdThatWasDrawnForIt) {
  LostJobs jobs;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&jobs);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const tessera::testing::TempDir folder;
  std::ofstream(folder.Join("a.csv")) << "id,a\n1,x\n";
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunCommand({"submit", folder.Join("a.csv"), "--classes", "a,b", "--budget", "1",
                        "--deadline", "2030-01-31T18:00:00Z", "--timeout", "0.5", "--server",
                        absl::StrCat("127.0.0.1:", port)},
                       out, err),
            kExitUnavailable);
  EXPECT_NE(jobs.request_id, "");
  EXPECT_THAT(err.str(), AllOf(HasSubstr("lost"),
                               HasSubstr(absl::StrCat("--request-id ", jobs.request_id,
                                                      " --deadline 2030-01-31T18:00:00Z "))));
}

}  // namespace
}  // namespace tessera::client
