// Readers who wait: nothing that was committed is left out, and nothing is said twice for nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

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

class WaitsTest : public ::testing::Test {
 protected:
  struct Status {
    absl::StatusOr<v1::JobStatus> status;
    uint64_t version = 0;
  };
  struct Results {
    absl::StatusOr<v1::StreamResultsResponse> response;
    bool ended = false;
  };

  // Begins a wait; its reply appears in the result.
  std::shared_ptr<std::optional<Status>> WaitJob(uint64_t seen) {
    auto reply = std::make_shared<std::optional<Status>>();
    world_.Turn([&] {
      wait_ =
          world_->WaitJob(job_, seen, [reply](absl::StatusOr<v1::JobStatus> s, uint64_t version) {
            *reply = Status{std::move(s), version};
          });
    });
    world_.Settle();
    return reply;
  }
  // By default of a reader who knows that it has come to the end, and waits for news.
  std::shared_ptr<std::optional<Results>> WaitResults(absl::string_view token, bool follow,
                                                      bool told_end = true) {
    v1::StreamResultsRequest request;
    request.set_job(job_);
    request.set_resume_token(std::string(token));
    request.set_follow(follow);
    auto reply = std::make_shared<std::optional<Results>>();
    world_.Turn([&] {
      wait_ = world_->WaitResults(request, told_end,
                                  [reply](absl::StatusOr<v1::StreamResultsResponse> r, bool ended) {
                                    *reply = Results{std::move(r), ended};
                                  });
    });
    world_.Settle();
    return reply;
  }
  // One worker answers up to `items` items.
  v1::Assigned Answer(absl::string_view worker, int items) {
    v1::WorkRequest request;
    CoordinatorWorld::AddLease(request, ++demands_, worker);
    request.mutable_leases(0)->set_items_max(items);
    world_.Send(session_, request);
    const v1::WorkResponse told = sink_.Take();
    EXPECT_THAT(told.assigned(), SizeIs(1));
    if (told.assigned().empty()) return {};
    v1::WorkRequest submit;
    CoordinatorWorld::AddSubmit(submit, told.assigned(0));
    world_.Send(session_, submit);
    sink_.Take();
    return told.assigned(0);
  }
  void Finalise() {
    v1::FinaliseJobRequest request;
    request.set_name(job_);
    ASSERT_THAT(world_.Call(&Coordinator::FinaliseJob, request), IsOk());
  }

  CoordinatorWorld world_;
  RecordingSink& sink_ = world_.NewSink();
  Coordinator::SessionId session_ = world_.Connect(sink_);
  const std::string job_ = [this] {
    v1::CreateJobRequest request = CoordinatorWorld::JobRequest();
    request.mutable_job()->mutable_policy()->mutable_quality()->set_answers_min(1);
    request.mutable_job()->mutable_policy()->mutable_quality()->set_answers_max(1);
    return world_.Create(request);
  }();
  Coordinator::WaitId wait_ = 0;
  uint64_t demands_ = 0;
};

TEST_F(WaitsTest, AWatcherSeesTheJobAtOnceAndThenEachChange) {
  const auto first = WaitJob(0);
  ASSERT_TRUE(first->has_value());
  ASSERT_THAT((*first)->status, IsOk());
  EXPECT_EQ((*first)->status->job().name(), job_);
  const auto second = WaitJob((*first)->version);
  EXPECT_FALSE(second->has_value());
  ASSERT_THAT(world_.Add(job_, 0, 5), IsOk());
  EXPECT_FALSE(second->has_value()) << "sooner than the interval";
  world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ((*second)->status->job().counts().items(), 5);
  EXPECT_GT((*second)->version, (*first)->version);
}

TEST_F(WaitsTest, AChangeBetweenTwoWaitsIsNotMissed) {
  const auto first = WaitJob(0);
  ASSERT_THAT(world_.Add(job_, 0, 5), IsOk());
  const auto second = WaitJob((*first)->version);
  world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ((*second)->status->job().counts().items(), 5);
}

TEST_F(WaitsTest, ARejectedAnswerWasAcceptedOnceInItsTime) {
  ASSERT_THAT(world_.Add(job_, 0, 5), IsOk());
  const v1::Assigned assigned = Answer("ann", 5);
  const auto before = WaitJob(0);
  ASSERT_TRUE(before->has_value());
  v1::ReviewAnswersRequest request;
  request.set_job(job_);
  for (const v1::AssignedItem& item : assigned.items()) {
    v1::Review& review = *request.add_reviews();
    review.set_assignment(assigned.assignment());
    review.set_item_key(item.key());
    review.set_decision(v1::REVIEW_DECISION_REJECT);
    review.set_reason("wrong");
  }
  ASSERT_THAT(world_.Call(&Coordinator::ReviewAnswers, request), IsOk());
  const auto after = WaitJob((*before)->version);
  world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(after->has_value());
  EXPECT_EQ((*after)->status->answers_per_second(), 0);
}

TEST_F(WaitsTest, AWatcherHearsThatNobodyAsksForWork) {
  ASSERT_THAT(world_.Add(job_, 0, 5), IsOk());
  const auto first = WaitJob(0);
  ASSERT_TRUE(first->has_value());
  EXPECT_THAT((*first)->status->job().stall(), IsEmpty());
  const auto next = WaitJob((*first)->version);
  for (int second = 0; second < 5; ++second) world_.Pass(absl::Seconds(1));
  EXPECT_FALSE(next->has_value());
  for (int second = 0; second < 15; ++second) world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(next->has_value());
  EXPECT_THAT((*next)->status->job().stall(), ElementsAre(v1::STALL_REASON_NO_ELIGIBLE_WORKER));
  // After a restart nobody has had the time to ask.
  world_.Restart();
  EXPECT_THAT((*WaitJob(0))->status->job().stall(), IsEmpty());
}

TEST_F(WaitsTest, WhoWaitsIsToldThatTheStoreTakesNoWrites) {
  const auto first = WaitJob(0);
  ASSERT_TRUE(first->has_value());
  const auto watcher = WaitJob((*first)->version);
  const auto reader = WaitResults("", /*follow=*/true);
  world_.store(0).SetFaults({.refuse_per_mille = 1000});
  world_.Turn([&] {
    v1::PauseJobRequest pause;
    pause.set_name(job_);
    world_->PauseJob(pause, [](const auto&) {});
  });
  for (int second = 0; second < 5; ++second) world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(watcher->has_value());
  EXPECT_THAT((*watcher)->status.status(), HasReason("STORE_UNAVAILABLE"));
  ASSERT_TRUE(reader->has_value());
  EXPECT_THAT((*reader)->response.status(), HasReason("STORE_UNAVAILABLE"));
}

TEST_F(WaitsTest, ACancelledWaitIsNotAnswered) {
  const auto first = WaitJob(0);
  const auto second = WaitJob((*first)->version);
  world_.Turn([&] { world_->CancelWait(wait_); });
  ASSERT_THAT(world_.Add(job_, 0, 5), IsOk());
  world_.Pass(absl::Seconds(1));
  EXPECT_FALSE(second->has_value());
  world_.Turn([&] { world_->CancelWait(wait_); });
}

// What is kept for watchers goes with them. Who comes back later is answered at once, with a
// version that nobody has seen.
TEST_F(WaitsTest, AJobThatNobodyWatchesAnyMoreIsForgotten) {
  const auto first = WaitJob(0);
  const uint64_t seen = (*first)->version;
  for (const auto pause : {absl::Seconds(30), absl::Seconds(50)}) {
    const auto waiting = WaitJob(seen);
    world_.Pass(pause);
    EXPECT_FALSE(waiting->has_value());
    world_.Turn([&] { world_->CancelWait(wait_); });
  }
  world_.Pass(absl::Seconds(59));
  EXPECT_FALSE(WaitJob(seen)->has_value()) << "it is still known what has been seen";
  world_.Turn([&] { world_->CancelWait(wait_); });
  world_.Pass(absl::Seconds(61));
  const auto back = WaitJob(seen);
  world_.Pass(absl::Seconds(1));
  ASSERT_TRUE(back->has_value());
  EXPECT_GT((*back)->version, seen);
}

TEST_F(WaitsTest, WhoWaitsForADeletedJobIsTold) {
  const auto first = WaitJob(0);
  const auto results = WaitResults("", true);
  v1::CancelJobRequest cancel;
  cancel.set_name(job_);
  ASSERT_THAT(world_.Call(&Coordinator::CancelJob, cancel), IsOk());
  ASSERT_TRUE(results->has_value() && (*results)->ended);
  world_.Pass(absl::Seconds(1));
  const auto last = WaitJob(0);
  const auto second = WaitJob((*last)->version);
  v1::DeleteJobRequest remove;
  remove.set_name(job_);
  ASSERT_THAT(world_.Call(&Coordinator::DeleteJob, remove), IsOk());
  ASSERT_TRUE(second->has_value());
  EXPECT_THAT((*second)->status, StatusIs(StatusCode::kNotFound));
  EXPECT_THAT((*WaitResults("", false))->response, StatusIs(StatusCode::kNotFound));
}

// A deletion that is never committed has not been: nobody may have heard of it.
TEST_F(WaitsTest, NobodyHearsOfADeletionBeforeItsCommit) {
  v1::CancelJobRequest cancel;
  cancel.set_name(job_);
  ASSERT_THAT(world_.Call(&Coordinator::CancelJob, cancel), IsOk());
  const auto last = WaitJob(0);
  const auto waiting = WaitJob((*last)->version);
  v1::DeleteJobRequest remove;
  remove.set_name(job_);
  std::vector<std::string> heard;
  world_.Turn(
      [&] { world_->DeleteJob(remove, [&](const auto&) { heard.push_back("deletion"); }); });
  world_.Turn([&] {
    world_->WaitJob(job_, 0, [&](const auto&, uint64_t) { heard.push_back("watcher"); });
    v1::StreamResultsRequest results;
    results.set_job(job_);
    world_->WaitResults(results, false, [&](const auto&, bool) { heard.push_back("reader"); });
    v1::ListWorkersRequest workers;
    workers.set_parent("platforms/-");
    workers.set_job(job_);
    world_->ListWorkers(workers, [&](const auto&) { heard.push_back("workers"); });
    v1::PlanJobRequest plan;
    plan.set_job(job_);
    world_->PlanJob(plan, [&](const auto&) { heard.push_back("plan"); });
    v1::WorkRequest lease;
    CoordinatorWorld::AddLease(lease, 1, "ann");
    lease.mutable_leases(0)->set_only_job(job_);
    world_->OnWork(session_, lease);
  });
  for (int i = 0; i < 5; ++i) world_.Turn();
  EXPECT_THAT(heard, IsEmpty());
  EXPECT_FALSE(waiting->has_value());
  EXPECT_THAT(sink_.all.rejected(), IsEmpty());
  world_.Settle();
  EXPECT_THAT(heard,
              ::testing::UnorderedElementsAre("deletion", "watcher", "reader", "workers", "plan"));
  ASSERT_TRUE(waiting->has_value());
  EXPECT_THAT((*waiting)->status, StatusIs(StatusCode::kNotFound));
  ASSERT_THAT(sink_.all.rejected(), SizeIs(1));
  EXPECT_EQ(sink_.all.rejected(0).reason(), "JOB_NOT_FOUND");
}

TEST_F(WaitsTest, ResultsComeAsRevisionsAndGoOnFromATokenAcrossARestart) {
  ASSERT_THAT(world_.Add(job_, 0, 6), IsOk());
  Answer("ann", 2);
  const auto first = WaitResults("", false);
  ASSERT_TRUE(first->has_value());
  ASSERT_THAT((*first)->response, IsOk());
  ASSERT_THAT((*first)->response->results(), SizeIs(2));
  EXPECT_EQ((*first)->response->results(0).item_key(), "item0");
  EXPECT_EQ((*first)->response->results(0).finality(), v1::FINALITY_PROVISIONAL);
  EXPECT_TRUE((*first)->response->at_end());
  EXPECT_TRUE((*first)->ended);

  world_.Restart();
  sink_ = RecordingSink();
  session_ = world_.Connect(sink_);
  sink_.Take();
  const auto second = WaitResults((*first)->response->resume_token(), true);
  EXPECT_FALSE(second->has_value());
  Answer("bob", 1);
  ASSERT_TRUE(second->has_value());
  ASSERT_THAT((*second)->response->results(), SizeIs(1));
  EXPECT_EQ((*second)->response->results(0).item_key(), "item2");
  EXPECT_FALSE((*second)->ended);
}

// Where there is nothing to show, and after a message that was exactly full, too.
TEST_F(WaitsTest, WhoComesToTheEndIsToldSoOnce) {
  const auto told = [&](const std::shared_ptr<std::optional<Results>>& reply) {
    return reply->has_value() && (*reply)->response.ok() && (*reply)->response->at_end() &&
           (*reply)->response->results().empty() && !(*reply)->ended;
  };
  const auto empty = WaitResults("", true, /*told_end=*/false);
  ASSERT_TRUE(told(empty));
  const std::string begin = (*empty)->response->resume_token();
  EXPECT_FALSE(WaitResults(begin, true)->has_value());

  for (int i = 0; i < 10; ++i) ASSERT_THAT(world_.Add(job_, i * 100, 100), IsOk());
  for (int i = 0; i < 100; ++i) Answer(absl::StrCat("w", i), 10);
  const auto full = WaitResults(begin, true);
  ASSERT_TRUE(full->has_value());
  ASSERT_THAT((*full)->response->results(), SizeIs(1000));
  ASSERT_FALSE((*full)->response->at_end()) << "a full message does not know what follows";
  const std::string token = (*full)->response->resume_token();
  EXPECT_TRUE(told(WaitResults(token, true, /*told_end=*/false)));
  const auto without = WaitResults(token, false, /*told_end=*/false);
  ASSERT_TRUE(without->has_value());
  EXPECT_TRUE((*without)->response->at_end());
  EXPECT_TRUE((*without)->ended);
}

TEST_F(WaitsTest, TheEndOfAJobBringsWhatWasNeverAnswered) {
  ASSERT_THAT(world_.Add(job_, 0, 5), IsOk());
  Answer("ann", 2);
  const auto first = WaitResults("", true);
  const auto second = WaitResults((*first)->response->resume_token(), true);
  EXPECT_FALSE(second->has_value());
  Finalise();
  ASSERT_TRUE(second->has_value());
  std::map<std::string, v1::ItemState> rest;
  for (const v1::Result& result : (*second)->response->results()) {
    EXPECT_EQ(result.finality(), v1::FINALITY_FINAL);
    EXPECT_EQ(result.stop_reason(), v1::STOP_REASON_FINALISED);
    rest[result.item_key()] = result.state();
  }
  EXPECT_THAT(rest, ElementsAre(::testing::Pair("item2", v1::ITEM_STATE_UNRESOLVED),
                                ::testing::Pair("item3", v1::ITEM_STATE_UNRESOLVED),
                                ::testing::Pair("item4", v1::ITEM_STATE_UNRESOLVED)));
  EXPECT_TRUE((*second)->ended);
  // Who begins after the end gets each item once, and who has all gets nothing.
  const auto whole = WaitResults("", true);
  EXPECT_THAT((*whole)->response->results(), SizeIs(5));
  EXPECT_TRUE((*whole)->ended);
  const auto nothing = WaitResults((*whole)->response->resume_token(), true);
  ASSERT_TRUE(nothing->has_value());
  EXPECT_THAT((*nothing)->response->results(), IsEmpty());
  EXPECT_TRUE((*nothing)->ended);
}

// Its last revision is where it was opened again, and the end makes no other of it: of two results with
// one revision the FINAL one is the newer, and it comes last.
TEST_F(WaitsTest, AnItemThatWasOpenedAgainEndsUnderTheSameRevision) {
  ASSERT_THAT(world_.Add(job_, 0, 1), IsOk());
  v1::WorkRequest lease;
  CoordinatorWorld::AddLease(lease, 1, "ann");
  world_.Send(session_, lease);
  const v1::Assigned assigned = sink_.Take().assigned(0);
  v1::WorkRequest submit;
  CoordinatorWorld::AddSubmit(submit, assigned);
  world_.Send(session_, submit);
  v1::ReviewAnswersRequest reject;
  reject.set_job(job_);
  v1::Review& review = *reject.add_reviews();
  review.set_assignment(assigned.assignment());
  review.set_item_key("item0");
  review.set_decision(v1::REVIEW_DECISION_REJECT);
  review.set_reason("wrong");
  ASSERT_THAT(world_.Call(&Coordinator::ReviewAnswers, reject), IsOk());

  const auto opened = WaitResults("", true);
  ASSERT_TRUE(opened->has_value());
  ASSERT_THAT((*opened)->response->results(), SizeIs(1));
  const v1::Result& before = (*opened)->response->results(0);
  EXPECT_EQ(before.state(), v1::ITEM_STATE_IN_PROGRESS);
  EXPECT_EQ(before.finality(), v1::FINALITY_PROVISIONAL);
  const auto end = WaitResults((*opened)->response->resume_token(), true);
  Finalise();
  ASSERT_TRUE(end->has_value());
  ASSERT_THAT((*end)->response->results(), SizeIs(1));
  const v1::Result& after = (*end)->response->results(0);
  EXPECT_EQ(after.state(), v1::ITEM_STATE_UNRESOLVED);
  EXPECT_EQ(after.finality(), v1::FINALITY_FINAL);
  EXPECT_EQ(after.revision(), before.revision());
}

TEST_F(WaitsTest, ManyResultsComeInSeveralMessagesEachItemOnce) {
  for (int i = 0; i < 25; ++i) ASSERT_THAT(world_.Add(job_, i * 100, 100), IsOk());
  Finalise();
  std::map<std::string, int> seen;
  std::string token;
  bool ended = false;
  for (int messages = 0; messages < 10 && !ended; ++messages) {
    const auto next = WaitResults(token, true);
    ASSERT_TRUE(next->has_value());
    ASSERT_THAT((*next)->response, IsOk());
    EXPECT_LE((*next)->response->results_size(), 1000);
    for (const v1::Result& result : (*next)->response->results()) ++seen[result.item_key()];
    token = (*next)->response->resume_token();
    ended = (*next)->ended;
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(seen.size(), 2500);
  for (const auto& [key, times] : seen) EXPECT_EQ(times, 1) << key;
}

// A list of large entries comes in as many pages as it takes, each entry once.
TEST_F(WaitsTest, NoMessageOutgrowsItsLimit) {
  v1::CreateJobRequest create = CoordinatorWorld::JobRequest("long");
  create.mutable_job()->set_display_name(std::string(200, 'n'));
  for (int i = 0; i < 60; ++i) {
    (*create.mutable_job()->mutable_labels())[absl::StrCat("label", i)] = std::string(1000, 'l');
  }
  std::set<std::string> jobs;
  for (int i = 0; i < 70; ++i) {
    create.set_request_id(absl::StrCat("long", i));
    jobs.insert(world_.Create(create));
  }
  v1::ListJobsRequest list;
  list.set_parent("tenants/acme");
  list.set_page_size(1000);
  std::multiset<std::string> listed;
  int pages = 0;
  do {
    const auto page = world_.Call(&Coordinator::ListJobs, list);
    ASSERT_THAT(page, IsOk());
    EXPECT_LE(page->ByteSizeLong(), size_t{3 << 20});
    for (const v1::Job& job : page->jobs()) {
      if (job.name() != job_) listed.insert(job.name());
    }
    list.set_page_token(page->next_page_token());
    ++pages;
  } while (!list.page_token().empty());
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), jobs);
  EXPECT_EQ(listed.size(), jobs.size());
  EXPECT_EQ(pages, 2);
}

TEST_F(WaitsTest, ATokenThatWasMadeUpOrIsAnotherJobsIsRefused) {
  const std::string other = world_.Create(CoordinatorWorld::JobRequest("r2"));
  const auto mine = WaitResults("", false);
  const std::string token = (*mine)->response->resume_token();
  EXPECT_THAT((*WaitResults("nonsense", false))->response.status(),
              HasReason("RESUME_TOKEN_INVALID"));
  v1::StreamResultsRequest request;
  request.set_job(other);
  request.set_resume_token(token);
  std::optional<absl::Status> status;
  world_.Turn([&] {
    world_->WaitResults(request, false, [&](absl::StatusOr<v1::StreamResultsResponse> r, bool) {
      status = r.status();
    });
  });
  world_.Settle();
  ASSERT_TRUE(status.has_value());
  EXPECT_THAT(*status, StatusIs(StatusCode::kInvalidArgument));
}

// A job that is made with the request of one that was deleted has its name, and nothing else of it.
TEST_F(WaitsTest, TokensOfADeletedJobAreNotTheNextOnesOfItsName) {
  ASSERT_THAT(world_.Add(job_, 0, 4), IsOk());
  Answer("ann", 2);
  Answer("bob", 2);
  const auto items = [&](absl::string_view token) {
    v1::ListResultsRequest list;
    list.set_parent(job_);
    list.set_page_size(1);
    list.set_page_token(std::string(token));
    return world_.Call(&Coordinator::ListResults, list);
  };
  const auto workers = [&](absl::string_view token) {
    v1::ListWorkersRequest list;
    list.set_parent("platforms/-");
    list.set_job(job_);
    list.set_page_size(1);
    list.set_page_token(std::string(token));
    return world_.Call(&Coordinator::ListWorkers, list);
  };
  const auto early = WaitResults("", false);
  Finalise();
  world_.Pass(absl::Seconds(1));
  const auto late = WaitResults("", true);
  ASSERT_TRUE((*late)->ended);
  const std::string of_items = items("")->next_page_token();
  const std::string of_workers = workers("")->next_page_token();
  EXPECT_THAT(items(of_items), IsOk());
  EXPECT_THAT(workers(of_workers), IsOk());

  v1::DeleteJobRequest remove;
  remove.set_name(job_);
  ASSERT_THAT(world_.Call(&Coordinator::DeleteJob, remove), IsOk());
  ASSERT_EQ(world_.Create(CoordinatorWorld::JobRequest()), job_);
  ASSERT_THAT(world_.Add(job_, 0, 4), IsOk());
  for (const auto& of_old : {early, late}) {
    const auto resumed = WaitResults((*of_old)->response->resume_token(), true);
    ASSERT_TRUE(resumed->has_value());
    EXPECT_THAT((*resumed)->response.status(), HasReason("RESUME_TOKEN_INVALID"));
  }
  EXPECT_THAT(items(of_items).status(), HasReason("PAGE_TOKEN_INVALID"));
  EXPECT_THAT(workers(of_workers).status(), HasReason("PAGE_TOKEN_INVALID"));
}

}  // namespace
}  // namespace tessera::edge
