#include "tests/bench/fleet.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "common/mutex.h"
#include "tessera/v1/work_service.grpc.pb.h"

namespace tessera::bench {

class Fleet::Gateway final : public grpc::ClientBidiReactor<v1::WorkRequest, v1::WorkResponse> {
 public:
  Gateway(std::shared_ptr<grpc::Channel> channel, int number, const Options& options,
          Counts* counts)
      : options_(options),
        counts_(*counts),
        worker_(absl::StrCat("w", number)),
        channel_(std::move(channel)),
        stub_(v1::WorkService::NewStub(channel_)) {
    v1::Hello& hello = *request_.mutable_hello();
    hello.set_gateway(absl::StrCat("bench-", number));
    hello.set_protocol_version(1);
    AddCredit(options.credit);
    writing_ = true;
    stub_->async()->Work(&context_, this);
    StartRead(&response_);
    StartWrite(&request_);
    StartCall();
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_welcome()) counts_.welcomed.fetch_add(1);
    TESSERA_CHECK(response_.rejected().empty()) << response_.rejected(0).ShortDebugString();
    TESSERA_CHECK(response_.demands_ended().empty() && response_.revoked().empty());
    for (const v1::Committed& committed : response_.committed()) {
      TESSERA_CHECK(committed.kind() == v1::WORK_KIND_SUBMIT && committed.items_accepted() > 0)
          << committed.ShortDebugString();
      if (options_.on_committed) options_.on_committed();
    }
    if (!response_.committed().empty()) {
      counts_.committed.fetch_add(response_.committed_size(), std::memory_order_relaxed);
    }
    const int assigned = response_.assigned_size();
    if (assigned > 0) {
      if (options_.on_assigned) {
        for (const v1::Assigned& a : response_.assigned()) options_.on_assigned(a.items(0).key());
      }
      counts_.with_assignments.fetch_add(1, std::memory_order_relaxed);
      counts_.assignments.fetch_add(assigned, std::memory_order_relaxed);
      if (assigned > counts_.assignments_max.load(std::memory_order_relaxed)) {
        counts_.assignments_max.store(assigned, std::memory_order_relaxed);
      }
      const MutexLock lock(&mutex_);
      credit_ += assigned;
      for (v1::Assigned& a : *response_.mutable_assigned()) {
        // Swapped, not copied; what comes back is overwritten by the next message.
        Held& held = answers_.emplace_back();
        held.assignment.swap(*a.mutable_assignment());
        held.item_key.swap(*a.mutable_items(0)->mutable_key());
      }
    }
    StartRead(&response_);
    if (assigned > 0) MaybeWrite();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;
    {
      const MutexLock lock(&mutex_);
      writing_ = false;
    }
    MaybeWrite();
  }

  void OnDone(const grpc::Status& status) override {
    TESSERA_CHECK(status.error_code() == grpc::StatusCode::CANCELLED) << status.error_message();
    counts_.done.fetch_add(1);
  }

 private:
  struct Held {
    std::string assignment;
    std::string item_key;
  };

  // Into the request that is being built.
  void AddCredit(int credit) {
    v1::Lease& lease = *request_.add_leases();
    lease.set_demand_id(++demand_);
    lease.set_worker(worker_);
    lease.set_assignments_wanted(credit);
  }

  void MaybeWrite() {
    {
      const MutexLock lock(&mutex_);
      if (writing_ || (answers_.empty() && credit_ == 0)) return;
      writing_ = true;
      request_.Clear();
      if (credit_ > 0) AddCredit(std::exchange(credit_, 0));
      const size_t count = std::min<size_t>(answers_.size() - answered_, kEntriesMax);
      for (size_t i = answered_; i < answered_ + count; ++i) {
        v1::Submit& submit = *request_.add_submits();
        submit.mutable_assignment()->swap(answers_[i].assignment);
        v1::ItemAnswer& answer = *submit.add_answers();
        answer.mutable_item_key()->swap(answers_[i].item_key);
        answer.mutable_answer()->add_fields()->set_choice("yes");
      }
      answered_ += count;
      if (answered_ == answers_.size()) {
        answers_.clear();
        answered_ = 0;
      }
    }
    StartWrite(&request_);
  }

  const Options& options_;
  Counts& counts_;
  const std::string worker_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::WorkService::Stub> stub_;
  grpc::ClientContext context_;
  v1::WorkRequest request_;    // Of whoever has set `writing_`.
  v1::WorkResponse response_;  // Of the one read there is.
  uint64_t demand_ = 0;

  Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  int credit_ ABSL_GUARDED_BY(mutex_) = 0;  // To be granted again.
  std::vector<Held> answers_ ABSL_GUARDED_BY(mutex_);
  size_t answered_ ABSL_GUARDED_BY(mutex_) = 0;  // Of `answers_`, from the front.
};

Fleet::Fleet(const testing::CoordinatorProcess& coordinator, Options options)
    : options_(std::move(options)) {
  for (int i = 0; i < options_.streams; ++i) {
    gateways_.push_back(std::make_unique<Gateway>(coordinator.Channel(), i, options_, &counts_));
  }
  const absl::Time limit = absl::Now() + absl::Minutes(1);
  while (counts_.welcomed.load() < options_.streams) {
    TESSERA_CHECK(absl::Now() < limit) << counts_.welcomed.load() << " gateways were welcomed";
    absl::SleepFor(absl::Milliseconds(5));
  }
}

Fleet::~Fleet() {
  for (const auto& gateway : gateways_) gateway->Cancel();
  while (counts_.done.load() < options_.streams) absl::SleepFor(absl::Milliseconds(5));
}

Fleet::Messages Fleet::messages() const {
  return {.with_assignments = counts_.with_assignments.load(),
          .assignments = counts_.assignments.load(),
          .assignments_max = counts_.assignments_max.load()};
}

}  // namespace tessera::bench
