// At stake: nobody can take all places, and a place that is given back is free.
#include "coordinator/service/places.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/service/room.h"
#include "coordinator/service/service_context.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::service {
namespace {

using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;
using Taken = std::vector<Places::Place>;

// Takes until it is refused; how often it was not.
int TakeAll(Places& places, absl::string_view caller, bool from_reserve, Taken& taken) {
  for (int count = 0;; ++count) {
    absl::StatusOr<Places::Place> place = places.Take(caller, from_reserve);
    if (!place.ok()) {
      EXPECT_THAT(place.status(), StatusIs(absl::StatusCode::kResourceExhausted));
      EXPECT_THAT(place.status(), HasReason("STREAM_LIMIT"));
      return count;
    }
    taken.push_back(*std::move(place));
  }
}

TEST(PlacesTest, OneCallerHasItsShareAndAllTogetherLeaveTheReserve) {
  Places places(
      {.max = 10, .caller_max = 4, .reserve = 3, .reason = v1::STREAM_LIMIT, .what = "streams"});
  Taken taken;
  EXPECT_EQ(TakeAll(places, "a", false, taken), 4);
  EXPECT_EQ(TakeAll(places, "b", false, taken), 3);
  EXPECT_EQ(TakeAll(places, "c", false, taken), 0);
  EXPECT_EQ(TakeAll(places, "gate", true, taken), 3);
  EXPECT_EQ(places.taken(), 10);
  EXPECT_EQ(TakeAll(places, "other gate", true, taken), 0);
}

TEST(PlacesTest, APlaceThatGoesIsFreeOnceHoweverItWasMoved) {
  Places places({.max = 2, .caller_max = 1, .reason = v1::STREAM_LIMIT, .what = "streams"});
  {
    absl::StatusOr<Places::Place> first = places.Take("a", false);
    ASSERT_THAT(first.status(), IsOk());
    Places::Place moved = *std::move(first);
    absl::StatusOr<Places::Place> second = places.Take("b", false);
    ASSERT_THAT(second.status(), IsOk());
    moved = *std::move(second);
    EXPECT_EQ(places.taken(), 2);
  }
  EXPECT_EQ(places.taken(), 0);
  Taken taken;
  EXPECT_EQ(TakeAll(places, "a", false, taken), 1);
}

TEST(RoomTest, OneCallerHasItsShareAndWhatIsGivenBackIsThereAgain) {
  Room room(10, 4);
  auto a = std::make_unique<Room::Holding>(&room, "a");
  Room::Holding more_of_a(&room, "a");
  Room::Holding b(&room, "b");
  Room::Holding c(&room, "c");
  EXPECT_TRUE(a->Resize(3));
  EXPECT_FALSE(a->Resize(5));
  EXPECT_FALSE(more_of_a.Resize(2));
  EXPECT_TRUE(a->Resize(4));
  EXPECT_TRUE(b.Resize(4));
  EXPECT_FALSE(c.Resize(3)) << "more than is left of all";
  EXPECT_EQ(room.Left("c"), 2);
  EXPECT_TRUE(c.Resize(2));
  EXPECT_EQ(room.Left("d"), 0);
  a.reset();
  EXPECT_EQ(room.Left("a"), 4);
  EXPECT_TRUE(c.Resize(4));
  EXPECT_TRUE(more_of_a.Resize(2));
  EXPECT_FALSE(more_of_a.Resize(3));
  EXPECT_TRUE(c.Resize(1));
  EXPECT_TRUE(more_of_a.Resize(3));
}

class NoExecutor final : public Executor {
 public:
  void Post(Task) override {}
};

TEST(PlacesTest, CallsAndStreamsAreSharedOutWhereCallersAreToldApart) {
  const testing::TempDir folder;
  const std::string file = folder.Join("tokens");
  std::ofstream(file) << absl::StrCat("sha256:", std::string(64, '1'), " operator *\n");
  const auto tokens = Credentials::FromFile(file);
  ASSERT_THAT(tokens.status(), IsOk());
  const auto open = Credentials::Open();
  NoExecutor executor;
  const ServiceLimits limits{.calls_max = 8, .streams_max = 8};
  const Principal acme{.roles = {Role::kRequester}, .tenant = "acme"};
  const Principal web{.roles = {Role::kGateway}, .platform = "web"};

  ServiceContext shared(&executor, tokens->get(), limits);
  Taken taken;
  for (int i = 0; i < 2; ++i) {
    taken.push_back(shared.TakeCall(acme).value());
    taken.push_back(shared.TakeStream(acme).value());
    taken.push_back(shared.TakeWorkStream(web).value());
  }
  EXPECT_THAT(shared.TakeCall(acme).status(), HasReason("RATE_LIMITED"));
  EXPECT_THAT(shared.TakeStream(acme).status(), HasReason("STREAM_LIMIT"));
  EXPECT_THAT(shared.TakeWorkStream(web).status(), HasReason("STREAM_LIMIT"));
  EXPECT_THAT(shared.TakeCall(web).status(), IsOk());
  taken.clear();
  EXPECT_TRUE(shared.idle());
  // A reply that is being written has its call's place, and is no call in progress.
  taken.push_back(shared.TakeCall(acme).value());
  EXPECT_FALSE(shared.idle());
  shared.ReplyBegins();
  EXPECT_TRUE(shared.idle());
  shared.ReplyEnds();
  taken.clear();

  ServiceContext alone(&executor, open.get(), limits);
  for (int i = 0; i < 8; ++i) {
    taken.push_back(alone.TakeCall(Principal::Anybody()).value());
    taken.push_back(alone.TakeStream(Principal::Anybody()).value());
  }
  EXPECT_THAT(alone.TakeCall(Principal::Anybody()).status(), HasReason("RATE_LIMITED"));
  EXPECT_THAT(alone.TakeWorkStream(Principal::Anybody()).status(), HasReason("STREAM_LIMIT"));
  taken.clear();
}

}  // namespace
}  // namespace tessera::service
