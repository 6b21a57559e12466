// What operators see and change: pools, workers, partitions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "coordinator/edge/coordinator.h"
#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(OperatorTest, PoolsAreCreatedChangedAndDeleted) {
  CoordinatorWorld world(3);
  v1::CreatePoolRequest create;
  create.set_pool_id("experts");
  create.mutable_pool()->add_skills("french");
  ASSERT_THAT(world.Call(&Coordinator::CreatePool, create), IsOk());
  EXPECT_THAT(world.Call(&Coordinator::CreatePool, create), IsOk());
  create.mutable_pool()->set_price_per_item_micros(5);
  EXPECT_THAT(world.Call(&Coordinator::CreatePool, create).status(), HasReason("POOL_EXISTS"));
  v1::UpdatePoolRequest update;
  update.mutable_pool()->set_name("pools/experts");
  update.mutable_pool()->set_price_per_item_micros(9);
  update.mutable_update_mask()->add_paths("price_per_item_micros");
  EXPECT_THAT(world.Call(&Coordinator::UpdatePool, update), IsOk());
  world.Restart();
  const auto pools = world.Call(&Coordinator::ListPools, v1::ListPoolsRequest());
  ASSERT_THAT(pools, IsOk());
  ASSERT_THAT(pools->pools(), SizeIs(2));
  EXPECT_EQ(pools->pools(0).name(), "pools/default");
  EXPECT_EQ(pools->pools(1).price_per_item_micros(), 9);
  EXPECT_THAT(pools->pools(1).skills(), ElementsAre("french"));
  v1::DeletePoolRequest remove;
  remove.set_name("pools/experts");
  EXPECT_THAT(world.Call(&Coordinator::DeletePool, remove), IsOk());
  EXPECT_THAT(world.Call(&Coordinator::DeletePool, remove).status(), HasReason("POOL_NOT_FOUND"));
  remove.set_name("pools/default");
  EXPECT_THAT(world.Call(&Coordinator::DeletePool, remove).status(), HasReason("POOL_DEFAULT"));
}

// Who did not hear the answer cannot know that somebody has changed the pool since.
TEST(OperatorTest, ACreateOfAPoolThatIsTriedAgainGivesThePoolAsItIsNow) {
  CoordinatorWorld world(3);
  v1::CreatePoolRequest create;
  create.set_pool_id("experts");
  create.set_request_id("one");
  (*create.mutable_pool()->mutable_tenant_weights())["tenants/zoo"] = 0.5;
  (*create.mutable_pool()->mutable_tenant_weights())["tenants/acme"] = 2;
  ASSERT_THAT(world.Call(&Coordinator::CreatePool, create), IsOk());
  v1::UpdatePoolRequest update;
  update.mutable_pool()->set_name("pools/experts");
  update.mutable_pool()->set_price_per_item_micros(9);
  update.mutable_update_mask()->add_paths("price_per_item_micros");
  ASSERT_THAT(world.Call(&Coordinator::UpdatePool, update), IsOk());
  world.Restart();
  const auto again = world.Call(&Coordinator::CreatePool, create);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->price_per_item_micros(), 9);
  EXPECT_THAT(again->tenant_weights(),
              ::testing::UnorderedElementsAre(::testing::Pair("tenants/zoo", 0.5),
                                              ::testing::Pair("tenants/acme", 2)));
  for (const char* const other : {"two", ""}) {
    create.set_request_id(other);
    EXPECT_THAT(world.Call(&Coordinator::CreatePool, create).status(), HasReason("POOL_EXISTS"));
    create.mutable_pool()->set_price_per_item_micros(9);
    EXPECT_THAT(world.Call(&Coordinator::CreatePool, create),
                IsOk());  // It asks for what there is.
    create.mutable_pool()->clear_price_per_item_micros();
  }
}

// Of the partitions only one is the pool's home; the jobs of all are paid by it.
TEST(OperatorTest, JobsOfAllPartitionsKnowWhatTheirPoolPays) {
  CoordinatorWorld world(4);
  v1::CreatePoolRequest create;
  create.set_pool_id("experts");
  create.mutable_pool()->set_price_per_item_micros(1000);
  ASSERT_THAT(world.Call(&Coordinator::CreatePool, create), IsOk());
  std::map<std::string, std::string> jobs;  // By partition.
  for (int i = 0; jobs.size() < 4; ++i) {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest(absl::StrCat("r", i));
    v1::Policy& policy = *request.mutable_job()->mutable_policy();
    policy.clear_price();
    policy.mutable_eligibility()->add_pools("pools/experts");
    policy.set_budget_micros(6000);
    const std::string job = world.Create(request);
    jobs[job.substr(job.rfind('/') + 1, 2)] = job;
    ASSERT_THAT(world.Add(job, 0, 5), IsOk());
  }
  const auto states = [&] {
    world.Pass(absl::Seconds(1));
    std::set<v1::JobState> all;
    for (const auto& [partition, job] : jobs) all.insert(world.Job(job).state());
    return all;
  };
  const auto planned = [&] {
    std::set<int64_t> all;
    for (const auto& [partition, job] : jobs) {
      v1::PlanJobRequest request;
      request.set_job(job);
      const auto plan = world.Call(&Coordinator::PlanJob, request);
      EXPECT_THAT(plan, IsOk());
      if (plan.ok()) all.insert(plan->items_admitted());
    }
    return all;
  };
  EXPECT_THAT(states(), ElementsAre(v1::JOB_STATE_RUNNING));
  EXPECT_THAT(planned(), ElementsAre(3));  // Two answers each.
  v1::UpdatePoolRequest update;
  update.mutable_pool()->set_name("pools/experts");
  update.mutable_update_mask()->add_paths("price_per_item_micros");
  update.mutable_pool()->set_price_per_item_micros(6001);
  ASSERT_THAT(world.Call(&Coordinator::UpdatePool, update), IsOk());
  EXPECT_THAT(states(), ElementsAre(v1::JOB_STATE_PAUSED));
  EXPECT_THAT(planned(), ElementsAre(0));
  world.Restart();
  EXPECT_THAT(states(), ElementsAre(v1::JOB_STATE_PAUSED));
  update.mutable_pool()->set_price_per_item_micros(3000);
  ASSERT_THAT(world.Call(&Coordinator::UpdatePool, update), IsOk());
  EXPECT_THAT(states(), ElementsAre(v1::JOB_STATE_RUNNING));
  v1::DeletePoolRequest remove;
  remove.set_name("pools/experts");
  ASSERT_THAT(world.Call(&Coordinator::DeletePool, remove), IsOk());
  EXPECT_THAT(states(), ElementsAre(v1::JOB_STATE_RUNNING));  // Not for want of money.
  v1::PlanJobRequest request;
  request.set_job(jobs.begin()->second);
  EXPECT_THAT(world.Call(&Coordinator::PlanJob, request).status(), HasReason("POOL_NOT_FOUND"));
}

TEST(OperatorTest, WorkersAreKnownFromTheirFirstLeaseAndListedByName) {
  CoordinatorWorld world(3);
  std::vector<std::string> jobs;
  for (int i = 0; i < 7; ++i) {
    jobs.push_back(world.Create(CoordinatorWorld::JobRequest(absl::StrCat("r", i))));
    ASSERT_THAT(world.Add(jobs.back(), 0, 10), IsOk());
  }
  RecordingSink& sink = world.NewSink();
  const auto session = world.Connect(sink);
  for (int i = 0; i < 12; ++i) {
    v1::WorkRequest lease;
    CoordinatorWorld::AddLease(lease, 1 + i, absl::StrCat("w", 10 + i));
    world.Send(session, lease);
  }
  v1::WorkRequest submit;
  const v1::WorkResponse told = sink.Take();
  ASSERT_THAT(told.assigned(), SizeIs(12));
  for (const v1::Assigned& assigned : told.assigned())
    CoordinatorWorld::AddSubmit(submit, assigned);
  world.Send(session, submit);
  v1::WorkRequest open;  // One more, which stays open.
  CoordinatorWorld::AddLease(open, 100, "w10");
  world.Send(session, open);
  ASSERT_THAT(sink.Take().assigned(), SizeIs(1));

  v1::ListWorkersRequest list;
  list.set_parent("platforms/web");
  list.set_page_size(5);
  std::vector<std::string> names;
  int64_t answers = 0;
  std::map<std::string, v1::Worker> listed;
  for (int pages = 0; pages < 10; ++pages) {
    const auto page = world.Call(&Coordinator::ListWorkers, list);
    ASSERT_THAT(page, IsOk());
    for (const v1::Worker& worker : page->workers()) {
      names.push_back(worker.name());
      answers += worker.answers();
      listed[worker.name()] = worker;
    }
    list.set_page_token(page->next_page_token());
    if (list.page_token().empty()) break;
  }
  EXPECT_THAT(names, SizeIs(12));
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(answers, 12 * 10);
  v1::GetWorkerRequest get;
  get.set_name("platforms/web/workers/w10");
  const auto worker = world.Call(&Coordinator::GetWorker, get);
  ASSERT_THAT(worker, IsOk());
  EXPECT_EQ(worker->answers(), 10);
  ASSERT_THAT(worker->earnings(), SizeIs(1));
  EXPECT_EQ(worker->earnings(0).earned_micros(), 100'000);
  EXPECT_EQ(worker->assignments_open(), 1);
  EXPECT_THAT(worker->jobs(), SizeIs(::testing::Ge(1)));
  // A list and an update show the same, but for the jobs.
  v1::Worker without_jobs = *worker;
  without_jobs.clear_jobs();
  EXPECT_EQ(listed[worker->name()].SerializeAsString(), without_jobs.SerializeAsString());
  v1::UpdateWorkerRequest update;
  update.mutable_worker()->set_name(worker->name());
  update.mutable_worker()->add_skills("s");
  update.mutable_update_mask()->add_paths("skills");
  absl::StatusOr<v1::Worker> updated = world.Call(&Coordinator::UpdateWorker, update);
  ASSERT_THAT(updated, IsOk());
  updated->clear_skills();
  EXPECT_EQ(updated->SerializeAsString(), without_jobs.SerializeAsString());
  get.set_name("platforms/web/workers/nobody");
  EXPECT_THAT(world.Call(&Coordinator::GetWorker, get).status(), HasReason("WORKER_NOT_FOUND"));
}

// Wherever they are: a partition is no order of time.
TEST(OperatorTest, AWorkersNewestJobsAreThoseOfAllPartitions) {
  constexpr int kJobs = 110;  // Ten more than are shown.
  CoordinatorWorld world(3);
  std::vector<std::string> newest_first;
  for (int i = 0; i < kJobs; ++i) {
    newest_first.insert(newest_first.begin(),
                        world.Create(CoordinatorWorld::JobRequest(absl::StrCat("r", i))));
    ASSERT_THAT(world.Add(newest_first.front(), 0, 1), IsOk());
    world.Pass(absl::Seconds(1));
  }
  RecordingSink& sink = world.NewSink();
  const auto session = world.Connect(sink);
  v1::WorkRequest lease;
  CoordinatorWorld::AddLease(lease, 1, "w", kJobs);
  world.Send(session, lease);
  const v1::WorkResponse told = sink.Take();
  ASSERT_THAT(told.assigned(), SizeIs(kJobs));
  v1::WorkRequest submit;
  for (const v1::Assigned& each : told.assigned()) CoordinatorWorld::AddSubmit(submit, each);
  world.Send(session, submit);
  v1::GetWorkerRequest get;
  get.set_name("platforms/web/workers/w");
  const auto worker = world.Call(&Coordinator::GetWorker, get);
  ASSERT_THAT(worker, IsOk());
  std::vector<std::string> shown;
  for (const v1::WorkerJobReport& report : worker->jobs()) shown.push_back(report.job());
  newest_first.resize(100);
  EXPECT_EQ(shown, newest_first);
}

TEST(OperatorTest, AWorkersAgreementIsWithWhatOthersSaidToo) {
  CoordinatorWorld world(2);
  for (int j = 0; j < 4; ++j) {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest(absl::StrCat("r", j));
    v1::QualityPolicy& quality = *request.mutable_job()->mutable_policy()->mutable_quality();
    quality.set_answers_min(3);
    quality.set_answers_max(3);
    const std::string job = world.Create(request);
    ASSERT_THAT(world.Add(job, 0, 7), IsOk());
    RecordingSink& sink = world.NewSink();
    const auto session = world.Connect(sink, absl::StrCat("g", j));
    // In the last job only ann answers, and so agrees with nobody.
    for (const std::string worker : {"ann", "bob", "eve"}) {
      if (j == 3 && worker != "ann") continue;
      v1::WorkRequest lease;
      CoordinatorWorld::AddLease(lease, 1, worker);
      lease.mutable_leases(0)->set_only_job(job);
      world.Send(session, lease);
      const v1::WorkResponse told = sink.Take();
      ASSERT_THAT(told.assigned(), SizeIs(1));
      v1::WorkRequest submit;
      CoordinatorWorld::AddSubmit(submit, told.assigned(0));
      if (worker == "eve") {
        for (int i = 0; i < j; ++i) {
          *submit.mutable_submits(0)->mutable_answers(i)->mutable_answer() =
              CoordinatorWorld::Choice("no");
        }
      }
      world.Send(session, submit);
      sink.Take();
    }
  }
  const auto agreement = [&](const std::string& worker) {
    v1::GetWorkerRequest get;
    get.set_name("platforms/web/workers/" + worker);
    return world.Call(&Coordinator::GetWorker, get)->agreement();
  };
  EXPECT_EQ(agreement("ann"), 1);
  EXPECT_NEAR(agreement("eve"), 18.0 / 21, 1e-9);
  v1::ListWorkersRequest list;
  list.set_parent("platforms/web");
  const auto workers = world.Call(&Coordinator::ListWorkers, list);
  ASSERT_THAT(workers->workers(), SizeIs(3));
  EXPECT_EQ(workers->workers(1).agreement(), 1);
  EXPECT_NEAR(workers->workers(2).agreement(), 18.0 / 21, 1e-9);
}

TEST(OperatorTest, APartitionTellsWhereItStands) {
  CoordinatorWorld world;
  const std::string job = world.Create(CoordinatorWorld::JobRequest("r1", "acme"));
  EXPECT_THAT(world.Add(job, 0, 2), IsOk());
  EXPECT_TRUE(world.Seal(job).sealed());
  v1::GetPartitionRequest get;
  get.set_name("partitions/p0");
  const auto partition = world.Call(&Coordinator::GetPartition, get);
  ASSERT_THAT(partition, IsOk());
  EXPECT_EQ(partition->state(), v1::PARTITION_STATE_SERVING);
  EXPECT_EQ(partition->jobs(), 1);
  EXPECT_EQ(partition->epoch(), 1);
  EXPECT_EQ(partition->owner(), "here");
  EXPECT_GT(partition->page_bytes(), 0);
  EXPECT_THAT(partition->state_digest(), SizeIs(32));
  get.set_name("partitions/p1");
  EXPECT_THAT(world.Call(&Coordinator::GetPartition, get), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(world.Call(&Coordinator::ListPartitions, v1::ListPartitionsRequest())->partitions(),
              SizeIs(1));
}

// Whoever asks what is wrong does not have to wait until it is over.
TEST(OperatorTest, APartitionWhoseStoreRefusesSaysSoAtOnceAndShowsWhatIsCommitted) {
  CoordinatorWorld world(2);
  world.Create(CoordinatorWorld::JobRequest());
  const auto partitions = [&] {
    std::optional<absl::StatusOr<v1::ListPartitionsResponse>> answer;
    world.Turn(
        [&] { world->ListPartitions({}, [&](auto response) { answer = std::move(response); }); });
    return answer.has_value() ? *answer : absl::DeadlineExceededError("it waits");
  };
  const auto healthy = partitions();
  ASSERT_THAT(healthy, IsOk());
  const uint32_t p = healthy->partitions(0).jobs() == 1 ? 0 : 1;
  const v1::Partition before = healthy->partitions(static_cast<int>(p));
  world.store(p).SetFaults({.refuse_per_mille = 1000});
  world.Turn([&] {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest("another");
    for (int i = 0; i < 10; ++i) {
      request.set_request_id(absl::StrCat("another", i));
      world->CreateJob(request, [](const auto&) {});
    }
  });
  for (int i = 0; i < 3; ++i) {
    world.store(p).Deliver();
    world.Turn();
  }
  EXPECT_THAT(world->trouble(p), StatusIs(StatusCode::kResourceExhausted));
  world.store(1 - p).DeliverAll();
  const auto troubled = partitions();
  ASSERT_THAT(troubled, IsOk());
  const v1::Partition now = troubled->partitions(static_cast<int>(p));
  EXPECT_EQ(now.state(), v1::PARTITION_STATE_WRITES_SUSPENDED);
  EXPECT_EQ(now.head_position(), before.head_position());
  EXPECT_EQ(now.commit_time().seconds(), before.commit_time().seconds());
  EXPECT_EQ(now.jobs(), 0) << "not committed";
  EXPECT_EQ(troubled->partitions(static_cast<int>(1 - p)).state(), v1::PARTITION_STATE_SERVING);
  std::optional<absl::StatusOr<v1::Partition>> one;
  v1::GetPartitionRequest get;
  get.set_name(before.name());
  world.Turn([&] { world->GetPartition(get, [&](auto response) { one = std::move(response); }); });
  ASSERT_TRUE(one.has_value());
  ASSERT_THAT(*one, IsOk());
  EXPECT_EQ((*one)->state(), v1::PARTITION_STATE_WRITES_SUSPENDED);
  EXPECT_EQ((*one)->state_digest(), "");
  world.store(p).SetFaults({});
  world.Pass(absl::Seconds(2));
  EXPECT_THAT(world->trouble(p), IsOk());
  EXPECT_THAT(partitions(), IsOk());
}

}  // namespace
}  // namespace tessera::edge
