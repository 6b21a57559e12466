// The coordinator is killed with SIGKILL again and again in the middle of a job, gateways
// connected. The job ends all the same: nothing acknowledged is lost, nothing counts twice, the
// budget holds, and the state is what anybody folds from the journal, or from pages and the
// journal's tail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/crowd.h"
#include "client/items.h"
#include "client/replay_gateway.h"
#include "coordinator/inspect/inspector.h"
#include "tests/simulation/promises.h"
#include "tests/support/coordinator_process.h"
#include "tests/support/status_matchers.h"

namespace tessera {
namespace {

using ::tessera::inspect::Inspector;
using ::tessera::inspect::StateSource;
using ::tessera::testing::CoordinatorProcess;
using ::tessera::testing::IsOk;

constexpr int64_t kPriceMicros = 10'000;
constexpr int64_t kBudgetMicros = 60'000'000;
constexpr int kKills = 10;

// What gateways have seen accepted, and who waits for it.
class Progress {
 public:
  void Set(size_t gateway, int64_t accepted) {
    const std::lock_guard lock(mutex_);
    accepted_[gateway] = accepted;
    changed_.notify_all();
  }
  void End() {
    const std::lock_guard lock(mutex_);
    ++ended_;
    changed_.notify_all();
  }
  // Waits until `more` answers were accepted since `before`, or a gateway has ended; the count
  // then.
  int64_t WaitFor(int64_t before, int64_t more) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ > 0 || Sum() >= before + more; });
    return Sum();
  }
  bool ended() {
    const std::lock_guard lock(mutex_);
    return ended_ > 0;
  }

 private:
  int64_t Sum() const { return accepted_[0] + accepted_[1]; }

  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t accepted_[2] = {0, 0};
  int ended_ = 0;
};

std::string DemoFile(const std::string& name) {
  const char* source = std::getenv("TESSERA_SOURCE_DIR");
  return absl::StrCat(source == nullptr ? "." : source, "/demo/rte/", name);
}

v1::CreateJobRequest MakeJob() {
  v1::CreateJobRequest request;
  v1::Job& job = *request.mutable_job();
  job.mutable_template_()->set_title("Does it follow?");
  job.mutable_template_()->set_version("1");
  v1::Field& field = *job.mutable_template_()->add_fields();
  field.set_name("entails");
  for (const char* value : {"0", "1"}) field.mutable_choice()->add_classes()->set_value(value);
  v1::Policy& policy = *job.mutable_policy();
  policy.set_budget_micros(kBudgetMicros);
  policy.set_currency_code("USD");
  policy.mutable_price()->set_price_per_item_micros(kPriceMicros);
  policy.mutable_quality()->set_target_confidence(0.98);
  policy.mutable_split()->set_items_max(3);
  return request;
}

TEST(KillTest, AJobSurvivesItsCoordinatorBeingKilledAgainAndAgain) {
  CoordinatorProcess coordinator({.flags = {"--no-trim"}});
  auto connected =
      client::Client::Connect({.address = coordinator.address(), .retry_for = absl::Minutes(1)});
  ASSERT_THAT(connected, IsOk());
  client::Client& client = **connected;
  const absl::StatusOr<v1::Job> job = client.CreateJob(MakeJob());
  ASSERT_THAT(job, IsOk());
  auto items = client::OpenItems(DemoFile("items.csv"), {});
  ASSERT_THAT(items, IsOk());
  const auto added = client.AddItems(*job, items->get());
  ASSERT_THAT(added, IsOk());
  ASSERT_THAT(client.SealJob(job->name(), added->committed_offset()), IsOk());

  // Two gateways, each with half of the crowd.
  const absl::StatusOr<client::Crowd> crowd = client::ReadCrowdFile(DemoFile("votes.csv"));
  ASSERT_THAT(crowd, IsOk());
  client::Crowd halves[2];
  for (size_t w = 0; w < crowd->workers.size(); ++w)
    halves[w % 2].workers.push_back(crowd->workers[w]);
  Progress progress;
  std::stop_source stop;
  std::optional<absl::StatusOr<client::ReplayOutcome>> outcomes[2];
  std::vector<std::thread> gateways;
  for (size_t g = 0; g < 2; ++g) {
    gateways.emplace_back([&, g] {
      client::ReplayGatewayOptions options;
      options.replay.job = job->name();
      options.replay.gateway = absl::StrCat("gateway-", g);
      options.replay.seed = g + 1;
      // Half a minute for an answer takes some milliseconds here, so that there is a middle to kill
      // in.
      options.replay.speed = 400;
      options.on_status = [&, g](const v1::JobStatus&, const client::ReplayCounts& counts) {
        progress.Set(g, counts.answers_accepted);
      };
      client::ReplayGateway gateway(&client, std::move(halves[g]), std::move(options));
      outcomes[g].emplace(gateway.Run(stop.get_token()));
      progress.End();
    });
  }

  int kills = 0;
  for (int64_t accepted = 0; kills < kKills; ++kills) {
    // A different part of the work each time; the first kill comes before the first fit.
    accepted = progress.WaitFor(accepted, 40 + 37 * (kills % 5));
    if (progress.ended()) break;
    coordinator.Restart();
  }
  for (std::thread& gateway : gateways) gateway.join();
  EXPECT_GE(kills, 5) << "the job was over before it could be disturbed";

  int64_t accepted = 0;
  int64_t earned = 0;
  for (auto& outcome : outcomes) {
    ASSERT_TRUE(outcome.has_value());
    ASSERT_THAT(*outcome, IsOk());
    accepted += (*outcome)->counts.answers_accepted;
    earned += (*outcome)->counts.earned_micros;
    EXPECT_EQ((*outcome)->counts.answers_refused, 0);
    EXPECT_GE((*outcome)->reconnects, 1);
  }
  const absl::StatusOr<v1::Job> final = client.GetJob(job->name());
  ASSERT_THAT(final, IsOk());
  EXPECT_EQ(final->state(), v1::JOB_STATE_FINALISED) << final->ShortDebugString();
  EXPECT_EQ(final->counts().items_resolved(), 800);
  EXPECT_EQ(final->counts().answers(), accepted) << "acknowledged and counted are not the same";
  EXPECT_EQ(final->ledger().earned_micros() + final->ledger().approved_micros(), earned);
  EXPECT_EQ(earned, accepted * kPriceMicros);
  EXPECT_LE(earned, kBudgetMicros);
  EXPECT_EQ(final->ledger().reserved_micros(), 0);

  const auto partitions = client.ListPartitions();
  ASSERT_THAT(partitions, IsOk());
  ASSERT_EQ(partitions->size(), 1);
  const auto partition = client.GetPartition((*partitions)[0].name());
  ASSERT_THAT(partition, IsOk());
  const std::string live = partition->state_digest();
  EXPECT_FALSE(live.empty());

  // Another process than the coordinator folds what it left behind. Killed, not stopped: nothing
  // was tidied up.
  coordinator.Kill();
  const auto inspector = Inspector::Open({.data_folder = coordinator.Join("data")});
  ASSERT_THAT(inspector, IsOk());
  const absl::StatusOr<std::string> journal = (*inspector)->Digest(StateSource::kJournal);
  ASSERT_THAT(journal, IsOk());
  EXPECT_EQ(*journal, live);
  const absl::StatusOr<std::string> objects = (*inspector)->Digest(StateSource::kObjects);
  ASSERT_THAT(objects, IsOk());
  EXPECT_EQ(*objects, live);
  const auto state = (*inspector)->State(StateSource::kJournal);
  ASSERT_THAT(state, IsOk());
  EXPECT_THAT(simulation::CheckPromises(*state), ::testing::IsEmpty());
  EXPECT_THAT(simulation::CheckAllScores(*state), ::testing::IsEmpty());
}

}  // namespace
}  // namespace tessera
