// The table of items: what was put in comes out, however it is held, and in the fewest bytes.
#include "coordinator/core/items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "coordinator/core/leases.h"
#include "coordinator/core/ready_queue.h"
#include "coordinator/core/revision_log.h"

namespace tessera::core {
namespace {

ItemEntry Entry(uint32_t worker, uint32_t sequence, ItemEntry::Status status = ItemEntry::kLeased) {
  ItemEntry e;
  e.worker = WorkerIndex(worker);
  e.sequence = sequence;
  e.price = PackPrice(1000);
  e.status = status;
  return e;
}

ItemOutcome Resolved(ItemIndex item, uint32_t revision) {
  return {.item = item,
          .before = ItemState::kInProgress,
          .after = ItemState::kResolved,
          .value = 1,
          .confidence = 0.97f,
          .fit = 2,
          .revision = revision};
}

TEST(ItemTableTest, AResolvedItemIsPackedAndComesBackUnchanged) {
  ItemTable items;
  items.Grow(10);
  items.AddEntry(3, Entry(7, 1));
  items.AddEntry(3, Entry(8, 2));
  EXPECT_TRUE(items.OpenSlot(3).has_value());
  for (const uint32_t s : {1u, 2u}) {
    items.MutableEntry(3, s)->status = ItemEntry::kAnswered;
    items.MutableEntry(3, s)->label = 1;
  }
  items.SetOutcome(Resolved(3, 1));
  const std::vector<ItemEntry> before(items.Get(3).entries.begin(), items.Get(3).entries.end());
  items.PackIfDone(3);
  EXPECT_FALSE(items.OpenSlot(3).has_value());
  EXPECT_EQ(items.State(3), ItemState::kResolved);
  const ItemRecord after = items.Get(3);
  EXPECT_EQ(after.value, 1);
  EXPECT_EQ(after.confidence, 0.97f);
  EXPECT_EQ(std::vector<ItemEntry>(after.entries.begin(), after.entries.end()), before);
}

TEST(ItemTableTest, AnItemWithALiveLeaseIsNotPacked) {
  ItemTable items;
  items.Grow(1);
  items.AddEntry(0, Entry(7, 1, ItemEntry::kMissed));
  items.SetOutcome(Resolved(0, 1));
  items.PackIfDone(0);
  EXPECT_TRUE(items.OpenSlot(0).has_value());
}

TEST(ItemTableTest, APagesBytesDoNotDependOnHowItsItemsAreHeld) {
  ItemTable packed;
  ItemTable open;
  for (ItemTable* items : {&packed, &open}) {
    items->Grow(300);
    items->AddEntry(299, Entry(1, 9, ItemEntry::kAnswered));
    items->SetOutcome(Resolved(299, 4));
  }
  packed.PackIfDone(299);
  ASSERT_NE(packed.OpenSlot(299).has_value(), open.OpenSlot(299).has_value());
  EXPECT_EQ(packed.EncodePage(1), open.EncodePage(1));
  ItemTable loaded;
  ASSERT_TRUE(loaded.LoadPage(1, open.EncodePage(1)));
  EXPECT_EQ(loaded.EncodePage(1), open.EncodePage(1));
  EXPECT_THAT(loaded.RevisedAfter(0, 10), ::testing::ElementsAre(299));
}

TEST(ItemTableTest, PackedPagesSurviveManyRewrites) {
  std::mt19937 random(1);
  ItemTable items;
  items.Grow(kItemsPerPage);
  std::vector<uint32_t> answers(kItemsPerPage, 0);
  uint32_t revision = 0;
  for (uint32_t sequence = 0; sequence < 5000; ++sequence) {
    const ItemIndex i = random() % kItemsPerPage;
    items.AddEntry(i, Entry(sequence, sequence, ItemEntry::kAnswered));
    items.SetOutcome(Resolved(i, ++revision));
    items.PackIfDone(i);
    ++answers[i];
  }
  for (ItemIndex i = 0; i < kItemsPerPage; ++i) EXPECT_EQ(items.Get(i).entries.size(), answers[i]);
  EXPECT_LT(items.MemoryUsed().packed_bytes, 5000 * 20 + 10'000);
}

TEST(ItemTableTest, NoBytesBreakLoadPage) {
  ItemTable items;
  items.Grow(50);
  for (uint32_t i = 0; i < 50; i += 2) items.AddEntry(i, Entry(i, i));
  items.SetTraits(4, {.length = 3, .stratum = 1, .importance = 2, .gold = 1});
  const std::string good = items.EncodePage(0);
  std::mt19937 random(5);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good.substr(0, random() % (good.size() + 1));
    for (int flips = random() % 4; flips > 0 && !bad.empty(); --flips)
      bad[random() % bad.size()] ^= 1 << (random() % 8);
    ItemTable fresh;
    if (!fresh.LoadPage(0, bad)) ++refused;
    EXPECT_LE(fresh.size(), kItemsPerPage);
  }
  EXPECT_GT(refused, 1000);
}

TEST(ItemTableTest, APageThatIsLoadedAgainLeavesNothingOfTheOldOne) {
  ItemTable items;
  items.Grow(2);
  const std::string untouched = items.EncodePage(0);
  for (ItemIndex i : {0u, 1u}) {
    items.AddEntry(i, Entry(1, i, ItemEntry::kAnswered));
    items.SetOutcome(Resolved(i, i + 1));
  }
  items.PackIfDone(0);
  ASSERT_TRUE(items.LoadPage(0, untouched));
  for (ItemIndex i : {0u, 1u}) EXPECT_EQ(items.State(i), ItemState::kWaiting);
  EXPECT_THAT(items.RevisedAfter(0, 10), ::testing::IsEmpty());
  EXPECT_EQ(items.EncodePage(0), untouched);
}

// Against the plain thing: every revision in a map.
TEST(RevisionLogTest, KnowsTheLatestRevisionOfEachItemAndOnlyThat) {
  std::mt19937 random(3);
  RevisionLog log;
  std::map<uint32_t, ItemIndex> by_revision;
  std::map<ItemIndex, uint32_t> latest;
  for (uint32_t revision = 1; revision <= 20'000; ++revision) {
    const ItemIndex item = random() % 700;
    uint32_t& of_item = latest[item];
    log.Add(revision, item, of_item);
    by_revision.erase(of_item);
    of_item = revision;
    by_revision[revision] = item;
    if (random() % 16 == 0) {
      const ItemIndex dropped = random() % 700;
      log.Drop(latest[dropped]);
      by_revision.erase(latest[dropped]);
      latest[dropped] = 0;
    }
    if (revision % 500 != 0) continue;
    const uint32_t after = random() % (revision + 300);
    const size_t max = random() % 900;
    std::vector<ItemIndex> expected;
    for (auto r = by_revision.upper_bound(after); r != by_revision.end() && expected.size() < max;
         ++r) {
      expected.push_back(r->second);
    }
    EXPECT_EQ(log.After(after, max), expected) << "after " << after << ", at most " << max;
  }
}

TEST(RevisionLogTest, TakesRevisionsInAnyOrder) {
  std::vector<uint32_t> revisions(2000);
  std::iota(revisions.begin(), revisions.end(), 1);
  std::shuffle(revisions.begin(), revisions.end(), std::mt19937(4));
  RevisionLog log;
  for (const uint32_t r : revisions) log.Add(r, 10'000 + r, 0);
  const std::vector<ItemIndex> all = log.After(0, 5000);
  ASSERT_EQ(all.size(), revisions.size());
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(all.front(), 10'001);
}

TEST(RevisionLogTest, GrowsWithTheItemsNotWithTheirRevisions) {
  constexpr uint32_t kItems = 10'000;
  std::mt19937 random(5);
  RevisionLog log;
  std::vector<uint32_t> latest(kItems, 0);
  uint32_t revision = 0;
  for (ItemIndex i = 0; i < kItems; ++i) {
    log.Add(++revision, i, 0);
    latest[i] = revision;
  }
  EXPECT_LT(log.bytes(), 5 * kItems);
  for (int n = 0; n < 30 * static_cast<int>(kItems); ++n) {
    const ItemIndex item = random() % kItems;
    log.Add(++revision, item, latest[item]);
    latest[item] = revision;
  }
  EXPECT_LT(log.bytes(), 20 * kItems);  // 1.2 million bytes if none were forgotten.
}

TEST(LeaseTableTest, AssignmentsToOneGatewayShareItsNameAndForgottenOnesGo) {
  LeaseTable leases;
  const auto a = leases.Share({.pool = "default", .gateway = "g1"});
  EXPECT_EQ(leases.Share({.pool = "default", .gateway = "g1"}), a);
  EXPECT_NE(leases.Share({.pool = "default", .gateway = "g2"}), a);
  const std::weak_ptr<const Route> gone = leases.Share({.pool = "experts", .gateway = "g1"});
  EXPECT_TRUE(gone.expired());
  for (int i = 0; i < 1000; ++i) leases.Share({.pool = "p", .gateway = std::to_string(i)});
  EXPECT_EQ(leases.Share({.pool = "default", .gateway = "g1"}), a);
}

TEST(ReadyQueueTest, EverythingIsReachedBySlotAPartAtATime) {
  ReadyQueue queue;
  for (const uint32_t slot : {2u, 700u, 3u, 5'000u, 0u}) {
    queue.Insert(slot, /*item=*/slot + 10, ReadyQueue::BucketOf(slot / 5'000.0));
  }
  EXPECT_TRUE(queue.Holds(700));
  queue.Remove(700);
  EXPECT_FALSE(queue.Holds(700));
  std::vector<ItemIndex> seen;
  uint32_t from = 0;
  for (int part = 0; part < 2; ++part) {
    size_t left = 2;
    from = queue.ForEachFromSlot(from, [&](ItemIndex item) {
      seen.push_back(item);
      return --left > 0;
    });
    EXPECT_NE(from, 0u);
  }
  EXPECT_THAT(seen, ::testing::ElementsAre(10, 12, 13, 5'010));
  EXPECT_EQ(queue.ForEachFromSlot(from, [](ItemIndex) { return true; }), 0u);
}

TEST(ReadyQueueTest, TheBestBucketComesFirstAndWithinItTheOldest) {
  ReadyQueue queue;
  queue.Insert(0, 10, ReadyQueue::BucketOf(0.1));
  queue.Insert(1, 11, ReadyQueue::BucketOf(0.9));
  queue.Insert(2, 12, ReadyQueue::BucketOf(0.9));
  queue.Insert(5, 13, ReadyQueue::BucketOf(1.0));
  std::vector<ItemIndex> order;
  queue.ForEach([&](ItemIndex i) {
    order.push_back(i);
    return true;
  });
  EXPECT_THAT(order, ::testing::ElementsAre(13, 11, 12, 10));
  queue.Remove(1);
  queue.Remove(1);
  queue.Remove(99);
  EXPECT_EQ(queue.size(), 3);
}

}  // namespace
}  // namespace tessera::core
