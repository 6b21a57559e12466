// What a gateway may ask of one stream: Welcome tells it, and the service refuses what is beyond.
// And what all streams may ask for together.
#pragma once

#include <cstdint>

namespace tessera::edge {

inline constexpr int32_t kWorkProtocolVersion = 1;

struct WorkLimits {
  int64_t request_bytes_max = 4 << 20;
  int32_t entries_max = 10'000;         // In a request, all kinds together.
  int32_t held_max = 10'000;            // Assignments that Hello names.
  int32_t credit_max = 1'000;           // Of one demand.
  int32_t unanswered_max = 100'000;     // Entries.
  int32_t demands_max = 100'000;        // That stand.
  int64_t demand_bytes_max = 64 << 20;  // Of what those name: keys, skills, languages.
  // Of all streams' demands, of which those of one platform take at most a quarter, where platforms
  // are told apart. Welcome does not tell it.
  int64_t demand_memory_bytes_max = 1 << 30;
  static constexpr int64_t kPlatformShare = 4;
};

}  // namespace tessera::edge
