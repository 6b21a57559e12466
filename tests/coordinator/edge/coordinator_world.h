// A whole coordinator over disks in memory, with gateways and requesters: for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/core/fusing/categorical.h"
#include "coordinator/edge/coordinator.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_store.h"

namespace tessera::edge {

using testing::FaultyDisk;
using testing::FaultyStore;

// Computes fits when the test says so.
class ManualFits final : public FitExecutor {
 public:
  void Compute(core::FitWork work, core::FitOptions options,
               std::function<void(core::Fit)> done) override {
    pending_.push_back([work = std::move(work), options, done = std::move(done)] {
      done(core::ComputeFit(work.votes, work.number, options));
    });
  }
  bool RunOne() {
    if (pending_.empty()) return false;
    const auto next = std::move(pending_.front());
    pending_.erase(pending_.begin());
    next();
    return true;
  }

 private:
  std::vector<std::function<void()>> pending_;
};

// What a gateway was told, one list for each kind.
class RecordingSink final : public SessionSink {
 public:
  void Send(v1::WorkResponse response) override {
    EXPECT_FALSE(closed.has_value()) << "a message after the end";
    room_left -= std::min(room_left, response.ByteSizeLong());
    messages.push_back(response);
    all.MergeFrom(response);
  }
  bool HasRoom() override { return room_left > on_the_way; }
  void SetOnTheWay(size_t bytes) override { on_the_way = bytes; }
  void Close(absl::Status status) override { closed = std::move(status); }
  // What came since the last call.
  v1::WorkResponse Take() { return std::exchange(all, {}); }

  std::vector<v1::WorkResponse> messages;
  v1::WorkResponse all;
  size_t on_the_way = 0;
  size_t room_left = 1 << 30;  // More, when the test says that the gateway has read.
  std::optional<absl::Status> closed;
};

class CoordinatorWorld {
 public:
  explicit CoordinatorWorld(uint32_t partitions = 1) {
    options_.host.key_seed[0] = 17;
    options_.host.key_seed[1] = 4;
    options_.name = "here";
    for (uint32_t p = 0; p < partitions; ++p) {
      disks_.push_back(std::make_unique<FaultyDisk>(FaultyDisk::Options{.seed = p + 1}));
    }
    Open();
  }

  CoordinatorOptions& options() { return options_; }
  Coordinator& operator*() { return *coordinator_; }
  Coordinator* operator->() { return coordinator_.get(); }
  FaultyStore& store(uint32_t partition = 0) { return *stores_[partition]; }
  FaultyDisk& disk(uint32_t partition = 0) { return *disks_[partition]; }
  ManualFits& fits() { return fits_; }
  absl::Time now() const { return now_; }

  // A sink that outlives the coordinator.
  RecordingSink& NewSink() { return *sinks_.emplace_back(std::make_unique<RecordingSink>()); }

  // A new coordinator over the same disks, by a clock that was set by so much meanwhile.
  void Restart(absl::Duration set = absl::Seconds(1)) {
    for (auto& store : stores_) store->Crash();
    coordinator_.reset();
    connected_.clear();
    now_ += set;
    Open();
  }
  // As who drives a coordinator does once it has started.
  void GoOnFromLatest() { now_ = std::max(now_, coordinator_->latest_time()); }

  // One turn in which `calls` are made; nothing is committed.
  void Turn(const std::function<void()>& calls = [] {}) {
    coordinator_->BeginTurn(now_);
    calls();
    coordinator_->EndTurn();
  }
  // Turns until nothing is left to do at this time.
  void Settle() {
    for (int i = 0; i < 10'000; ++i) {
      bool busy = false;
      for (auto& store : stores_) {
        while (store->pending() > 0) busy = store->Deliver() || busy;
      }
      busy = fits_.RunOne() || busy;
      if (!busy && coordinator_->NextWake() > now_) return;
      Turn();
    }
    ADD_FAILURE() << "it never came to rest";
  }
  // The clock goes on, and nothing happens before the next turn.
  void Skip(absl::Duration duration) { now_ += duration; }
  // Lets time pass in steps of a second at most, so that everything happens at its time. Gateways
  // that are connected say so each second, unless they are `silent`.
  void Pass(absl::Duration duration, bool silent = false) {
    const absl::Time end = now_ + duration;
    while (now_ < end) {
      now_ = std::min(end, now_ + absl::Seconds(1));
      Turn([&] {
        for (const auto& [session, sink] : connected_) {
          if (!silent && !sink->closed.has_value()) coordinator_->OnWork(session, {});
        }
      });
      Settle();
    }
  }

  // Calls `method(request)` and gives its reply.
  template <typename Request, typename Response, typename Result>
  absl::StatusOr<Response> Call(
      Result (Coordinator::*method)(const Request&, std::function<void(absl::StatusOr<Response>)>),
      const Request& request) {
    auto answer = std::make_shared<std::optional<absl::StatusOr<Response>>>();
    Turn([&] {
      (coordinator_.get()->*method)(request, [answer](absl::StatusOr<Response> response) {
        EXPECT_FALSE(answer->has_value()) << "answered twice";
        *answer = std::move(response);
      });
      EXPECT_FALSE(answer->has_value()) << "answered inside the call";
    });
    Settle();
    if (!answer->has_value()) return absl::InternalError("never answered");
    return **answer;
  }

  // --- Requesters --------------------------------------------------------------------------------

  static v1::CreateJobRequest JobRequest(absl::string_view request_id = "r1",
                                         absl::string_view tenant = "acme") {
    v1::CreateJobRequest request;
    request.set_parent(absl::StrCat("tenants/", tenant));
    request.set_request_id(std::string(request_id));
    v1::Job& job = *request.mutable_job();
    job.set_display_name("Sentiment");
    job.mutable_template_()->set_title("Is it positive?");
    v1::Field& field = *job.mutable_template_()->add_fields();
    field.set_name("sentiment");
    field.mutable_choice()->add_classes()->set_value("yes");
    field.mutable_choice()->add_classes()->set_value("no");
    v1::Policy& policy = *job.mutable_policy();
    policy.set_budget_micros(1'000'000'000);
    policy.set_currency_code("USD");
    policy.mutable_price()->set_price_per_item_micros(10'000);
    policy.mutable_quality()->set_answers_min(2);
    policy.mutable_quality()->set_answers_max(2);
    policy.mutable_review()->set_mode(v1::REVIEW_MODE_MANUAL);
    return request;
  }

  std::string Create(const v1::CreateJobRequest& request) {
    const absl::StatusOr<v1::Job> job = Call(&Coordinator::CreateJob, request);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->name() : "";
  }

  static v1::Item TextItem(absl::string_view key, absl::string_view text = "fine") {
    v1::Item item;
    item.set_key(std::string(key));
    v1::Part& part = *item.add_content();
    part.set_name("text");
    part.set_text(std::string(text));
    return item;
  }

  // Items `item{first}` ... of the job, at its committed offset.
  absl::StatusOr<v1::AddItemsResponse> Add(absl::string_view job, int first, int count) {
    v1::AddItemsRequest request;
    request.set_job(std::string(job));
    request.set_offset(Job(job).committed_offset());
    for (int i = first; i < first + count; ++i)
      *request.add_items() = TextItem(absl::StrCat("item", i));
    return Call(&Coordinator::AddItems, request);
  }

  v1::Job Job(absl::string_view name) {
    v1::GetJobRequest request;
    request.set_name(std::string(name));
    return Call(&Coordinator::GetJob, request).value_or(v1::Job());
  }

  v1::Job Seal(absl::string_view name) {
    v1::SealJobRequest request;
    request.set_name(std::string(name));
    return Call(&Coordinator::SealJob, request).value_or(v1::Job());
  }

  // --- Gateways ----------------------------------------------------------------------------------

  Coordinator::SessionId Connect(RecordingSink& sink, absl::string_view gateway = "g1",
                                 absl::string_view platform = "web", v1::Hello hello = {}) {
    Coordinator::SessionId session = 0;
    hello.set_gateway(std::string(gateway));
    hello.set_protocol_version(1);
    Turn([&] {
      session = coordinator_->OpenSession(platform, &sink);
      v1::WorkRequest request;
      *request.mutable_hello() = hello;
      coordinator_->OnWork(session, request);
    });
    Settle();
    connected_.push_back({session, &sink});
    return session;
  }

  void Send(Coordinator::SessionId session, const v1::WorkRequest& request) {
    Turn([&] { coordinator_->OnWork(session, request); });
    Settle();
  }

  static void AddLease(v1::WorkRequest& request, uint64_t demand, absl::string_view worker,
                       int wanted = 1) {
    v1::Lease& lease = *request.add_leases();
    lease.set_demand_id(demand);
    lease.set_worker(std::string(worker));
    lease.set_assignments_wanted(wanted);
  }

  static v1::Answer Choice(absl::string_view value) {
    v1::Answer answer;
    answer.add_fields()->set_choice(std::string(value));
    return answer;
  }

  // A submission that answers every item of the assignment alike.
  static void AddSubmit(v1::WorkRequest& request, const v1::Assigned& assigned,
                        absl::string_view choice = "yes") {
    v1::Submit& submit = *request.add_submits();
    submit.set_assignment(assigned.assignment());
    for (const v1::AssignedItem& item : assigned.items()) {
      v1::ItemAnswer& answer = *submit.add_answers();
      answer.set_item_key(item.key());
      *answer.mutable_answer() = Choice(choice);
    }
  }

 private:
  void Open() {
    options_.host.nonce = ++nonces_;
    stores_.clear();
    std::vector<core::Store*> stores;
    for (auto& disk : disks_) {
      stores_.push_back(std::make_unique<FaultyStore>(disk.get()));
      stores.push_back(stores_.back().get());
    }
    coordinator_ = std::make_unique<Coordinator>(options_, stores, &fits_);
    std::optional<absl::Status> started;
    coordinator_->Start(now_, [&](absl::Status status) { started = std::move(status); });
    for (int i = 0; i < 10'000 && !started.has_value(); ++i) {
      Turn();
      for (auto& store : stores_) store->DeliverAll();
    }
    EXPECT_TRUE(started.has_value() && started->ok()) << "it never started";
    Settle();
  }

  CoordinatorOptions options_;
  std::vector<std::unique_ptr<RecordingSink>> sinks_;
  std::vector<std::unique_ptr<FaultyDisk>> disks_;
  std::vector<std::unique_ptr<FaultyStore>> stores_;
  ManualFits fits_;
  uint64_t nonces_ = 0;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::vector<std::pair<Coordinator::SessionId, RecordingSink*>> connected_;
  std::unique_ptr<Coordinator> coordinator_;
};

}  // namespace tessera::edge
