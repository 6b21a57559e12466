// Whatever breaks, and wherever: every answer that is wanted is given once.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/replay.h"
#include "tests/client/work_messages.h"
#include "tests/support/status_matchers.h"

namespace tessera::client {
namespace {

// A coordinator as far as a gateway sees it, with a network that loses, repeats and reorders.
class Desk {
 public:
  explicit Desk(uint32_t seed) : random_(seed) {}

  void Take(const v1::WorkRequest& request, int answers_max) {
    if (request.has_hello()) {
      demands_.clear();
      v1::WorkResponse response = WelcomeOf();
      for (const v1::Held& held : request.hello().held()) {
        v1::HeldState& state = *response.mutable_welcome()->add_held();
        state.set_assignment(held.assignment());
        const auto found = submitted_.find(held.assignment());
        state.set_status(found == submitted_.end() ? v1::HELD_STATUS_HELD
                                                   : v1::HELD_STATUS_COMMITTED);
        if (found == submitted_.end()) continue;
        for (const v1::ItemAnswer& answer : found->second.answers()) {
          state.add_accepted_item_keys(answer.item_key());
        }
      }
      out_ = {response};  // What was under way to the old stream is lost.
      for (const auto& [name, grant] : granted_) {
        bool named = false;
        for (const v1::Held& held : request.hello().held()) named |= held.assignment() == name;
        if (!named && !submitted_.contains(name)) out_.push_back(grant);
      }
    }
    for (const v1::Lease& lease : request.leases()) {
      EXPECT_TRUE(demands_.emplace(lease.worker(), lease).second) << "two demands";
    }
    for (const v1::Submit& submit : request.submits()) {
      EXPECT_TRUE(granted_.contains(submit.assignment()));
      if (submitted_.emplace(submit.assignment(), submit).second) {
        for (const v1::ItemAnswer& answer : submit.answers()) {
          ++answers_[answer.item_key()];
          EXPECT_TRUE(by_worker_.insert(answer.answer().fields(0).choice()).second) << "twice";
        }
      }
      out_.push_back(Commit(submit));
    }
    // Some of what is wanted is granted, now or later.
    for (auto it = demands_.begin(); it != demands_.end();) {
      if (random_() % 2 == 0) {
        ++it;
        continue;
      }
      std::vector<std::string> keys;
      for (const std::string& key : it->second.only_item_keys()) {
        if (answers_[key] < answers_max && keys.size() < 3 && random_() % 2 == 0) {
          keys.push_back(key);
        }
      }
      bool any = false;
      for (const std::string& key : it->second.only_item_keys()) any |= answers_[key] < answers_max;
      if (!any) {
        out_.push_back(Ended(it->second.demand_id(), v1::DEMAND_END_REASON_JOB_DONE));
        it = demands_.erase(it);
      } else if (!keys.empty()) {
        const std::string name = absl::StrCat("a", granted_.size());
        out_.push_back(Grant(it->second, name, keys));
        granted_.emplace(name, out_.back()).first->second.mutable_assigned(0)->set_demand_id(0);
        it = demands_.erase(it);
      } else {
        ++it;
      }
    }
  }

  std::vector<v1::WorkResponse> Out() { return std::exchange(out_, {}); }
  int64_t answers() const { return static_cast<int64_t>(by_worker_.size()); }

 private:
  std::mt19937 random_;
  std::map<std::string, v1::Lease> demands_;
  std::map<std::string, v1::WorkResponse> granted_;  // As sent again.
  std::map<std::string, v1::Submit> submitted_;
  std::map<std::string, int> answers_;
  std::set<std::string> by_worker_;  // Recorded answers are distinct over workers and items.
  std::vector<v1::WorkResponse> out_;
};

TEST(ReplayBreaksTest, UnderBreaksAndLostRepliesEveryWantedAnswerIsGivenOnce) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Desk desk(seed);
    absl::Time now = absl::FromUnixSeconds(1'000'000);
    Replay replay(MakeCrowd(6, 8), {.job = kJob, .seed = seed, .speed = 50}, now);
    desk.Take(replay.Connect(now), 4);
    int steps = 0;
    while (!replay.done() && ++steps < 10'000) {
      std::vector<v1::WorkResponse> responses = desk.Out();
      std::shuffle(responses.begin() + (responses.empty() || !responses[0].has_welcome() ? 0 : 1),
                   responses.end(), random);
      bool broke = false;
      for (const v1::WorkResponse& response : responses) {
        if (!response.has_welcome() && random() % 10 == 0) {
          broke = true;  // This one is lost, and so is what comes after it.
          break;
        }
        replay.Handle(response, now);
        if (random() % 10 == 0) replay.Handle(response, now);  // Twice.
      }
      if (broke) {
        desk.Take(replay.Connect(now), 4);
        continue;
      }
      v1::WorkRequest request;
      if (replay.Next(now, &request)) {
        desk.Take(request, 4);
      } else {
        desk.Take(v1::WorkRequest(), 4);
        now += absl::Milliseconds(random() % 100);
      }
    }
    EXPECT_TRUE(replay.done());
    EXPECT_EQ(replay.counts().answers_accepted, desk.answers());
    EXPECT_GE(desk.answers(), 8 * 4);
  }
}

}  // namespace
}  // namespace tessera::client
