// Calls and streams through a whole coordinator: what is acknowledged is durable, and the
// contract's errors, repeats and orders hold.
#include "coordinator/edge/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "coordinator/edge/partitions.h"
#include "tests/coordinator/edge/coordinator_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;
using ::tessera::testing::HasReason;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class CoordinatorTest : public ::testing::Test {
 protected:
  // A job of `items` items that take one worker each, sealed.
  std::string JobWith(int items, absl::string_view request_id = "r1",
                      absl::string_view tenant = "acme") {
    const std::string job = world_.Create(CoordinatorWorld::JobRequest(request_id, tenant));
    EXPECT_THAT(world_.Add(job, 0, items), IsOk());
    EXPECT_TRUE(world_.Seal(job).sealed());
    return job;
  }

  CoordinatorWorld world_;
  RecordingSink& sink_ = world_.NewSink();
};

TEST_F(CoordinatorTest, AJobGoesFromItsItemsToItsResults) {
  const std::string job = JobWith(4);
  EXPECT_THAT(job, StartsWith("tenants/acme/jobs/p0-"));
  const auto session = world_.Connect(sink_);
  ASSERT_TRUE(sink_.all.has_welcome());
  sink_.Take();

  for (const char* worker : {"ann", "bob"}) {
    v1::WorkRequest lease;
    CoordinatorWorld::AddLease(lease, 1, worker, 10);
    world_.Send(session, lease);
    v1::WorkResponse told = sink_.Take();
    ASSERT_THAT(told.assigned(), SizeIs(1));
    EXPECT_EQ(told.assigned(0).worker(), absl::StrCat("platforms/web/workers/", worker));
    ASSERT_THAT(told.assigned(0).items(), SizeIs(4));
    EXPECT_EQ(told.assigned(0).items(0).content(0).text(), "fine");
    v1::WorkRequest submit;
    CoordinatorWorld::AddSubmit(submit, told.assigned(0));
    world_.Send(session, submit);
    told = sink_.Take();
    ASSERT_THAT(told.committed(), SizeIs(1)) << told.DebugString();
    EXPECT_EQ(told.committed(0).kind(), v1::WORK_KIND_SUBMIT);
    EXPECT_EQ(told.committed(0).earned_micros(), 40'000);
    EXPECT_EQ(told.committed(0).items_accepted(), 4);
    EXPECT_TRUE(told.committed(0).finished());
  }
  const v1::Job ended = world_.Job(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_FINALISED) << ended.DebugString();
  EXPECT_EQ(ended.counts().items_resolved(), 4);
  EXPECT_EQ(ended.ledger().earned_micros(), 80'000);

  v1::ListResultsRequest list;
  list.set_parent(job);
  const auto results = world_.Call(&Coordinator::ListResults, list);
  ASSERT_THAT(results, IsOk());
  ASSERT_THAT(results->results(), SizeIs(4));
  EXPECT_EQ(results->results(0).item_key(), "item0");
  EXPECT_EQ(results->results(0).value().fields(0).choice(), "yes");
  EXPECT_EQ(results->results(0).finality(), v1::FINALITY_FINAL);
}

// --- Jobs ----------------------------------------------------------------------------------------

TEST_F(CoordinatorTest, ACreateThatIsTriedAgainGivesTheSameJob) {
  const v1::CreateJobRequest request = CoordinatorWorld::JobRequest();
  const std::string job = world_.Create(request);
  EXPECT_EQ(world_.Create(request), job);
  world_.Restart();
  EXPECT_EQ(world_.Create(request), job);
  v1::CreateJobRequest other = request;
  other.mutable_job()->set_display_name("Another");
  const auto reused = world_.Call(&Coordinator::CreateJob, other);
  EXPECT_THAT(reused, StatusIs(StatusCode::kAlreadyExists));
  EXPECT_THAT(reused.status(), HasReason("REQUEST_ID_REUSED"));
}

TEST_F(CoordinatorTest, OneTenantCannotTakeAllTheJobsThatThereMayBe) {
  world_.options().host.partition.jobs_max = 5;
  world_.options().host.partition.jobs_per_tenant_max = 3;
  world_.Restart();
  const auto create = [&](int number, const char* tenant) {
    return world_
        .Call(&Coordinator::CreateJob,
              CoordinatorWorld::JobRequest(absl::StrCat("r", number), tenant))
        .status();
  };
  for (int i = 0; i < 3; ++i) EXPECT_THAT(create(i, "greedy"), IsOk());
  EXPECT_THAT(create(3, "greedy"), HasReason("JOBS_MAX"));
  EXPECT_THAT(create(0, "greedy"), IsOk());  // A repeat.
  EXPECT_THAT(create(0, "other"), IsOk());
  EXPECT_THAT(create(1, "other"), IsOk());
  EXPECT_THAT(create(2, "other"), HasReason("JOBS_MAX"));
}

// They stay in memory for as long as there is the job, ended or not.
TEST_F(CoordinatorTest, TemplatesAndPoliciesTakeSoMuchMemoryUntilJobsAreDeleted) {
  world_.options().host.partition.document_bytes_per_tenant_max = 25'000;
  world_.options().host.partition.document_bytes_max = 45'000;
  world_.Restart();
  const auto create = [&](int number, const char* tenant) {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest(absl::StrCat("r", number), tenant);
    request.mutable_job()->mutable_template_()->set_instructions(std::string(9'500, 'i'));
    return world_.Call(&Coordinator::CreateJob, request);
  };
  std::string ended;
  for (int i = 0; i < 2; ++i) {
    const auto job = create(i, "greedy");
    ASSERT_THAT(job, IsOk());
    ended = job->name();
  }
  v1::UpdateJobRequest update;
  update.mutable_job()->set_name(ended);
  update.mutable_job()->set_display_name("Longer than it was");
  update.mutable_update_mask()->add_paths("display_name");
  ASSERT_THAT(world_.Call(&Coordinator::UpdateJob, update), IsOk());
  v1::CancelJobRequest cancel;
  cancel.set_name(ended);
  ASSERT_THAT(world_.Call(&Coordinator::CancelJob, cancel), IsOk());
  for (const bool again : {false, true}) {
    if (again) world_.Restart();
    EXPECT_THAT(create(2, "greedy").status(), HasReason("JOBS_MAX"));
    EXPECT_THAT(create(0, "greedy"), IsOk());  // A repeat.
  }
  for (int i = 0; i < 2; ++i) EXPECT_THAT(create(i, "other"), IsOk());
  EXPECT_THAT(create(0, "third").status(), HasReason("JOBS_MAX"));
  v1::DeleteJobRequest remove;
  remove.set_name(ended);
  ASSERT_THAT(world_.Call(&Coordinator::DeleteJob, remove), IsOk());
  EXPECT_THAT(create(2, "greedy"), IsOk());
  EXPECT_THAT(create(3, "greedy").status(), HasReason("JOBS_MAX"));
}

TEST_F(CoordinatorTest, PartitionsShareWhatACoordinatorMayHold) {
  const HostOptions whole{.record_bytes_max = 1 << 20, .unflushed_bytes_max = 64 << 20};
  const HostOptions one = Partitions::ShareOf(whole, 1);
  EXPECT_EQ(one.payload_cache_bytes, whole.payload_cache_bytes);
  EXPECT_EQ(one.unflushed_bytes_max, whole.unflushed_bytes_max);
  const HostOptions eighth = Partitions::ShareOf(whole, 8);
  EXPECT_EQ(eighth.payload_cache_bytes, whole.payload_cache_bytes / 8);
  EXPECT_EQ(eighth.unflushed_bytes_max, size_t{8 << 20});
  EXPECT_EQ(Partitions::ShareOf(whole, 1024).unflushed_bytes_max, size_t{4 << 20});
}

// Who asks why an item has no result is not told that somebody ended the job.
TEST_F(CoordinatorTest, AnItemThatMoneyOrTimeCutShortSaysSo) {
  const auto reason_of = [&](const std::string& job) {
    v1::FinaliseJobRequest finalise;
    finalise.set_name(job);
    EXPECT_THAT(world_.Call(&Coordinator::FinaliseJob, finalise), IsOk());
    world_.Pass(absl::Seconds(2));
    v1::ListResultsRequest list;
    list.set_parent(job);
    const auto results = world_.Call(&Coordinator::ListResults, list);
    EXPECT_TRUE(results.ok() && results->results_size() == 2) << results.status();
    EXPECT_EQ(results->results(0).state(), v1::ITEM_STATE_UNRESOLVED);
    return results->results(0).stop_reason();
  };
  v1::CreateJobRequest poor = CoordinatorWorld::JobRequest("poor");
  poor.mutable_job()->mutable_policy()->set_budget_micros(5'000);  // Not one answer.
  v1::CreateJobRequest late = CoordinatorWorld::JobRequest("late");
  *late.mutable_job()->mutable_policy()->mutable_deadline() =
      TimeToProto(world_.now() + absl::Seconds(5));
  std::vector<std::string> jobs;
  for (const auto& request : {poor, late, CoordinatorWorld::JobRequest("given up")}) {
    jobs.push_back(world_.Create(request));
    EXPECT_THAT(world_.Add(jobs.back(), 0, 2), IsOk());
    EXPECT_TRUE(world_.Seal(jobs.back()).sealed());
  }
  world_.Pass(absl::Seconds(10));
  EXPECT_EQ(reason_of(jobs[0]), v1::STOP_REASON_OUT_OF_BUDGET);
  EXPECT_EQ(reason_of(jobs[1]), v1::STOP_REASON_PAST_DEADLINE);
  EXPECT_EQ(reason_of(jobs[2]), v1::STOP_REASON_FINALISED);
}

// Who hears nothing for long and tries again still has to learn of the job that is paid for.
TEST_F(CoordinatorTest, ARepeatIsGoodEvenAfterTheDeadlineThatItNames) {
  v1::CreateJobRequest request = CoordinatorWorld::JobRequest();
  *request.mutable_job()->mutable_policy()->mutable_deadline() =
      TimeToProto(world_.now() + absl::Seconds(10));
  const std::string job = world_.Create(request);
  v1::UpdateJobRequest update;
  update.mutable_job()->set_name(job);
  *update.mutable_job()->mutable_policy()->mutable_deadline() =
      TimeToProto(world_.now() + absl::Seconds(20) + absl::Nanoseconds(1));
  update.mutable_update_mask()->add_paths("policy.deadline");
  ASSERT_THAT(world_.Call(&Coordinator::UpdateJob, update), IsOk());
  world_.Pass(absl::Seconds(30));
  EXPECT_EQ(world_.Create(request), job);
  EXPECT_THAT(world_.Call(&Coordinator::UpdateJob, update), IsOk());
  *update.mutable_job()->mutable_policy()->mutable_deadline() = TimeToProto(world_.now());
  EXPECT_THAT(world_.Call(&Coordinator::UpdateJob, update), StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(CoordinatorTest, AJobShowsWhatIsInForceAndWhatWasGiven) {
  v1::CreateJobRequest request = CoordinatorWorld::JobRequest();
  (*request.mutable_job()->mutable_labels())["team"] = "blue";
  request.set_start_paused(true);
  const v1::Job job = world_.Job(world_.Create(request));
  EXPECT_EQ(job.display_name(), "Sentiment");
  EXPECT_EQ(job.labels().at("team"), "blue");
  EXPECT_EQ(job.template_().version(), "1");
  EXPECT_EQ(job.policy().split().items_max(), 10);
  EXPECT_EQ(job.state(), v1::JOB_STATE_PAUSED);
  EXPECT_THAT(job.pause_reasons(), ElementsAre(v1::PAUSE_REASON_REQUESTED));
  EXPECT_EQ(job.ledger().remaining_micros(), 1'000'000'000);
}

TEST_F(CoordinatorTest, WhatIsMalformedOrNotServedCreatesNothing) {
  v1::CreateJobRequest request = CoordinatorWorld::JobRequest();
  request.mutable_job()->mutable_policy()->mutable_eligibility()->add_pools("pools/nobody");
  const auto no_pool = world_.Call(&Coordinator::CreateJob, request);
  EXPECT_THAT(no_pool, StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(no_pool.status(), HasReason("POOL_NOT_FOUND"));
  EXPECT_EQ(GetDetails(no_pool.status()).fields.at(0).field, "job.policy.eligibility.pools[0]");
  request = CoordinatorWorld::JobRequest();
  request.mutable_job()->mutable_policy()->mutable_deadline()->set_seconds(
      absl::ToUnixSeconds(world_.now()));
  EXPECT_THAT(world_.Call(&Coordinator::CreateJob, request),
              StatusIs(StatusCode::kInvalidArgument));
  v1::ListJobsRequest list;
  list.set_parent("tenants/acme");
  EXPECT_THAT(world_.Call(&Coordinator::ListJobs, list)->jobs(), IsEmpty());
}

TEST_F(CoordinatorTest, AnUnknownJobIsNotFoundByAnyCall) {
  for (const char* name : {"tenants/acme/jobs/p0-nothing", "tenants/acme/jobs/p7-nothing",
                           "tenants/acme/jobs/x", "nonsense", ""}) {
    v1::GetJobRequest get;
    get.set_name(name);
    const auto job = world_.Call(&Coordinator::GetJob, get);
    EXPECT_THAT(job, StatusIs(StatusCode::kNotFound)) << name;
    EXPECT_THAT(job.status(), HasReason("JOB_NOT_FOUND")) << name;
  }
  // Nor is another tenant's.
  const std::string job = JobWith(1);
  v1::GetJobRequest get;
  get.set_name(absl::StrCat("tenants/zoo", job.substr(job.find("/jobs/"))));
  EXPECT_THAT(world_.Call(&Coordinator::GetJob, get), StatusIs(StatusCode::kNotFound));
}

TEST_F(CoordinatorTest, AnUpdateChangesWhatItsMaskNamesAndNothingElse) {
  const std::string name = JobWith(3);
  v1::UpdateJobRequest update;
  update.mutable_job()->set_name(name);
  update.mutable_job()->set_display_name("New");
  update.mutable_job()->mutable_policy()->set_priority(7);
  update.mutable_job()->mutable_policy()->mutable_quality()->set_answers_max(5);
  update.mutable_update_mask()->add_paths("policy.priority");
  update.mutable_update_mask()->add_paths("policy.quality.answers_max");
  ASSERT_THAT(world_.Call(&Coordinator::UpdateJob, update), IsOk());
  world_.Restart();
  v1::Job job = world_.Job(name);
  EXPECT_EQ(job.policy().priority(), 7);
  EXPECT_EQ(job.policy().quality().answers_max(), 5);
  EXPECT_EQ(job.policy().quality().answers_min(), 2);
  EXPECT_EQ(job.display_name(), "Sentiment");

  for (const char* path : {"policy.currency_code", "template", "name", "nonsense", "policy"}) {
    v1::UpdateJobRequest refused = update;
    refused.mutable_update_mask()->add_paths(path);
    refused.mutable_job()->mutable_policy()->set_priority(9);
    const auto status = world_.Call(&Coordinator::UpdateJob, refused).status();
    EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument)) << path;
    EXPECT_THAT(status, HasReason("FIELD_NOT_UPDATABLE")) << path;
  }
  EXPECT_EQ(world_.Job(name).policy().priority(), 7);

  update.mutable_update_mask()->Clear();
  update.mutable_update_mask()->add_paths("policy.quality.answers_min");
  update.mutable_job()->mutable_policy()->mutable_quality()->set_answers_min(6);
  EXPECT_THAT(world_.Call(&Coordinator::UpdateJob, update).status(), HasReason("FIELDS_CONFLICT"));
}

TEST_F(CoordinatorTest, JobsAreListedInPagesOverAllPartitionsEachOnce) {
  CoordinatorWorld world(3);
  std::set<std::string> created;
  for (int i = 0; i < 25; ++i) {
    created.insert(world.Create(CoordinatorWorld::JobRequest(absl::StrCat("r", i))));
  }
  world.Create(CoordinatorWorld::JobRequest("r1", "zoo"));
  ASSERT_EQ(created.size(), 25);
  std::set<std::string> listed;
  v1::ListJobsRequest request;
  request.set_parent("tenants/acme");
  request.set_page_size(4);
  int pages = 0;
  do {
    const auto page = world.Call(&Coordinator::ListJobs, request);
    ASSERT_THAT(page, IsOk());
    EXPECT_LE(page->jobs_size(), 4);
    for (const v1::Job& job : page->jobs())
      EXPECT_TRUE(listed.insert(job.name()).second) << job.name();
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty() && ++pages < 100);
  EXPECT_EQ(listed, created);
  request.set_page_token("made up");
  EXPECT_THAT(world.Call(&Coordinator::ListJobs, request).status(),
              HasReason("PAGE_TOKEN_INVALID"));
  request.set_page_token("");
  request.add_states(v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(world.Call(&Coordinator::ListJobs, request)->jobs(), IsEmpty());
}

TEST_F(CoordinatorTest, AJobIsDeletedOnlyAfterItsEnd) {
  const std::string name = JobWith(2);
  v1::DeleteJobRequest request;
  request.set_name(name);
  EXPECT_THAT(world_.Call(&Coordinator::DeleteJob, request).status(), HasReason("JOB_NOT_ENDED"));
  v1::CancelJobRequest cancel;
  cancel.set_name(name);
  EXPECT_EQ(world_.Call(&Coordinator::CancelJob, cancel)->state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(world_.Call(&Coordinator::DeleteJob, request), IsOk());
  EXPECT_THAT(world_.Call(&Coordinator::DeleteJob, request), StatusIs(StatusCode::kNotFound));
  request.set_allow_missing(true);
  EXPECT_THAT(world_.Call(&Coordinator::DeleteJob, request), IsOk());
}

TEST_F(CoordinatorTest, ASealCanBeGuardedByTheNumberOfItems) {
  const std::string name = world_.Create(CoordinatorWorld::JobRequest());
  ASSERT_THAT(world_.Add(name, 0, 3), IsOk());
  v1::SealJobRequest seal;
  seal.set_name(name);
  seal.set_expected_offset(4);
  EXPECT_THAT(world_.Call(&Coordinator::SealJob, seal).status(), HasReason("ITEM_COUNT_DIFFERS"));
  seal.set_expected_offset(3);
  EXPECT_TRUE(world_.Call(&Coordinator::SealJob, seal)->sealed());
}

// --- Items ---------------------------------------------------------------------------------------

class IntakeTest : public CoordinatorTest {
 protected:
  absl::StatusOr<v1::AddItemsResponse> Add(int64_t offset, std::vector<v1::Item> items) {
    v1::AddItemsRequest request;
    request.set_job(job_);
    request.set_offset(offset);
    for (v1::Item& item : items) *request.add_items() = std::move(item);
    return world_.Call(&Coordinator::AddItems, request);
  }
  static v1::Item Item(absl::string_view key, absl::string_view text = "fine") {
    return CoordinatorWorld::TextItem(key, text);
  }

  const std::string job_ = world_.Create(CoordinatorWorld::JobRequest());
};

TEST_F(IntakeTest, ARepeatIsAcceptedAndChangesNothing) {
  ASSERT_THAT(Add(0, {Item("a"), Item("b")}), IsOk());
  const auto again = Add(0, {Item("a"), Item("b")});
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->committed_offset(), 2);
  EXPECT_EQ(again->added(), 0);
  EXPECT_EQ(again->present(), 2);
  EXPECT_EQ(world_.Job(job_).counts().items(), 2);
}

// Who goes on with another file must not be told that all of it is there.
TEST_F(IntakeTest, ARepeatOfOtherItemsIsRefused) {
  ASSERT_THAT(Add(0, {Item("a"), Item("b", "one"), Item("c")}), IsOk());
  for (const v1::Item& other : {Item("z"), Item("b", "two")}) {
    const absl::Status status = Add(0, {Item("a"), other}).status();
    EXPECT_THAT(status, StatusIs(StatusCode::kAlreadyExists));
    EXPECT_THAT(status, HasReason("ITEM_DIFFERS"));
    EXPECT_EQ(GetDetails(status).fields.at(0).field, "items[1].key");
  }
  EXPECT_TRUE(world_.Seal(job_).sealed());
  EXPECT_THAT(Add(0, {Item("z")}), StatusIs(StatusCode::kAlreadyExists));
  EXPECT_THAT(Add(1, {Item("b", "one")}), IsOk());
  EXPECT_EQ(world_.Job(job_).counts().items(), 3);
}

// The batch behind a repeat that is refused fits the offset, so it must be held back at once and not
// only when the reply comes.
TEST_F(IntakeTest, ABatchThatIsRefusedIsKnownBeforeItsReply) {
  ASSERT_THAT(Add(0, {Item("a")}), IsOk());
  v1::AddItemsRequest other;
  other.set_job(job_);
  *other.add_items() = Item("z");
  v1::AddItemsRequest same = other;
  *same.mutable_items(0) = Item("a");
  v1::AddItemsRequest next = other;
  next.set_offset(1);
  int replies = 0;
  const auto count = [&](const auto&) { ++replies; };
  world_.Turn([&] {
    EXPECT_FALSE(world_->AddItems(other, count));
    EXPECT_TRUE(world_->AddItems(same, count));
    EXPECT_TRUE(world_->AddItems(next, count));
    next.set_job("tenants/acme/jobs/none");
    EXPECT_FALSE(world_->AddItems(next, count));
    EXPECT_EQ(replies, 0);
  });
  world_.Settle();
  EXPECT_EQ(replies, 4);
}

TEST_F(IntakeTest, AGapOrAStraddleIsRefusedWithTheOffsetToGoOnFrom) {
  ASSERT_THAT(Add(0, {Item("a"), Item("b")}), IsOk());
  for (const int64_t offset : {1, 3}) {
    const absl::Status status = Add(offset, {Item("c"), Item("d")}).status();
    EXPECT_THAT(status, StatusIs(StatusCode::kOutOfRange));
    EXPECT_THAT(status, HasReason("OFFSET_MISMATCH"));
    EXPECT_THAT(GetDetails(status).metadata,
                ::testing::Contains(::testing::Pair("committed_offset", "2")));
  }
}

TEST_F(IntakeTest, AnItemCountsOnceByItsKey) {
  ASSERT_THAT(Add(0, {Item("a")}), IsOk());
  const auto mixed = Add(1, {Item("a"), Item("b"), Item("b")});
  ASSERT_THAT(mixed, IsOk());
  EXPECT_EQ(mixed->committed_offset(), 4);
  EXPECT_EQ(mixed->added(), 1);
  EXPECT_EQ(mixed->present(), 2);
  EXPECT_EQ(world_.Job(job_).counts().items(), 2);
  world_.Restart();
  EXPECT_EQ(Add(4, {Item("b"), Item("c")})->added(), 1);
}

TEST_F(IntakeTest, AKeyWithAnotherContentIsRefusedWithItsWholeBatch) {
  ASSERT_THAT(Add(0, {Item("a", "one")}), IsOk());
  for (const bool in_batch : {false, true}) {
    const absl::Status status = in_batch
                                    ? Add(1, {Item("b", "x"), Item("c"), Item("b", "y")}).status()
                                    : Add(1, {Item("x"), Item("y"), Item("a", "two")}).status();
    EXPECT_THAT(status, StatusIs(StatusCode::kAlreadyExists));
    EXPECT_THAT(status, HasReason("ITEM_DIFFERS"));
    EXPECT_EQ(GetDetails(status).fields.at(0).field, "items[2].key");
    EXPECT_THAT(GetDetails(status).metadata,
                ::testing::Contains(::testing::Pair("committed_offset", "1")));
  }
  EXPECT_EQ(world_.Job(job_).counts().items(), 1);
}

TEST_F(IntakeTest, AGoldAnswerIsOneOfTheClassesAndPartOfTheContent) {
  v1::Item gold = Item("g");
  *gold.mutable_gold() = CoordinatorWorld::Choice("maybe");
  const absl::Status status = Add(0, {Item("a"), gold}).status();
  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument));
  EXPECT_EQ(GetDetails(status).fields.at(0).field, "items[1].gold.fields[0].choice");
  *gold.mutable_gold() = CoordinatorWorld::Choice("no");
  ASSERT_THAT(Add(0, {gold}), IsOk());
  EXPECT_THAT(Add(1, {Item("g")}).status(), HasReason("ITEM_DIFFERS"));
  EXPECT_EQ(Add(1, {gold})->present(), 1);

  v1::ExplainItemRequest explain;
  explain.set_job(job_);
  explain.set_item_key("g");
  const auto story = world_.Call(&Coordinator::ExplainItem, explain);
  ASSERT_THAT(story, IsOk());
  EXPECT_EQ(story->item().gold().fields(0).choice(), "no");
  EXPECT_TRUE(story->result().is_gold());
  EXPECT_FALSE(story->result().has_value());  // Nobody has answered.
  EXPECT_EQ(story->item().content(0).text(), "fine");
  explain.set_item_key("nobody");
  EXPECT_THAT(world_.Call(&Coordinator::ExplainItem, explain).status(),
              HasReason("ITEM_NOT_FOUND"));
}

TEST_F(IntakeTest, StrataAreLearntFromItemsAndLimited) {
  std::vector<v1::Item> items;
  for (int i = 0; i < 255; ++i) {
    items.push_back(Item(absl::StrCat("k", i)));
    items.back().set_stratum(absl::StrCat("s", i));
  }
  items.push_back(Item("default"));
  items.back().set_stratum("default");
  ASSERT_THAT(Add(0, items), IsOk());
  v1::Item more = Item("more");
  more.set_stratum("one-more");
  const absl::Status status = Add(256, {more}).status();
  EXPECT_THAT(status, HasReason("FIELD_OUT_OF_LIMITS"));
  EXPECT_EQ(GetDetails(status).fields.at(0).field, "items[0].stratum");
}

TEST_F(IntakeTest, ASealedJobTakesRepeatsOnly) {
  ASSERT_THAT(Add(0, {Item("a")}), IsOk());
  world_.Seal(job_);
  EXPECT_THAT(Add(0, {Item("a")}), IsOk());
  EXPECT_THAT(Add(1, {Item("b")}).status(), HasReason("JOB_SEALED"));
}

// --- Durability ----------------------------------------------------------------------------------

TEST_F(CoordinatorTest, NothingIsSaidBeforeItIsCommitted) {
  std::optional<absl::StatusOr<v1::Job>> created;
  world_.Turn([&] {
    world_->CreateJob(CoordinatorWorld::JobRequest(),
                      [&](absl::StatusOr<v1::Job> job) { created = std::move(job); });
  });
  std::optional<absl::StatusOr<v1::ListJobsResponse>> listed;
  world_.Turn([&] {
    v1::ListJobsRequest list;
    list.set_parent("tenants/acme");
    world_->ListJobs(list,
                     [&](absl::StatusOr<v1::ListJobsResponse> jobs) { listed = std::move(jobs); });
  });
  for (int i = 0; i < 10; ++i) world_.Turn();
  EXPECT_FALSE(created.has_value());
  EXPECT_FALSE(listed.has_value()) << "a read showed what may still be lost";
  world_.Settle();
  ASSERT_TRUE(created.has_value() && listed.has_value());
  EXPECT_THAT(listed->value().jobs(), SizeIs(1));
}

TEST_F(CoordinatorTest, WhoWaitsWhenTheCoordinatorEndsIsToldSo) {
  const std::string job = JobWith(1);
  int told = 0;
  const auto expect_unavailable = [&](const absl::Status& status) {
    EXPECT_THAT(status, StatusIs(StatusCode::kUnavailable));
    ++told;
  };
  const auto session = world_.Connect(sink_);
  (void)session;
  world_.Turn([&] {
    world_->CreateJob(CoordinatorWorld::JobRequest("r2"),
                      [&](absl::StatusOr<v1::Job> j) { expect_unavailable(j.status()); });
    v1::StreamResultsRequest stream;
    stream.set_job(job);
    stream.set_follow(true);
    world_->WaitResults(
        stream, /*told_end=*/true,
        [&](absl::StatusOr<v1::StreamResultsResponse> r, bool) { expect_unavailable(r.status()); });
  });
  world_.Restart();
  EXPECT_EQ(told, 2);
  ASSERT_TRUE(sink_.closed.has_value());
  EXPECT_THAT(*sink_.closed, StatusIs(StatusCode::kUnavailable));
}

TEST_F(CoordinatorTest, AStoreThatRefusesMakesCallsUnavailableUntilItTakesRecordsAgain) {
  const std::string name = JobWith(1);
  world_.store().FailNext(FaultyStore::Fault::kRefuse);
  std::optional<absl::StatusOr<v1::Job>> created;
  world_.Turn([&] {
    world_->CreateJob(CoordinatorWorld::JobRequest("r2"),
                      [&](absl::StatusOr<v1::Job> job) { created = std::move(job); });
  });
  while (world_.store().pending() > 0) world_.store().Deliver();
  std::optional<absl::StatusOr<v1::Job>> got;
  world_.Turn([&] {
    v1::GetJobRequest get;
    get.set_name(name);
    world_->GetJob(get, [&](absl::StatusOr<v1::Job> job) { got = std::move(job); });
  });
  ASSERT_TRUE(got.has_value());
  EXPECT_THAT(*got, StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(got->status(), HasReason("STORE_UNAVAILABLE"));
  EXPECT_FALSE(created.has_value());
  world_.Pass(absl::Seconds(10));
  ASSERT_TRUE(created.has_value());
  EXPECT_THAT(*created, IsOk());
  EXPECT_EQ(world_.Job(name).name(), name);
}

// --- Money, plans --------------------------------------------------------------------------------

TEST_F(CoordinatorTest, AnswersAreReviewedAllOfACallOrNone) {
  const std::string job = JobWith(2);
  const auto session = world_.Connect(sink_);
  v1::WorkRequest lease;
  CoordinatorWorld::AddLease(lease, 1, "ann");
  world_.Send(session, lease);
  const v1::Assigned assigned = sink_.Take().assigned(0);
  v1::WorkRequest submit;
  CoordinatorWorld::AddSubmit(submit, assigned);
  world_.Send(session, submit);

  const int64_t answers = world_.Job(job).counts().answers();
  v1::ReviewAnswersRequest request;
  request.set_job(job);
  v1::Review& good = *request.add_reviews();
  good.set_assignment(assigned.assignment());
  good.set_item_key("item0");
  good.set_decision(v1::REVIEW_DECISION_APPROVE);
  v1::Review& bad = *request.add_reviews();
  bad.set_assignment(assigned.assignment());
  bad.set_item_key("item7");
  bad.set_decision(v1::REVIEW_DECISION_REJECT);
  bad.set_reason("wrong");
  EXPECT_THAT(world_.Call(&Coordinator::ReviewAnswers, request).status(),
              HasReason("ANSWER_NOT_FOUND"));
  EXPECT_EQ(world_.Job(job).ledger().approved_micros(), 0);
  bad.set_item_key("item1");
  const auto reviewed = world_.Call(&Coordinator::ReviewAnswers, request);
  ASSERT_THAT(reviewed, IsOk());
  EXPECT_EQ(reviewed->approved(), 1);
  EXPECT_EQ(reviewed->rejected(), 1);
  EXPECT_EQ(reviewed->ledger().approved_micros(), 10'000);
  EXPECT_EQ(reviewed->ledger().rejected_micros(), 10'000);
  // It was accepted, though it counts no more.
  EXPECT_EQ(world_.Job(job).counts().answers(), answers);
  const auto again = world_.Call(&Coordinator::ReviewAnswers, request);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->approved() + again->rejected(), 0);
  bad.set_decision(v1::REVIEW_DECISION_APPROVE);
  good.set_decision(v1::REVIEW_DECISION_REJECT);
  good.set_reason("no");
  EXPECT_THAT(world_.Call(&Coordinator::ReviewAnswers, request).status(),
              HasReason("ALREADY_APPROVED"));

  v1::PayBonusRequest bonus;
  bonus.set_job(job);
  bonus.set_worker("platforms/web/workers/ann");
  bonus.set_amount_micros(500);
  bonus.set_reason("thanks");
  bonus.set_request_id("b1");
  EXPECT_EQ(world_.Call(&Coordinator::PayBonus, bonus)->ledger().bonus_micros(), 500);
  EXPECT_EQ(world_.Call(&Coordinator::PayBonus, bonus)->ledger().bonus_micros(), 500);
  bonus.set_worker("platforms/web/workers/nobody");
  bonus.set_request_id("b2");
  EXPECT_THAT(world_.Call(&Coordinator::PayBonus, bonus).status(), HasReason("WORKER_NOT_FOUND"));
  // What is not looked at must not look as if it had been.
  bonus.set_worker("platforms/web/workers/ann");
  bonus.set_assignment("nonsense");
  EXPECT_THAT(world_.Call(&Coordinator::PayBonus, bonus).status(), HasReason("NOT_SERVED"));
}

TEST_F(CoordinatorTest, ADraftIsPlannedLikeTheJobThatItWouldBecome) {
  const std::string job = world_.Create(CoordinatorWorld::JobRequest());
  ASSERT_THAT(world_.Add(job, 0, 50), IsOk());
  v1::PlanJobRequest request;
  request.set_parent("tenants/acme");
  request.set_job(job);
  const auto planned = world_.Call(&Coordinator::PlanJob, request);
  ASSERT_THAT(planned, IsOk());
  EXPECT_EQ(planned->items(), 50);
  EXPECT_TRUE(planned->budget_suffices());
  EXPECT_EQ(planned->currency_code(), "USD");
  EXPECT_EQ(planned->remaining_micros(), 1'000'000'000);

  v1::JobDraft& draft = *request.mutable_draft();
  draft.mutable_template_()->CopyFrom(CoordinatorWorld::JobRequest().job().template_());
  draft.mutable_policy()->CopyFrom(CoordinatorWorld::JobRequest().job().policy());
  draft.add_strata()->set_items(50);
  const auto drafted = world_.Call(&Coordinator::PlanJob, request);
  ASSERT_THAT(drafted, IsOk());
  EXPECT_EQ(drafted->items(), 50);
  EXPECT_EQ(drafted->expected_cost_micros(), planned->expected_cost_micros());

  draft.mutable_strata(0)->set_items(5'000'000);
  draft.mutable_policy()->set_budget_micros(50'000'000'000'000);
  const auto large = world_.Call(&Coordinator::PlanJob, request);
  ASSERT_THAT(large, IsOk());
  EXPECT_EQ(large->items(), 5'000'000);
  EXPECT_NEAR(static_cast<double>(large->expected_cost_micros()),
              static_cast<double>(planned->expected_cost_micros()) * 100'000,
              static_cast<double>(planned->expected_cost_micros()) * 1000);
}

}  // namespace
}  // namespace tessera::edge
