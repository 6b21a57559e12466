// inspect: a journal and pages in readable form, and the digest of the state that they fold to.
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/json.h"
#include "common/status_macros.h"
#include "coordinator/core/fold.h"
#include "coordinator/inspect/inspector.h"
#include "nlohmann/json.hpp"

namespace tessera::client {
namespace {

using inspect::Inspector;
using inspect::JournalRecord;
using inspect::StateSource;

constexpr char kDataFolder[] = "./tessera-data";

// Payloads are the requester's: what is shown of them is how many and how large.
nlohmann::ordered_json RecordToJson(const JournalRecord& record) {
  nlohmann::ordered_json json;
  json["record"] = record.id.ToString();
  json["time"] = absl::FormatTime(absl::RFC3339_full, record.record.at, absl::UTCTimeZone());
  json["bytes"] = record.bytes;
  json["owner"] = record.record.nonce;
  json["events"] = nlohmann::ordered_json::array();
  for (const core::Event& event : record.events) {
    json["events"].push_back(nlohmann::ordered_json::parse(core::EventToJson(event)));
  }
  for (const core::PayloadBatch& batch : record.record.payloads) {
    size_t bytes = 0;
    for (const core::Payload& payload : batch.payloads)
      bytes += payload.key.size() + payload.bytes.size();
    json["payloads"].push_back({{"job", batch.job.value()},
                                {"first", batch.first},
                                {"items", batch.payloads.size()},
                                {"bytes", bytes}});
  }
  return json;
}

void ShowRecord(Invocation& call, const JournalRecord& record) {
  if (call.json()) {
    call.out() << ToLine(RecordToJson(record)) << '\n';
    return;
  }
  call.out() << record.id.ToString() << "  "
             << absl::FormatTime("%Y-%m-%d %H:%M:%E3S", record.record.at, absl::UTCTimeZone())
             << "  " << record.bytes << " bytes\n";
  for (const core::Event& event : record.events)
    call.out() << "  " << Printable(core::EventToJson(event)) << '\n';
  for (const core::PayloadBatch& batch : record.record.payloads) {
    call.out() << "  payloads of job " << batch.job.value() << ", items " << batch.first << " to "
               << batch.first + batch.payloads.size() - 1 << '\n';
  }
}

void ShowObjects(Invocation& call, const core::PartitionState& state) {
  bool any = false;
  state.ForEachObject([&](const core::ObjectKey& key, absl::string_view bytes) {
    any = true;
    if (call.json()) {
      nlohmann::ordered_json json{{"object", key.ToString()}, {"bytes", bytes.size()}};
      for (const auto& [field, value] : state.ReadableFields(key)) json[field] = value;
      call.out() << ToLine(json) << '\n';
      return;
    }
    call.out() << key.ToString() << "  " << bytes.size() << " bytes";
    for (const auto& [field, value] : state.ReadableFields(key))
      call.out() << "  " << field << '=' << Printable(value);
    call.out() << '\n';
  });
  if (!any && !call.json()) call.err() << "the partition holds nothing so far\n";
}

// No record was shown: that the journal is empty is news, that it ends before --from a mistake.
absl::Status ExplainNoRecords(Invocation& call, Inspector& inspector, core::RecordId from) {
  TESSERA_ASSIGN_OR_RETURN(const core::RecordId last, inspector.LastRecord());
  if (call.Has("from")) {
    return absl::NotFoundError(
        absl::StrCat("there is no record from ", from.ToString(), " on: the journal ",
                     last == core::RecordId() ? "is empty so far"
                                              : absl::StrCat("ends with ", last.ToString())));
  }
  if (call.json()) return absl::OkStatus();
  call.err() << (last == core::RecordId()
                     ? "the journal is empty so far\n"
                     : "the journal was trimmed to its end; --pages shows what "
                       "its records came to\n");
  return absl::OkStatus();
}

// Both ways to the state; that they agree is the promise that a state is a fold of its journal.
absl::StatusOr<ExitCode> ShowDigests(Invocation& call, Inspector& inspector) {
  TESSERA_ASSIGN_OR_RETURN(const std::string objects, inspector.Digest(StateSource::kObjects));
  const absl::StatusOr<std::string> journal = inspector.Digest(StateSource::kJournal);
  // A journal that was trimmed cannot tell the whole story, and need not.
  const bool comparable = journal.ok();
  if (call.json()) {
    nlohmann::ordered_json json{{"objects", objects}};
    json["journal"] = comparable ? nlohmann::ordered_json(*journal) : nlohmann::ordered_json();
    call.out() << ToLine(json) << '\n';
  } else {
    call.out() << "objects and tail  " << objects << '\n'
               << "journal alone     "
               << (comparable ? *journal
                              : absl::StrCat("not to be had: ", journal.status().message()))
               << '\n';
  }
  if (!comparable || *journal == objects) return kExitOk;
  return absl::DataLossError("the journal and the stored objects fold to different states");
}

absl::StatusOr<core::RecordId> ParseRecordId(const std::string& text) {
  core::RecordId id;
  const std::vector<std::string> parts = absl::StrSplit(text, '-');
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &id.epoch) ||
      !absl::SimpleAtoi(parts[1], &id.sequence)) {
    return FlagError("from", text, "is no record; write EPOCH-SEQUENCE, such as 1-0");
  }
  return id;
}

absl::StatusOr<ExitCode> Inspect(Invocation& call) {
  inspect::InspectorOptions options;
  if (call.Has("redis") && call.Has("data-dir")) {
    return UsageError("say --redis or --data-dir, and not both");
  }
  if (call.Has("redis-user") && !call.Has("redis")) {
    return UsageError(
        "--redis-user is for a Redis of your own: say which one with --redis ADDRESS");
  }
  options.redis = call.Get("redis");
  options.data_folder = call.Get("data-dir", kDataFolder);
  // The server of a data folder asks nobody who they are.
  if (!options.redis.empty()) {
    const char* user = std::getenv("TESSERA_REDIS_USER");
    options.redis_user = call.Get("redis-user", user == nullptr ? "" : user);
    // A password on a command line is everybody's.
    if (const char* password = std::getenv("TESSERA_REDIS_PASSWORD"))
      options.redis_password = password;
    if (!options.redis_user.empty() && options.redis_password.empty()) {
      return UsageError(absl::StrCat("the user '", options.redis_user,
                                     "' needs a password: put it into TESSERA_REDIS_PASSWORD"));
    }
  }
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> partition,
                           call.GetInt("partition", 0, std::numeric_limits<uint32_t>::max()));
  options.partition = static_cast<uint32_t>(partition.value_or(0));
  core::RecordId from;
  if (call.Has("from")) {
    TESSERA_ASSIGN_OR_RETURN(from, ParseRecordId(call.Get("from")));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::optional<int64_t> limit,
                           call.GetInt("limit", 1, std::numeric_limits<int64_t>::max()));

  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Inspector> inspector, Inspector::Open(options));
  if (call.Has("digest")) return ShowDigests(call, *inspector);
  if (call.Has("pages")) {
    TESSERA_ASSIGN_OR_RETURN(const core::PartitionState state,
                             inspector->State(StateSource::kObjects));
    ShowObjects(call, state);
    return kExitOk;
  }
  bool any = false;
  int64_t left = limit.value_or(std::numeric_limits<int64_t>::max());
  TESSERA_RETURN_IF_ERROR(inspector->ForEachRecord(from, [&](const JournalRecord& record) {
    any = true;
    ShowRecord(call, record);
    return --left > 0;
  }));
  if (!any) TESSERA_RETURN_IF_ERROR(ExplainNoRecords(call, *inspector, from));
  return kExitOk;
}

}  // namespace

absl::StatusOr<ExitCode> RunInspect(Invocation& call) {
  const absl::StatusOr<ExitCode> code = Inspect(call);
  // Whoever did not answer, or said no, is a Redis, and no coordinator.
  if (!absl::IsUnavailable(code.status()) && !absl::IsResourceExhausted(code.status())) return code;
  if (!call.Has("redis")) {
    return WithNextStep(code.status(),
                        absl::StrCat(call.Get("data-dir", kDataFolder), "/redis.log says more"));
  }
  return WithNextStep(code.status(),
                      absl::StrCat("is a Redis serving at ", call.Get("redis"),
                                   ", and may its user do that? --redis-user or TESSERA_REDIS_USER "
                                   "names the user, TESSERA_REDIS_PASSWORD holds the password"));
}

}  // namespace tessera::client
