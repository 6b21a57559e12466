// Jobs, policies, templates, lists, reviews, bonuses.
#include "absl/strings/str_cat.h"
#include "tests/coordinator/service/bad_requests.h"
#include "tests/coordinator/service/service_world.h"

namespace tessera::testing {
namespace {

using grpc::StatusCode;

BadRequest Row(const char* name, const char* method, std::string request, StatusCode code,
               const char* reason, const char* field) {
  return {.name = name,
          .token = kAcme,
          .method = method,
          .messages = {{std::move(request)}},
          .code = code,
          .reason = reason,
          .field = field};
}

BadRequest Invalid(const char* name, const char* method, std::string request, const char* reason,
                   const char* field) {
  return Row(name, method, std::move(request), StatusCode::INVALID_ARGUMENT, reason, field);
}

// CreateJob of a good job with this on top.
BadRequest Create(const char* name, const std::string& change, StatusCode code, const char* reason,
                  const char* field) {
  return {.name = name,
          .token = kAcme,
          .method = "JobService/CreateJob",
          .messages = {{kGoodJob, "request_id: 'bad'", change}},
          .code = code,
          .reason = reason,
          .field = field};
}

BadRequest CreateInvalid(const char* name, const std::string& change, const char* reason,
                         const char* field) {
  return Create(name, change, StatusCode::INVALID_ARGUMENT, reason, field);
}

BadRequest CreateNotServed(const char* name, const std::string& change, const char* reason,
                           const char* field) {
  return Create(name, change, StatusCode::UNIMPLEMENTED, reason, field);
}

std::string Policy(absl::string_view text) { return absl::StrCat("job { policy { ", text, " } }"); }
std::string Template(absl::string_view text) {
  return absl::StrCat("job { template { ", text, " } }");
}

// With a text of so many bytes.
std::string Example(size_t bytes) {
  return absl::StrCat("examples { content { name: 'a' text: '", std::string(bytes, 'x'),
                      "' } answer { fields { choice: 'yes' } } } ");
}

// A job whose only field is this.
BadRequest WithField(const char* name, absl::string_view field, StatusCode code, const char* reason,
                     const char* path) {
  return {.name = name,
          .token = kAcme,
          .method = "JobService/CreateJob",
          .messages = {{absl::StrCat(
              "parent: 'tenants/acme' request_id: 'bad' job { template { title: 't' fields { ",
              field, " } } policy { budget_micros: 1 currency_code: 'EUR' } }")}},
          .code = code,
          .reason = reason,
          .field = path};
}

void AddCreates(std::vector<BadRequest>& rows) {
  const std::string long_text(201, 'x');
  std::string many_examples;
  for (int i = 0; i < 20; ++i) absl::StrAppend(&many_examples, Example(60'000));
  rows.insert(
      rows.end(),
      {
          Invalid("no job", "JobService/CreateJob", "parent: 'tenants/acme' request_id: 'r'",
                  "FIELD_REQUIRED", "job"),
          Invalid("no template and no policy", "JobService/CreateJob",
                  "parent: 'tenants/acme' request_id: 'r' job {}", "FIELD_REQUIRED", "job.policy"),
          CreateInvalid("a parent that is no tenant", "parent: 'acme'", "FIELD_MALFORMED",
                        "parent"),
          CreateInvalid("a tenant in upper case", "parent: 'tenants/ACME'", "FIELD_MALFORMED",
                        "parent"),
          CreateInvalid("no request id", "request_id: ''", "FIELD_REQUIRED", "request_id"),
          CreateInvalid("a request id with a space", "request_id: 'a b'", "FIELD_MALFORMED",
                        "request_id"),
          CreateInvalid("a request id that is too long",
                        absl::StrCat("request_id: '", std::string(65, 'r'), "'"),
                        "FIELD_OUT_OF_LIMITS", "request_id"),
          CreateInvalid("a display name that is too long",
                        absl::StrCat("job { display_name: '", long_text, "' }"),
                        "FIELD_OUT_OF_LIMITS", "job.display_name"),
          CreateInvalid("a display name of two lines", "job { display_name: 'a\\nb' }",
                        "FIELD_MALFORMED", "job.display_name"),
          CreateInvalid("a version that commands terminals", Template("version: '1\\033[2J'"),
                        "FIELD_MALFORMED", "job.template.version"),
          CreateInvalid("a title that commands terminals", Template("title: 'a\\033[2J'"),
                        "FIELD_MALFORMED", "job.template.title"),
          CreateInvalid("a label without a key", "job { labels { key: '' value: 'v' } }",
                        "FIELD_REQUIRED", "job.labels[\"\"]"),
          CreateInvalid("a title that is too long",
                        Template(absl::StrCat("title: '", long_text, "'")), "FIELD_OUT_OF_LIMITS",
                        "job.template.title"),
          CreateInvalid("a template language that is none", Template("language: 'e_n'"),
                        "FIELD_MALFORMED", "job.template.language"),
          CreateInvalid("two fields of one name",
                        Template("fields { name: 'follows' choice { classes { value: 'a' } classes "
                                 "{ value: 'b' } } }"),
                        "VALUE_DUPLICATED", "job.template.fields[1].name"),
          CreateInvalid("an example that does not fit",
                        Template("examples { content { name: 'a' text: 'b' } answer { fields { "
                                 "choice: 'perhaps' } } }"),
                        "ANSWER_DOES_NOT_FIT", "job.template.examples[0].answer.fields[0]"),
          CreateInvalid("an example larger than an item may be", Template(Example(65'536)),
                        "FIELD_OUT_OF_LIMITS", "job.template.examples[0].content"),
          CreateInvalid("a template that gateways could not take in", Template(many_examples),
                        "FIELD_OUT_OF_LIMITS", "job.template"),
          CreateInvalid("a budget of nothing", Policy("budget_micros: 0"), "FIELD_OUT_OF_LIMITS",
                        "job.policy.budget_micros"),
          CreateInvalid("a currency that is none", Policy("currency_code: 'usd'"),
                        "FIELD_MALFORMED", "job.policy.currency_code"),
          CreateInvalid("a priority that is too high", Policy("priority: 1001"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.priority"),
          CreateInvalid("a priority that is no number", Policy("priority: nan"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.priority"),
          CreateInvalid("a value below nothing", Policy("value_micros: -1"), "FIELD_OUT_OF_LIMITS",
                        "job.policy.value_micros"),
          CreateInvalid("a deadline in the past", Policy("deadline { seconds: 1 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.deadline"),
          CreateInvalid("a deadline before the start",
                        Policy("deadline { seconds: 33000000000 } start_time { seconds: "
                               "33000000001 }"),
                        "FIELDS_CONFLICT", "job.policy.deadline"),
          CreateInvalid("a time that is none", Policy("start_time { seconds: 0 nanos: -1 }"),
                        "FIELD_MALFORMED", "job.policy.start_time"),
          CreateInvalid("a certain target", Policy("quality { target_confidence: 1 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.quality.target_confidence"),
          CreateInvalid("a cap below the least answers",
                        Policy("quality { answers_min: 5 answers_max: 4 }"), "FIELDS_CONFLICT",
                        "job.policy.quality.answers_max"),
          CreateInvalid("too many answers", Policy("quality { answers_max: 1001 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.quality.answers_max"),
          CreateInvalid("a price below nothing", Policy("price { price_per_item_micros: -1 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.price.price_per_item_micros"),
          CreateInvalid("two prices for a pool",
                        Policy("price { pool_prices { pool: 'pools/default' } pool_prices { pool: "
                               "'pools/default' } }"),
                        "VALUE_DUPLICATED", "job.policy.price.pool_prices[1].pool"),
          CreateInvalid("a strategy that is none", Policy("split { strategy: 77 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.split.strategy"),
          CreateInvalid("most items below least", Policy("split { items_min: 5 items_max: 4 }"),
                        "FIELDS_CONFLICT", "job.policy.split.items_max"),
          CreateInvalid("a cost that is endless", Policy("split { unit_seconds: inf }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.split.unit_seconds"),
          CreateInvalid("no time to answer", Policy("lease { base {} per_item {} }"),
                        "FIELDS_CONFLICT", "job.policy.lease.per_item"),
          CreateInvalid("a grace that is too long",
                        Policy("lease { late_grace { seconds: 700000 } }"), "FIELD_OUT_OF_LIMITS",
                        "job.policy.lease.late_grace"),
          CreateInvalid("a duration that is none",
                        Policy("lease { base { seconds: 1 nanos: -1 } }"), "FIELD_MALFORMED",
                        "job.policy.lease.base"),
          CreateInvalid("a pool that is no name", Policy("eligibility { pools: 'experts' }"),
                        "FIELD_MALFORMED", "job.policy.eligibility.pools[0]"),
          CreateInvalid("a worker that is no name",
                        Policy("eligibility { excluded_workers: 'ann' }"), "FIELD_MALFORMED",
                        "job.policy.eligibility.excluded_workers[0]"),
          CreateInvalid("a comparator without its value",
                        Policy("eligibility { qualifications { qualification: 'q' comparator: "
                               "COMPARATOR_EQUAL } }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.eligibility.qualifications[0].values"),
          CreateInvalid("gold that is most of the work", Policy("gold { rate: 0.6 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.gold.rate"),
          CreateInvalid("a retention of a minute", Policy("retention { seconds: 60 }"),
                        "FIELD_OUT_OF_LIMITS", "job.policy.retention"),
          Create("a pool that is not there", Policy("eligibility { pools: 'pools/none' }"),
                 StatusCode::FAILED_PRECONDITION, "POOL_NOT_FOUND", ""),
          Create("a request id of another job", "request_id: 'main' job { display_name: 'other' }",
                 StatusCode::ALREADY_EXISTS, "REQUEST_ID_REUSED", ""),
          CreateNotServed("segments", Policy("split { segments { length_max: 10 } }"),
                          "SEGMENTS_NOT_SERVED", "job.policy.split.segments"),
          CreateNotServed("several answers of a worker",
                          Policy("quality { answers_per_worker_and_item_max: 2 }"), "NOT_SERVED",
                          "job.policy.quality.answers_per_worker_and_item_max"),
          CreateNotServed("two fields",
                          Template("fields { name: 'why' choice { classes { value: 'a' } classes { "
                                   "value: 'b' } } }"),
                          "ANSWER_TYPE_NOT_SERVED", "job.template.fields"),
      });
}

void AddTemplates(std::vector<BadRequest>& rows) {
  const auto invalid = StatusCode::INVALID_ARGUMENT;
  const auto not_served = StatusCode::UNIMPLEMENTED;
  std::string classes;
  for (int i = 0; i < 1001; ++i) absl::StrAppend(&classes, "classes { value: 'c", i, "' } ");
  rows.insert(
      rows.end(),
      {
          WithField("a field without a type", "name: 'f'", invalid, "FIELD_REQUIRED",
                    "job.template.fields[0].type"),
          WithField("one class", "name: 'f' choice { classes { value: 'a' } }", invalid,
                    "FIELD_OUT_OF_LIMITS", "job.template.fields[0].choice.classes"),
          WithField("too many classes", absl::StrCat("name: 'f' choice { ", classes, "}"), invalid,
                    "FIELD_OUT_OF_LIMITS", "job.template.fields[0].choice.classes"),
          WithField("a class twice",
                    "name: 'f' choice { classes { value: 'a' } classes { value: 'a' } }", invalid,
                    "VALUE_DUPLICATED", "job.template.fields[0].choice.classes[1].value"),
          WithField("a class with a control character",
                    "name: 'f' choice { classes { value: 'a\\n' } classes { value: 'b' } }",
                    invalid, "FIELD_MALFORMED", "job.template.fields[0].choice.classes[0].value"),
          WithField(
              "a label with a control character",
              "name: 'f' choice { classes { value: 'a' label: 'A\\n' } classes { value: 'b' } "
              "}",
              invalid, "FIELD_MALFORMED", "job.template.fields[0].choice.classes[0].label"),
          WithField("a key twice, but for its case",
                    "name: 'f' choice { classes { value: 'a' key_hint: 'x' } classes { value: 'b' "
                    "key_hint: 'X' } }",
                    invalid, "VALUE_DUPLICATED",
                    "job.template.fields[0].choice.classes[1].key_hint"),
          WithField("a scale of one point", "name: 'f' scale { point_min: 3 point_max: 3 }",
                    invalid, "FIELD_OUT_OF_LIMITS", "job.template.fields[0].scale.point_max"),
          WithField("a scale from end to end",
                    "name: 'f' scale { point_min: -9223372036854775808 point_max: "
                    "9223372036854775807 }",
                    invalid, "FIELD_OUT_OF_LIMITS", "job.template.fields[0].scale.point_max"),
          WithField("a part compared with itself",
                    "name: 'f' pairwise { left_part: 'a' right_part: 'a' }", invalid,
                    "FIELDS_CONFLICT", "job.template.fields[0].pairwise.right_part"),
          WithField("a scale", "name: 'f' scale { point_min: 1 point_max: 5 }", not_served,
                    "ANSWER_TYPE_NOT_SERVED", "job.template.fields"),
          WithField("a text", "name: 'f' text {}", not_served, "ANSWER_TYPE_NOT_SERVED",
                    "job.template.fields"),
          WithField("boxes", "name: 'f' boxes { part: 'image' }", not_served,
                    "ANSWER_TYPE_NOT_SERVED", "job.template.fields"),
          WithField("a choice that may be left out",
                    "name: 'f' may_be_empty: true choice { classes { value: 'a' } classes { value: "
                    "'b' } }",
                    not_served, "ANSWER_TYPE_NOT_SERVED", "job.template.fields"),
      });
}

void AddOthers(std::vector<BadRequest>& rows) {
  const auto missing = StatusCode::NOT_FOUND;
  const auto state = StatusCode::FAILED_PRECONDITION;
  const auto job_not_found = [&](const char* method, const char* request) {
    return Row("a job that is not there", method, request, missing, "JOB_NOT_FOUND", "");
  };
  const std::string none = "tenants/acme/jobs/p0-none";
  rows.insert(
      rows.end(),
      {
          Invalid("no name", "JobService/GetJob", "", "FIELD_REQUIRED", "name"),
          Invalid("a name that is none", "JobService/GetJob", "name: 'jobs/1'", "FIELD_MALFORMED",
                  "name"),
          Invalid("a name with more behind it", "JobService/PauseJob", "name: '$MAIN/items/1'",
                  "FIELD_MALFORMED", "name"),
          job_not_found("JobService/GetJob", "name: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/GetJob", "name: 'tenants/acme/jobs/elsewhere'"),
          job_not_found("JobService/GetJob", "name: 'tenants/acme/jobs/p9-none'"),
          job_not_found("JobService/SealJob", "name: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/CancelJob", "name: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/DeleteJob", "name: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/WatchJob", "name: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/StreamResults", "job: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/ListResults", "parent: 'tenants/acme/jobs/p0-none'"),
          job_not_found("JobService/PlanJob",
                        "parent: 'tenants/acme' job: 'tenants/acme/jobs/p0-none'"),
          Invalid("a page size below nothing", "JobService/ListJobs",
                  "parent: 'tenants/acme' page_size: -1", "FIELD_OUT_OF_LIMITS", "page_size"),
          Invalid("a page token made up", "JobService/ListJobs",
                  "parent: 'tenants/acme' page_token: 'made-up'", "PAGE_TOKEN_INVALID",
                  "page_token"),
          Invalid("a state that is none", "JobService/ListJobs", "parent: 'tenants/acme' states: 0",
                  "FIELD_OUT_OF_LIMITS", "states[0]"),
          Invalid("a state twice", "JobService/ListJobs",
                  "parent: 'tenants/acme' states: JOB_STATE_RUNNING states: JOB_STATE_PAUSED "
                  "states: JOB_STATE_RUNNING",
                  "VALUE_DUPLICATED", "states[2]"),
          Invalid("a state of an item twice", "JobService/ListResults",
                  "parent: '$MAIN' states: ITEM_STATE_WAITING states: ITEM_STATE_WAITING",
                  "VALUE_DUPLICATED", "states[1]"),
          Invalid("a page token made up", "JobService/ListResults",
                  "parent: '$MAIN' page_token: 'made-up'", "PAGE_TOKEN_INVALID", "page_token"),
          Invalid("a page token of another list", "JobService/ListResults",
                  "parent: '$SEALED' page_token: '$PAGE_TOKEN'", "PAGE_TOKEN_INVALID",
                  "page_token"),
          Invalid("a resume token made up", "JobService/StreamResults",
                  "job: '$MAIN' resume_token: 'made-up'", "RESUME_TOKEN_INVALID", "resume_token"),
          Invalid("a resume token of another job", "JobService/StreamResults",
                  "job: '$SEALED' resume_token: '$RESUME_TOKEN'", "RESUME_TOKEN_INVALID",
                  "resume_token"),
          Invalid("no mask", "JobService/UpdateJob", "job { name: '$MAIN' }", "FIELD_REQUIRED",
                  "update_mask"),
          Invalid("a mask that names the template", "JobService/UpdateJob",
                  "job { name: '$MAIN' } update_mask { paths: 'template' }", "FIELD_NOT_UPDATABLE",
                  "update_mask"),
          Invalid("a mask that names nothing there is", "JobService/UpdateJob",
                  "job { name: '$MAIN' } update_mask { paths: 'policy.nothing' }",
                  "FIELD_NOT_UPDATABLE", "update_mask"),
          Invalid("a budget set to nothing", "JobService/UpdateJob",
                  "job { name: '$MAIN' } update_mask { paths: 'policy.budget_micros' }",
                  "FIELD_OUT_OF_LIMITS", "job.policy.budget_micros"),
          Row("a budget below what is reserved", "JobService/UpdateJob",
              "job { name: '$MAIN' policy { budget_micros: 1 } } update_mask { paths: "
              "'policy.budget_micros' }",
              state, "BUDGET_BELOW_COMMITTED", ""),
          Invalid("a cap below the job's least answers", "JobService/UpdateJob",
                  "job { name: '$MAIN' policy { quality { answers_max: 1 } } } update_mask { "
                  "paths: 'policy.quality.answers_max' }",
                  "FIELDS_CONFLICT", "job.policy.quality.answers_min"),
          Row("an update of a job that has ended", "JobService/UpdateJob",
              "job { name: '$ENDED' } update_mask { paths: 'policy.priority' }", state, "JOB_ENDED",
              ""),
          Row("a pause of a job that has ended", "JobService/PauseJob", "name: '$ENDED'", state,
              "JOB_ENDED", ""),
          Row("a resumption of a job that has ended", "JobService/ResumeJob", "name: '$ENDED'",
              state, "JOB_ENDED", ""),
          Row("an end for a job that was cancelled", "JobService/FinaliseJob", "name: '$ENDED'",
              state, "JOB_ENDED", ""),
          Row("a deletion of a job that runs", "JobService/DeleteJob", "name: '$MAIN'", state,
              "JOB_NOT_ENDED", ""),
          Row("a seal on another number of items", "JobService/SealJob",
              "name: '$MAIN' expected_offset: 11", state, "ITEM_COUNT_DIFFERS", ""),
          Invalid("a seal on items below nothing", "JobService/SealJob",
                  "name: '$MAIN' expected_offset: -1", "FIELD_OUT_OF_LIMITS", "expected_offset"),
          Invalid("a plan of nothing", "JobService/PlanJob", "parent: 'tenants/acme'",
                  "FIELD_REQUIRED", "subject"),
          Invalid("a plan of another tenant's job", "JobService/PlanJob",
                  "parent: 'tenants/acme' job: 'tenants/rival/jobs/p0-none'", "FIELDS_CONFLICT",
                  "job"),
          Invalid("a plan of a stratum without items", "JobService/PlanJob",
                  "parent: 'tenants/acme' draft { template { title: 't' } strata {} }",
                  "FIELD_REQUIRED", "draft.policy"),
          Row("a story of an item that is not there", "JobService/ExplainItem",
              "job: '$MAIN' item_key: 'none'", missing, "ITEM_NOT_FOUND", ""),
          Invalid("a story of no item", "JobService/ExplainItem", "job: '$MAIN'", "FIELD_REQUIRED",
                  "item_key"),
          Invalid("no reviews", "JobService/ReviewAnswers", "job: '$MAIN'", "FIELD_REQUIRED",
                  "reviews"),
          Invalid("a review without a decision", "JobService/ReviewAnswers",
                  "job: '$MAIN' reviews { assignment: '$ASSIGNMENT' }", "FIELD_REQUIRED",
                  "reviews[0].decision"),
          Invalid("a rejection without a reason", "JobService/ReviewAnswers",
                  "job: '$MAIN' reviews { assignment: '$ASSIGNMENT' decision: "
                  "REVIEW_DECISION_REJECT }",
                  "FIELD_REQUIRED", "reviews[0].reason"),
          Invalid("a rejection for a reason of two lines", "JobService/ReviewAnswers",
                  "job: '$MAIN' reviews { assignment: '$ASSIGNMENT' decision: "
                  "REVIEW_DECISION_REJECT reason: 'a\\nb' }",
                  "FIELD_MALFORMED", "reviews[0].reason"),
          Invalid("an answer reviewed twice", "JobService/ReviewAnswers",
                  "job: '$MAIN' reviews { assignment: 'a' decision: REVIEW_DECISION_APPROVE } "
                  "reviews { assignment: 'a' decision: REVIEW_DECISION_APPROVE }",
                  "VALUE_DUPLICATED", "reviews[1]"),
          Row("a review of an assignment that is not there", "JobService/ReviewAnswers",
              "job: '$MAIN' reviews { assignment: 'none' decision: REVIEW_DECISION_APPROVE }",
              missing, "ASSIGNMENT_NOT_FOUND", ""),
          Invalid("a bonus of nothing", "JobService/PayBonus",
                  "job: '$MAIN' worker: 'platforms/market/workers/ann' reason: 'r' request_id: 'b'",
                  "FIELD_OUT_OF_LIMITS", "amount_micros"),
          Invalid("a bonus without a reason", "JobService/PayBonus",
                  "job: '$MAIN' worker: 'platforms/market/workers/ann' amount_micros: 1 "
                  "request_id: 'b'",
                  "FIELD_REQUIRED", "reason"),
          Invalid("a bonus for a reason that commands terminals", "JobService/PayBonus",
                  "job: '$MAIN' worker: 'platforms/market/workers/ann' amount_micros: 1 "
                  "reason: 'a\\302\\233' request_id: 'b'",
                  "FIELD_MALFORMED", "reason"),
          Row("one bonus too many", "JobService/PayBonus",
              "job: '$GENEROUS' worker: 'platforms/market/workers/ann' amount_micros: 1 "
              "reason: 'thanks' request_id: 'more'",
              StatusCode::RESOURCE_EXHAUSTED, "BONUSES_MAX", ""),
          Row("a bonus for one assignment", "JobService/PayBonus",
              "job: '$MAIN' worker: 'platforms/market/workers/ann' amount_micros: 1 reason: 'r' "
              "request_id: 'b' assignment: '$ASSIGNMENT'",
              StatusCode::UNIMPLEMENTED, "NOT_SERVED", "assignment"),
          Row("a bonus for somebody who did nothing", "JobService/PayBonus",
              "job: '$MAIN' worker: 'platforms/market/workers/bob' amount_micros: 1 reason: 'r' "
              "request_id: 'b'",
              missing, "WORKER_NOT_FOUND", ""),
      });
}

}  // namespace

std::vector<BadRequest> BadJobRequests() {
  std::vector<BadRequest> rows;
  AddCreates(rows);
  AddTemplates(rows);
  AddOthers(rows);
  return rows;
}

}  // namespace tessera::testing
