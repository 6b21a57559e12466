// submit and plan.

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/money.h"
#include "client/cli/survey.h"
#include "client/cli/watching.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/items.h"
#include "client/json.h"
#include "client/retry.h"
#include "client/status.h"
#include "common/errors.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

bool IsItemFile(absl::string_view name) {
  return absl::EndsWithIgnoreCase(name, ".csv") || absl::EndsWithIgnoreCase(name, ".jsonl") ||
         absl::EndsWithIgnoreCase(name, ".ndjson");
}

// `data/pairs.csv` is `pairs`.
std::string Stem(absl::string_view path) {
  absl::string_view name = path.substr(path.rfind('/') + 1);
  return std::string(name.substr(0, name.rfind('.')));
}

// For people a line each on stderr. Programs find them in the object, or (`lines`: there is more
// than one) as an object of their own on stderr.
void Warn(const Invocation& call, const std::vector<std::string>& warnings, bool lines = false) {
  if (call.json()) {
    if (lines && !warnings.empty()) call.err() << ToLine({{"warnings", warnings}}) << "\n";
    return;
  }
  for (const std::string& warning : warnings) {
    call.err() << Styled(call.err_terminal(), Style::kYellow, "warning:") << " "
               << Printable(warning) << "\n";
  }
}

nlohmann::ordered_json WithWarnings(const google::protobuf::Message& message,
                                    const std::vector<std::string>& warnings) {
  nlohmann::ordered_json json = ToJson(message);
  json["warnings"] = warnings;
  return json;
}

// What one should know before the money is gone. A coordinator that cannot plan the job will say
// why when it is asked to create it.
absl::StatusOr<std::vector<std::string>> SubmitWarnings(const Survey& survey, const v1::Job& job,
                                                        Client* client, std::stop_token stop) {
  std::vector<std::string> warnings = survey.warnings;
  v1::PlanJobRequest request;
  *request.mutable_draft()->mutable_template_() = job.template_();
  *request.mutable_draft()->mutable_policy() = job.policy();
  // The price is all that is asked, and one item is planned faster than a million.
  request.mutable_draft()->add_strata()->set_items(1);
  const absl::StatusOr<v1::SplitPlan> plan = client->PlanJob(request, stop);
  if (!plan.ok() && (MayRetry(plan.status()) || stop.stop_requested())) return plan.status();
  if (!plan.ok()) return warnings;
  for (std::string& each :
       PlanWarnings(*plan, job.policy(), AnswersLeast(job.policy().quality()))) {
    warnings.push_back(std::move(each));
  }
  return warnings;
}

// The flags with which a repeat of the command finds the job that `create` made: the id that was
// drawn for it, and the instant that a deadline like `2h` stood for.
std::string RepeatFlags(const v1::CreateJobRequest& create) {
  const v1::Policy& policy = create.job().policy();
  return absl::StrCat("--request-id ", create.request_id(),
                      policy.has_deadline()
                          ? absl::StrCat(" --deadline ", google::protobuf::util::TimeUtil::ToString(
                                                             policy.deadline()))
                          : "");
}

// Creates the job, or finds the one that an earlier call with the same --request-id has made. A job
// and its task without a name of their own have the file's: those are then the first file's, and
// not what tells that a job is another one.
absl::StatusOr<v1::Job> CreateOrFind(const Invocation& call, Client* client,
                                     v1::CreateJobRequest create, std::stop_token stop) {
  const absl::StatusOr<v1::Job> created = client->CreateJob(create, stop);
  if (call.Has("name") || GetDetails(created.status()).reason != "REQUEST_ID_REUSED") {
    return created;
  }
  for (const auto& [key, value] : GetDetails(created.status()).metadata) {
    if (key != "job") continue;
    TESSERA_ASSIGN_OR_RETURN(const v1::Job there, client->GetJob(value, stop));
    create.mutable_job()->set_display_name(there.display_name());
    TESSERA_ASSIGN_OR_RETURN(*create.mutable_job()->mutable_template_(),
                             TemplateOf(call, there.display_name()));
    return client->CreateJob(create, stop);
  }
  return created;
}

// CreateJob ended with `status`. Where nobody knows what came of it, a repeat must not make a
// second job.
absl::Status MaybeCreated(const absl::Status& status, const v1::CreateJobRequest& create,
                          const std::string& server) {
  if (!MayRetry(status) && !absl::IsCancelled(status)) return status;
  const std::string next = NextStep(status, server);
  return WithNextStep(
      status,
      absl::StrCat(next, next.empty() ? "" : ". ", "The job may be there all the same: the ",
                   "same command with ", RepeatFlags(create), " makes no second one"));
}

// `status` ended the intake: says that the job is there all the same, and what can be done with it.
absl::Status LeftBehind(const absl::Status& status, const v1::CreateJobRequest& create,
                        const std::string& name, Client* client) {
  const absl::StatusOr<v1::Job> now = client->GetJob(name);
  std::string held = "holds some of its items and is not sealed";
  if (now.ok()) {
    held = absl::StrCat("holds ", FormatCount(now->committed_offset()), " items and is ",
                        now->sealed() ? "sealed" : "not sealed");
  }
  const std::string id = ShortName(name);
  const bool other_file = GetDetails(status).reason == "ITEM_DIFFERS";
  const std::string next =
      other_file || (now.ok() && now->sealed())
          ? absl::StrCat("give the file that the job was made of (`tessera watch ", id,
                         "` follows it); another --request-id, or none, makes a new job")
          : absl::StrCat("the same command with ", RepeatFlags(create),
                         " goes on with it, with a file whose items so far are the same; `tessera "
                         "cancel ",
                         id, " --wait` and `tessera delete ", id, "` take it away");
  return WithNextStep(
      WithDetails(absl::Status(status.code(), absl::StrCat(status.message(), "\nthe job ", name,
                                                           " is there, ", held)),
                  GetDetails(status)),
      next);
}

}  // namespace

absl::StatusOr<ExitCode> RunSubmit(Invocation& call) {
  const std::string file = call.argument(0);
  const std::string name = call.Get("name", Stem(file));
  v1::CreateJobRequest create;
  v1::Job& job = *create.mutable_job();
  job.set_display_name(name);
  TESSERA_ASSIGN_OR_RETURN(*job.mutable_template_(), TemplateOf(call, name));
  TESSERA_RETURN_IF_ERROR(ApplyPolicyFlags(call, absl::Now(), job.mutable_policy()));
  if (job.policy().budget_micros() == 0) {
    return UsageError("say what it may cost: --budget MONEY (`tessera plan` gives an estimate)");
  }
  create.set_request_id(call.Get("request-id", RandomRequestId()));
  create.set_start_paused(call.Has("paused"));
  TESSERA_ASSIGN_OR_RETURN(const Survey survey, SurveyFile(call, file, job.template_()));

  const Interrupt interrupt;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> warnings,
                           SubmitWarnings(survey, job, client.get(), interrupt.token()));
  Warn(call, warnings, /*lines=*/call.Has("wait"));
  const absl::StatusOr<v1::Job> created =
      CreateOrFind(call, client.get(), create, interrupt.token());
  if (!created.ok()) return MaybeCreated(created.status(), create, call.server());
  // From here on something exists, so an outage is waited out.
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> patient, call.Connect(kOutageMax));
  LiveDisplay display(&call.err(), call.err_terminal());
  const auto on_progress = [&](int64_t items) {
    const double share = static_cast<double>(items) / static_cast<double>(survey.count);
    display.Show({absl::StrFormat(
        "%s items %s %s of %s", items < created->committed_offset() ? "comparing" : "sending",
        Bar(display.terminal(), share, std::clamp(display.terminal().width - 50, 10, 40)),
        FormatCount(items), FormatCount(survey.count))});
  };
  // Whoever is told what was left behind has waited for long enough.
  const auto left_behind = [&](const absl::Status& status) {
    return LeftBehind(status, create, created->name(), client.get());
  };
  const absl::Status added =
      patient->AddItems(*created, survey.items.get(), on_progress, interrupt.token()).status();
  display.Clear();
  if (!added.ok()) return left_behind(added);
  if (interrupt.requested()) return left_behind(absl::CancelledError("stopped"));
  // The file's own count: a job that holds other items than this file is not sealed with them.
  const absl::StatusOr<v1::Job> sealed =
      patient->SealJob(created->name(), survey.count, interrupt.token());
  if (!sealed.ok()) return left_behind(sealed.status());

  if (call.Has("wait")) {
    if (!call.json()) call.err() << sealed->name() << "\n";
    return WatchToTheEnd(call, patient.get(), sealed->name(), interrupt.token());
  }
  if (call.json()) {
    call.out() << ToLine(WithWarnings(*sealed, warnings)) << "\n";
    return kExitOk;
  }
  call.out() << sealed->name() << "\n";
  call.err() << Plural(sealed->counts().items(), "item") << "; next: tessera watch "
             << ShortName(sealed->name()) << "\n";
  return kExitOk;
}

absl::StatusOr<ExitCode> RunPlan(Invocation& call) {
  const std::string subject = call.argument(0);
  v1::PlanJobRequest request;
  int64_t answers_least = 0;
  bool has_budget = true;
  v1::Policy policy;  // That is planned with.
  std::vector<std::string> warnings;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  if (IsItemFile(subject)) {
    v1::JobDraft& draft = *request.mutable_draft();
    TESSERA_ASSIGN_OR_RETURN(*draft.mutable_template_(), TemplateOf(call, Stem(subject)));
    TESSERA_RETURN_IF_ERROR(ApplyPolicyFlags(call, absl::Now(), draft.mutable_policy()));
    // Without a budget the question is what it would cost.
    has_budget = draft.policy().budget_micros() != 0;
    if (!has_budget) {
      draft.mutable_policy()->set_budget_micros(1'000'000'000'000'000);
    }
    TESSERA_ASSIGN_OR_RETURN(const Survey survey, SurveyFile(call, subject, draft.template_()));
    AddStrata(survey, &draft);
    warnings = survey.warnings;
    policy = draft.policy();
    answers_least = AnswersLeast(policy.quality());
  } else {
    TESSERA_ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(subject));
    request.set_job(job.name());
    policy = job.policy();
    TESSERA_RETURN_IF_ERROR(ApplyPolicyFlags(call, absl::Now(), &policy));
    // What is in hand may lack one answer only.
    answers_least = job.counts().items_in_progress() > 0 ? 1 : AnswersLeast(policy.quality());
    if (HasPolicyFlags(call)) *request.mutable_policy_override() = policy;
  }
  TESSERA_ASSIGN_OR_RETURN(const v1::SplitPlan plan, client->PlanJob(request));
  for (std::string& each : PlanWarnings(plan, policy, answers_least)) {
    warnings.push_back(std::move(each));
  }
  Warn(call, warnings);
  if (call.json()) {
    nlohmann::ordered_json json = WithWarnings(plan, warnings);
    // Of a budget that nobody gave.
    if (!has_budget) json.erase("remaining_micros");
    if (!has_budget) json.erase("budget_suffices");
    call.out() << ToLine(json) << "\n";
  } else {
    call.out() << PlanText(call.terminal(), plan, has_budget);
  }
  return kExitOk;
}

}  // namespace tessera::client
