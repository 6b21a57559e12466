// What is on its way to one place: calls, messages of streams, replies, alarms.
//
// A lane is a stream: what is put into it arrives in order, but where a fault is asked for one that
// may overtake arrives before the one in front of it. Lane 0 has no order at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <utility>

#include "absl/time/time.h"
#include "tests/simulation/random.h"

namespace tessera::simulation {

class Mail {
 public:
  struct Letter {
    uint64_t lane = 0;
    absl::Time due;
    bool may_overtake = false;
    std::function<void()> open;
  };

  void Put(Letter letter) { letters_.push_back(std::move(letter)); }

  // Opens one letter that is due, any of those that may come next. False if there is none.
  bool Deliver(absl::Time now, Random& random, int overtake_per_mille) {
    std::set<uint64_t> lanes;  // That have an earlier letter.
    size_t seen = 0;
    size_t chosen = letters_.size();
    for (size_t i = 0; i < letters_.size(); ++i) {
      const Letter& letter = letters_[i];
      const bool first = letter.lane == 0 || lanes.insert(letter.lane).second;
      const bool may = first || (letter.may_overtake && random.Chance(overtake_per_mille));
      if (!may || letter.due > now) continue;
      if (random.Below(++seen) == 0) chosen = i;
    }
    if (chosen == letters_.size()) return false;
    const std::function<void()> open = std::move(letters_[chosen].open);
    letters_.erase(letters_.begin() + static_cast<std::ptrdiff_t>(chosen));
    open();
    return true;
  }

  // A lane breaks: its first letters, by chance, still arrive; the others are lost.
  void Break(uint64_t lane, Random& random) {
    bool lost = false;
    std::erase_if(letters_, [&](const Letter& letter) {
      if (letter.lane != lane) return false;
      lost = lost || random.Chance(500);
      return lost;
    });
  }

 private:
  std::deque<Letter> letters_;
};

}  // namespace tessera::simulation
