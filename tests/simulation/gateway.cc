#include "tests/simulation/gateway.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/edge/convert.h"
#include "google/rpc/code.pb.h"
#include "tests/simulation/requester.h"

namespace tessera::simulation {

using core::ItemEntry;
using edge::FromProto;

Gateway::Gateway(World* world, int number, int workers)
    : world_(world), name_(absl::StrCat("gateway", number)), connect_at_(world->now()) {
  for (int w = 0; w < workers; ++w) workers_.push_back(absl::StrCat(name_, "-worker", w));
}

template <typename... Parts>
void Gateway::Complain(const Parts&... parts) {
  world_->Complain(absl::StrCat(name_, ": ", parts...));
}

std::string Gateway::Describe() const {
  size_t open = 0;
  for (const auto& [id, held] : held_) open += !held.finished;
  return absl::StrCat(name_, ": stream ", stream_, welcomed_ ? "" : " (no welcome)", ", demands ",
                      demands_.size(), ", holds ", open, ", unanswered ", unanswered_.size());
}

// --- What it does --------------------------------------------------------------------------------

void Gateway::Act() {
  Random& random = world_->random();
  if (stream_ == 0) {
    if (world_->now() >= connect_at_) Connect();
    return;
  }
  if (!welcomed_) {
    // Nobody answers: try elsewhere.
    if (world_->now() - heard_at_ > absl::Seconds(20)) {
      world_->Disconnect(stream_);
      stream_ = 0;
    }
    return;
  }
  if (world_->now() - heard_at_ > absl::Seconds(60)) {
    world_->Disconnect(stream_);
    OnClosed(stream_, absl::UnavailableError("nothing was heard"));
    return;
  }
  if (demands_.size() < workers_.size() && random.Chance(world_->calm() ? 1000 : 500)) AskForWork();
  SendAgain();
  std::vector<std::string> open;
  for (const auto& [id, held] : held_) {
    if (!held.finished) open.push_back(id);
  }
  if (!open.empty()) {
    const int times = world_->calm() ? static_cast<int>(open.size()) : 2;
    for (int i = 0; i < times; ++i) {
      const std::string& id =
          world_->calm() ? open[static_cast<size_t>(i)] : open[random.Place(open.size())];
      Work(id, held_.at(id));
    }
  }
  if (!world_->calm() && random.Chance(60)) SendOldEntry();
  if (random.Chance(200)) world_->Send(stream_, v1::WorkRequest());  // A heartbeat.
}

void Gateway::Connect() {
  stream_ = world_->Connect(this);
  if (stream_ == 0) {
    connect_at_ = world_->now() + absl::Seconds(1);
    return;
  }
  welcomed_ = false;
  heard_at_ = world_->now();
  demands_.clear();
  v1::WorkRequest request;
  v1::Hello& hello = *request.mutable_hello();
  hello.set_gateway(name_);
  hello.set_protocol_version(1);
  hello.set_resend_all(world_->random().Chance(100));
  for (const auto& [id, held] : held_) {
    if (held.finished && !world_->random().Chance(20)) continue;
    v1::Held& one = *hello.add_held();
    one.set_assignment(id);
    one.set_resend(world_->random().Chance(100));
    for (const auto& [key, notes] : held.items) {
      if (notes.edit == 0) continue;
      v1::HeldDraft& draft = *one.add_drafts();
      draft.set_item_key(key);
      draft.set_edit(notes.edit);
    }
  }
  for (const auto& [partition, position] : positions_) *hello.add_positions() = position;
  world_->Send(stream_, std::move(request));
}

void Gateway::AskForWork() {
  Random& random = world_->random();
  std::set<std::string> busy;
  for (const auto& [id, worker] : demands_) busy.insert(worker);
  v1::WorkRequest request;
  for (const std::string& worker : workers_) {
    if (busy.contains(worker) || random.Chance(300)) continue;
    v1::Lease& lease = *request.add_leases();
    lease.set_demand_id(next_demand_++);
    lease.set_worker(worker);
    lease.set_assignments_wanted(random.Int(1, 2));
    lease.set_items_max(random.Chance(300) ? random.Int(1, 3) : 0);
    if (random.Chance(300)) lease.mutable_wait_max()->set_seconds(random.Int(0, 20));
    demands_[lease.demand_id()] = worker;
  }
  if (request.leases_size() > 0) world_->Send(stream_, std::move(request));
}

std::string Gateway::Guess(const std::string& key) {
  const std::vector<std::string>& classes = Requester::Classes();
  if (world_->random().Chance(250)) return classes[world_->random().Place(classes.size())];
  return classes[static_cast<size_t>(key.back()) % classes.size()];
}

void Gateway::Work(const std::string& id, Held& held) {
  Random& random = world_->random();
  if (world_->calm()) {
    if (!held.submit_sent || world_->now() > held.expire) SendSubmit(id, held);
    return;
  }
  if (held.abandoned) return;
  if (random.Chance(300)) SendDraft(id, held);
  if (random.Chance(40)) SendExtend(id, held);
  if (random.Chance(30)) SendBadAnswer(id, held);
  if (random.Chance(20)) SendReturn(id, held);
  if (world_->now() >= held.answer_at && (!held.submit_sent || random.Chance(100)))
    SendSubmit(id, held);
}

void Gateway::SendEntry(v1::WorkKind kind, const std::string& assignment, v1::WorkRequest request) {
  const uint64_t tag = next_tag_++;
  for (v1::Draft& draft : *request.mutable_drafts()) draft.set_tag(tag);
  for (v1::Submit& submit : *request.mutable_submits()) submit.set_tag(tag);
  for (v1::Return& giving_back : *request.mutable_returns()) giving_back.set_tag(tag);
  for (v1::Extend& extend : *request.mutable_extends()) extend.set_tag(tag);
  unanswered_[tag] = {.kind = kind,
                      .assignment = assignment,
                      .request = request,
                      .sent_at = world_->now(),
                      .over = IsOver(held_.at(assignment))};
  if (sent_.size() < 20) {
    sent_.push_back(request);
  } else {
    sent_[world_->random().Place(sent_.size())] = request;
  }
  world_->Send(stream_, std::move(request));
}

void Gateway::SendAgain() {
  for (auto& [tag, entry] : unanswered_) {
    if (world_->now() - entry.sent_at < absl::Seconds(30)) continue;
    entry.sent_at = world_->now();
    world_->Send(stream_, entry.request);
  }
}

void Gateway::SendOldEntry() {
  if (sent_.empty()) return;
  v1::WorkRequest request = sent_[world_->random().Place(sent_.size())];
  for (v1::Submit& submit : *request.mutable_submits()) {
    Held& held = held_.at(submit.assignment());
    for (v1::ItemAnswer& answer : *submit.mutable_answers()) {
      // A repeat changes nothing, even with other answers.
      const std::string choice = Guess(answer.item_key());
      if (!held.submit_acknowledged) held.items.at(answer.item_key()).said.insert(choice);
      *answer.mutable_answer() = Requester::Choice(choice);
    }
  }
  world_->Send(stream_, std::move(request));
}

void Gateway::SendDraft(const std::string& id, Held& held) {
  Random& random = world_->random();
  auto item = held.items.begin();
  std::advance(item, static_cast<std::ptrdiff_t>(random.Place(held.items.size())));
  v1::WorkRequest request;
  v1::Draft& draft = *request.add_drafts();
  draft.set_assignment(id);
  draft.set_item_key(item->first);
  draft.set_edit(++item->second.edit);
  if (random.Chance(30)) {
    item->second.withdrawn = true;
  } else {
    const std::string choice = Guess(item->first);
    item->second.said.insert(choice);
    item->second.drafted[draft.edit()] = choice;
    *draft.mutable_answer() = Requester::Choice(choice);
  }
  SendEntry(v1::WORK_KIND_DRAFT, id, std::move(request));
}

void Gateway::SendSubmit(const std::string& id, Held& held) {
  Random& random = world_->random();
  v1::WorkRequest request;
  v1::Submit& submit = *request.add_submits();
  submit.set_assignment(id);
  for (auto& [key, notes] : held.items) {
    if (!world_->calm() && random.Chance(100)) continue;
    // An answer to what was given back is refused, and all others with it.
    if (notes.returned && (world_->calm() || !random.Chance(100))) continue;
    const std::string choice = Guess(key);
    notes.said.insert(choice);
    v1::ItemAnswer& answer = *submit.add_answers();
    answer.set_item_key(key);
    *answer.mutable_answer() = Requester::Choice(choice);
  }
  if (random.Chance(500)) submit.mutable_active_duration()->set_seconds(random.Int(1, 60));
  held.submit_sent = true;
  SendEntry(v1::WORK_KIND_SUBMIT, id, std::move(request));
}

void Gateway::SendReturn(const std::string& id, Held& held) {
  Random& random = world_->random();
  v1::WorkRequest request;
  v1::Return& giving_back = *request.add_returns();
  giving_back.set_assignment(id);
  if (random.Chance(500)) {
    giving_back.add_item_keys(held.items.begin()->first);
    held.items.begin()->second.returned = true;
  }
  giving_back.set_drafts_too(random.Chance(500));
  giving_back.set_reason(v1::RETURN_REASON_SKIPPED);
  held.return_sent = true;
  SendEntry(v1::WORK_KIND_RETURN, id, std::move(request));
}

void Gateway::SendExtend(const std::string& id, Held& held) {
  v1::WorkRequest request;
  v1::Extend& extend = *request.add_extends();
  extend.set_assignment(id);
  *extend.mutable_expire_time() = edge::TimeToProto(
      held.expire + world_->random().Between(-absl::Seconds(5), absl::Seconds(40)));
  SendEntry(v1::WORK_KIND_EXTEND, id, std::move(request));
}

void Gateway::SendBadAnswer(const std::string& id, const Held& held) {
  // Refused, or ignored where it comes too late; never counted.
  v1::WorkRequest request;
  v1::Submit& submit = *request.add_submits();
  submit.set_assignment(id);
  v1::ItemAnswer& answer = *submit.add_answers();
  answer.set_item_key(held.items.begin()->first);
  *answer.mutable_answer() = Requester::Choice("not a choice");
  world_->Send(stream_, std::move(request));
}

// --- What it hears -------------------------------------------------------------------------------

void Gateway::OnClosed(uint64_t stream, const absl::Status& status) {
  if (stream != stream_) return;
  if (absl::IsDataLoss(status)) {
    Complain("a coordinator knows less than the one before: ", status.ToString());
  }
  if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
    Complain("the stream is refused: ", status.ToString());
  }
  stream_ = 0;
  welcomed_ = false;
  connect_at_ = world_->now() + world_->random().Between(absl::ZeroDuration(), absl::Seconds(5));
}

void Gateway::OnMessage(uint64_t stream, const v1::WorkResponse& response) {
  if (stream != stream_) return;
  heard_at_ = world_->now();
  if (response.has_welcome()) OnWelcome(response.welcome());
  for (const v1::Assigned& assigned : response.assigned()) OnAssigned(assigned);
  for (const v1::Committed& committed : response.committed()) OnCommitted(committed);
  for (const v1::Rejected& rejected : response.rejected()) OnRejected(rejected);
  for (const v1::Revoked& revoked : response.revoked()) {
    const auto held = held_.find(revoked.assignment());
    if (held == held_.end()) continue;
    held->second.revoked = held->second.finished = true;
  }
  for (const v1::DemandEnded& ended : response.demands_ended()) demands_.erase(ended.demand_id());
}

void Gateway::See(const v1::CommitPosition& position) {
  if (position.partition().empty()) return;
  v1::CommitPosition& seen = positions_[position.partition()];
  if (std::pair(position.epoch(), position.sequence()) > std::pair(seen.epoch(), seen.sequence())) {
    seen = position;
  }
}

bool Gateway::JobIsThere(const Held& held) const {
  return world_->state(held.ref.partition).job(held.ref.id.job) != nullptr;
}

bool Gateway::IsOver(const Held& held) const {
  const core::JobState* job = world_->state(held.ref.partition).job(held.ref.id.job);
  return job != nullptr && job->leases.Find(held.ref.id.sequence) == nullptr;
}

void Gateway::OnWelcome(const v1::Welcome& welcome) {
  welcomed_ = true;
  for (const v1::HeldState& state : welcome.held()) {
    const auto found = held_.find(state.assignment());
    if (found == held_.end()) {
      Complain("Welcome speaks of an assignment that Hello did not name");
      continue;
    }
    Held& held = found->second;
    if (state.status() == v1::HELD_STATUS_UNKNOWN && JobIsThere(held)) {
      Complain("assignment ", state.assignment(), " is said to be unknown");
    }
    if (state.has_expire_time())
      held.expire = std::max(held.expire, FromProto(state.expire_time()));
    if (state.has_late_until_time()) {
      held.late_until = std::max(held.late_until, FromProto(state.late_until_time()));
    }
    if (state.status() == v1::HELD_STATUS_HELD) {
      std::map<std::string, int64_t> durable;
      for (const v1::HeldDraft& draft : state.drafts()) durable[draft.item_key()] = draft.edit();
      for (const auto& [key, notes] : held.items) {
        if (held.return_sent) continue;
        const auto entry = Find(held, key);
        if (!entry.has_value() || entry->status != ItemEntry::kLeased) continue;
        if (durable[key] < notes.edit_acknowledged) {
          Complain("draft ", notes.edit_acknowledged, " of ", key, " was acknowledged, ",
                   durable[key], " is held");
        }
      }
    } else if (state.status() == v1::HELD_STATUS_REVOKED) {
      held.finished = true;
    } else if (state.status() == v1::HELD_STATUS_COMMITTED && held.submit_acknowledged) {
      held.finished = true;
    }
  }
  // What got no answer is sent again, in an order of its own.
  std::vector<uint64_t> tags;
  for (const auto& [tag, entry] : unanswered_) tags.push_back(tag);
  while (!tags.empty()) {
    const size_t place = world_->random().Place(tags.size());
    Entry& entry = unanswered_.at(tags[place]);
    entry.sent_at = world_->now();
    world_->Send(stream_, entry.request);
    tags.erase(tags.begin() + static_cast<std::ptrdiff_t>(place));
  }
}

void Gateway::OnAssigned(const v1::Assigned& assigned) {
  Random& random = world_->random();
  const auto ref = world_->ids().ParseAssignment(assigned.assignment());
  if (!ref.has_value()) return Complain("an assignment with a name that nobody gives");
  const auto [found, first] = held_.try_emplace(assigned.assignment());
  Held& held = found->second;
  held.ref = *ref;
  held.expire = std::max(held.expire, FromProto(assigned.expire_time()));
  held.late_until = std::max(held.late_until, FromProto(assigned.late_until_time()));
  if (!first && assigned.price_per_item_micros() < held.price_micros) {
    Complain("the price of assignment ", assigned.assignment(), " is lowered");
  }
  held.price_micros = assigned.price_per_item_micros();
  held.worker = assigned.worker();
  for (const v1::AssignedItem& item : assigned.items()) {
    ItemNotes& notes = held.items[item.key()];
    if (item.draft_edit() < notes.edit_acknowledged) {
      Complain("draft ", notes.edit_acknowledged, " of ", item.key(), " was acknowledged, ",
               item.draft_edit(), " is sent with ", assigned.assignment());
    }
    notes.edit = std::max(notes.edit, item.draft_edit());
  }
  if (assigned.items().empty()) Complain("an assignment without items");
  if (first) {
    held.answer_at = world_->now() + random.Between(absl::Seconds(1), absl::Seconds(90));
    held.abandoned = random.Chance(120);
    demands_.erase(assigned.demand_id());  // Maybe it has credit left; then it is asked for again.
  }
  // It is durable before it is sent.
  const core::PartitionState& state = world_->state(ref->partition);
  const core::JobState* job = state.job(ref->id.job);  // Nothing: deleted, if it ever was.
  if (job == nullptr ? ref->id.job.value() >= state.jobs()
                     : ref->id.sequence >= job->head.next_sequence) {
    return Complain("assignment ", assigned.assignment(), " was sent before it was committed");
  }
}

std::optional<ItemEntry> Gateway::Find(const Held& held, const std::string& key) const {
  const core::JobState* job = world_->state(held.ref.partition).job(held.ref.id.job);
  if (job == nullptr) return std::nullopt;
  // Keys are not part of the state; the assignment's place in the items' entries is.
  const auto index = world_->ItemOf(held.ref.partition, held.ref.id.job, key);
  if (!index.has_value()) return std::nullopt;
  const core::ItemRecord item = job->items.Get(*index);
  const ItemEntry* entry = item.FindAssignment(held.ref.id.sequence);
  return entry == nullptr ? std::nullopt : std::optional<ItemEntry>(*entry);
}

void Gateway::OnCommitted(const v1::Committed& committed) {
  See(committed.position());
  const auto found = held_.find(committed.assignment());
  if (found == held_.end()) {
    // Its Assigned may have been lost with a stream; its end is told all the same.
    if (committed.kind() == v1::WORK_KIND_EXPIRY) return;
    return Complain("an acknowledgement of something that was never sent");
  }
  Held& held = found->second;
  const auto entry = unanswered_.find(committed.tag());
  if (entry != unanswered_.end()) {
    if (entry->second.over && JobIsThere(held)) CheckRepeat(committed, held);
    unanswered_.erase(entry);
  }
  if (committed.has_expire_time())
    held.expire = std::max(held.expire, FromProto(committed.expire_time()));
  if (committed.has_late_until_time()) {
    held.late_until = std::max(held.late_until, FromProto(committed.late_until_time()));
  }
  switch (committed.kind()) {
    case v1::WORK_KIND_DRAFT: {
      ItemNotes& notes = held.items.at(committed.item_key());
      notes.edit_acknowledged = std::max(notes.edit_acknowledged, committed.edit());
      break;
    }
    case v1::WORK_KIND_SUBMIT:
      held.submit_acknowledged = true;
      held.finished = true;
      held.earned_acknowledged = std::max(held.earned_acknowledged, committed.earned_micros());
      break;
    case v1::WORK_KIND_RETURN:
      if (committed.finished()) held.finished = true;
      break;
    case v1::WORK_KIND_EXPIRY:
      held.earned_acknowledged = std::max(held.earned_acknowledged, committed.earned_micros());
      if (held.abandoned || world_->random().Chance(300))
        held.finished = true;  // Else it comes late.
      break;
    default:
      break;
  }
  if (JobIsThere(held)) CheckHeld(committed.assignment(), held);
}

void Gateway::OnRejected(const v1::Rejected& rejected) {
  const auto found = held_.find(rejected.assignment());
  const bool again = rejected.code() == google::rpc::UNAVAILABLE ||
                     rejected.code() == google::rpc::RESOURCE_EXHAUSTED;
  if (rejected.kind() == v1::WORK_KIND_LEASE) {
    demands_.erase(rejected.demand_id());
    return;
  }
  const auto entry = unanswered_.find(rejected.tag());
  if (again) {
    if (entry != unanswered_.end()) entry->second.sent_at = world_->now() - absl::Seconds(29);
    return;
  }
  if (entry == unanswered_.end()) return;  // A bad answer, or a repeat.
  unanswered_.erase(entry);
  if (found == held_.end()) return Complain("a refusal of something that was never sent");
  Held& held = found->second;
  if (rejected.code() == google::rpc::INVALID_ARGUMENT) {
    Complain("a good entry is refused: ", rejected.ShortDebugString());
  }
  if (rejected.reason() == "ASSIGNMENT_NOT_FOUND" && JobIsThere(held)) {
    Complain("assignment ", rejected.assignment(), " is not found any more");
  }
  if (rejected.kind() != v1::WORK_KIND_SUBMIT) return;
  if (held.submit_acknowledged && JobIsThere(held)) {
    const bool late_item = rejected.reason() == "ASSIGNMENT_EXPIRED" ||
                           rejected.reason() == "ASSIGNMENT_FINISHED" ||
                           rejected.reason() == "ASSIGNMENT_REVOKED";
    if (!late_item) Complain("a repeat is refused: ", rejected.ShortDebugString());
  }
  // A partition's time may be ahead of its owner's clock, but not behind it.
  const absl::Time time =
      std::max(world_->ClockOf(stream_), world_->state(held.ref.partition).time());
  if (rejected.reason() == "ASSIGNMENT_EXPIRED" && !held.return_sent && time < held.late_until) {
    Complain("an answer to ", rejected.assignment(), " is refused as late, ",
             absl::FormatDuration(held.late_until - time),
             " before its grace ends: ", rejected.ShortDebugString());
  }
  held.finished = true;
}

// --- The ledger ----------------------------------------------------------------------------------

void Gateway::CheckLedger() {
  for (const auto& [id, held] : held_) {
    if (JobIsThere(held)) CheckHeld(id, held);
  }
}

void Gateway::CheckRepeat(const v1::Committed& committed, const Held& held) {
  if (committed.kind() != v1::WORK_KIND_SUBMIT || !committed.has_earned_micros()) return;
  int64_t paid = 0;
  int64_t rejected = 0;  // It may have been so when the reply was made, or not yet.
  for (const auto& [key, notes] : held.items) {
    const std::optional<ItemEntry> entry = Find(held, key);
    if (!entry.has_value()) continue;
    const bool back = entry->status == ItemEntry::kRejected || (entry->flags & ItemEntry::kUnpaid);
    if (entry->counted() || back) (back ? rejected : paid) += held.price_micros;
  }
  if (committed.earned_micros() < paid || committed.earned_micros() > paid + rejected) {
    Complain("assignment ", committed.assignment(), " is said to have earned ",
             committed.earned_micros(), ", it earned ", paid, " and lost ", rejected);
  }
}

void Gateway::CheckHeld(const std::string& id, const Held& held) {
  const core::PartitionState& state = world_->state(held.ref.partition);
  const core::JobState* job = state.job(held.ref.id.job);
  const core::LiveAssignment* live = job->leases.Find(held.ref.id.sequence);
  int64_t earned = 0;
  for (const auto& [key, notes] : held.items) {
    const std::optional<ItemEntry> entry = Find(held, key);
    if (!entry.has_value()) {
      Complain("item ", key, " knows nothing of assignment ", id);
      continue;
    }
    if (entry->price_micros() != held.price_micros)
      Complain("the price of ", id, " is not what was quoted");
    const bool accepted =
        entry->status == ItemEntry::kAnswered || entry->status == ItemEntry::kRejected;
    if (accepted) {
      earned += held.price_micros;
      const std::string& counted = Requester::Classes()[entry->label];
      if (!notes.said.contains(counted)) {
        Complain("item ", key, " of ", id, " counts as ", counted, ", which was never said");
      }
      // Nothing but its drafts can have counted, and an acknowledged one replaces those before.
      const auto held_or_later = notes.drafted.lower_bound(notes.edit_acknowledged);
      if (!held.submit_sent && std::none_of(held_or_later, notes.drafted.end(),
                                            [&](const auto& d) { return d.second == counted; })) {
        Complain("item ", key, " of ", id, " counts as ", counted, ", though draft ",
                 notes.edit_acknowledged, " was acknowledged");
      }
    }
    if (notes.edit_acknowledged == 0 || notes.withdrawn || held.return_sent || accepted) continue;
    // Its last draft is durable, so it counts when the assignment ends, however that comes about.
    if (entry->status == ItemEntry::kLeased) {
      const auto index = world_->ItemOf(held.ref.partition, held.ref.id.job, key);
      const core::LeasedItem* leased = live == nullptr ? nullptr : live->Find(*index);
      if (leased == nullptr || static_cast<int64_t>(leased->edit) < notes.edit_acknowledged) {
        Complain("draft ", notes.edit_acknowledged, " of ", key, " under ", id, " is lost");
      }
    } else {
      Complain("item ", key, " of ", id, " ended without its draft, in status ",
               int{entry->status});
    }
  }
  if (earned < held.earned_acknowledged) {
    Complain("assignment ", id, " was said to earn ", held.earned_acknowledged, ", it earned ",
             earned);
  }
}

}  // namespace tessera::simulation
