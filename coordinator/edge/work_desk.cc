#include "coordinator/edge/work_desk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/errors.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

constexpr int kSilentHeartbeatsMax = 3;

v1::DemandEndReason EndToProto(Market::End end) {
  switch (end) {
    case Market::End::kNoWork:
      return v1::DEMAND_END_REASON_NO_WORK;
    case Market::End::kWithdrawn:
      return v1::DEMAND_END_REASON_WITHDRAWN;
    case Market::End::kJobDone:
      return v1::DEMAND_END_REASON_JOB_DONE;
    case Market::End::kBlocked:
      return v1::DEMAND_END_REASON_WORKER_BLOCKED;
    case Market::End::kCapped:
      return v1::DEMAND_END_REASON_WORKER_CAPPED;
  }
  return v1::DEMAND_END_REASON_UNSPECIFIED;
}

}  // namespace

WorkDesk::WorkDesk(const CoordinatorOptions& options, Partitions* partitions)
    : options_(options),
      partitions_(partitions),
      broker_(this),
      outbox_(
          partitions, [this](uint64_t id) { return FindSession(id); },
          [this](uint64_t id, absl::Status status) { EndSession(id, status); }) {}

// --- Sessions ------------------------------------------------------------------------------------

uint64_t WorkDesk::Open(absl::string_view platform, SessionSink* sink) {
  const uint64_t id = next_session_++;
  sessions_[id] = std::make_unique<Session>(id, platform, sink, partitions_->now());
  return id;
}

Session* WorkDesk::FindSession(uint64_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

void WorkDesk::Close(uint64_t id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  broker_.DropSession(id);
  resends_.erase(id);
  const auto gateway = gateways_.find(found->second->gateway());
  if (gateway != gateways_.end() && gateway->second.session == id) {
    gateway->second.session = 0;
    if (gateway->second.holds.empty()) gateways_.erase(gateway);
  }
  sessions_.erase(found);
}

void WorkDesk::EndSession(uint64_t id, const absl::Status& status) {
  Session* const session = FindSession(id);
  if (session == nullptr) return;
  session->Close(status);
  Close(id);
}

void WorkDesk::OnWork(uint64_t id, const v1::WorkRequest& request) {
  Session* session = FindSession(id);
  if (session == nullptr) return;
  session->Heard(partitions_->now());
  if (session->doubted()) return;
  TESSERA_CHECK(request.has_hello() == session->gateway().empty()) << "the service lets it pass";
  if (request.has_hello()) OnHello(*session, request.hello());
  session = FindSession(id);
  if (session == nullptr || session->doubted()) return;  // Hello was refused.
  for (const v1::Lease& lease : request.leases()) OnLease(*session, lease);
  for (const v1::Draft& draft : request.drafts()) {
    OnDraft(*session, draft);
    EndEntry(draft.assignment());
  }
  for (const v1::Submit& submit : request.submits()) {
    OnSubmit(*session, submit);
    EndEntry(submit.assignment());
  }
  for (const v1::Return& giving_back : request.returns()) {
    OnReturn(*session, giving_back);
    EndEntry(giving_back.assignment());
  }
  for (const v1::Extend& extend : request.extends()) {
    OnExtend(*session, extend);
    EndEntry(extend.assignment());
  }
}

void WorkDesk::EndEntry(absl::string_view assignment) {
  const std::optional<AssignmentRef> ref = partitions_->ids().ParseAssignment(assignment);
  if (ref.has_value() && partitions_->Serving(ref->partition)) {
    partitions_->host(ref->partition).EndCommand();
  }
}

void WorkDesk::EndTurn() {
  ResendSome();
  broker_.Run(partitions_->now());
  outbox_.Flush();
  const absl::Time now = partitions_->now();
  if (now < heartbeat_check_ || sessions_.empty()) return;
  heartbeat_check_ = now + options_.heartbeat / 4;
  std::vector<uint64_t> silent;
  for (const auto& [id, session] : sessions_) {
    if (now - session->heard_at() > options_.heartbeat * kSilentHeartbeatsMax) {
      silent.push_back(id);
    } else if (now - session->said_at() >= options_.heartbeat / 2) {
      session->Send({}, now);
    }
  }
  for (const uint64_t id : silent) {
    EndSession(id, Error(absl::StatusCode::kDeadlineExceeded, "STREAM_IDLE",
                         "no request came for three heartbeats"));
  }
}

absl::Time WorkDesk::NextWake() {
  if (broker_.more() || ResendsAreDue()) return partitions_->now();
  absl::Time wake = draining_ ? absl::InfiniteFuture() : broker_.NextWake();
  if (!sessions_.empty()) wake = std::min(wake, heartbeat_check_);
  return wake;
}

void WorkDesk::Drain(absl::Duration timeout) {
  draining_ = true;
  for (const auto& [id, session] : sessions_) {
    broker_.DropSession(id);
    *outbox_.Now(id).mutable_drain()->mutable_end_time() =
        TimeToProto(partitions_->now() + timeout);
  }
}

void WorkDesk::CloseAll(const absl::Status& status) {
  while (!sessions_.empty()) EndSession(sessions_.begin()->first, status);
}

// --- Assignments ---------------------------------------------------------------------------------

const core::LiveAssignment* WorkDesk::Live(const AssignmentRef& ref) {
  const core::JobState* job = partitions_->state(ref.partition).job(ref.id.job);
  return job == nullptr ? nullptr : job->leases.Find(ref.id.sequence);
}

bool WorkDesk::IsBeyond(const AssignmentRef& ref) {
  const core::PartitionState& state = partitions_->state(ref.partition);
  const core::JobState* job = state.job(ref.id.job);
  return job == nullptr ? ref.id.job.value() >= state.jobs()
                        : ref.id.sequence >= job->head.next_sequence;
}

bool WorkDesk::MaySpeakOf(const Session& session, const AssignmentRef& ref,
                          const std::vector<core::ItemIndex>& items) {
  std::optional<core::WorkerIndex> worker;
  const auto account = accounts_.find({ref.partition, ref.id});
  if (const core::LiveAssignment* live = Live(ref)) {
    worker = live->worker;
  } else if (account != accounts_.end() && account->second.worker.has_value()) {
    worker = account->second.worker;
  } else {
    worker = AccountOf(ref, items).worker;
  }
  return !worker.has_value() ||
         session.Owns(partitions_->state(ref.partition).worker(*worker).name);
}

v1::Assigned WorkDesk::AssignedFrom(const AssignmentRef& ref, const core::LiveAssignment& live) {
  const JobRef job{ref.partition, ref.id.job};
  const JobWords& words = partitions_->words(job);
  const core::LeasePolicy& policy = partitions_->job(job).head.policy.lease;
  v1::Assigned out;
  out.set_assignment(partitions_->ids().Assignment(ref.partition, ref.id));
  out.set_job(words.name);
  out.set_worker(partitions_->state(ref.partition).worker(live.worker).name);
  out.set_pool(absl::StrCat("pools/", live.pool()));
  out.set_template_version(words.template_version);
  out.set_price_per_item_micros(live.price_micros);
  *out.mutable_lease_time() = TimeToProto(live.granted_at);
  *out.mutable_expire_time() = TimeToProto(live.deadline);
  *out.mutable_late_until_time() = TimeToProto(live.late_until);
  *out.mutable_extensible_until_time() = TimeToProto(
      live.deadline + std::max(absl::ZeroDuration(), policy.extension_max - live.extended));
  out.set_capability(v1::CAPABILITY_LABEL);
  return out;
}

void WorkDesk::Hold(const AssignmentRef& ref, Holding holding) {
  const AssignmentKey key{ref.partition, ref.id};
  const auto there = holdings_.find(key);
  if (there != holdings_.end() && there->second.gateway != holding.gateway) {
    // Another gateway of the platform finishes it.
    holding.charged_seconds = there->second.charged_seconds;
    Release(ref);
  }
  gateways_[holding.gateway].holds.insert(key);
  holdings_[key] = std::move(holding);
}

void WorkDesk::Adopt() {
  for (uint32_t p = 0; p < partitions_->size(); ++p) {
    if (!partitions_->Serving(p) || !adopted_.insert(p).second) continue;
    for (const EndedAssignment& ended : partitions_->host(p).TakeEnded()) {
      const AssignmentRef ref{p, ended.assignment};
      Remember(ref, AccountOf(ref, ended.items));
    }
    const core::PartitionState& state = partitions_->state(p);
    for (uint32_t j = 0; j < state.jobs(); ++j) {
      const core::JobState* job = state.job(core::JobIndex(j));
      if (job == nullptr) continue;
      for (const auto& [number, page] : job->leases.pages()) {
        for (const auto& [sequence, live] : page.by_sequence) {
          const AssignmentRef ref{p, {core::JobIndex(j), sequence}};
          if (live.gateway().empty() || holdings_.contains({ref.partition, ref.id})) continue;
          Holding holding{
              .gateway = live.gateway(), .tenant = job->head.identity.tenant, .pool = live.pool()};
          for (const core::LeasedItem& item : live.items) holding.items.push_back(item.item);
          Hold(ref, std::move(holding));
        }
      }
    }
  }
}

void WorkDesk::Release(const AssignmentRef& ref) {
  const AssignmentKey key{ref.partition, ref.id};
  const auto found = holdings_.find(key);
  if (found == holdings_.end()) return;
  const auto gateway = gateways_.find(found->second.gateway);
  gateway->second.holds.erase(key);
  if (gateway->second.session == 0 && gateway->second.holds.empty()) gateways_.erase(gateway);
  holdings_.erase(found);
}

WorkDesk::Account WorkDesk::AccountOf(const AssignmentRef& ref,
                                      const std::vector<core::ItemIndex>& items) {
  Account account;
  const core::JobState* job = partitions_->state(ref.partition).job(ref.id.job);
  if (job == nullptr) return account;
  for (const core::ItemIndex i : items) {
    const auto item = job->items.Get(i);
    const core::ItemEntry* entry = item.FindAssignment(ref.id.sequence);
    if (entry == nullptr) continue;
    account.worker = entry->worker;
    account.revoked = account.revoked || entry->status == core::ItemEntry::kRevoked;
    if (entry->counted()) {
      ++account.accepted;
      if ((entry->flags & core::ItemEntry::kUnpaid) == 0) {
        account.earned_micros += entry->price_micros();
      }
      account.late = account.late || (entry->flags & core::ItemEntry::kLate) != 0;
    } else if (entry->status != core::ItemEntry::kLeased &&
               entry->status != core::ItemEntry::kRejected) {
      ++account.returned;
    }
  }
  return account;
}

void WorkDesk::Remember(const AssignmentRef& ref, const Account& account) {
  const AssignmentKey key{ref.partition, ref.id};
  if (accounts_.insert_or_assign(key, account).second) account_order_.push_back(key);
  while (account_order_.size() > kAccountsMax) {
    accounts_.erase(account_order_.front());
    account_order_.pop_front();
  }
}

void WorkDesk::Correct(const AssignmentRef& ref, double actual_seconds) {
  const auto found = holdings_.find({ref.partition, ref.id});
  if (found == holdings_.end() || found->second.charged_seconds == 0) return;
  Holding& holding = found->second;
  broker_.Correct(holding.pool, holding.tenant, std::exchange(holding.charged_seconds, 0),
                  actual_seconds);
}

// --- What partitions say -------------------------------------------------------------------------

void WorkDesk::OnLeaseEnded(uint32_t partition, const core::LeaseEnded& ended) {
  const AssignmentRef ref{partition, ended.assignment};
  const auto found = holdings_.find({partition, ended.assignment});
  if (found == holdings_.end()) return;  // Nobody here has it.
  const Holding& holding = found->second;
  const Account account = AccountOf(ref, holding.items);
  const core::LiveAssignment* live = Live(ref);
  Remember(ref, account);
  Session* session = FindSession(gateways_.at(holding.gateway).session);
  if (session != nullptr && ended.reason == core::LeaseEndReason::kExpired) {
    v1::Committed& out = *outbox_.At(session->id(), partition).add_committed();
    out.set_kind(v1::WORK_KIND_EXPIRY);
    out.set_assignment(partitions_->ids().Assignment(partition, ended.assignment));
    out.set_earned_micros(account.earned_micros);
    out.set_items_accepted(static_cast<int32_t>(account.accepted));
    out.set_items_returned(static_cast<int32_t>(account.returned));
    out.set_finished(true);
    if (live != nullptr) {
      *out.mutable_expire_time() = TimeToProto(live->deadline);
      *out.mutable_late_until_time() = TimeToProto(live->late_until);
    }
  } else if (session != nullptr && ended.reason == core::LeaseEndReason::kWorkerBlocked) {
    v1::Revoked& out = *outbox_.At(session->id(), partition).add_revoked();
    out.set_assignment(partitions_->ids().Assignment(partition, ended.assignment));
    out.set_reason(v1::REVOKE_REASON_WORKER_BLOCKED);
    out.set_earned_micros(account.earned_micros);
  }
  if (live == nullptr) Release(ref);
}

void WorkDesk::OnJobChanged(JobRef job) {
  const core::JobState* state = partitions_->state(job.partition).job(job.job);
  if (state == nullptr || state->head.phase == core::JobPhase::kClosing || state->ended()) {
    broker_.JobDone(job);
  }
}

// --- The market ----------------------------------------------------------------------------------

std::vector<Market::Offer> WorkDesk::Offers(absl::string_view pool) {
  std::vector<Offer> offers;
  const uint32_t home = partitions_->PoolHome(pool);
  if (draining_ || !partitions_->Accepting(home).ok()) return offers;
  const core::Pool* terms = partitions_->partition(home).FindPool(pool);
  if (terms == nullptr) return offers;
  for (uint32_t p = 0; p < partitions_->size(); ++p) {
    if (!partitions_->Accepting(p).ok()) continue;
    partitions_->ShowPool(pool, p);
    for (core::Partition::Offer& offer :
         partitions_->partition(p).Offers(pool, partitions_->now())) {
      const double weight = terms->WeightOf(offer.tenant);
      offers.push_back({.tenant = std::move(offer.tenant),
                        .partition = p,
                        .index = offer.index,
                        .weight = weight,
                        .jobs = offer.jobs});
    }
  }
  return offers;
}

bool WorkDesk::HasRoom(uint64_t session) {
  const Session* const s = FindSession(session);
  return s != nullptr && s->HasRoom();
}

void WorkDesk::FindUnknownKeys(Demand& demand) {
  const JobRef job = *demand.only_job;
  const uint32_t items = partitions_->job(job).items.size();
  if (demand.unknown_keys.empty() || items == demand.items_seen) return;
  demand.items_seen = items;
  std::erase_if(demand.unknown_keys, [&](const std::string& key) {
    const auto entry = partitions_->host(job.partition).FindKey(job.job, key);
    if (entry.has_value()) demand.only_items.push_back(entry->item);
    return entry.has_value();
  });
}

Market::Purchase WorkDesk::NothingOf(const Demand& demand, const core::LeaseRequest& request) {
  if (!demand.only_job.has_value()) return {};
  const JobRef job = *demand.only_job;
  switch (partitions_->partition(job.partition).OutlookOf(request)) {
    case core::Partition::Outlook::kCapped:
      return {.end = End::kCapped};
    case core::Partition::Outlook::kHadAllItems:
      break;
    case core::Partition::Outlook::kOpen:
      if (!demand.only_some_items || !demand.only_items.empty()) return {};
      break;  // None of its items is there.
  }
  // Keys that are not known so far may come, until the job is sealed.
  const bool may_come = !demand.unknown_keys.empty() && !partitions_->job(job).head.sealed;
  return may_come ? Purchase{} : Purchase{.end = End::kJobDone};
}

Market::Purchase WorkDesk::Buy(Demand& demand, absl::string_view tenant, uint32_t partition) {
  const uint32_t pool_home = partitions_->PoolHome(demand.pool);
  const uint32_t worker_home = partitions_->ids().HomeOf(demand.worker);
  if (!partitions_->Accepting(partition).ok() || !partitions_->Accepting(pool_home).ok() ||
      !partitions_->Accepting(worker_home).ok()) {
    return {};
  }
  const core::Pool* pool = partitions_->partition(pool_home).FindPool(demand.pool);
  if (pool == nullptr) return {};
  core::LeaseRequest request{.worker = demand.worker,
                             .skills = demand.skills,
                             .languages = demand.languages,
                             .tenant = std::string(tenant),
                             // Weights are the broker's.
                             .pool = {.id = pool->id,
                                      .skills = pool->skills,
                                      .languages = pool->languages,
                                      .price_micros = pool->price_micros},
                             .items_max = demand.items_max};
  if (const Session* session = FindSession(demand.session)) request.gateway = session->gateway();
  if (worker_home != partition) {
    const core::PartitionState& home = partitions_->state(worker_home);
    if (const auto index = home.FindWorker(demand.worker)) {
      const core::WorkerRecord& record = home.worker(*index);
      if (record.blocked) return {.end = End::kBlocked};
      request.skills.insert(request.skills.end(), record.skills.begin(), record.skills.end());
      request.languages.insert(request.languages.end(), record.languages.begin(),
                               record.languages.end());
    }
  }
  if (demand.only_job.has_value()) {
    if (partitions_->state(partition).job(demand.only_job->job) == nullptr) return {};
    request.only_job = demand.only_job->job;
    if (demand.only_some_items) {
      FindUnknownKeys(demand);
      if (demand.only_items.empty()) return NothingOf(demand, request);
      request.only_items = demand.only_items;
    }
  }
  absl::StatusOr<std::optional<core::Lease>> lease =
      partitions_->partition(partition).RequestLease(request, partitions_->now());
  if (!lease.ok()) {
    if (GetDetails(lease.status()).reason == "WORKER_BLOCKED") return {.end = End::kBlocked};
    return {};
  }
  if (!lease->has_value()) return NothingOf(demand, request);
  core::Lease& granted = **lease;
  const AssignmentRef ref{partition, granted.assignment};
  const core::LiveAssignment* live = Live(ref);
  TESSERA_CHECK(live != nullptr);
  Session* const session = FindSession(demand.session);
  TESSERA_CHECK(session != nullptr) << "a demand outlived its session";
  Outbox::Assignment assignment{.job = {partition, granted.assignment.job},
                                .sequence = granted.assignment.sequence,
                                .items = granted.items,
                                .message = AssignedFrom(ref, *live)};
  assignment.message.set_demand_id(demand.id);
  *assignment.message.mutable_expected_duration() =
      DurationToProto(absl::Seconds(granted.expected_seconds));
  outbox_.Assign(demand.session, std::move(assignment));
  Hold(ref, {.gateway = session->gateway(),
             .tenant = std::string(tenant),
             .pool = demand.pool,
             .charged_seconds = granted.expected_seconds,
             .items = std::move(granted.items)});
  partitions_->host(partition).EndCommand();
  return {.granted = true, .seconds = granted.expected_seconds};
}

void WorkDesk::Ended(const Demand& demand, End end) {
  // An end that rests on what a partition decided waits for that commit.
  std::optional<uint32_t> partition;
  if (end == End::kJobDone || end == End::kCapped) partition = demand.only_job->partition;
  if (end == End::kBlocked) partition = partitions_->ids().HomeOf(demand.worker);
  v1::WorkResponse& response = partition.has_value() && partitions_->Serving(*partition)
                                   ? outbox_.At(demand.session, *partition)
                                   : outbox_.Now(demand.session);
  v1::DemandEnded& out = *response.add_demands_ended();
  out.set_demand_id(demand.id);
  out.set_reason(EndToProto(end));
  out.set_assignments_unused(static_cast<int32_t>(demand.wanted));
}

}  // namespace tessera::edge
