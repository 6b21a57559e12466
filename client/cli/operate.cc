// workers, pools, partitions.

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/money.h"
#include "client/cli/words.h"
#include "client/client.h"
#include "client/json.h"
#include "client/messages.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr auto kLeft = Table::Align::kLeft;
constexpr auto kRight = Table::Align::kRight;

// `local/ann` is `platforms/local/workers/ann`.
absl::StatusOr<std::string> WorkerName(absl::string_view worker) {
  if (absl::StartsWith(worker, "platforms/")) return std::string(worker);
  const size_t slash = worker.find('/');
  if (slash == absl::string_view::npos || slash == 0 || slash + 1 == worker.size()) {
    return UsageError(absl::StrCat("'", worker, "' is no worker; write PLATFORM/WORKER"));
  }
  return absl::StrCat("platforms/", worker.substr(0, slash), "/workers/", worker.substr(slash + 1));
}

std::string EarningsText(const v1::Worker& worker) {
  return absl::StrJoin(worker.earnings(), ", ", [](std::string* out, const v1::Earnings& each) {
    absl::StrAppend(out, FormatMoney(each.earned_micros(), each.currency_code()));
  });
}

std::string ShareText(double share, bool known) {
  return known ? absl::StrFormat("%.3f", share) : "";
}

// `platforms/local/workers/ann` is `local/ann`.
std::string ShortWorker(const v1::Worker& worker) {
  absl::string_view name = worker.name();
  if (!absl::StartsWith(name, "platforms/")) return std::string(name);
  name.remove_prefix(10);
  const absl::string_view platform = name.substr(0, name.find('/'));
  return absl::StrCat(platform, "/", ShortName(name));
}

void PrintWorkers(const Invocation& call, const std::vector<v1::Worker>& workers) {
  Table table({"worker", "answers", "agreement", "on gold", "open", "s/item", "earned", ""},
              {kLeft, kRight, kRight, kRight, kRight, kRight, kRight, kLeft});
  for (const v1::Worker& worker : workers) {
    table.Add({ShortWorker(worker), FormatCount(worker.answers()),
               ShareText(worker.agreement(), worker.answers() > 0),
               ShareText(worker.gold_accuracy(), worker.has_gold_accuracy()),
               FormatCount(worker.assignments_open()),
               worker.has_duration_per_item()
                   ? absl::StrFormat("%.1f",
                                     absl::ToDoubleSeconds(ToDuration(worker.duration_per_item())))
                   : "",
               EarningsText(worker),
               worker.blocked() ? absl::StrCat("blocked: ", worker.blocked_reason()) : ""});
  }
  call.out() << table.Render(call.terminal());
}

template <typename Message>
void PrintJsonList(const Invocation& call, const char* name, const std::vector<Message>& messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Message& message : messages) list.push_back(ToJson(message));
  call.out() << ToLine({{name, list}}) << "\n";
}

void PrintPartition(const Invocation& call, const v1::Partition& partition) {
  call.out() << partition.name() << " " << Word(partition.state()) << "\n"
             << "owner     " << Printable(partition.owner()) << ", epoch " << partition.epoch()
             << "\n"
             << "head      " << partition.head_position() << ", recovery would read from "
             << partition.recovery_position() << "\n"
             << "digest    " << partition.state_digest() << "\n"
             << "jobs      " << FormatCount(partition.jobs()) << ", "
             << FormatCount(partition.assignments_open()) << " assignments open\n"
             << "in Redis  " << FormatCount(partition.journal_bytes()) << " bytes of journal in "
             << FormatCount(partition.journal_records()) << " records, "
             << FormatCount(partition.page_bytes()) << " bytes of pages\n";
}

}  // namespace

absl::StatusOr<ExitCode> RunWorkers(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  if (call.arguments().empty()) {
    if (call.Has("block") || call.Has("unblock")) return UsageError("which worker?");
    TESSERA_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers,
                             client->ListWorkers(call.Get("platform"), call.Get("job")));
    if (call.json()) {
      PrintJsonList(call, "workers", workers);
    } else if (workers.empty()) {
      call.err() << "no workers so far; they are known from their first lease on\n";
    } else {
      PrintWorkers(call, workers);
    }
    return kExitOk;
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string name, WorkerName(call.argument(0)));
  absl::StatusOr<v1::Worker> worker;
  if (call.Has("block") || call.Has("unblock")) {
    if (call.Has("block") && call.Has("unblock")) return UsageError("--block or --unblock?");
    v1::UpdateWorkerRequest request;
    request.mutable_worker()->set_name(name);
    request.mutable_worker()->set_blocked(call.Has("block"));
    request.mutable_worker()->set_blocked_reason(call.Get("block"));
    request.mutable_update_mask()->add_paths("blocked");
    request.mutable_update_mask()->add_paths("blocked_reason");
    worker = client->UpdateWorker(request);
  } else {
    worker = client->GetWorker(name);
  }
  if (!worker.ok()) return worker.status();
  if (call.json()) {
    call.out() << ToJsonLine(*worker) << "\n";
    return kExitOk;
  }
  PrintWorkers(call, {*worker});
  if (worker->jobs().empty()) return kExitOk;
  Table table({"job", "answers", "accuracy", "fit", "earned", "rejected"},
              {kLeft, kRight, kRight, kRight, kRight, kRight});
  for (const v1::WorkerJobReport& job : worker->jobs()) {
    table.Add({ShortName(job.job()), FormatCount(job.answers()),
               absl::StrFormat("%.3f", job.accuracy_mean()), absl::StrCat(job.fit()),
               FormatMoney(job.earned_micros()), FormatCount(job.answers_rejected())});
  }
  call.out() << "\n" << table.Render(call.terminal());
  return kExitOk;
}

absl::StatusOr<ExitCode> RunPools(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  TESSERA_ASSIGN_OR_RETURN(const std::vector<v1::Pool> pools, client->ListPools());
  if (call.json()) {
    PrintJsonList(call, "pools", pools);
    return kExitOk;
  }
  Table table({"pool", "name", "price/item", "skills", "languages"}, {kLeft, kLeft, kRight});
  for (const v1::Pool& pool : pools) {
    table.Add({ShortName(pool.name()), pool.display_name(),
               FormatMoney(pool.price_per_item_micros()), absl::StrJoin(pool.skills(), ", "),
               absl::StrJoin(pool.languages(), ", ")});
  }
  call.out() << table.Render(call.terminal());
  return kExitOk;
}

absl::StatusOr<ExitCode> RunPartitions(Invocation& call) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, call.Connect());
  if (!call.arguments().empty()) {
    TESSERA_ASSIGN_OR_RETURN(const v1::Partition partition, client->GetPartition(call.argument(0)));
    if (call.json()) {
      call.out() << ToJsonLine(partition) << "\n";
    } else {
      PrintPartition(call, partition);
    }
    return kExitOk;
  }
  TESSERA_ASSIGN_OR_RETURN(const std::vector<v1::Partition> partitions, client->ListPartitions());
  if (call.json()) {
    PrintJsonList(call, "partitions", partitions);
    return kExitOk;
  }
  Table table({"partition", "state", "owner", "epoch", "head", "jobs", "open", "journal"},
              {kLeft, kLeft, kLeft, kRight, kLeft, kRight, kRight, kRight});
  for (const v1::Partition& partition : partitions) {
    table.Add({ShortName(partition.name()), Word(partition.state()), partition.owner(),
               absl::StrCat(partition.epoch()), partition.head_position(),
               FormatCount(partition.jobs()), FormatCount(partition.assignments_open()),
               FormatCount(partition.journal_bytes())});
  }
  call.out() << table.Render(call.terminal());
  return kExitOk;
}

}  // namespace tessera::client
