// A file of items, read once from end to end before anything is sent: whatever is wrong with it is
// said before there is a job, and a plan needs its sums.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/items.h"
#include "tessera/v1/job.pb.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/template.pb.h"

namespace tessera::client {

struct Survey {
  struct Stratum {
    int64_t items = 0;
    double length = 0;
    double importance = 0;
  };
  std::unique_ptr<ItemSource> items;  // At the first one again.
  int64_t count = 0;
  std::map<std::string, Stratum> strata;  // Of each item once, as a job takes it.
  std::vector<std::string> warnings;      // What one should know of the file.
};

// Opens `file` as the flags of `call` say, and checks all of it (client/item_check.h) against
// `task`. Errors name file and line.
absl::StatusOr<Survey> SurveyFile(const Invocation& call, const std::string& file,
                                  const v1::TaskTemplate& task);

// The items as PlanJob takes them.
void AddStrata(const Survey& survey, v1::JobDraft* draft);

// What is doubtful about a plan under `policy`: that nobody is paid, without anybody having said so,
// and money that brings no item to its end. `answers_least` is what an item takes at the least.
// Empty where all is well.
std::vector<std::string> PlanWarnings(const v1::SplitPlan& plan, const v1::Policy& policy,
                                      int64_t answers_least);

// Answers that an item takes at the least under such a policy.
int64_t AnswersLeast(const v1::QualityPolicy& quality);

}  // namespace tessera::client
