// submit and plan.

#include <algorithm>
#include <map>
#include <memory>
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
#include "client/cli/watching.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/items.h"
#include "client/json.h"
#include "client/retry.h"
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

struct Stratum {
  int64_t items = 0;
  double length = 0;
  double importance = 0;
};

// Reads the whole file once: its errors come before anything is created, and a plan needs the sums.
struct Survey {
  int64_t items = 0;
  std::map<std::string, Stratum> strata;
};

absl::StatusOr<Survey> SurveyItems(ItemSource* items) {
  Survey survey;
  v1::Item item;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, items->Next(&item));
    if (!more) break;
    ++survey.items;
    if (item.has_gold()) continue;
    Stratum& stratum = survey.strata[item.stratum()];
    ++stratum.items;
    stratum.length += item.length() == 0 ? 1 : item.length();
    stratum.importance += item.importance() == 0 ? 1 : item.importance();
  }
  if (survey.items == 0) return absl::InvalidArgumentError("the file holds no items");
  TESSERA_RETURN_IF_ERROR(items->Seek(0));
  return survey;
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
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<ItemSource> items,
                           OpenItems(file, ColumnsOf(call)));
  TESSERA_ASSIGN_OR_RETURN(const Survey survey, SurveyItems(items.get()));

  const Interrupt interrupt;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  TESSERA_ASSIGN_OR_RETURN(v1::Job created, client->CreateJob(create));
  // From here on something exists, so an outage is waited out.
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> patient, call.Connect(kOutageMax));
  LiveDisplay display(&call.err(), call.err_terminal());
  const auto on_progress = [&](int64_t committed) {
    const double share = static_cast<double>(committed) / static_cast<double>(survey.items);
    display.Show({absl::StrFormat(
        "sending items %s %s of %s",
        Bar(display.terminal(), share, std::clamp(display.terminal().width - 50, 10, 40)),
        FormatCount(committed), FormatCount(survey.items))});
  };
  const auto with_hint = [&](const absl::Status& status) {
    return WithDetails(
        absl::Status(status.code(),
                     absl::StrCat(status.message(), "\nthe job ", created.name(),
                                  " exists and is not sealed; the same command with --request-id ",
                                  create.request_id(), " goes on with it")),
        GetDetails(status));
  };
  const absl::StatusOr<v1::AddItemsResponse> added =
      patient->AddItems(created.name(), items.get(), on_progress);
  display.Clear();
  if (!added.ok()) return with_hint(added.status());
  const absl::StatusOr<v1::Job> sealed =
      patient->SealJob(created.name(), added->committed_offset());
  if (!sealed.ok()) return with_hint(sealed.status());

  if (call.Has("wait")) {
    if (!call.json()) call.err() << sealed->name() << "\n";
    return WatchToTheEnd(call, patient.get(), sealed->name(), interrupt.token());
  }
  if (call.json()) {
    call.out() << ToJsonLine(*sealed) << "\n";
    return kExitOk;
  }
  call.out() << sealed->name() << "\n";
  call.err() << FormatCount(survey.items) << " items; next: tessera watch "
             << ShortName(sealed->name()) << "\n";
  return kExitOk;
}

absl::StatusOr<ExitCode> RunPlan(Invocation& call) {
  const std::string subject = call.argument(0);
  v1::PlanJobRequest request;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  if (IsItemFile(subject)) {
    v1::JobDraft& draft = *request.mutable_draft();
    TESSERA_ASSIGN_OR_RETURN(*draft.mutable_template_(), TemplateOf(call, Stem(subject)));
    TESSERA_RETURN_IF_ERROR(ApplyPolicyFlags(call, absl::Now(), draft.mutable_policy()));
    // Without a budget the question is what it would cost.
    if (draft.policy().budget_micros() == 0) {
      draft.mutable_policy()->set_budget_micros(1'000'000'000'000'000);
    }
    TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<ItemSource> items,
                             OpenItems(subject, ColumnsOf(call)));
    TESSERA_ASSIGN_OR_RETURN(const Survey survey, SurveyItems(items.get()));
    for (const auto& [name, sums] : survey.strata) {
      const auto count = static_cast<double>(sums.items);
      v1::StratumStatistics& stratum = *draft.add_strata();
      stratum.set_stratum(name);
      stratum.set_items(sums.items);
      stratum.set_length_mean(sums.length / count);
      stratum.set_importance_mean(sums.importance / count);
    }
  } else {
    request.set_job(client->JobName(subject));
    if (HasPolicyFlags(call)) {
      TESSERA_ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(subject));
      *request.mutable_policy_override() = job.policy();
      TESSERA_RETURN_IF_ERROR(
          ApplyPolicyFlags(call, absl::Now(), request.mutable_policy_override()));
    }
  }
  TESSERA_ASSIGN_OR_RETURN(const v1::SplitPlan plan, client->PlanJob(request));
  if (call.json()) {
    call.out() << ToJsonLine(plan) << "\n";
  } else {
    call.out() << PlanText(call.terminal(), plan);
  }
  return kExitOk;
}

}  // namespace tessera::client
