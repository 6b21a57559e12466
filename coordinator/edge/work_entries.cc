// What gateways send on their streams, entry by entry. Each is answered by itself.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/edge/work_desk.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

absl::Status NoSuchAssignment() {
  return Error(StatusCode::kNotFound, "ASSIGNMENT_NOT_FOUND", "there is no such assignment");
}

absl::Status AnotherPlatforms() {
  return Error(StatusCode::kPermissionDenied, "PLATFORM_DENIED",
               "the assignment belongs to a worker of another platform");
}

// What a demand takes to keep, of what a gateway can make large.
size_t BytesOf(const v1::Lease& lease) {
  size_t bytes = 0;
  for (const auto* const texts : {&lease.only_item_keys(), &lease.skills(), &lease.languages()}) {
    for (const std::string& text : *texts) bytes += sizeof(std::string) + text.size();
  }
  return bytes;
}

// The key that the error is about, of a submission or a return; empty if it is about none.
template <typename Keys>
std::string KeyAtFault(const absl::Status& status, absl::string_view list, const Keys& key_of,
                       int count) {
  const ErrorDetails details = GetDetails(status);
  if (details.fields.empty()) return "";
  for (int k = 0; k < count; ++k) {
    if (absl::StartsWith(details.fields.front().field, absl::StrCat(list, "[", k, "]"))) {
      return key_of(k);
    }
  }
  return "";
}

void SetTimes(const core::LiveAssignment& live, v1::Committed& out) {
  *out.mutable_expire_time() = TimeToProto(live.deadline);
  *out.mutable_late_until_time() = TimeToProto(live.late_until);
}

}  // namespace

v1::Rejected& WorkDesk::Reject(Session& session, v1::WorkKind kind,
                               std::optional<uint32_t> partition, const absl::Status& status) {
  const absl::Status said = ToContract(status);
  const ErrorDetails details = GetDetails(said);
  // What a partition refused rests on what it has decided so far, so it waits for that commit; that
  // a partition cannot be asked does not.
  const bool waits =
      partition.has_value() && partitions_->Serving(*partition) && !absl::IsUnavailable(said);
  v1::Rejected& out = waits ? *outbox_.At(session.id(), *partition).add_rejected()
                            : *outbox_.Now(session.id()).add_rejected();
  out.set_kind(kind);
  out.set_code(static_cast<int32_t>(said.code()));
  out.set_reason(details.reason);
  out.set_message(std::string(said.message()));
  if (!details.fields.empty()) out.set_field(details.fields.front().field);
  return out;
}

v1::Rejected& WorkDesk::Reject(Session& session, v1::WorkKind kind, absl::string_view assignment,
                               uint64_t tag, const absl::Status& status) {
  const std::optional<AssignmentRef> ref = partitions_->ids().ParseAssignment(assignment);
  v1::Rejected& out =
      Reject(session, kind, ref.has_value() ? std::optional(ref->partition) : std::nullopt, status);
  out.set_assignment(std::string(assignment));
  out.set_tag(tag);
  return out;
}

absl::StatusOr<WorkDesk::AssignmentRef> WorkDesk::Resolve(const Session& session,
                                                          absl::string_view assignment) {
  const std::optional<AssignmentRef> ref = partitions_->ids().ParseAssignment(assignment);
  if (!ref.has_value()) return NoSuchAssignment();
  TESSERA_RETURN_IF_ERROR(partitions_->Accepting(ref->partition));
  const core::JobState* job = partitions_->state(ref->partition).job(ref->id.job);
  if (IsBeyond(*ref)) {
    return Error(StatusCode::kUnavailable, "PARTITION_UNOWNED",
                 "the assignment was granted after what is known here; connect again");
  }
  if (job == nullptr) return NoSuchAssignment();
  if (!MaySpeakOf(session, *ref, {})) return AnotherPlatforms();
  return *ref;
}

absl::StatusOr<core::ItemIndex> WorkDesk::ItemOf(const Session& session, const AssignmentRef& ref,
                                                 absl::string_view key, absl::string_view path) {
  const auto found = partitions_->host(ref.partition).FindKey(ref.id.job, key);
  if (!found.has_value()) {
    return Error(StatusCode::kNotFound, "ITEM_NOT_IN_ASSIGNMENT", absl::StrCat("no item ", key))
        .Field(path, "is not one of the assignment's items");
  }
  // Of an assignment that has been over for long only its items remember whose it was.
  if (!MaySpeakOf(session, ref, {found->item})) return AnotherPlatforms();
  return found->item;
}

// --- Leases --------------------------------------------------------------------------------------

absl::StatusOr<Demand> WorkDesk::DemandFrom(Session& session, const v1::Lease& lease,
                                            std::optional<uint32_t>* rests_on) {
  if (draining_) {
    return Error(StatusCode::kUnavailable, "SHUTTING_DOWN", "the coordinator is shutting down");
  }
  for (int i = 0; i < lease.capabilities_size(); ++i) {
    if (lease.capabilities(i) == v1::CAPABILITY_LABEL ||
        lease.capabilities(i) == v1::CAPABILITY_UNSPECIFIED) {
      continue;
    }
    return NotServed(absl::StrCat("capabilities[", i, "]"), "work other than labelling");
  }
  if (!lease.model_version().empty()) {
    return NotServed("model_version", "a lease for a version of a model");
  }
  Demand demand{.session = session.id(),
                .platform = session.platform(),
                .id = lease.demand_id(),
                .wanted = static_cast<uint32_t>(lease.assignments_wanted()),
                .items_max = static_cast<uint32_t>(lease.items_max()),
                .skills = {lease.skills().begin(), lease.skills().end()},
                .languages = {lease.languages().begin(), lease.languages().end()},
                .bytes = BytesOf(lease)};
  TESSERA_ASSIGN_OR_RETURN(demand.worker, session.WorkerOf(lease.worker()));
  demand.pool = lease.pool().empty() ? "default" : ParseId("pools", lease.pool()).value_or("");
  const uint32_t home = partitions_->PoolHome(demand.pool);
  TESSERA_RETURN_IF_ERROR(partitions_->Accepting(home));
  if (partitions_->partition(home).FindPool(demand.pool) == nullptr) {
    *rests_on = home;
    return Error(StatusCode::kNotFound, "POOL_NOT_FOUND",
                 absl::StrCat("there is no pool ", lease.pool()))
        .Field("pool", "must name a pool");
  }
  if (lease.has_wait_max()) {
    const absl::Duration wait = FromProto(lease.wait_max());
    demand.until = wait <= absl::ZeroDuration() ? absl::InfinitePast() : partitions_->now() + wait;
  }
  if (!lease.only_job().empty()) {
    *rests_on = partitions_->PartitionOf(lease.only_job());
    TESSERA_ASSIGN_OR_RETURN(const JobRef job, partitions_->FindJob(lease.only_job()));
    demand.only_job = job;
    demand.only_tenant = partitions_->job(job).head.identity.tenant;
    demand.only_some_items = !lease.only_item_keys().empty();
    demand.unknown_keys = {lease.only_item_keys().begin(), lease.only_item_keys().end()};
    FindUnknownKeys(demand);
  }
  return demand;
}

absl::Status WorkDesk::RoomFor(const Demand& demand) const {
  const WorkLimits& limits = options_.work;
  if (!broker_.Stands(demand.session, demand.id) &&
      broker_.demands(demand.session) >= static_cast<size_t>(limits.demands_max)) {
    return Error(StatusCode::kResourceExhausted, "STREAM_LIMIT",
                 absl::StrCat("the stream has ", limits.demands_max, " demands"));
  }
  const size_t others = broker_.bytes(demand.session) - broker_.bytes(demand.session, demand.id);
  if (others + demand.bytes > static_cast<size_t>(limits.demand_bytes_max)) {
    return Error(StatusCode::kResourceExhausted, "STREAM_LIMIT",
                 absl::StrCat("the stream's demands name more than ", limits.demand_bytes_max,
                              " bytes of keys, skills and languages"));
  }
  const size_t replaced = broker_.Stands(demand.session, demand.id)
                              ? Demand::kBareBytes + broker_.bytes(demand.session, demand.id)
                              : 0;
  const auto all_max = static_cast<size_t>(limits.demand_memory_bytes_max);
  const size_t own_max = demand.platform.empty() ? all_max : all_max / WorkLimits::kPlatformShare;
  if (broker_.memory(demand.platform) - replaced + demand.memory() > own_max) {
    return Error(StatusCode::kResourceExhausted, "STREAM_LIMIT",
                 "the platform's streams have as many demands as there is room for");
  }
  if (broker_.memory() - replaced + demand.memory() > all_max) {
    return Error(StatusCode::kResourceExhausted, "STREAM_LIMIT",
                 "all streams together have as many demands as there is room for");
  }
  return absl::OkStatus();
}

void WorkDesk::OnLease(Session& session, const v1::Lease& lease) {
  if (lease.assignments_wanted() == 0) {
    broker_.Withdraw(session.id(), lease.demand_id());
    return;
  }
  std::optional<uint32_t> rests_on;
  absl::StatusOr<Demand> demand = DemandFrom(session, lease, &rests_on);
  if (demand.ok()) {
    const absl::Status room = RoomFor(*demand);
    if (!room.ok()) demand = room;
  }
  if (!demand.ok()) {
    v1::Rejected& out = Reject(session, v1::WORK_KIND_LEASE, rests_on, demand.status());
    out.set_demand_id(lease.demand_id());
    return;
  }
  const std::optional<JobRef> only_job = demand->only_job;
  broker_.Put(*std::move(demand));
  if (only_job.has_value()) OnJobChanged(*only_job);  // It may have ended already.
}

// --- Drafts --------------------------------------------------------------------------------------

void WorkDesk::OnDraft(Session& session, const v1::Draft& draft) {
  const auto handle = [&]() -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const AssignmentRef resolved, Resolve(session, draft.assignment()));
    TESSERA_ASSIGN_OR_RETURN(const core::ItemIndex item,
                             ItemOf(session, resolved, draft.item_key(), "item_key"));
    const JobWords& words = partitions_->words({resolved.partition, resolved.id.job});
    std::string choice;  // Empty: it is withdrawn.
    if (draft.has_answer()) {
      TESSERA_ASSIGN_OR_RETURN(choice, ChoiceOf(draft.answer(), words.field, "answer"));
    }
    TESSERA_RETURN_IF_ERROR(partitions_->partition(resolved.partition)
                                .Draft({.assignment = resolved.id,
                                        .item = item,
                                        .edit = static_cast<uint64_t>(draft.edit()),
                                        .choice = std::move(choice)},
                                       partitions_->now()));
    v1::Committed& out = *outbox_.At(session.id(), resolved.partition).add_committed();
    out.set_kind(v1::WORK_KIND_DRAFT);
    out.set_assignment(draft.assignment());
    out.set_item_key(draft.item_key());
    out.set_edit(draft.edit());
    out.set_tag(draft.tag());
    const core::LiveAssignment* live = Live(resolved);
    out.set_finished(live == nullptr || live->expired);
    if (live == nullptr) return absl::OkStatus();
    out.set_edit(static_cast<int64_t>(live->Find(item)->edit));
    SetTimes(*live, out);
    return absl::OkStatus();
  };
  if (const absl::Status status = handle(); !status.ok()) {
    v1::Rejected& out =
        Reject(session, v1::WORK_KIND_DRAFT, draft.assignment(), draft.tag(), status);
    out.set_item_key(draft.item_key());
    out.set_edit(draft.edit());
  }
}

// --- Submissions ---------------------------------------------------------------------------------

absl::StatusOr<WorkDesk::Account> WorkDesk::Submit(Session& session, const AssignmentRef& ref,
                                                   const v1::Submit& submit) {
  const JobWords& words = partitions_->words({ref.partition, ref.id.job});
  core::Submit command{.assignment = ref.id};
  std::vector<core::ItemIndex> items;
  for (int k = 0; k < submit.answers_size(); ++k) {
    const v1::ItemAnswer& answer = submit.answers(k);
    const std::string path = absl::StrCat("answers[", k, "]");
    TESSERA_ASSIGN_OR_RETURN(const core::ItemIndex item, ItemOf(session, ref, answer.item_key(),
                                                                absl::StrCat(path, ".item_key")));
    items.push_back(item);
    TESSERA_ASSIGN_OR_RETURN(std::string choice,
                             ChoiceOf(answer.answer(), words.field, absl::StrCat(path, ".answer")));
    command.answers.push_back({item, std::move(choice)});
  }
  const core::LiveAssignment* live = Live(ref);
  const absl::Time now = partitions_->now();
  double seconds = live == nullptr ? 0 : absl::ToDoubleSeconds(now - live->granted_at);
  if (submit.has_active_duration()) {
    command.active_seconds =
        std::max(0.0, absl::ToDoubleSeconds(FromProto(submit.active_duration())));
    seconds = command.active_seconds;
  }
  std::vector<core::ItemIndex> all;
  if (live != nullptr) {
    for (const core::LeasedItem& item : live->items) all.push_back(item.item);
  }
  TESSERA_RETURN_IF_ERROR(partitions_->partition(ref.partition).Submit(command, now).status());
  const auto remembered = accounts_.find({ref.partition, ref.id});
  const bool repeat = all.empty();
  if (repeat && remembered != accounts_.end()) return remembered->second;
  Account account = AccountOf(ref, repeat ? items : all);
  account.whole = !repeat;
  if (repeat) return account;
  Correct(ref, seconds);
  Remember(ref, account);
  if (Live(ref) == nullptr) Release(ref);
  return account;
}

void WorkDesk::OnSubmit(Session& session, const v1::Submit& submit) {
  const absl::StatusOr<AssignmentRef> ref = Resolve(session, submit.assignment());
  const absl::StatusOr<Account> account = ref.ok() ? Submit(session, *ref, submit) : ref.status();
  if (!account.ok()) {
    Reject(session, v1::WORK_KIND_SUBMIT, submit.assignment(), submit.tag(), account.status())
        .set_item_key(KeyAtFault(
            account.status(), "answers", [&](int k) { return submit.answers(k).item_key(); },
            submit.answers_size()));
    return;
  }
  v1::Committed& out = *outbox_.At(session.id(), ref->partition).add_committed();
  out.set_kind(v1::WORK_KIND_SUBMIT);
  out.set_assignment(submit.assignment());
  if (account->whole) {
    out.set_earned_micros(account->earned_micros);
    out.set_items_accepted(static_cast<int32_t>(account->accepted));
    out.set_items_returned(static_cast<int32_t>(account->returned));
  }
  out.set_finished(true);
  out.set_late(account->late);
  out.set_tag(submit.tag());
  if (const core::LiveAssignment* live = Live(*ref)) SetTimes(*live, out);
}

// --- Returns, extensions -------------------------------------------------------------------------

absl::StatusOr<WorkDesk::Account> WorkDesk::Return(Session& session, const AssignmentRef& ref,
                                                   const v1::Return& giving_back) {
  core::ReturnItems command{.assignment = ref.id, .drafts_too = giving_back.drafts_too()};
  for (int k = 0; k < giving_back.item_keys_size(); ++k) {
    TESSERA_ASSIGN_OR_RETURN(
        const core::ItemIndex item,
        ItemOf(session, ref, giving_back.item_keys(k), absl::StrCat("item_keys[", k, "]")));
    command.items.push_back(item);
  }
  const auto remembered = accounts_.find({ref.partition, ref.id});
  const core::LiveAssignment* live = Live(ref);
  if (live == nullptr && remembered != accounts_.end()) return remembered->second;
  const bool repeat = live == nullptr;
  std::vector<core::ItemIndex> all;
  double seconds = 0;
  if (repeat) {
    all = command.items;
  } else {
    for (const core::LeasedItem& item : live->items) all.push_back(item.item);
    seconds = absl::ToDoubleSeconds(partitions_->now() - live->granted_at);
  }
  TESSERA_RETURN_IF_ERROR(
      partitions_->partition(ref.partition).Return(command, partitions_->now()));
  Account account = AccountOf(ref, all);
  account.whole = !repeat;
  if (!repeat && Live(ref) == nullptr) {
    // Drafts count when the rest is given back, and took time; what was not begun costs nothing.
    Correct(ref, account.accepted > 0 ? seconds : 0);
    Remember(ref, account);
    Release(ref);
  }
  return account;
}

void WorkDesk::OnReturn(Session& session, const v1::Return& giving_back) {
  const absl::StatusOr<AssignmentRef> ref = Resolve(session, giving_back.assignment());
  const absl::StatusOr<Account> account =
      ref.ok() ? Return(session, *ref, giving_back) : ref.status();
  if (!account.ok()) {
    Reject(session, v1::WORK_KIND_RETURN, giving_back.assignment(), giving_back.tag(),
           account.status())
        .set_item_key(KeyAtFault(
            account.status(), "item_keys", [&](int k) { return giving_back.item_keys(k); },
            giving_back.item_keys_size()));
    return;
  }
  v1::Committed& out = *outbox_.At(session.id(), ref->partition).add_committed();
  out.set_kind(v1::WORK_KIND_RETURN);
  out.set_assignment(giving_back.assignment());
  if (account->whole) out.set_items_returned(static_cast<int32_t>(account->returned));
  out.set_tag(giving_back.tag());
  const core::LiveAssignment* live = Live(*ref);
  out.set_finished(live == nullptr || live->expired);
  if (live != nullptr) SetTimes(*live, out);
}

void WorkDesk::OnExtend(Session& session, const v1::Extend& extend) {
  const auto handle = [&]() -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const AssignmentRef resolved, Resolve(session, extend.assignment()));
    TESSERA_ASSIGN_OR_RETURN(
        const core::LeaseExtended extended,
        partitions_->partition(resolved.partition)
            .Extend({.assignment = resolved.id, .until = FromProto(extend.expire_time())},
                    partitions_->now()));
    v1::Committed& out = *outbox_.At(session.id(), resolved.partition).add_committed();
    out.set_kind(v1::WORK_KIND_EXTEND);
    out.set_assignment(extend.assignment());
    out.set_tag(extend.tag());
    *out.mutable_expire_time() = TimeToProto(extended.deadline);
    *out.mutable_late_until_time() = TimeToProto(extended.late_until);
    return absl::OkStatus();
  };
  if (const absl::Status status = handle(); !status.ok()) {
    Reject(session, v1::WORK_KIND_EXTEND, extend.assignment(), extend.tag(), status);
  }
}

}  // namespace tessera::edge
