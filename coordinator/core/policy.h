// What a requester asks of a job: how it is split, how good it must be, what it may cost.
//
// Every field has been validated at the door (ranges are in proto/tessera/v1/job.proto); the core
// relies on them and checks with TESSERA_CHECK only what would corrupt its state.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/types.h"

namespace tessera::core {

struct QualityPolicy {
  double target_confidence = 0.95;  // An item is RESOLVED from here on.
  uint32_t answers_min = 2;         // Answers before confidence counts at all.
  uint32_t answers_max = 10;        // An item is RESOLVED at this many, however unsure.

  friend bool operator==(const QualityPolicy&, const QualityPolicy&) = default;
};
inline void Fields(auto& v, QualityPolicy& p) {
  v("target_confidence", p.target_confidence);
  v("answers_min", p.answers_min);
  v("answers_max", p.answers_max);
}

// The time a microtask of l units takes: startup + per_unit * l + fatigue * l^2 (seconds).
struct CostModel {
  double startup_seconds = 5;
  double seconds_per_unit = 10;
  double fatigue_seconds = 0.05;
};
inline void Fields(auto& v, CostModel& m) {
  v("startup_seconds", m.startup_seconds);
  v("seconds_per_unit", m.seconds_per_unit);
  v("fatigue_seconds", m.fatigue_seconds);
}

struct SplitPolicy {
  SplitStrategy strategy = SplitStrategy::kUniform;
  uint32_t items_min = 1;   // Items in a microtask, at least ...
  uint32_t items_max = 20;  // ... and at most.
  CostModel cost;           // A first guess; ADAPTIVE learns its own.
  bool random_order = false;
  uint64_t seed = 0;  // Of the random order.
};
inline void Fields(auto& v, SplitPolicy& p) {
  v("strategy", p.strategy);
  v("items_min", p.items_min);
  v("items_max", p.items_max);
  v("cost", p.cost);
  v("random_order", p.random_order);
  v("seed", p.seed);
}

struct LeasePolicy {
  absl::Duration base = absl::Minutes(5);  // A lease lasts base + items * per_item.
  absl::Duration per_item = absl::Minutes(1);
  absl::Duration late_grace = absl::Minutes(10);  // A late answer counts and is paid for this long.
  absl::Duration extension_max = absl::Hours(1);  // All extensions of one lease together.
};
inline void Fields(auto& v, LeasePolicy& p) {
  v("base", p.base);
  v("per_item", p.per_item);
  v("late_grace", p.late_grace);
  v("extension_max", p.extension_max);
}

struct PoolPrice {
  std::string pool;
  Micros price_micros = 0;
};
inline void Fields(auto& v, PoolPrice& p) {
  v("pool", p.pool);
  v("price_micros", p.price_micros);
}

struct JobPolicy {
  double priority = 1;       // Weight in the index; 0 < priority <= 1000.
  Micros value_micros = 0;   // What a right answer to one item is worth; 0: as 1,000,000.
  Micros budget_micros = 0;  // Reserved + earned + paid never pass it.
  std::string currency_code;
  absl::Time start_time = absl::InfinitePast();
  absl::Time deadline = absl::InfiniteFuture();
  QualityPolicy quality;
  SplitPolicy split;
  LeasePolicy lease;
  Micros price_micros = 0;  // Quoted per answer unless the pool has a price of its own.
  std::vector<PoolPrice> pool_prices;
  std::vector<std::string> pools;             // Who may be asked; never empty.
  std::vector<std::string> languages;         // The worker speaks one of them; empty: any.
  std::vector<std::string> required_skills;   // The worker has all of them.
  std::vector<std::string> excluded_workers;  // Full names.
  uint32_t answers_per_worker_max = 0;        // 0: no cap.
  FinaliseMode finalise = FinaliseMode::kAutomatic;
  bool approve_on_acceptance = false;  // An answer that counts is approved at once; no rejections.
  double assignments_per_second_max = 0;  // 0: no limit. Bursts of one second's worth.
  uint64_t assignments_open_max = 0;      // 0: no limit.

  // What an answer in this pool costs, where the pool's own price is `pool_price`.
  Micros PriceIn(absl::string_view pool, Micros pool_price) const {
    for (const PoolPrice& p : pool_prices) {
      if (p.pool == pool) return p.price_micros;
    }
    return price_micros > 0 ? price_micros : pool_price;
  }
  // Whether that is the pool's own price.
  bool AsksPoolForPrice(absl::string_view pool) const {
    return price_micros <= 0 && std::none_of(pool_prices.begin(), pool_prices.end(),
                                             [&](const PoolPrice& p) { return p.pool == pool; });
  }
};
inline void Fields(auto& v, JobPolicy& p) {
  v("priority", p.priority);
  v("value_micros", p.value_micros);
  v("budget_micros", p.budget_micros);
  v("currency_code", p.currency_code);
  v("start_time", p.start_time);
  v("deadline", p.deadline);
  v("quality", p.quality);
  v("split", p.split);
  v("lease", p.lease);
  v("price_micros", p.price_micros);
  v("pool_prices", p.pool_prices);
  v("pools", p.pools);
  v("languages", p.languages);
  v("required_skills", p.required_skills);
  v("excluded_workers", p.excluded_workers);
  v("answers_per_worker_max", p.answers_per_worker_max);
  v("finalise", p.finalise);
  v("approve_on_acceptance", p.approve_on_acceptance);
  v("assignments_per_second_max", p.assignments_per_second_max);
  v("assignments_open_max", p.assignments_open_max);
}

// Who a job is and how its answers look. Fixed when it is created.
struct JobIdentity {
  std::string tenant;
  std::string id;               // The last segment of its name.
  uint64_t request_digest = 0;  // Of the create request; tells a retry from a reused request id.
  std::string document;  // The requester's own Job message, opaque here, given back on reads.
  std::vector<std::string> classes;  // The values of the choice field, in the template's order.
};
inline void Fields(auto& v, JobIdentity& i) {
  v("tenant", i.tenant);
  v("id", i.id);
  v("request_digest", i.request_digest);
  v("document", i.document);
  v("classes", i.classes);
}

}  // namespace tessera::core
