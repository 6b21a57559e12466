#include "tests/simulation/requester.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "coordinator/edge/convert.h"

namespace tessera::simulation {

using absl::StatusCode;
using core::ItemEntry;
using core::ItemState;
using core::JobPhase;
using edge::Coordinator;

namespace {

v1::ItemState ToProto(ItemState state) {
  switch (state) {
    case ItemState::kWaiting:
      return v1::ITEM_STATE_WAITING;
    case ItemState::kInProgress:
      return v1::ITEM_STATE_IN_PROGRESS;
    case ItemState::kResolved:
      return v1::ITEM_STATE_RESOLVED;
    case ItemState::kUnresolved:
      return v1::ITEM_STATE_UNRESOLVED;
    case ItemState::kCancelled:
      return v1::ITEM_STATE_CANCELLED;
  }
  return v1::ITEM_STATE_UNSPECIFIED;
}

}  // namespace

const std::vector<std::string>& Requester::Classes() {
  static const std::vector<std::string> classes = {"no", "yes", "maybe"};
  return classes;
}

v1::Answer Requester::Choice(const std::string& value) {
  v1::Answer answer;
  answer.add_fields()->set_choice(value);
  return answer;
}

Requester::Requester(World* world, int number) : world_(world), number_(number) {
  Random& random = world_->random();
  tenant_ = absl::StrCat("tenants/t", number % 2);
  const int items = random.Int(3, 40);
  for (int i = 0; i < items; ++i) {
    // Now and then the list holds an item twice.
    keys_.push_back(i > 0 && random.Chance(60) ? keys_[random.Place(keys_.size())]
                                               : absl::StrCat("key", i));
  }
  for (const std::string& key : keys_) {
    if (!ItemOf(key).has_value()) distinct_.push_back(key);
  }
  const int answers_max = random.Int(1, 4);
  price_ = 1000 * random.Int(0, 3);
  budget_ = price_ == 0 ? 1000 : random.Int(2, 2 * items * answers_max + 3) * price_;
  manual_ = random.Chance(150);
  pool_prices_ = random.Chance(250);
  if (pool_prices_) price_ = World::kPoolPriceMax;
  create_ = CreateRequest(answers_max);
}

v1::CreateJobRequest Requester::CreateRequest(int answers_max) const {
  Random& random = world_->random();
  v1::CreateJobRequest request;
  request.set_parent(tenant_);
  request.set_request_id(absl::StrCat("request", number_));
  request.set_start_paused(random.Chance(100));
  v1::Job& job = *request.mutable_job();
  job.set_display_name("simulated");
  v1::Field& field = *job.mutable_template_()->add_fields();
  field.set_name("answer");
  for (const std::string& value : Classes())
    field.mutable_choice()->add_classes()->set_value(value);
  v1::Policy& policy = *job.mutable_policy();
  policy.set_budget_micros(budget_);
  policy.set_currency_code("EUR");
  policy.set_value_micros(random.Int(0, 2) * 10'000);
  if (!pool_prices_) policy.mutable_price()->set_price_per_item_micros(price_);
  policy.mutable_quality()->set_answers_min(random.Int(1, answers_max));
  policy.mutable_quality()->set_answers_max(answers_max);
  if (random.Chance(200)) policy.mutable_quality()->set_answers_per_worker_max(random.Int(5, 30));
  v1::SplitPolicy& split = *policy.mutable_split();
  split.set_strategy(static_cast<v1::SplitStrategy>(random.Int(1, 3)));
  split.set_items_max(random.Int(1, 5));
  split.set_random_order(random.Chance(300));
  v1::LeasePolicy& lease = *policy.mutable_lease();
  lease.mutable_base()->set_seconds(random.Int(10, 40));
  lease.mutable_per_item()->set_seconds(5);
  lease.mutable_late_grace()->set_seconds(random.Int(0, 60));
  lease.mutable_extension_max()->set_seconds(random.Int(0, 60));
  if (manual_) policy.set_finalise_mode(v1::FINALISE_MODE_MANUAL);
  if (random.Chance(700)) policy.mutable_review()->set_mode(v1::REVIEW_MODE_MANUAL);
  if (random.Chance(150)) {
    *policy.mutable_deadline() =
        edge::TimeToProto(world_->now() + random.Between(absl::Minutes(2), absl::Minutes(20)));
  }
  if (random.Chance(100)) {
    *policy.mutable_start_time() = edge::TimeToProto(world_->now() + absl::Seconds(30));
  }
  if (random.Chance(100)) policy.mutable_rate()->set_assignments_open_max(random.Int(1, 4));
  return request;
}

v1::Item Requester::ItemAt(size_t place) const {
  v1::Item item;
  item.set_key(keys_[place]);
  item.add_content()->set_text(absl::StrCat("what is ", keys_[place], " of job ", number_, "?"));
  const core::ItemIndex number = *ItemOf(keys_[place]);
  if (number % 3 == 1) item.set_stratum(absl::StrCat("stratum", number % 2));
  if (number % 4 == 1) item.set_length(1 + number % 7);
  if (number % 5 == 2) item.set_importance(0.5 + number % 3);
  if (number % 7 == 3) *item.mutable_gold() = Choice(Classes()[number % Classes().size()]);
  return item;
}

v1::AddItemsRequest Requester::Batch(int64_t offset, size_t size) const {
  v1::AddItemsRequest request;
  request.set_job(name_);
  request.set_offset(offset);
  for (size_t i = 0; i < size; ++i) *request.add_items() = ItemAt(static_cast<size_t>(offset) + i);
  return request;
}

std::optional<core::ItemIndex> Requester::ItemOf(const std::string& key) const {
  const auto found = std::find(distinct_.begin(), distinct_.end(), key);
  if (found == distinct_.end()) return std::nullopt;
  return static_cast<core::ItemIndex>(found - distinct_.begin());
}

const core::JobState* Requester::state() const {
  return index_.has_value() ? world_->state(partition_).job(*index_) : nullptr;
}

bool Requester::JobIsOver() const {
  const core::JobState* job = state();
  if (deleting_ && job == nullptr) return true;
  return job != nullptr && job->ended();
}

bool Requester::done() const { return JobIsOver() && stream_ended_; }

std::string Requester::Describe() const {
  const core::JobState* job = state();
  if (job == nullptr) return absl::StrCat("requester ", number_, ": no job, stage ", stage_);
  const core::JobHead& head = job->head;
  return absl::StrCat("requester ", number_, ": stage ", stage_, ", phase ", head.phase,
                      ", paused ", int{head.pause_reasons}, head.sealed ? ", sealed" : "",
                      ", items ", head.items, ", waiting ", head.counts.waiting, ", in progress ",
                      head.counts.in_progress, ", resolved ", head.counts.resolved, ", answers ",
                      head.answers, ", fit of ", head.fit_answers, ", open ", head.open_assignments,
                      ", remaining ", head.ledger.remaining_micros(), ", answers_max ",
                      head.policy.quality.answers_max, stream_ended_ ? ", streamed" : "");
}

template <typename... Parts>
void Requester::Complain(const Parts&... parts) {
  world_->Complain(absl::StrCat("requester ", number_, ": ", parts...));
}

bool Requester::May(const absl::Status& status, std::initializer_list<StatusCode> codes,
                    absl::string_view what) {
  if (std::find(codes.begin(), codes.end(), status.code()) != codes.end()) return true;
  Complain(what, " is refused: ", status.ToString(), " (", GetDetails(status).reason, ")");
  return false;
}

template <typename Request, typename Answer, typename Result>
void Requester::Insist(Result (Coordinator::*method)(const Request&, Coordinator::Reply<Answer>),
                       const Request& request, std::function<void(absl::StatusOr<Answer>)> done) {
  busy_ = true;
  world_->Call<Request, Answer>(
      method, request, [this, method, request, done](absl::StatusOr<Answer> answer) {
        if (absl::IsUnavailable(answer.status())) {
          return world_->Later(absl::Milliseconds(100), [this, method, request, done] {
            Insist<Request, Answer>(method, request, done);
          });
        }
        busy_ = false;
        done(std::move(answer));
      });
}

// --- From creation to the seal -------------------------------------------------------------------

void Requester::Act() {
  Random& random = world_->random();
  if (deleting_) return;
  if (done() && !busy_) {
    if (random.Chance(20)) Delete();
    return;
  }
  if (!name_.empty() && random.Chance(100)) Read();
  if (!name_.empty() && !streaming_ && !stream_ended_) Stream();
  if (busy_) return;
  switch (stage_) {
    case Stage::kCreate:
      return Create();
    case Stage::kFeed:
      return random.Chance(100) && !world_->calm() ? ChangeOfMind() : Feed();
    case Stage::kSeal:
      return Seal();
    case Stage::kRun:
      return world_->calm() ? HelpToTheEnd() : ChangeOfMind();
  }
}

void Requester::Create() {
  Insist<v1::CreateJobRequest, v1::Job>(
      &Coordinator::CreateJob, create_, [this](const absl::StatusOr<v1::Job>& job) {
        if (!job.ok()) {
          // The default pool is made as soon as its home serves; a deadline may have passed
          // meanwhile.
          if (absl::IsFailedPrecondition(job.status())) return;
          if (absl::IsInvalidArgument(job.status()) && create_.job().policy().has_deadline()) {
            return create_.mutable_job()->mutable_policy()->clear_deadline();
          }
          return (void)May(job.status(), {}, "a create");
        }
        if (!name_.empty() && name_ != job->name()) Complain("a create gives another job");
        name_ = job->name();
        const auto parsed = edge::JobName::Parse(name_);
        partition_ = edge::PartitionOfJob(parsed->job).value();
        index_ = world_->state(partition_).FindJob(parsed->tenant, parsed->job);
        if (!index_.has_value()) return Complain("an acknowledged job is not there");
        if (world_->random().Chance(100)) {
          // The same request id for another job.
          v1::CreateJobRequest other = create_;
          other.mutable_job()->set_display_name("another");
          Insist<v1::CreateJobRequest, v1::Job>(
              &Coordinator::CreateJob, other, [this](const absl::StatusOr<v1::Job>& again) {
                if (!absl::IsAlreadyExists(again.status())) {
                  Complain("a request id makes two jobs: ", again.status().ToString());
                }
              });
        }
        stage_ = Stage::kFeed;
      });
}

void Requester::Feed() {
  Random& random = world_->random();
  const auto all = static_cast<int64_t>(keys_.size());
  if (next_offset_ >= all || JobIsOver()) {
    stage_ = Stage::kSeal;
    return;
  }
  if (random.Chance(150) && committed_offset_ > 0) return BringBadItem();
  int64_t offset = next_offset_;
  int64_t size = random.Int(1, 8);
  if (random.Chance(100) && !world_->calm()) {
    // Out of line: a repeat, a gap or a batch that straddles.
    offset = random.Int(0, static_cast<int>(all) - 1);
  }
  size = std::min(size, all - offset);
  Insist<v1::AddItemsRequest, v1::AddItemsResponse>(
      &Coordinator::AddItems, Batch(offset, static_cast<size_t>(size)),
      [this, offset, size](const absl::StatusOr<v1::AddItemsResponse>& added) {
        if (added.ok()) {
          if (added->committed_offset() < offset + size) Complain("a batch is taken in half");
          committed_offset_ = std::max(committed_offset_, added->committed_offset());
          next_offset_ = std::max(next_offset_, added->committed_offset());
          return CheckLedger();
        }
        if (absl::IsFailedPrecondition(added.status())) {
          stage_ = Stage::kSeal;  // It was finalised or cancelled.
          return;
        }
        if (!May(added.status(), {StatusCode::kOutOfRange}, "a batch")) return;
        Insist<v1::GetJobRequest, v1::Job>(
            &Coordinator::GetJob,
            [this] {
              v1::GetJobRequest request;
              request.set_name(name_);
              return request;
            }(),
            [this](const absl::StatusOr<v1::Job>& job) {
              if (!job.ok()) return (void)May(job.status(), {}, "a read");
              next_offset_ = job->committed_offset();
            });
      });
}

void Requester::BringBadItem() {
  // A key that is there, with another content: nobody may take it in, before or after a crash.
  v1::AddItemsRequest request;
  request.set_job(name_);
  request.set_offset(next_offset_);
  v1::Item& item = *request.add_items();
  item.set_key(keys_[world_->random().Place(static_cast<size_t>(committed_offset_))]);
  item.add_content()->set_text("another content");
  Insist<v1::AddItemsRequest, v1::AddItemsResponse>(
      &Coordinator::AddItems, request, [this](const absl::StatusOr<v1::AddItemsResponse>& added) {
        if (added.ok()) return Complain("an item is taken in under a key that is there");
        May(added.status(),
            {StatusCode::kAlreadyExists, StatusCode::kOutOfRange, StatusCode::kFailedPrecondition},
            "another content");
      });
}

void Requester::Seal() {
  v1::SealJobRequest request;
  request.set_name(name_);
  Insist<v1::SealJobRequest, v1::Job>(
      &Coordinator::SealJob, request, [this](const absl::StatusOr<v1::Job>& job) {
        stage_ = Stage::kRun;
        if (!job.ok()) {
          May(job.status(), {StatusCode::kFailedPrecondition}, "a seal");
          return;
        }
        sealed_ = true;
        OnJob(job, "a seal");
      });
}

// --- A job that runs -----------------------------------------------------------------------------

void Requester::OnJob(const absl::StatusOr<v1::Job>& job, absl::string_view what) {
  if (!job.ok()) return (void)May(job.status(), {StatusCode::kFailedPrecondition}, what);
  committed_offset_ = std::max(committed_offset_, job->committed_offset());
  CheckLedger();
}

void Requester::UpdateBudget(int64_t budget) {
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name(name_);
  request.mutable_job()->mutable_policy()->set_budget_micros(budget);
  request.mutable_update_mask()->add_paths("policy.budget_micros");
  if (world_->calm())
    request.mutable_update_mask()->add_paths("policy.deadline");  // None any more.
  Insist<v1::UpdateJobRequest, v1::Job>(&Coordinator::UpdateJob, request,
                                        [this, budget](const absl::StatusOr<v1::Job>& job) {
                                          if (job.ok()) budget_ = budget;
                                          OnJob(job, "an update");
                                        });
}

void Requester::UpdateQuality() {
  Random& random = world_->random();
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name(name_);
  v1::QualityPolicy& quality = *request.mutable_job()->mutable_policy()->mutable_quality();
  quality.set_answers_max(random.Int(1, 4));
  quality.set_answers_min(random.Int(1, quality.answers_max()));
  quality.set_target_confidence(random.Int(60, 99) / 100.0);
  for (const char* field : {"answers_min", "answers_max", "target_confidence"}) {
    request.mutable_update_mask()->add_paths(absl::StrCat("policy.quality.", field));
  }
  Insist<v1::UpdateJobRequest, v1::Job>(
      &Coordinator::UpdateJob, request,
      [this](const absl::StatusOr<v1::Job>& job) { OnJob(job, "an update of quality"); });
}

void Requester::ChangeOfMind() {
  Random& random = world_->random();
  const auto change = [this](auto method, auto request, absl::string_view what) {
    request.set_name(name_);
    Insist<decltype(request), v1::Job>(
        method, request,
        [this, what = std::string(what)](const absl::StatusOr<v1::Job>& job) { OnJob(job, what); });
  };
  switch (random.Int(0, 30)) {
    case 0:
      return change(&Coordinator::PauseJob, v1::PauseJobRequest(), "a pause");
    case 1:
    case 2:
      return change(&Coordinator::ResumeJob, v1::ResumeJobRequest(), "a resume");
    case 3:
      return UpdateBudget(std::max<int64_t>(1, budget_ * random.Int(5, 30) / 10));
    case 4:
      return UpdateBudget(budget_ + random.Int(1, 20) * price_ + 1);
    case 5:
    case 6:
    case 7:
    case 8:
    case 11:
    case 12:
      return Review();
    case 13:
      return PayBonus();
    case 14:
    case 15:
      return UpdateQuality();
    case 9: {
      if (!random.Chance(100)) return;
      v1::FinaliseJobRequest request;
      request.set_name(name_);
      return Insist<v1::FinaliseJobRequest, v1::Job>(&Coordinator::FinaliseJob, request,
                                                     [this](const absl::StatusOr<v1::Job>& job) {
                                                       finalised_ = finalised_ || job.ok();
                                                       OnJob(job, "a finalise");
                                                     });
    }
    case 10: {
      if (!random.Chance(50)) return;
      v1::CancelJobRequest request;
      request.set_name(name_);
      return Insist<v1::CancelJobRequest, v1::Job>(&Coordinator::CancelJob, request,
                                                   [this](const absl::StatusOr<v1::Job>& job) {
                                                     cancelled_ = cancelled_ || job.ok();
                                                     OnJob(job, "a cancel");
                                                   });
    }
    default:
      return;
  }
}

void Requester::HelpToTheEnd() {
  const core::JobState* job = state();
  if (job == nullptr || job->ended() || job->head.phase == JobPhase::kClosing) return;
  const core::JobHead& head = job->head;
  const int64_t answers_max = head.policy.quality.answers_max;
  const int64_t enough = head.ledger.committed_micros() +
                         price_ * answers_max * static_cast<int64_t>(keys_.size()) + 1;
  const bool needs_more = head.ledger.remaining_micros() < price_ * answers_max ||
                          head.policy.deadline != absl::InfiniteFuture();
  if ((head.pause_reasons & (core::kPauseBudget | core::kPauseDeadline)) || needs_more) {
    return UpdateBudget(std::max(budget_, enough));
  }
  if (head.phase == JobPhase::kPaused) {
    v1::ResumeJobRequest request;
    request.set_name(name_);
    return Insist<v1::ResumeJobRequest, v1::Job>(
        &Coordinator::ResumeJob, request,
        [this](const absl::StatusOr<v1::Job>& j) { OnJob(j, "a resume"); });
  }
  const bool all_done = head.sealed && head.counts.waiting == 0 && head.counts.in_progress == 0;
  if (manual_ && all_done) {
    v1::FinaliseJobRequest request;
    request.set_name(name_);
    Insist<v1::FinaliseJobRequest, v1::Job>(&Coordinator::FinaliseJob, request,
                                            [this](const absl::StatusOr<v1::Job>& j) {
                                              finalised_ = finalised_ || j.ok();
                                              OnJob(j, "a finalise");
                                            });
  }
}

void Requester::Review() {
  Random& random = world_->random();
  const core::JobState* job = state();
  if (job == nullptr || job->items.size() == 0) return;
  const auto item = static_cast<core::ItemIndex>(random.Below(job->items.size()));
  const core::ItemRecord record = job->items.Get(item);
  if (record.entries.empty()) return;
  const ItemEntry entry = record.entries[random.Place(record.entries.size())];
  v1::ReviewAnswersRequest request;
  request.set_job(name_);
  v1::Review& review = *request.add_reviews();
  review.set_assignment(world_->ids().Assignment(partition_, {*index_, entry.sequence}));
  review.set_item_key(distinct_[item]);
  const bool approve = random.Chance(600);
  review.set_decision(approve ? v1::REVIEW_DECISION_APPROVE : v1::REVIEW_DECISION_REJECT);
  review.set_reason("so it is");
  Insist<v1::ReviewAnswersRequest, v1::ReviewAnswersResponse>(
      &Coordinator::ReviewAnswers, request,
      [this, assignment = review.assignment(), item,
       approve](const absl::StatusOr<v1::ReviewAnswersResponse>& reply) {
        if (!reply.ok()) {
          May(reply.status(), {StatusCode::kFailedPrecondition, StatusCode::kNotFound}, "a review");
          return;
        }
        reviewed_.push_back({assignment, item, approve});
        CheckLedger();
      });
}

void Requester::PayBonus() {
  Random& random = world_->random();
  const core::JobState* job = state();
  if (job == nullptr || job->tallies.empty()) return;
  const auto& workers = job->tallies.begin()->second.by_worker;
  if (workers.empty()) return;
  v1::PayBonusRequest request;
  request.set_job(name_);
  request.set_worker(
      world_->state(partition_).worker(core::WorkerIndex(workers.begin()->first)).name);
  request.set_amount_micros(random.Int(1, 3000));
  request.set_request_id(absl::StrCat("bonus", bonuses_.size()));
  request.set_reason("well done");
  bonuses_[request.request_id()].micros = request.amount_micros();
  Insist<v1::PayBonusRequest, v1::PayBonusResponse>(
      &Coordinator::PayBonus, request,
      [this, id = request.request_id()](const absl::StatusOr<v1::PayBonusResponse>& reply) {
        if (!reply.ok()) {
          May(reply.status(), {StatusCode::kFailedPrecondition, StatusCode::kNotFound}, "a bonus");
          return;
        }
        bonuses_[id].paid = true;
        CheckLedger();
      });
}

void Requester::Delete() {
  deleting_ = true;
  v1::DeleteJobRequest request;
  request.set_name(name_);
  Insist<v1::DeleteJobRequest, Coordinator::Empty>(
      &Coordinator::DeleteJob, request, [this](const absl::StatusOr<Coordinator::Empty>& reply) {
        // NOT_FOUND: an earlier try did it.
        if (!reply.ok() && !May(reply.status(), {StatusCode::kNotFound}, "a delete")) return;
        deleted_ = true;
        CheckLedger();
      });
}

void Requester::Read() {
  v1::ListResultsRequest request;
  request.set_parent(name_);
  world_->Call<v1::ListResultsRequest, v1::ListResultsResponse>(
      &Coordinator::ListResults, request,
      [this](const absl::StatusOr<v1::ListResultsResponse>& list) {
        if (!list.ok()) {
          if (!deleting_) May(list.status(), {StatusCode::kUnavailable}, "a list");
          return;
        }
        std::set<std::string> seen;
        for (const v1::Result& result : list->results()) {
          if (!seen.insert(result.item_key()).second) Complain("an item is listed twice");
        }
      });
}

// --- Results -------------------------------------------------------------------------------------

void Requester::Stream() {
  streaming_ = true;
  v1::StreamResultsRequest request;
  request.set_job(name_);
  request.set_resume_token(token_);
  request.set_follow(true);
  world_->WaitResults(
      request, told_end_,
      [this](const absl::StatusOr<v1::StreamResultsResponse>& response, bool ended) {
        streaming_ = false;
        OnResults(response, ended);
      });
}

void Requester::OnResults(const absl::StatusOr<v1::StreamResultsResponse>& response, bool ended) {
  if (!response.ok()) {
    // DATA_LOSS: an old owner that does not know yet that it is one.
    return (void)May(response.status(), {StatusCode::kUnavailable, StatusCode::kDataLoss},
                     "a stream");
  }
  int64_t last = last_revision_;
  for (const v1::Result& result : response->results()) {
    v1::Result& known = results_[result.item_key()];
    const bool at_end =
        result.state() == v1::ITEM_STATE_UNRESOLVED || result.state() == v1::ITEM_STATE_CANCELLED;
    if (!at_end && result.revision() < last) {
      Complain("revision ", result.revision(), " is streamed after ", last);
    }
    if (!at_end) last = result.revision();
    if (result.revision() < known.revision()) {
      Complain("item ", result.item_key(), " goes back to revision ", result.revision());
    }
    known = result;
  }
  last_revision_ = last;
  token_ = response->resume_token();
  told_end_ = response->at_end();
  stream_ended_ = ended;
  if (ended) CheckStream();
}

void Requester::CheckStream() {
  const core::JobState* job = state();
  if (job == nullptr || !job->ended()) {
    return Complain("the stream of results ended before the job");
  }
  for (core::ItemIndex i = 0; i < job->items.size(); ++i) {
    const core::ItemRecord item = job->items.Get(i);
    const auto streamed = results_.find(distinct_[i]);
    if (streamed == results_.end()) {
      Complain("item ", i, " was never streamed; it ended in state ",
               job->EffectiveState(item.state), " at revision ", item.revision, " of ",
               job->head.revision);
      continue;
    }
    const v1::Result& result = streamed->second;
    const bool same = result.state() == ToProto(job->EffectiveState(item.state)) &&
                      (item.value == core::kNoLabel ||
                       result.value().fields(0).choice() == Classes()[item.value]);
    if (!same) {
      Complain("item ", i, " was last streamed as ", result.ShortDebugString(),
               ", but ended in state ", job->EffectiveState(item.state), " with value ", item.value,
               ", revision ", item.revision);
    }
  }
}

// --- The ledger ----------------------------------------------------------------------------------

void Requester::CheckLedger() {
  if (!index_.has_value()) return;
  const core::JobState* job = state();
  if (job != nullptr && deleted_) return Complain("a deleted job is there");
  if (job == nullptr && deleting_) return;
  if (job == nullptr) return Complain("an acknowledged job is gone");
  const core::JobHead& head = job->head;
  const auto offset = static_cast<int64_t>(head.committed_offset);
  if (offset < committed_offset_) {
    Complain("acknowledged items are gone: ", committed_offset_, " were, ", offset, " are there");
  }
  const size_t end = std::min(keys_.size(), static_cast<size_t>(offset));
  const std::set<std::string> distinct(keys_.begin(),
                                       keys_.begin() + static_cast<std::ptrdiff_t>(end));
  if (distinct.size() != head.items) {
    Complain(end, " items with ", distinct.size(), " keys became ", head.items, " items");
  }
  if (sealed_ && !head.sealed) Complain("an acknowledged seal is gone");
  const bool closing = head.phase == JobPhase::kClosing || core::Ended(head.phase);
  if ((finalised_ || cancelled_) && !closing) Complain("an acknowledged end is gone");
  if (cancelled_ && head.phase == JobPhase::kFinalised) Complain("a cancelled job is finalised");
  int64_t paid = 0;
  int64_t asked = 0;
  for (const auto& [id, bonus] : bonuses_) {
    asked += bonus.micros;
    if (bonus.paid) paid += bonus.micros;
  }
  if (head.ledger.bonus_micros < paid || head.ledger.bonus_micros > asked) {
    Complain("bonuses of ", paid, " to ", asked, " micros became ", head.ledger.bonus_micros);
  }
  for (const Reviewed& r : reviewed_) {
    const auto ref = world_->ids().ParseAssignment(r.assignment);
    const core::ItemRecord item = job->items.Get(r.item);
    const ItemEntry* entry = item.FindAssignment(ref->id.sequence);
    if (entry == nullptr) {
      Complain("a reviewed answer is gone");
      continue;
    }
    const bool rejected =
        entry->status == ItemEntry::kRejected || (entry->flags & ItemEntry::kUnpaid) != 0;
    const bool stands = r.approved ? (entry->flags & ItemEntry::kApproved) != 0 : rejected;
    if (!stands) Complain("an acknowledged review is gone");
  }
}

}  // namespace tessera::simulation
