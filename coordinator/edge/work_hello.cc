// Hello: who connects, and what became of what it holds.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "coordinator/edge/work_desk.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

}  // namespace

void WorkDesk::OnHello(Session& session, const v1::Hello& hello) {
  const uint64_t id = session.id();
  std::optional<uint32_t> rests_on;
  if (absl::Status status = CheckPositions(hello, &rests_on); !status.ok()) {
    return Refuse(session, rests_on, status);
  }

  const std::string key = absl::StrCat(session.platform(), "/", hello.gateway());
  if (const auto there = gateways_.find(key);
      there != gateways_.end() && there->second.session != 0) {
    EndSession(there->second.session, Error(StatusCode::kAborted, "SESSION_REPLACED",
                                            "another stream said Hello with this gateway's name"));
  }
  session.set_gateway(key);
  gateways_[key].session = id;
  Adopt();

  v1::Welcome welcome;
  welcome.set_session(absl::StrCat(id));
  *welcome.mutable_heartbeat_interval() = DurationToProto(options_.heartbeat);
  welcome.mutable_limits()->set_request_bytes_max(options_.work.request_bytes_max);
  welcome.mutable_limits()->set_entries_max(options_.work.entries_max);
  welcome.mutable_limits()->set_demands_max(options_.work.demands_max);
  welcome.mutable_limits()->set_credit_max(options_.work.credit_max);
  welcome.mutable_limits()->set_unanswered_max(options_.work.unanswered_max);
  welcome.mutable_limits()->set_demand_bytes_max(options_.work.demand_bytes_max);
  if (!session.platform().empty()) {
    welcome.set_platform(absl::StrCat("platforms/", session.platform()));
  }
  *welcome.mutable_server_time() = TimeToProto(partitions_->now());
  std::set<uint32_t> spoken_of;
  std::set<AssignmentKey> named;
  std::deque<AssignmentRef> resends;
  for (const v1::Held& held : hello.held()) {
    const auto ref = partitions_->ids().ParseAssignment(held.assignment());
    if (ref.has_value()) {
      spoken_of.insert(ref->partition);
      named.insert({ref->partition, ref->id});
    }
    absl::StatusOr<v1::HeldState> state = StateOf(session, held);
    // Not to know is no answer: a gateway would drop what it holds.
    if (!state.ok()) return Refuse(session, ref->partition, state.status());
    if (state->status() == v1::HELD_STATUS_HELD && held.resend() && !hello.resend_all()) {
      resends.push_back(*ref);
    }
    *welcome.add_held() = *std::move(state);
  }
  // What it was given and does not name never reached it: the coordinator or the stream ended
  // between the commit and the message.
  const std::set<AssignmentKey> holds = gateways_.at(key).holds;
  for (const auto& [partition, assignment] : holds) {
    if (hello.resend_all() || !named.contains({partition, assignment})) {
      resends.push_back({partition, assignment});
    }
  }
  if (!resends.empty()) resends_[id] = std::move(resends);
  // It speaks of several partitions, and nothing comes before it: said when those have committed.
  partitions_->WhenCommitted(
      spoken_of, [this, id, welcome = std::move(welcome)](const absl::Status& committed) mutable {
        if (!committed.ok()) return EndSession(id, committed);
        v1::WorkResponse response;
        *response.mutable_welcome() = std::move(welcome);
        if (Session* s = FindSession(id)) s->Send(std::move(response), partitions_->now());
      });
}

absl::Status WorkDesk::CheckPositions(const v1::Hello& hello, std::optional<uint32_t>* rests_on) {
  for (int i = 0; i < hello.positions_size(); ++i) {
    const v1::CommitPosition& seen = hello.positions(i);
    const auto id = ParseId("partitions", seen.partition());
    const auto partition = id ? ParsePartitionId(*id) : std::nullopt;
    if (!partition.has_value() || *partition >= partitions_->size()) {
      return Error(StatusCode::kInvalidArgument, "FIELD_MALFORMED", "there is no such partition")
          .Field(absl::StrCat("hello.positions[", i, "].partition"), "must name a partition");
    }
    if (absl::Status status = partitions_->Accepting(*partition); !status.ok()) return status;
    if (partitions_->Remembers(*partition, {seen.epoch(), seen.sequence()})) continue;
    *rests_on = *partition;
    return Error(StatusCode::kDataLoss, "HISTORY_LOST",
                 "the store's history does not reach to what was acknowledged, or is another one")
        .Field(absl::StrCat("hello.positions[", i, "]"), "is not in the store's history");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::HeldState> WorkDesk::StateOf(Session& session, const v1::Held& held) {
  v1::HeldState out;
  out.set_assignment(held.assignment());
  out.set_status(v1::HELD_STATUS_UNKNOWN);
  const std::optional<AssignmentRef> ref = partitions_->ids().ParseAssignment(held.assignment());
  if (!ref.has_value()) return out;
  if (absl::Status status = partitions_->Accepting(ref->partition); !status.ok()) return status;
  const core::JobState* job = partitions_->state(ref->partition).job(ref->id.job);
  // The gateway must not drop it.
  if (IsBeyond(*ref)) {
    return Error(
        StatusCode::kDataLoss, "HISTORY_LOST",
        absl::StrCat("assignment ", held.assignment(), " was granted after what is known here"));
  }
  if (job == nullptr) return out;  // Deleted.
  const core::LiveAssignment* live = Live(*ref);
  const auto& host = partitions_->host(ref->partition);
  std::vector<core::ItemIndex> items;
  for (const v1::HeldDraft& draft : held.drafts()) {
    if (const auto entry = host.FindKey(ref->id.job, draft.item_key()))
      items.push_back(entry->item);
  }

  if (!MaySpeakOf(session, *ref, items)) return out;
  if (live != nullptr) {
    *out.mutable_expire_time() = TimeToProto(live->deadline);
    *out.mutable_late_until_time() = TimeToProto(live->late_until);
    Holding holding{
        .gateway = session.gateway(), .tenant = job->head.identity.tenant, .pool = live->pool()};
    for (const core::LeasedItem& item : live->items) holding.items.push_back(item.item);
    items = holding.items;
    Hold(*ref, std::move(holding));
  }
  if (live != nullptr && !live->expired) {
    out.set_status(v1::HELD_STATUS_HELD);
    for (const v1::HeldDraft& draft : held.drafts()) {
      const auto entry = host.FindKey(ref->id.job, draft.item_key());
      const core::LeasedItem* leased = entry ? live->Find(entry->item) : nullptr;
      if (leased == nullptr || leased->edit == 0) continue;
      v1::HeldDraft& durable = *out.add_drafts();
      durable.set_item_key(draft.item_key());
      durable.set_edit(leased->edit);
    }
    return out;
  }
  out.set_status(v1::HELD_STATUS_COMMITTED);
  Account account = AccountOf(*ref, items);
  account.whole = live != nullptr;
  const auto remembered = accounts_.find({ref->partition, ref->id});
  if (remembered != accounts_.end()) account = remembered->second;
  if (account.whole) out.set_earned_micros(account.earned_micros);
  if (account.revoked) out.set_status(v1::HELD_STATUS_REVOKED);
  for (const v1::HeldDraft& draft : held.drafts()) {
    const auto entry = host.FindKey(ref->id.job, draft.item_key());
    if (!entry.has_value()) continue;
    const auto item = job->items.Get(entry->item);
    const core::ItemEntry* part = item.FindAssignment(ref->id.sequence);
    if (part == nullptr) continue;
    if (part->counted()) out.add_accepted_item_keys(draft.item_key());
  }
  return out;
}

void WorkDesk::Refuse(Session& session, std::optional<uint32_t> partition,
                      const absl::Status& status) {
  const uint64_t id = session.id();
  if (!absl::IsDataLoss(status)) return EndSession(id, status);
  session.Doubt();
  partitions_->host(*partition).WhenOwned([this, id, status](const absl::Status& owned) {
    EndSession(id, owned.ok() ? status : Partitions::Unknown(owned));
  });
}

bool WorkDesk::ResendsAreDue() {
  return std::any_of(resends_.begin(), resends_.end(),
                     [&](const auto& of_session) { return HasRoom(of_session.first); });
}

void WorkDesk::ResendSome() {
  for (auto at = resends_.begin(); at != resends_.end();) {
    auto& [id, resends] = *at;
    Session& session = *FindSession(id);
    while (!resends.empty() && session.HasRoom()) {
      Resend(session, resends.front());
      resends.pop_front();
    }
    at = resends.empty() ? resends_.erase(at) : std::next(at);
  }
}

void WorkDesk::Resend(Session& session, const AssignmentRef& ref) {
  if (!partitions_->Serving(ref.partition)) return;
  const core::LiveAssignment* live = Live(ref);
  if (live == nullptr || live->expired) return;
  // Another gateway of the platform may have named it since.
  const auto holding = holdings_.find({ref.partition, ref.id});
  if (holding == holdings_.end() || holding->second.gateway != session.gateway()) return;
  Outbox::Assignment assignment{.job = {ref.partition, ref.id.job},
                                .sequence = ref.id.sequence,
                                .with_drafts = true,
                                .message = AssignedFrom(ref, *live)};
  for (const core::LeasedItem& item : live->items) {
    if (!item.ended) assignment.items.push_back(item.item);
  }
  outbox_.Assign(session.id(), std::move(assignment));
}

}  // namespace tessera::edge
