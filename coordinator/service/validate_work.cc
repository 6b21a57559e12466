#include "coordinator/service/validate_work.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/contract_text.h"
#include "coordinator/service/validate_values.h"

namespace tessera::service {
namespace {

constexpr int kItemsMax = 10'000;  // Item keys in a lease, answers in a submit.

void CheckHello(const v1::Hello& hello, const edge::WorkLimits& limits, Violations& violations) {
  const FieldPath path("hello");
  CheckId(hello.gateway(), path.Sub("gateway"), violations);
  CheckText(hello.client(), 128, path.Sub("client"), violations);
  const FieldPath held = path.Sub("held");
  if (hello.held_size() > limits.held_max) {
    violations.OutOfLimits(held, absl::StrCat("must have at most ", limits.held_max, " entries"));
    return;
  }
  for (int i = 0; i < hello.held_size() && !violations.full(); ++i) {
    const v1::Held& one = hello.held(i);
    const FieldPath at = held.At(i);
    CheckAssignment(one.assignment(), at.Sub("assignment"), violations);
    const FieldPath drafts = at.Sub("drafts");
    for (int j = 0; j < one.drafts_size() && !violations.full(); ++j) {
      const FieldPath draft = drafts.At(j);
      CheckItemKey(one.drafts(j).item_key(), draft.Sub("item_key"), violations);
      if (one.drafts(j).edit() < 1) {
        violations.OutOfLimits(draft.Sub("edit"), "must be 1 or more");
      }
    }
  }
  const FieldPath positions = path.Sub("positions");
  for (int i = 0; i < hello.positions_size() && !violations.full(); ++i) {
    const FieldPath at = positions.At(i);
    CheckName("partitions", hello.positions(i).partition(), at.Sub("partition"), violations);
  }
}

// Looks at entries. Each is answered for itself, and so has Violations of its own.
class EntryCheck {
 public:
  EntryCheck(const edge::WorkLimits& limits, const ItemLimits& items)
      : limits_(limits), items_(items) {}

  void Check(const v1::Lease& lease, Violations& violations) {
    if (lease.demand_id() == 0) violations.Required(FieldPath("demand_id"));
    CheckWorker(lease.worker(), violations);
    if (!lease.pool().empty()) CheckName("pools", lease.pool(), FieldPath("pool"), violations);
    CheckRange(lease.assignments_wanted(), 0, std::numeric_limits<int32_t>::max(),
               FieldPath("assignments_wanted"), violations);
    CheckRange(lease.items_max(), 0, std::numeric_limits<int32_t>::max(), FieldPath("items_max"),
               violations);
    if (!lease.only_job().empty()) {
      CheckJobName(lease.only_job(), FieldPath("only_job"), violations);
    }
    const FieldPath keys("only_item_keys");
    if (!lease.only_item_keys().empty() && lease.only_job().empty()) {
      violations.Conflict(keys, "goes with only_job only");
    }
    CheckKeys(lease.only_item_keys(), keys, violations);
    CheckLanguages(lease.languages(), 32, FieldPath("languages"), violations);
    CheckIds(lease.skills(), 32, FieldPath("skills"), violations);
    const FieldPath capabilities("capabilities");
    if (lease.capabilities_size() > 32) {
      violations.OutOfLimits(capabilities, "must have at most 32 entries");
    }
    for (int i = 0; i < lease.capabilities_size() && !violations.full(); ++i) {
      CheckEnum(v1::Capability_IsValid(lease.capabilities(i)), capabilities.At(i), violations);
    }
    if (lease.has_wait_max()) {
      CheckDuration(lease.wait_max(), absl::ZeroDuration(), absl::Hours(24 * 366),
                    FieldPath("wait_max"), violations);
    }
    CheckText(lease.model_version(), 64, FieldPath("model_version"), violations);
  }

  void Check(const v1::Draft& draft, Violations& violations) {
    CheckAssignment(draft.assignment(), FieldPath("assignment"), violations);
    CheckItemKey(draft.item_key(), FieldPath("item_key"), violations);
    if (draft.edit() < 1) violations.OutOfLimits(FieldPath("edit"), "must be 1 or more");
    if (draft.has_answer()) {
      CheckAnswer(draft.answer(), items_, FieldPath("answer"), violations);
    }
  }

  void Check(const v1::Submit& submit, Violations& violations) {
    CheckAssignment(submit.assignment(), FieldPath("assignment"), violations);
    const FieldPath answers("answers");
    if (submit.answers_size() > kItemsMax) {
      violations.OutOfLimits(answers, absl::StrCat("must have at most ", kItemsMax, " entries"));
      return;
    }
    absl::flat_hash_set<absl::string_view> seen;
    for (int i = 0; i < submit.answers_size() && !violations.full(); ++i) {
      const v1::ItemAnswer& answer = submit.answers(i);
      const FieldPath at = answers.At(i);
      if (CheckItemKey(answer.item_key(), at.Sub("item_key"), violations) &&
          !seen.insert(answer.item_key()).second) {
        violations.Duplicated(at.Sub("item_key"), "is there twice");
      }
      if (answer.has_answer()) {
        CheckAnswer(answer.answer(), items_, at.Sub("answer"), violations);
      } else {
        violations.Required(at.Sub("answer"));
      }
    }
    if (submit.has_active_duration()) {
      CheckDuration(submit.active_duration(), absl::ZeroDuration(), absl::Hours(24 * 366),
                    FieldPath("active_duration"), violations);
    }
  }

  void Check(const v1::Return& give_back, Violations& violations) {
    CheckAssignment(give_back.assignment(), FieldPath("assignment"), violations);
    CheckKeys(give_back.item_keys(), FieldPath("item_keys"), violations);
    CheckEnum(v1::ReturnReason_IsValid(give_back.reason()), FieldPath("reason"), violations);
    CheckText(give_back.text(), 1000, FieldPath("text"), violations);
    if (give_back.drafts_too() && !give_back.item_keys().empty()) {
      violations.Conflict(FieldPath("drafts_too"), "goes with empty item_keys only");
    }
  }

  void Check(const v1::Extend& extend, Violations& violations) {
    CheckAssignment(extend.assignment(), FieldPath("assignment"), violations);
    const FieldPath path("expire_time");
    if (extend.has_expire_time()) {
      CheckTime(extend.expire_time(), path, violations);
    } else {
      violations.Required(path);
    }
  }

  // Something well-formed that this stream may not do.
  absl::Status CheckAllowed(const v1::Lease& lease) const {
    if (lease.assignments_wanted() > limits_.credit_max) {
      return ErrorWith(absl::StatusCode::kResourceExhausted, v1::STREAM_LIMIT,
                       absl::StrCat("a demand may want ", limits_.credit_max, " assignments"))
          .Field("assignments_wanted", "is above the limit of the stream");
    }
    return absl::OkStatus();
  }
  template <typename Entry>
  absl::Status CheckAllowed(const Entry&) const {
    return absl::OkStatus();  // Whose an assignment is, is known where the assignments are.
  }

 private:
  void CheckWorker(absl::string_view worker, Violations& violations) {
    const FieldPath path("worker");
    if (worker.empty()) {
      violations.Required(path);
    } else if (!IsWorkerId(worker)) {
      CheckWorkerName(worker, path, violations);
    }
  }

  static void CheckKeys(const Texts& keys, const FieldPath& path, Violations& violations) {
    if (keys.size() > kItemsMax) {
      violations.OutOfLimits(path, absl::StrCat("must have at most ", kItemsMax, " entries"));
      return;
    }
    absl::flat_hash_set<absl::string_view> seen;
    for (int i = 0; i < keys.size() && !violations.full(); ++i) {
      if (CheckItemKey(keys[i], path.At(i), violations) && !seen.insert(keys[i]).second) {
        violations.Duplicated(path.At(i), "is there twice");
      }
    }
  }

  const edge::WorkLimits& limits_;
  const ItemLimits& items_;
};

// What tells the gateway which of its entries is meant.
void Identify(const v1::Lease& lease, v1::Rejected& rejected) {
  rejected.set_kind(v1::WORK_KIND_LEASE);
  rejected.set_demand_id(lease.demand_id());
}
void Identify(const v1::Draft& draft, v1::Rejected& rejected) {
  rejected.set_kind(v1::WORK_KIND_DRAFT);
  rejected.set_assignment(draft.assignment());
  rejected.set_item_key(draft.item_key());
  rejected.set_edit(draft.edit());
  rejected.set_tag(draft.tag());
}
void Identify(const v1::Submit& submit, v1::Rejected& rejected) {
  rejected.set_kind(v1::WORK_KIND_SUBMIT);
  rejected.set_assignment(submit.assignment());
  rejected.set_tag(submit.tag());
}
void Identify(const v1::Return& give_back, v1::Rejected& rejected) {
  rejected.set_kind(v1::WORK_KIND_RETURN);
  rejected.set_assignment(give_back.assignment());
  rejected.set_tag(give_back.tag());
}
void Identify(const v1::Extend& extend, v1::Rejected& rejected) {
  rejected.set_kind(v1::WORK_KIND_EXTEND);
  rejected.set_assignment(extend.assignment());
  rejected.set_tag(extend.tag());
}

template <typename Entry>
void TakeMalformedEntries(google::protobuf::RepeatedPtrField<Entry>& entries, EntryCheck& check,
                          v1::WorkResponse& response) {
  int kept = 0;
  for (int i = 0; i < entries.size(); ++i) {
    Violations violations;
    check.Check(entries[i], violations);
    absl::Status status = violations.ToStatus();
    if (status.ok()) status = check.CheckAllowed(entries[i]);
    if (status.ok()) {
      if (kept != i) entries.SwapElements(kept, i);
      ++kept;
      continue;
    }
    const ErrorDetails details = GetDetails(status);
    v1::Rejected& rejected = *response.add_rejected();
    Identify(entries[i], rejected);
    rejected.set_code(static_cast<int32_t>(status.code()));
    rejected.set_reason(details.reason);
    rejected.set_message(std::string(status.message()));
    if (!details.fields.empty()) rejected.set_field(details.fields.front().field);
  }
  entries.DeleteSubrange(kept, entries.size() - kept);
}

}  // namespace

absl::Status ValidateMessage(const v1::WorkRequest& request, bool first,
                             const edge::WorkLimits& limits) {
  if (first != request.has_hello()) {
    const absl::string_view why = first ? "is required in the first message" : "comes again";
    return ErrorWith(absl::StatusCode::kFailedPrecondition, v1::HELLO_MISPLACED,
                     absl::StrCat("hello ", why))
        .Field("hello", why);
  }
  if (first && request.hello().protocol_version() != edge::kWorkProtocolVersion) {
    return ErrorWith(absl::StatusCode::kFailedPrecondition, v1::PROTOCOL_VERSION,
                     absl::StrCat("protocol version ", request.hello().protocol_version(),
                                  " is not spoken here; ", edge::kWorkProtocolVersion, " is"))
        .Field("hello.protocol_version", "is not spoken here");
  }
  const int64_t entries = int64_t{request.leases_size()} + AnswerableEntries(request);
  if (entries > limits.entries_max) {
    return ErrorWith(
        absl::StatusCode::kResourceExhausted, v1::STREAM_LIMIT,
        absl::StrCat("a message may have ", limits.entries_max, " entries, not ", entries));
  }
  if (static_cast<int64_t>(request.ByteSizeLong()) > limits.request_bytes_max) {
    return ErrorWith(absl::StatusCode::kResourceExhausted, v1::MESSAGE_TOO_LARGE,
                     absl::StrCat("a message may have ", limits.request_bytes_max, " bytes"));
  }
  Violations violations;
  if (first) CheckHello(request.hello(), limits, violations);
  return violations.ToStatus();
}

void TakeMalformed(v1::WorkRequest& request, const edge::WorkLimits& limits,
                   const ItemLimits& items, v1::WorkResponse& rejected) {
  EntryCheck check(limits, items);
  TakeMalformedEntries(*request.mutable_leases(), check, rejected);
  TakeMalformedEntries(*request.mutable_drafts(), check, rejected);
  TakeMalformedEntries(*request.mutable_submits(), check, rejected);
  TakeMalformedEntries(*request.mutable_returns(), check, rejected);
  TakeMalformedEntries(*request.mutable_extends(), check, rejected);
}

int64_t AnswerableEntries(const v1::WorkRequest& request) {
  return int64_t{request.drafts_size()} + request.submits_size() + request.returns_size() +
         request.extends_size();
}

int64_t AnswersIn(const v1::WorkResponse& response) {
  int64_t answers = 0;
  for (const v1::Committed& committed : response.committed()) {
    answers += committed.kind() != v1::WORK_KIND_EXPIRY;
  }
  for (const v1::Rejected& rejected : response.rejected()) {
    answers += rejected.kind() != v1::WORK_KIND_LEASE;
  }
  return answers;
}

}  // namespace tessera::service
