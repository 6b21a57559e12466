#include "coordinator/coordinator_thread.h"

#include <openssl/rand.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "coordinator/deployment.h"
#include "coordinator/edge/backoff.h"
#include "coordinator/service/fit_thread.h"
#include "coordinator/service/log.h"
#include "coordinator/store/redis_store.h"

namespace tessera {
namespace {

// Of an owner's epoch over the last one: two that were never to meet agree once in a million times.
constexpr uint64_t kEpochStepMax = 1 << 20;

uint64_t Random64() {
  uint64_t random = 0;
  TESSERA_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof(random)) == 1);
  return random;
}

// Whoever restarts one after a failure wants to know what the recovery was about.
void LogTakeovers(const edge::Coordinator& coordinator, uint32_t partitions) {
  for (uint32_t partition = 0; partition < partitions; ++partition) {
    const edge::PartitionHost::Takeover& takeover = coordinator.takeover(partition);
    service::Log(service::LogLevel::kInfo, "partition taken over",
                 {{"partition", absl::StrCat("p", partition)},
                  {"epoch", absl::StrCat(takeover.epoch)},
                  {"records", absl::StrCat(takeover.records)},
                  {"objects", absl::StrCat(takeover.objects)},
                  {"pages", absl::StrCat(takeover.pages)},
                  {"seconds", absl::StrFormat("%.3f", absl::ToDoubleSeconds(takeover.duration))}});
  }
}

}  // namespace

CoordinatorThread::CoordinatorThread(Options options) : options_(std::move(options)) {}

CoordinatorThread::~CoordinatorThread() { Stop(); }

absl::Status CoordinatorThread::Start() {
  auto started = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> result = started->get_future();
  thread_ = std::thread(
      [this, started] { Run([started](absl::Status status) { started->set_value(status); }); });
  return result.get();
}

void CoordinatorThread::Post(Task task) {
  loop_->Post([this, task = std::move(task)]() mutable {
    BeginTurn();
    task(*coordinator_);
  });
}

void CoordinatorThread::Stop() {
  if (!thread_.joinable()) return;
  ending_.store(true);
  // The loop looks at the flag at least once a second; a task wakes it at once.
  if (loop_ != nullptr) loop_->Post([] {});
  thread_.join();
  loop_ = nullptr;
}

void CoordinatorThread::Run(std::function<void(absl::Status)> started) {
  store::PollLoop loop;
  loop_ = &loop;
  store::RedisConnection connection(&loop, options_.redis);
  const absl::StatusOr<SipKey> key = Agree(connection);
  if (!key.ok()) {
    loop_ = nullptr;
    started(key.status());
    return;
  }

  edge::CoordinatorOptions coordinator_options = options_.coordinator;
  coordinator_options.host.nonce = Random64();
  coordinator_options.host.epoch_step = 1 + Random64() % kEpochStepMax;
  coordinator_options.host.key_seed[0] = key->low;
  coordinator_options.host.key_seed[1] = key->high;
  std::vector<std::unique_ptr<store::RedisStore>> stores;
  std::vector<core::Store*> store_pointers;
  for (uint32_t partition = 0; partition < options_.partitions; ++partition) {
    stores.push_back(std::make_unique<store::RedisStore>(
        &loop, &connection, store::RedisStore::Options{.partition = partition}));
    store_pointers.push_back(stores.back().get());
  }
  service::FitThread fits(this);
  edge::Coordinator coordinator(std::move(coordinator_options), std::move(store_pointers), &fits);
  coordinator_ = &coordinator;

  bool serving = false;
  bool failed = false;
  const auto tell_start = [&](absl::Status status) {
    if (serving || failed) return;
    serving = status.ok();
    failed = !serving;
    started(std::move(status));
  };
  const absl::Time start_limit = clock_.Now() + options_.start_timeout;
  coordinator.Start(clock_.Now(), [&](absl::Status status) {
    if (status.ok()) {
      clock_.GoOnFrom(coordinator.latest_time());
      LogTakeovers(coordinator, options_.partitions);
    }
    tell_start(std::move(status));
  });
  while (!ending_.load()) {
    turned_ = false;
    const absl::Time now = clock_.Now();
    const size_t ran = loop.RunOnce(
        std::clamp(coordinator.NextWake() - now, absl::ZeroDuration(), absl::Seconds(1)));
    if (!turned_ && (ran > 0 || coordinator.NextWake() <= clock_.Now())) {
      // By hand: a deferred end would itself be a reason for the next turn, and so on for ever.
      coordinator.BeginTurn(clock_.Now());
      coordinator.EndTurn();
    }
    store_log_.Look(connection);
    store_log_.Look(coordinator, options_.partitions);
    TellAvailable();
    if (!serving && !failed && clock_.Now() > start_limit) {
      tell_start(absl::DeadlineExceededError("the partitions could not be taken over in time"));
    }
    if (serving && !failed && !coordinator.failure().ok()) {
      failed = true;
      options_.on_failure(coordinator.failure());
    }
  }
}

absl::StatusOr<SipKey> CoordinatorThread::Agree(store::RedisConnection& connection) {
  DeploymentMark mark(options_.mark_path);
  TESSERA_RETURN_IF_ERROR(mark.Read());
  const DeploymentTerms terms = {
      .partitions = options_.partitions,
      .fresh_key = {.low = Random64(), .high = Random64()},
      .may_be_fresh = !mark.present(),
  };
  const absl::Time limit = clock_.Now() + options_.start_timeout;
  while (true) {
    absl::StatusOr<SipKey> key =
        AgreeOnDeployment(terms, *loop_, connection, [&] { return ending_.load(); });
    if (key.ok()) {
      TESSERA_RETURN_IF_ERROR(mark.Keep(*key));
      return key;
    }
    if (absl::IsDataLoss(key.status()) && mark.present()) {
      return absl::DataLossError(
          absl::StrCat(key.status().message(), ". Put the append-only file back where it was; or, ",
                       "to begin anew without that data, delete ", mark.path()));
    }
    if (!edge::MayPass(key.status())) return key;
    if (ending_.load() || clock_.Now() > limit) {
      const absl::Status& error = connection.last_error();
      return absl::UnavailableError(
          absl::StrCat("Redis: ", error.ok() ? key.status().message() : error.message()));
    }
    const auto refused = [&] { return absl::IsFailedPrecondition(connection.last_error()); };
    loop_->RunUntil([&] { return connection.connected() || ending_.load() || refused(); },
                    absl::Seconds(1));
    store_log_.Look(connection);
    if (refused()) return connection.last_error();
    loop_->RunUntil([&] { return ending_.load(); }, absl::Milliseconds(50));
  }
}

void CoordinatorThread::OnAvailable(std::function<void(bool available)> listener) {
  loop_->Post([this, listener = std::move(listener)]() mutable {
    listener_ = std::move(listener);
    told_available_.reset();
  });
}

void CoordinatorThread::TellAvailable() {
  const bool available = store_log_.available();
  if (!listener_ || available == told_available_) return;
  told_available_ = available;
  listener_(available);
}

void CoordinatorThread::BeginTurn() {
  if (in_turn_) return;
  in_turn_ = true;
  turned_ = true;
  coordinator_->BeginTurn(clock_.Now());
  // Ends with the round, before what it has to send leaves.
  loop_->Defer([this] { EndTurn(); });
}

void CoordinatorThread::EndTurn() {
  if (!in_turn_) return;
  in_turn_ = false;
  coordinator_->EndTurn();
}

}  // namespace tessera
