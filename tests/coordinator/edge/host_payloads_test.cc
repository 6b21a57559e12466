// Items are found by their keys and read as they were sent, wherever they happen to be.

#include <string>
#include <vector>

#include "coordinator/core/archive.h"
#include "coordinator/edge/host.h"
#include "coordinator/edge/key_index.h"
#include "coordinator/edge/payload_pages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/edge/host_world.h"
#include "tests/support/status_matchers.h"

namespace tessera::edge {
namespace {

using core::ItemIndex;
using core::JobIndex;
using ::tessera::testing::IsOk;
using ::tessera::testing::StatusIs;

using Fault = FaultyStore::Fault;

TEST(KeyIndexTest, EveryKeyLeadsToItsItemInUnder30BytesEach) {
  KeyIndex index({1, 2});
  const JobIndex job(3);
  for (const uint32_t count : {1'000u, 50'000u, 100'000u, 200'000u}) {
    for (uint32_t i = index.size(job); i < count; ++i) {
      index.Add(job, absl::StrCat("key", i), absl::StrCat("payload", i % 7));
    }
    EXPECT_LE(index.bytes() / count, 30u) << count;
  }
  for (uint32_t i = 0; i < 200'000; ++i) {
    const auto found = index.Find(job, absl::StrCat("key", i));
    ASSERT_TRUE(found.has_value());
    ASSERT_EQ(found->item, i);
    ASSERT_EQ(found->payload_digest, index.PayloadDigest(absl::StrCat("payload", i % 7)));
  }
  EXPECT_FALSE(index.Find(job, "key200000").has_value());
  EXPECT_FALSE(index.Find(JobIndex(4), "key1").has_value());
  index.Forget(job);
  EXPECT_EQ(index.bytes(), 0u);
  EXPECT_FALSE(index.Find(job, "key1").has_value());
}

class HostPayloadsTest : public ::testing::Test {
 protected:
  HostPayloadsTest() { Open(HostOptions().payload_cache_bytes); }

  void Open(size_t cache_bytes) {
    owner_.reset();
    HostOptions options = world_.Options();
    options.payload_cache_bytes = cache_bytes;
    owner_ = world_.Open(options);
    ASSERT_THAT(world_.start_status(), IsOk());
    world_.WriteAll(*owner_);  // Nothing is on its way when a test begins.
  }

  HostWorld world_;
  std::unique_ptr<Owner> owner_;
};

TEST_F(HostPayloadsTest, PayloadsAreReadBeforeAndAfterTheyArePaged) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 300);
  world_.ExpectItems(*owner_, job, 300);
  world_.WriteAll(*owner_);
  EXPECT_EQ(world_.disk().objects().count("payload:0:4"), 1u);
  world_.ExpectItems(*owner_, job, 300);
}

TEST_F(HostPayloadsTest, APayloadIsNotShownBeforeItsItemIsCommitted) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 1);
  bool answered = false;
  (*owner_)->ReadPayloads(job, {0}, [&](auto payloads) {
    EXPECT_TRUE(payloads.ok());
    answered = true;
  });
  (*owner_)->Flush(world_.now());
  EXPECT_FALSE(answered);
  owner_->store().Deliver();
  EXPECT_TRUE(answered);
}

TEST_F(HostPayloadsTest, WithoutACacheTheStoreAnswers) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 300);
  world_.WriteAll(*owner_);
  EXPECT_EQ((*owner_)->status().payload_cache_bytes, 0u);
  world_.ExpectItems(*owner_, job, 300);
  EXPECT_EQ((*owner_)->status().payload_cache_bytes, 0u);
}

TEST_F(HostPayloadsTest, AJobThatGrowsAfterItLeftMemoryFetchesWhatItsLastPageHeld) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  uint32_t items = 0;
  for (const uint32_t count : {10u, 1u, 60u, 64u, 200u, 3u}) {
    world_.AddItems(*owner_, job, count);
    items += count;
    world_.ExpectItems(*owner_, job, items);  // Old ones from the store, new ones from memory.
    world_.WriteAll(*owner_);
    world_.ExpectItems(*owner_, job, items);
  }
}

TEST_F(HostPayloadsTest, ReadsOfOnePageShareOneFetch) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 64);
  world_.WriteAll(*owner_);
  ASSERT_EQ(owner_->store().pending(), 0u);
  int answers = 0;
  for (ItemIndex item = 0; item < 10; ++item) {
    (*owner_)->ReadPayloads(job, {item}, [&answers, job, item](auto payloads) {
      ASSERT_TRUE(payloads.ok());
      EXPECT_EQ(payloads->front().key, PayloadOf(job, item).key);
      ++answers;
    });
  }
  EXPECT_EQ(owner_->store().pending(), 1u);
  owner_->store().DeliverAll();
  EXPECT_EQ(answers, 10);
}

TEST_F(HostPayloadsTest, AFailedFetchIsTriedAgain) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 64);
  world_.WriteAll(*owner_);
  for (const Fault fault : {Fault::kLoseReply, Fault::kRefuse, Fault::kLoseRequest}) {
    owner_->store().FailNext(fault);
  }
  const auto payloads = world_.Read(*owner_, job, {5});
  ASSERT_THAT(payloads, IsOk());
  EXPECT_EQ(payloads->front().key, PayloadOf(job, 5).key);
  EXPECT_THAT((*owner_)->damage(), IsOk());
}

TEST_F(HostPayloadsTest, WhoWaitsForAnotherTryIsAnsweredAtTheEnd) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 64);
  world_.WriteAll(*owner_);
  std::optional<absl::Status> answer;
  owner_->store().FailNext(Fault::kRefuse);
  (*owner_)->ReadPayloads(job, {5}, [&](auto payloads) { answer = payloads.status(); });
  owner_->store().DeliverAll();
  ASSERT_FALSE(answer.has_value());
  owner_->DropHost();
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer, StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(HostPayloadsTest, AnItemThatTheStoreLostIsDataLoss) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 64);
  world_.WriteAll(*owner_);
  world_.disk().mutable_objects().erase("payload:0:0");
  EXPECT_THAT(world_.Read(*owner_, job, {5}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT((*owner_)->damage(), StatusIs(absl::StatusCode::kDataLoss));
}

// Nobody reads its older items, so it is the page's own fetch that finds out. The new ones must not
// be lost as well: they stay in the journal until an operator has put the page back.
TEST_F(HostPayloadsTest, APageThatGrowsAfterItWasLostIsSpokenOfAndWrittenOnceItIsBack) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  world_.WriteAll(*owner_);
  auto& objects = world_.disk().mutable_objects();
  const core::ObjectWrite page = objects.at("payload:0:0");
  objects.erase("payload:0:0");
  world_.AddItems(*owner_, job, 1);
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  const core::RecordId added = (*owner_)->status().head;
  world_.RunFor(*owner_, absl::Minutes(1));
  EXPECT_THAT((*owner_)->damage(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_LE((*owner_)->status().trimmed_below, added);
  EXPECT_EQ((*owner_)->status().dirty_objects, 1);

  objects["payload:0:0"] = page;
  world_.RunFor(*owner_, absl::Minutes(1));
  EXPECT_EQ((*owner_)->status().dirty_objects, 0);
  world_.ExpectItems(*owner_, job, 11);
  Open(0);
  world_.ExpectItems(*owner_, job, 11);
}

// One try is a call of the store: not a hundred in each second.
TEST_F(HostPayloadsTest, ALostPageIsAskedForSeldom) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  world_.WriteAll(*owner_);
  world_.disk().mutable_objects().erase("payload:0:0");
  world_.AddItems(*owner_, job, 1);
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  int calls = 0;
  for (const absl::Time end = world_.now() + absl::Minutes(1); world_.now() < end;) {
    const bool idle = owner_->store().pending() == 0;
    (*owner_)->Tick(world_.now());
    (*owner_)->Flush(world_.now());
    calls += idle && owner_->store().pending() > 0 ? 1 : 0;
    owner_->store().DeliverAll();
    world_.Pass(absl::Milliseconds(10));
  }
  EXPECT_GT(calls, 10);
  EXPECT_LT(calls, 200);
}

TEST_F(HostPayloadsTest, ADeletedJobLeavesNoPageBehind) {
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 300);
  ASSERT_THAT(owner_->partition().CancelJob(job, world_.now()), IsOk());
  world_.WriteAll(*owner_);
  ASSERT_THAT(owner_->partition().DeleteJob(job, world_.now()), IsOk());
  (*owner_)->ForgetJob(job);
  EXPECT_FALSE((*owner_)->FindKey(job, PayloadOf(job, 0).key).has_value());
  EXPECT_THAT(world_.Read(*owner_, job, {5}), StatusIs(absl::StatusCode::kNotFound));
  world_.WriteAll(*owner_);
  for (const auto& [key, write] : world_.disk().objects()) {
    EXPECT_THAT(key, ::testing::Not(::testing::HasSubstr("payload")));
  }
}

TEST_F(HostPayloadsTest, ItIsKnownWhatIsStored) {
  const auto stored = [&] {
    uint64_t bytes = 0;
    for (const auto& [key, write] : world_.disk().objects()) bytes += write.bytes.size();
    return bytes;
  };
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 300);
  world_.WriteAll(*owner_);
  EXPECT_GT(stored(), 300 * 20u);
  EXPECT_EQ((*owner_)->status().stored_bytes, stored());
  Open(0);
  EXPECT_EQ((*owner_)->status().stored_bytes, stored());
  ASSERT_THAT(owner_->partition().CancelJob(job, world_.now()), IsOk());
  ASSERT_THAT(owner_->partition().DeleteJob(job, world_.now()), IsOk());
  (*owner_)->ForgetJob(job);
  world_.WriteAll(*owner_);
  EXPECT_LT(stored(), 1000);
  EXPECT_EQ((*owner_)->status().stored_bytes, stored());
}

TEST_F(HostPayloadsTest, AReadThatADeletionEndsWaitsForTheDeletionsCommit) {
  Open(0);
  const JobIndex job = world_.CreateJob(*owner_, "a");
  world_.AddItems(*owner_, job, 10);
  ASSERT_THAT(owner_->partition().CancelJob(job, world_.now()), IsOk());
  world_.WriteAll(*owner_);
  ASSERT_EQ(owner_->store().pending(), 0u);
  std::optional<absl::Status> answer;
  (*owner_)->ReadPayloads(job, {5}, [&](auto payloads) { answer = payloads.status(); });
  ASSERT_THAT(owner_->partition().DeleteJob(job, world_.now()), IsOk());
  (*owner_)->ForgetJob(job);
  (*owner_)->Flush(world_.now());
  EXPECT_FALSE(answer.has_value());
  owner_->store().Deliver();  // What was read, which nobody wants any more.
  (*owner_)->Flush(world_.now());
  EXPECT_FALSE(answer.has_value());
  ASSERT_THAT(world_.Commit(*owner_), IsOk());
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer, StatusIs(absl::StatusCode::kNotFound));
}

// Nobody names the pages of a deleted job any more: what a crash leaves is erased by who comes
// next.
TEST_F(HostPayloadsTest, ADeletionSurvivesACrashAtAnyStepAndLeavesNoPageBehind) {
  for (int steps = 0; steps < 60; ++steps) {
    HostWorld world(static_cast<uint64_t>(steps) + 1);
    std::unique_ptr<Owner> owner = world.Open();
    const JobIndex job = world.CreateJob(*owner, "a");
    world.AddItems(*owner, job, 300);
    for (int w = 0; w < 3; ++w) {
      const auto lease =
          owner->partition().RequestLease(core::PartitionWorld::Ask(w), world.now()).value();
      core::Submit submit{.assignment = lease->assignment};
      for (const core::ItemIndex item : lease->items) submit.answers.push_back({item, "yes"});
      ASSERT_THAT(owner->partition().Submit(submit, world.now()), IsOk());
    }
    for (const core::FitWork& work : owner->partition().TakeFitWork()) {
      owner->partition().FitComputed(job, core::ComputeFit(work.votes, work.number, {}),
                                     world.now());
    }
    if (steps % 3 != 0) world.WriteAll(*owner);
    ASSERT_THAT(owner->partition().CancelJob(job, world.now()), IsOk());
    ASSERT_THAT(world.Commit(*owner), IsOk());
    if (steps % 3 == 1) world.WriteAll(*owner);
    ASSERT_THAT(owner->partition().DeleteJob(job, world.now()), IsOk());
    (*owner)->ForgetJob(job);
    ASSERT_THAT(world.Commit(*owner), IsOk());
    for (int i = 0; i < steps; ++i) world.Step(*owner);
    owner->Crash();
    while (world.disk().ArriveLate()) {
    }
    owner = world.Open();
    ASSERT_THAT(world.start_status(), IsOk()) << steps;
    world.WriteAll(*owner);
    std::vector<std::string> left;
    for (const auto& [key, write] : world.disk().objects()) left.push_back(key);
    ASSERT_THAT(left, ::testing::UnorderedElementsAre("job:0", "partition", "workers:0")) << steps;
    world.ExpectOneState(*owner, /*whole=*/false);
  }
}

}  // namespace
}  // namespace tessera::edge
