// A journal that does not belong to the state it is folded into, or has a hole, is refused: an
// event that cannot follow is DATA_LOSS, and makes no table larger than the job is.
#include <gtest/gtest.h>

#include <string>

#include "coordinator/core/fold.h"
#include "tests/coordinator/core/partition_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::core {
namespace {

using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;

const JobIndex kJob(0);
const WorkerIndex kAnn(0);
const AssignmentId kFirst{kJob, 0};

ItemEnd Answered(ItemIndex item) {
  return {.disposition = Disposition::kAnswered,
          .label = 1,
          .outcome = {.item = item,
                      .before = ItemState::kInProgress,
                      .after = ItemState::kInProgress,
                      .value = 1,
                      .confidence = 0.7f}};
}

Granted GrantOf(uint32_t sequence, WorkerIndex worker, ItemIndex item,
                ItemState before = ItemState::kWaiting) {
  return {.assignment = {kJob, sequence},
          .worker = worker,
          .price_micros = 1000,
          .at = kStart,
          .deadline = kStart + absl::Minutes(5),
          .late_until = kStart + absl::Minutes(10),
          .items = {{item, before}}};
}

ItemsEnded EndOf(AssignmentId assignment, WorkerIndex worker, std::vector<ItemEnd> items,
                 bool over) {
  return {.assignment = assignment,
          .worker = worker,
          .price_micros = 1000,
          .at = kStart,
          .over = over,
          .items = std::move(items)};
}

// One worker, one job of two classes and three items, and item 0 leased to the worker.
class FoldBrokenTest : public ::testing::Test {
 protected:
  FoldBrokenTest() {
    const CreateJob create = PartitionWorld::TwoClasses("a");
    Fold(OwnerStarted{.nonce = 1, .at = kStart});
    Fold(WorkerSeen{.worker = kAnn, .name = "platforms/p/workers/ann"});
    Fold(JobCreated{
        .job = kJob, .identity = create.identity, .policy = create.policy, .at = kStart});
    Fold(ItemsAdded{.job = kJob, .first = 0, .count = 3, .committed_offset = 3, .at = kStart});
    Fold(GrantOf(0, kAnn, 0));
  }

  absl::Status Apply(const Event& event) {
    id_ = id_.Next();
    const absl::Status status = state_.Apply(id_, event);
    state_.CloseRecord();
    return status;
  }
  void Fold(const Event& event) { ASSERT_THAT(Apply(event), IsOk()); }
  void ExpectBroken(const Event& event) {
    EXPECT_THAT(Apply(event), StatusIs(absl::StatusCode::kDataLoss)) << EventToJson(event);
  }

  PartitionState state_;
  RecordId id_{1, 0};
};

TEST_F(FoldBrokenTest, AJournalThatBeginsInTheMiddle) {
  PartitionState empty;
  EXPECT_THAT(empty.Apply({5, 7}, Ticked{.at = kStart}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(
      empty.Apply({5, 7}, OwnerStarted{.nonce = 1, .at = kStart, .outage = absl::Seconds(1)}),
      StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(empty.Apply({5, 7}, OwnerStarted{.nonce = 1, .at = kStart}), IsOk());
}

TEST_F(FoldBrokenTest, AJobThatNeverWas) {
  const JobIndex never(7);
  ExpectBroken(JobUpdated{.job = never});
  ExpectBroken(ItemsAdded{.job = never, .count = 1});
  ExpectBroken(JobSealed{.job = never});
  ExpectBroken(JobPhaseChanged{.job = never});
  ExpectBroken(JobEnded{.job = never});
  ExpectBroken(JobDeleted{.job = never});
  ExpectBroken(Granted{.assignment = {never, 0}, .worker = kAnn});
  ExpectBroken(Drafted{.assignment = {never, 0}});
  ExpectBroken(ItemsEnded{.assignment = {never, 0}, .worker = kAnn});
  ExpectBroken(Extended{.assignment = {never, 0}});
  ExpectBroken(AnswerReviewed{.assignment = {never, 0}, .worker = kAnn});
  ExpectBroken(BonusPaid{.job = never, .worker = kAnn});
  ExpectBroken(FitApplied{.job = never});
  ExpectBroken(PageRefitted{.job = never});
}

TEST_F(FoldBrokenTest, OfAJobThatWasDeletedMoreMayBeReadAndChangesNothing) {
  Fold(JobEnded{.job = kJob, .phase = JobPhase::kCancelled, .at = kStart});
  Fold(JobDeleted{.job = kJob});
  const auto before = ObjectsOf(state_);
  Fold(JobSealed{.job = kJob});
  Fold(GrantOf(1, kAnn, 2));
  Fold(EndOf(kFirst, kAnn, {Answered(0)}, true));
  Fold(JobDeleted{.job = kJob});
  EXPECT_EQ(ObjectsOf(state_), before);
}

TEST_F(FoldBrokenTest, ATableIsNotGrownByAnItemThatWasNotAdded) {
  ExpectBroken(GrantOf(1, kAnn, 3));
  ExpectBroken(GrantOf(1, kAnn, 4'000'000'000));
  ExpectBroken(EndOf(kFirst, kAnn, {Answered(3)}, true));
  ExpectBroken(AnswerReviewed{.assignment = kFirst, .worker = kAnn, .outcome = {.item = 3}});
  ExpectBroken(PageRefitted{.job = kJob, .page = 0, .outcomes = {{.item = 3}}});
  ExpectBroken(PageRefitted{.job = kJob, .page = 9'000'000, .outcomes = {{.item = 0}}});
  EXPECT_EQ(state_.job(kJob)->items.size(), 3u);
}

TEST_F(FoldBrokenTest, AWorkerWhomNobodyHasSeen) {
  const WorkerIndex bob(1);
  ExpectBroken(WorkerUpdated{.worker = bob});
  ExpectBroken(WorkerSeen{.worker = WorkerIndex(4'000'000'000), .name = "platforms/p/workers/x"});
  ExpectBroken(GrantOf(1, bob, 1));
  ExpectBroken(EndOf(kFirst, bob, {Answered(0)}, true));
  ExpectBroken(AnswerReviewed{.assignment = kFirst, .worker = bob});
  ExpectBroken(BonusPaid{.job = kJob, .worker = bob});
  EXPECT_EQ(state_.workers(), 1u);
}

TEST_F(FoldBrokenTest, AJobThatIsSkippedOrCreatedTwice) {
  const CreateJob create = PartitionWorld::TwoClasses("b");
  ExpectBroken(JobCreated{.job = JobIndex(2), .identity = create.identity});
  ExpectBroken(JobCreated{.job = kJob, .identity = create.identity});
}

TEST_F(FoldBrokenTest, ItemsThatAreNotTheNext) {
  ExpectBroken(ItemsAdded{.job = kJob, .first = 4, .count = 1});
  ExpectBroken(ItemsAdded{.job = kJob, .first = 2, .count = 1});
  ExpectBroken(ItemsAdded{.job = kJob, .first = 3, .count = 2, .traits = {ItemTraits()}});
}

TEST_F(FoldBrokenTest, AnAssignmentThatIsNotTheNext) {
  ExpectBroken(GrantOf(2, kAnn, 1));
  ExpectBroken(GrantOf(0, kAnn, 1));
}

TEST_F(FoldBrokenTest, AnEndOfWhatWasNeverLeased) {
  ExpectBroken(EndOf({kJob, 5}, kAnn, {Answered(1)}, true));  // No such assignment.
}

TEST_F(FoldBrokenTest, AnEndOfAnItemOfAnotherAssignment) {
  Fold(GrantOf(1, kAnn, 1));
  ExpectBroken(EndOf(kFirst, kAnn, {Answered(1)}, false));
}

TEST_F(FoldBrokenTest, ADraftOfAnItemOfAnotherAssignment) {
  ExpectBroken(Drafted{.assignment = kFirst, .item = 2, .edit = 1, .label = 1});
}

TEST_F(FoldBrokenTest, MoreAssignmentsEndThanWereOpen) {
  Fold(EndOf(kFirst, kAnn, {Answered(0)}, true));
  ExpectBroken(EndOf(kFirst, kAnn, {}, true));
}

TEST_F(FoldBrokenTest, AnItemLeavesAStateThatNoItemIsIn) {
  Fold(GrantOf(1, kAnn, 1));
  Fold(GrantOf(2, kAnn, 2));
  ExpectBroken(GrantOf(3, kAnn, 2));  // None waits any more.
  ItemEnd end = Answered(0);
  end.outcome.before = ItemState::kUnresolved;
  end.outcome.after = ItemState::kResolved;
  ExpectBroken(EndOf(kFirst, kAnn, {end}, true));
}

TEST_F(FoldBrokenTest, MoreMoneyIsTakenThanIsThere) {
  ItemsEnded end = EndOf(kFirst, kAnn, {Answered(0)}, true);
  end.price_micros = 1001;
  ExpectBroken(end);
  ExpectBroken(AnswerReviewed{.assignment = kFirst, .worker = kAnn, .price_micros = 1});
}

TEST_F(FoldBrokenTest, AReviewOfAnAnswerThatIsNotThere) {
  ExpectBroken(AnswerReviewed{
      .assignment = {kJob, 3}, .worker = kAnn, .approved = true, .outcome = {.item = 0}});
}

TEST_F(FoldBrokenTest, AFitOfAnotherJobOrNotTheNext) {
  Fit fit = PriorFit(3);
  fit.number = 1;
  ExpectBroken(FitApplied{.job = kJob, .fit = fit});
  fit = PriorFit(2);
  fit.number = 2;
  ExpectBroken(FitApplied{.job = kJob, .fit = fit});
  fit.number = 1;
  fit.workers = {kAnn};
  ExpectBroken(FitApplied{.job = kJob, .fit = fit});  // With a worker, without their confusion.
}

}  // namespace
}  // namespace tessera::core
