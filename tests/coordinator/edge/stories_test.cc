// Stories that a requester and a platform live through, told with the public contract's messages to
// a whole coordinator, in virtual time: an outage, a budget that runs out, results that are
// revised.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/core/fusing/categorical.h"
#include "coordinator/edge/coordinator.h"
#include "tests/support/faulty_store.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using ::tessera::testing::FaultyDisk;
using ::tessera::testing::FaultyStore;
using ::tessera::testing::IsOk;

constexpr int64_t kPrice = 10'000;

// Computes each fit at the end of the turn that asked for it.
class PromptFits : public FitExecutor {
 public:
  void Compute(core::FitWork work, core::FitOptions options,
               std::function<void(core::Fit)> done) override {
    waiting_.push_back([work = std::move(work), options, done = std::move(done)] {
      done(core::ComputeFit(work.votes, work.number, options));
    });
  }
  bool RunOne() {
    if (waiting_.empty()) return false;
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    next();
    return true;
  }

 private:
  std::deque<std::function<void()>> waiting_;
};

class Inbox : public SessionSink {
 public:
  void Send(v1::WorkResponse response) override { responses.push_back(std::move(response)); }
  bool HasRoom() override { return true; }
  void SetOnTheWay(size_t) override {}
  void Close(absl::Status status) override { closed = std::move(status); }

  std::vector<v1::WorkResponse> responses;
  std::optional<absl::Status> closed;
};

class StoriesTest : public ::testing::Test {
 protected:
  StoriesTest() { Start(); }

  void Start() {
    store_ = std::make_unique<FaultyStore>(&disk_);
    CoordinatorOptions options;
    options.host.nonce = ++nonce_;
    options.host.partition.refit_answers_min = 4;
    coordinator_ =
        std::make_unique<Coordinator>(options, std::vector<core::Store*>{store_.get()}, &fits_);
    std::optional<absl::Status> started;
    coordinator_->Start(now_, [&](absl::Status status) { started = std::move(status); });
    Settle();
    ASSERT_TRUE(started.has_value());
    ASSERT_THAT(*started, IsOk());
  }

  // The coordinator dies without a word and is back `outage` later.
  void Die(absl::Duration outage) {
    store_->Crash();
    coordinator_.reset();
    now_ += outage;
    session_.reset();
    Start();
  }

  // Turns until nothing is due any more.
  void Settle() {
    for (int turn = 0; turn < 1000; ++turn) {
      coordinator_->BeginTurn(now_);
      while (fits_.RunOne()) {
      }
      coordinator_->EndTurn();
      if (store_->pending() > 0) {
        store_->DeliverAll();
        continue;
      }
      if (coordinator_->NextWake() > now_) return;
    }
    FAIL() << "the coordinator does not come to rest";
  }

  // Time passes, second by second as it does for a coordinator that is awake; a connected gateway
  // sends its heartbeats.
  void Pass(absl::Duration time) {
    while (time > absl::ZeroDuration()) {
      const absl::Duration step = std::min(time, absl::Seconds(1));
      time -= step;
      now_ += step;
      if (session_.has_value()) {
        Say(v1::WorkRequest());
      } else {
        Settle();
      }
    }
  }

  template <typename Response, typename Request, typename Result>
  absl::StatusOr<Response> Call(Result (Coordinator::*method)(const Request&,
                                                              Coordinator::Reply<Response>),
                                const Request& request) {
    std::optional<absl::StatusOr<Response>> answer;
    coordinator_->BeginTurn(now_);
    (coordinator_.get()->*method)(
        request, [&](absl::StatusOr<Response> r) { answer.emplace(std::move(r)); });
    coordinator_->EndTurn();
    Settle();
    EXPECT_TRUE(answer.has_value()) << "a call without a reply";
    return std::move(*answer);
  }

  // A sealed job with these items, two classes, answers approved by hand.
  v1::Job MakeJob(int items, int64_t budget_micros,
                  const std::function<void(v1::Policy&)>& change = nullptr) {
    v1::CreateJobRequest create;
    create.set_parent("tenants/acme");
    create.set_request_id(absl::StrCat("r", ++nonce_));
    v1::Field& field = *create.mutable_job()->mutable_template_()->add_fields();
    field.set_name("answer");
    for (const char* value : {"no", "yes"}) field.mutable_choice()->add_classes()->set_value(value);
    v1::Policy& policy = *create.mutable_job()->mutable_policy();
    policy.set_budget_micros(budget_micros);
    policy.set_currency_code("USD");
    policy.mutable_price()->set_price_per_item_micros(kPrice);
    policy.mutable_split()->set_items_max(1);
    policy.mutable_review()->set_mode(v1::REVIEW_MODE_MANUAL);
    if (change) change(policy);
    const absl::StatusOr<v1::Job> job = Call(&Coordinator::CreateJob, create);
    EXPECT_THAT(job, IsOk());
    v1::AddItemsRequest add;
    add.set_job(job->name());
    for (int i = 0; i < items; ++i) add.add_items()->set_key(absl::StrCat("item-", i));
    EXPECT_THAT(Call(&Coordinator::AddItems, add), IsOk());
    v1::SealJobRequest seal;
    seal.set_name(job->name());
    return *Call(&Coordinator::SealJob, seal);
  }

  v1::Job Get(const v1::Job& job) {
    v1::GetJobRequest get;
    get.set_name(job.name());
    return *Call(&Coordinator::GetJob, get);
  }

  // --- A gateway ---------------------------------------------------------------------------------

  void Say(const v1::WorkRequest& request) {
    coordinator_->BeginTurn(now_);
    coordinator_->OnWork(*session_, request);
    coordinator_->EndTurn();
    Settle();
  }

  void Connect(const std::vector<std::string>& held = {}) {
    coordinator_->BeginTurn(now_);
    session_ = coordinator_->OpenSession("", &inbox_);
    coordinator_->EndTurn();
    v1::WorkRequest hello;
    hello.mutable_hello()->set_gateway("gate");
    hello.mutable_hello()->set_protocol_version(1);
    for (const std::string& assignment : held)
      hello.mutable_hello()->add_held()->set_assignment(assignment);
    Say(hello);
  }

  // What the worker is given now, at most `assignments`.
  std::vector<v1::Assigned> Ask(const std::string& worker, int assignments) {
    v1::WorkRequest request;
    v1::Lease& lease = *request.add_leases();
    lease.set_demand_id(++demands_);
    lease.set_worker(worker);
    lease.set_assignments_wanted(assignments);
    lease.mutable_wait_max();  // What there is now, and no more.
    const size_t before = inbox_.responses.size();
    Say(request);
    std::vector<v1::Assigned> assigned;
    for (size_t i = before; i < inbox_.responses.size(); ++i) {
      for (const v1::Assigned& a : inbox_.responses[i].assigned()) assigned.push_back(a);
    }
    return assigned;
  }

  static void AddSubmit(v1::WorkRequest* request, const v1::Assigned& assigned,
                        const std::string& choice) {
    v1::Submit& submit = *request->add_submits();
    submit.set_assignment(assigned.assignment());
    for (const v1::AssignedItem& item : assigned.items()) {
      v1::ItemAnswer& answer = *submit.add_answers();
      answer.set_item_key(item.key());
      answer.mutable_answer()->add_fields()->set_choice(choice);
    }
  }

  // Submits and gives back the reply: exactly one Committed or Rejected.
  v1::WorkResponse Submit(const v1::Assigned& assigned, const std::string& choice) {
    v1::WorkRequest request;
    AddSubmit(&request, assigned, choice);
    const size_t before = inbox_.responses.size();
    Say(request);
    v1::WorkResponse reply;
    for (size_t i = before; i < inbox_.responses.size(); ++i) {
      for (const v1::Committed& c : inbox_.responses[i].committed()) *reply.add_committed() = c;
      for (const v1::Rejected& r : inbox_.responses[i].rejected()) *reply.add_rejected() = r;
    }
    EXPECT_EQ(reply.committed_size() + reply.rejected_size(), 1) << reply.ShortDebugString();
    return reply;
  }

  // Everybody answers `choice` wherever they are asked.
  void AnswerAll(const std::string& choice, int workers) {
    for (int w = 0; w < workers; ++w) {
      while (true) {
        const std::vector<v1::Assigned> assigned = Ask(absl::StrCat("w", w), 1);
        if (assigned.empty()) break;
        for (const v1::Assigned& a : assigned) EXPECT_EQ(Submit(a, choice).committed_size(), 1);
      }
    }
  }

  FaultyDisk disk_{FaultyDisk::Options{}};
  PromptFits fits_;
  std::unique_ptr<FaultyStore> store_;
  Inbox inbox_;  // Outlives the coordinator, which says goodbye to it.
  std::unique_ptr<Coordinator> coordinator_;
  std::optional<Coordinator::SessionId> session_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  uint64_t nonce_ = 0;
  uint64_t demands_ = 0;
};

TEST_F(StoriesTest, ALateAnswerAfterAFiveMinuteOutageIsAcceptedAndPaid) {
  const v1::Job job = MakeJob(1, 1'000'000, [](v1::Policy& policy) {
    policy.mutable_lease()->mutable_base()->set_seconds(60);
    policy.mutable_lease()->mutable_per_item();
    policy.mutable_lease()->mutable_late_grace()->set_seconds(120);
  });
  Connect();
  const std::vector<v1::Assigned> assigned = Ask("ann", 1);
  ASSERT_EQ(assigned.size(), 1);
  Pass(absl::Seconds(30));

  // Both the deadline and the grace pass while nobody serves.
  Die(absl::Minutes(5));
  Connect({assigned[0].assignment()});
  ASSERT_EQ(inbox_.responses.back().welcome().held_size(), 1);
  EXPECT_EQ(inbox_.responses.back().welcome().held(0).status(), v1::HELD_STATUS_HELD);

  // The worker is slow as well: past the deadline as it was moved, within the grace.
  Pass(absl::Seconds(60));
  const v1::WorkResponse reply = Submit(assigned[0], "yes");
  ASSERT_EQ(reply.committed_size(), 1) << reply.ShortDebugString();
  EXPECT_EQ(reply.committed(0).earned_micros(), kPrice);
  EXPECT_TRUE(reply.committed(0).late());
  EXPECT_EQ(Get(job).ledger().earned_micros(), kPrice);
  EXPECT_EQ(Get(job).counts().answers(), 1);
  EXPECT_EQ(Get(job).counts().answers_late(), 1);

  // And once the grace is over as well, not any more.
  const std::vector<v1::Assigned> second = Ask("bob", 1);
  ASSERT_EQ(second.size(), 1);
  Pass(absl::Seconds(181));
  const v1::WorkResponse refused = Submit(second[0], "yes");
  ASSERT_EQ(refused.rejected_size(), 1);
  EXPECT_EQ(refused.rejected(0).reason(), "ASSIGNMENT_EXPIRED");
  EXPECT_EQ(Get(job).ledger().earned_micros(), kPrice);
}

TEST_F(StoriesTest, AJobThatRanOutOfMoneyGoesOnWhenItsBudgetIsRaised) {
  v1::Job job = MakeJob(10, 9 * kPrice);
  Connect();
  AnswerAll("yes", 8);
  Pass(absl::Seconds(1));
  job = Get(job);
  EXPECT_EQ(job.state(), v1::JOB_STATE_PAUSED);
  EXPECT_THAT(job.pause_reasons(), ::testing::ElementsAre(v1::PAUSE_REASON_OUT_OF_BUDGET));
  EXPECT_THAT(job.stall(), ::testing::Contains(v1::STALL_REASON_OUT_OF_BUDGET));
  EXPECT_LT(job.counts().items_resolved(), 10);
  EXPECT_LE(job.ledger().earned_micros() + job.ledger().reserved_micros(), 9 * kPrice);

  v1::UpdateJobRequest raise;
  raise.mutable_job()->set_name(job.name());
  raise.mutable_job()->mutable_policy()->set_budget_micros(100 * kPrice);
  raise.mutable_update_mask()->add_paths("policy.budget_micros");
  const absl::StatusOr<v1::Job> raised = Call(&Coordinator::UpdateJob, raise);
  ASSERT_THAT(raised, IsOk());
  EXPECT_EQ(raised->state(), v1::JOB_STATE_RUNNING);

  AnswerAll("yes", 8);
  Pass(absl::Seconds(1));
  job = Get(job);
  EXPECT_EQ(job.state(), v1::JOB_STATE_FINALISED);
  EXPECT_EQ(job.counts().items_resolved(), 10);
}

TEST_F(StoriesTest, AClientThatStreamedResultsSeesTheirRevisions) {
  const v1::Job job = MakeJob(2, 1'000'000, [](v1::Policy& policy) {
    policy.set_finalise_mode(v1::FINALISE_MODE_MANUAL);
    policy.mutable_quality()->set_target_confidence(0.6);
    policy.mutable_quality()->set_answers_min(1);
  });
  std::vector<v1::Result> seen;
  std::string token;
  bool ended = false;
  const auto follow = [&] {
    v1::StreamResultsRequest request;
    request.set_job(job.name());
    request.set_resume_token(token);
    request.set_follow(true);
    coordinator_->BeginTurn(now_);
    const Coordinator::WaitId wait = coordinator_->WaitResults(
        request, /*told_end=*/true, [&](absl::StatusOr<v1::StreamResultsResponse> r, bool end) {
          ASSERT_THAT(r, IsOk());
          for (const v1::Result& result : r->results()) seen.push_back(result);
          token = r->resume_token();
          ended = end;
        });
    coordinator_->EndTurn();
    Settle();
    return wait;
  };

  Connect();
  const v1::Assigned first = Ask("ann", 1).at(0);
  ASSERT_EQ(Submit(first, "yes").committed_size(), 1);
  follow();
  ASSERT_EQ(seen.size(), 1);
  EXPECT_EQ(seen[0].item_key(), first.items(0).key());
  EXPECT_EQ(seen[0].state(), v1::ITEM_STATE_RESOLVED);
  EXPECT_EQ(seen[0].finality(), v1::FINALITY_PROVISIONAL);
  EXPECT_EQ(seen[0].value().fields(0).choice(), "yes");

  // The answer is rejected: the result that was streamed is taken back ...
  v1::ReviewAnswersRequest reject;
  reject.set_job(job.name());
  v1::Review& review = *reject.add_reviews();
  review.set_assignment(first.assignment());
  review.set_item_key(first.items(0).key());
  review.set_decision(v1::REVIEW_DECISION_REJECT);
  review.set_reason("a copy of the question");
  ASSERT_THAT(Call(&Coordinator::ReviewAnswers, reject), IsOk());
  follow();
  ASSERT_EQ(seen.size(), 2);
  EXPECT_EQ(seen[1].item_key(), seen[0].item_key());
  EXPECT_EQ(seen[1].state(), v1::ITEM_STATE_IN_PROGRESS);
  EXPECT_GT(seen[1].revision(), seen[0].revision());

  // ... and comes back with another value, also after a restart, from the token that was kept.
  Die(absl::Seconds(10));
  Connect();
  AnswerAll("no", 4);
  v1::FinaliseJobRequest finalise;
  finalise.set_name(job.name());
  ASSERT_THAT(Call(&Coordinator::FinaliseJob, finalise), IsOk());
  while (!ended) follow();
  std::map<std::string, v1::Result> last;
  int64_t revision = 0;
  for (const v1::Result& result : seen) {
    EXPECT_GT(result.revision(), revision) << "revisions come in commit order";
    revision = result.revision();
    last[result.item_key()] = result;
  }
  ASSERT_EQ(last.size(), 2);
  for (const auto& [key, result] : last) {
    EXPECT_EQ(result.state(), v1::ITEM_STATE_RESOLVED) << key;
    EXPECT_EQ(result.value().fields(0).choice(), "no") << key;
  }
}

}  // namespace
}  // namespace tessera::edge
