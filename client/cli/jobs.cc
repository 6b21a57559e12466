// watch, jobs, results, explain, and what changes a job's course.

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/money.h"
#include "client/cli/watching.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/json.h"
#include "client/messages.h"
#include "common/errors.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

// `in_progress` of the given enum, whose values are PREFIX_IN_PROGRESS.
template <typename Enum>
absl::StatusOr<std::vector<Enum>> ParseStates(const Invocation& call, absl::string_view prefix,
                                              bool (*parse)(const std::string&, Enum*)) {
  std::vector<Enum> states;
  for (const std::string& word : call.GetAll("state")) {
    Enum state;
    const std::string name = absl::StrReplaceAll(absl::AsciiStrToUpper(word), {{" ", "_"}});
    if (!parse(absl::StrCat(prefix, name), &state) || static_cast<int>(state) == 0) {
      return UsageError(absl::StrCat("--state: there is no state '", word, "'"));
    }
    states.push_back(state);
  }
  return states;
}

bool ParseJobState(const std::string& name, v1::JobState* state) {
  return v1::JobState_Parse(name, state);
}
bool ParseItemState(const std::string& name, v1::ItemState* state) {
  return v1::ItemState_Parse(name, state);
}

// A job that was changed, as the commands that change one say it.
absl::StatusOr<ExitCode> ShowJob(const Invocation& call, const absl::StatusOr<v1::Job>& job) {
  if (!job.ok()) return job.status();
  if (call.json()) {
    call.out() << ToJsonLine(*job) << "\n";
  } else {
    call.out() << job->name() << " is " << StateText(*job) << "\n";
  }
  return kExitOk;
}

// What a job on its way to an end waits for. A lease that was granted just now, put off as far as
// it may be, has its grace at the latest then.
std::string ClosingText(const v1::Job& job, absl::Time now) {
  const v1::LeasePolicy& lease = job.policy().lease();
  const absl::Time latest = now + ToDuration(lease.base()) +
                            ToDuration(lease.per_item()) * job.policy().split().items_max() +
                            ToDuration(lease.extension_max()) + ToDuration(lease.late_grace());
  return absl::StrCat("waiting for ", Plural(job.counts().assignments_open(), "open assignment"),
                      ", until ", TimeText(latest), " at the latest");
}

absl::StatusOr<ExitCode> EndJob(const Invocation& call,
                                absl::StatusOr<v1::Job> (Client::*end)(absl::string_view,
                                                                       std::stop_token)) {
  const Interrupt interrupt;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  TESSERA_ASSIGN_OR_RETURN(v1::Job job, (client.get()->*end)(call.argument(0), interrupt.token()));
  if (call.Has("wait") && !HasEnded(job)) {
    TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> patient, call.Connect(kOutageMax));
    if (!call.json()) call.err() << ClosingText(job, absl::Now()) << std::endl;
    StatusView view(&call.err(), call.err_terminal(), /*json=*/false);
    TESSERA_RETURN_IF_ERROR(
        patient->WatchJob(job.name(), interrupt.token(), [&](const v1::JobStatus& status) {
          job = status.job();
          if (!call.json()) view.Show(status, HasEnded(job));
          return true;
        }));
  }
  return ShowJob(call, job);
}

class ResultWriter {
 public:
  ResultWriter(const Invocation& call, bool csv) : out_(call.out()), csv_(csv) {
    if (csv_) out_ << ResultCsvHeading();
  }
  void Write(const v1::Result& result) {
    if (csv_) {
      out_ << ResultCsv(result);
    } else {
      out_ << ToJsonLine(result) << "\n";
    }
  }

 private:
  std::ostream& out_;
  const bool csv_;
};

}  // namespace

absl::StatusOr<ExitCode> RunWatch(Invocation& call) {
  const Interrupt interrupt;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  // Whether it exists and anybody answers is known at once; later an outage is waited out.
  TESSERA_RETURN_IF_ERROR(client->GetJob(call.argument(0), interrupt.token()).status());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> patient, call.Connect(kOutageMax));
  return WatchToTheEnd(call, patient.get(), call.argument(0), interrupt.token());
}

absl::StatusOr<ExitCode> RunJobs(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const auto states,
                           ParseStates<v1::JobState>(call, "JOB_STATE_", ParseJobState));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  if (!call.arguments().empty()) {
    TESSERA_ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(call.argument(0)));
    if (call.json()) {
      call.out() << ToJsonLine(job) << "\n";
      return kExitOk;
    }
    v1::JobStatus status;
    *status.mutable_job() = job;
    call.out() << job.name() << "\n" << StatusLine(status) << "\n";
    const std::string& version = job.template_().version();
    call.out() << "template " << Printable(job.template_().title()) << ", version "
               << (version.empty() ? "1" : Printable(version)) << "\n";
    call.out() << "policy " << ToJsonLine(job.policy()) << "\n";
    return kExitOk;
  }
  TESSERA_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, client->ListJobs(states));
  if (call.json()) {
    nlohmann::ordered_json list = {{"jobs", nlohmann::ordered_json::array()}};
    for (const v1::Job& job : jobs) list["jobs"].push_back(ToJson(job));
    call.out() << ToLine(list) << "\n";
    return kExitOk;
  }
  if (jobs.empty()) {
    call.err() << "no jobs; `tessera submit FILE` creates one\n";
    return kExitOk;
  }
  constexpr auto kRight = Table::Align::kRight;
  Table table(
      {"job", "name", "state", "items", "resolved", "answers", "spent", "budget", "created"},
      {Table::Align::kLeft, Table::Align::kLeft, Table::Align::kLeft, kRight, kRight, kRight,
       kRight, kRight});
  for (const v1::Job& job : jobs) {
    const v1::JobCounts& counts = job.counts();
    table.Add({ShortName(job.name()), job.display_name(), StateText(job),
               FormatCount(counts.items()), FormatCount(counts.items_resolved()),
               FormatCount(counts.answers()), FormatMoney(SpentMicros(job.ledger())),
               FormatMoney(job.ledger().budget_micros(), job.ledger().currency_code()),
               TimeText(ToTime(job.create_time()))});
  }
  call.out() << table.Render(call.terminal());
  return kExitOk;
}

absl::StatusOr<ExitCode> RunResults(Invocation& call) {
  const std::string format = call.Get("format", call.json() ? "jsonl" : "csv");
  if (format != "csv" && format != "jsonl") {
    return UsageError(absl::StrCat("--format: '", format, "' is neither csv nor jsonl"));
  }
  TESSERA_ASSIGN_OR_RETURN(const auto states,
                           ParseStates<v1::ItemState>(call, "ITEM_STATE_", ParseItemState));
  const bool stream = call.Has("follow") || call.Has("resume-token");
  if (stream && !states.empty())
    return UsageError("--state goes with neither --follow nor a token");
  const Interrupt interrupt;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           call.Connect(call.Has("follow") ? kOutageMax : absl::ZeroDuration()));
  if (!stream) {
    v1::ListResultsRequest request;
    request.set_parent(call.argument(0));
    for (const v1::ItemState state : states) request.add_states(state);
    std::optional<ResultWriter> writer;  // No heading where the call fails.
    TESSERA_RETURN_IF_ERROR(
        client->ListResults(request, interrupt.token(), [&](const v1::ListResultsResponse& page) {
          if (!writer.has_value()) writer.emplace(call, format == "csv");
          for (const v1::Result& result : page.results()) writer->Write(result);
          return call.out().good();
        }));
    return kExitOk;
  }
  v1::StreamResultsRequest request;
  request.set_job(call.argument(0));
  request.set_resume_token(call.Get("resume-token"));
  request.set_follow(call.Has("follow"));
  std::optional<ResultWriter> writer;
  std::string token = request.resume_token();
  const absl::Status status = client->StreamResults(
      request, interrupt.token(), [&](const v1::StreamResultsResponse& response) {
        if (!writer.has_value()) writer.emplace(call, format == "csv");
        for (const v1::Result& result : response.results()) writer->Write(result);
        // The token is for what was written, and not for what a full disk did not take.
        if (!call.out().flush()) return false;
        if (!response.resume_token().empty()) token = response.resume_token();
        return true;
      });
  if (!token.empty()) {
    if (call.json()) {
      call.err() << ToLine({{"resume_token", token}}) << "\n";
    } else {
      call.err() << "go on later with --resume-token " << token << "\n";
    }
  }
  if (!status.ok()) return status;
  return kExitOk;
}

absl::StatusOr<ExitCode> RunExplain(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  TESSERA_ASSIGN_OR_RETURN(const v1::ItemExplanation explanation,
                           client->ExplainItem(call.argument(0), call.argument(1)));
  if (call.json()) {
    call.out() << ToJsonLine(explanation) << "\n";
    return kExitOk;
  }
  TESSERA_ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(call.argument(0)));
  call.out() << ExplanationText(call.terminal(), explanation, job.policy().currency_code());
  return kExitOk;
}

absl::StatusOr<ExitCode> RunPause(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  return ShowJob(call, client->PauseJob(call.argument(0)));
}

absl::StatusOr<ExitCode> RunResume(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  const absl::StatusOr<v1::Job> job = client->ResumeJob(call.argument(0));
  if (job.ok() && job->state() == v1::JOB_STATE_PAUSED && !call.json()) {
    call.err() << "it stays paused: " << PauseRemedy(*job) << "\n";
  }
  return ShowJob(call, job);
}

absl::StatusOr<ExitCode> RunCancel(Invocation& call) { return EndJob(call, &Client::CancelJob); }

absl::StatusOr<ExitCode> RunFinalise(Invocation& call) {
  return EndJob(call, &Client::FinaliseJob);
}

absl::StatusOr<ExitCode> RunDelete(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  if (const absl::Status status = client->DeleteJob(call.argument(0)); !status.ok()) {
    const bool not_ended = GetDetails(status).reason == "JOB_NOT_ENDED";
    const absl::StatusOr<v1::Job> job =
        not_ended ? client->GetJob(call.argument(0)) : absl::StatusOr<v1::Job>(status);
    if (!job.ok() || job->state() != v1::JOB_STATE_CLOSING) return status;
    return WithNextStep(
        status, absl::StrCat("it is ending: ", ClosingText(*job, absl::Now()), "; `tessera watch ",
                             ShortName(job->name()), "` waits with it"));
  }
  const std::string name = client->JobName(call.argument(0));
  if (call.json()) {
    call.out() << ToLine({{"deleted", name}}) << "\n";
  } else {
    call.out() << name << " is deleted\n";
  }
  return kExitOk;
}

absl::StatusOr<ExitCode> RunUpdate(Invocation& call) {
  static constexpr std::pair<absl::string_view, absl::string_view> kUpdatable[] = {
      {"name", "display_name"},
      {"budget", "policy.budget_micros"},
      {"priority", "policy.priority"},
      {"deadline", "policy.deadline"},
      {"target", "policy.quality.target_confidence"},
      {"answers-min", "policy.quality.answers_min"},
      {"answers-max", "policy.quality.answers_max"}};
  v1::UpdateJobRequest request;
  request.mutable_job()->set_display_name(call.Get("name"));
  TESSERA_RETURN_IF_ERROR(
      ApplyUpdatableFlags(call, absl::Now(), request.mutable_job()->mutable_policy()));
  for (const auto& [flag, path] : kUpdatable) {
    if (call.Has(flag)) request.mutable_update_mask()->add_paths(std::string(path));
  }
  if (request.update_mask().paths().empty())
    return UsageError("say what to change, such as --budget");
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  request.mutable_job()->set_name(client->JobName(call.argument(0)));
  return ShowJob(call, client->UpdateJob(request));
}

}  // namespace tessera::client
