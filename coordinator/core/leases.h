// Live assignments: who is answering what, and until when.
//
// An assignment is live from its grant until each of its items has ended for good: answered,
// returned, revoked, or missed and past the grace. What came of it stays in the items' entries.
//
// Threads: none; belongs to its JobState.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "coordinator/core/events.h"
#include "coordinator/core/objects.h"

namespace tessera::core {

struct LeasedItem {
  ItemIndex item = 0;
  bool ended = false;   // For good.
  bool missed = false;  // Past the deadline, without a draft; late answers count until late_until.
  Label draft = kNoLabel;
  uint64_t edit = 0;  // Of the draft, also of one that was withdrawn; 0: there was none.
};
inline void Fields(auto& v, LeasedItem& i) {
  v("item", i.item);
  v("ended", i.ended);
  v("missed", i.missed);
  v("draft", i.draft);
  v("edit", i.edit);
}

// Where an assignment went. Thousands share one.
struct Route {
  std::string pool;     // For which it was leased.
  std::string gateway;  // Whom it was sent to.

  friend bool operator==(const Route&, const Route&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Route& route) {
    return H::combine(std::move(h), route.pool, route.gateway);
  }
};

struct LiveAssignment {
  WorkerIndex worker;
  Micros price_micros = 0;  // Per item.
  absl::Time granted_at;
  absl::Time deadline;
  absl::Time late_until;
  absl::Duration extended;
  bool expired = false;  // Its deadline has been carried out.
  std::vector<LeasedItem> items;
  std::shared_ptr<const Route> route;  // Of the table; nothing while it is being decoded.

  const std::string& pool() const { return route->pool; }
  const std::string& gateway() const { return route->gateway; }
  LeasedItem* Find(ItemIndex item);
  const LeasedItem* Find(ItemIndex item) const;
};
inline void Fields(auto& v, LiveAssignment& a) {
  Route route = a.route == nullptr ? Route() : *a.route;
  v("worker", a.worker);
  v("pool", route.pool);
  v("price_micros", a.price_micros);
  v("granted_at", a.granted_at);
  v("deadline", a.deadline);
  v("late_until", a.late_until);
  v("extended", a.extended);
  v("expired", a.expired);
  v("items", a.items);
  v("gateway", route.gateway);
  if (a.route == nullptr) a.route = std::make_shared<const Route>(std::move(route));
}

// The live assignments of a job, by sequence, in pages of kLeasesPerPage.
class LeaseTable {
 public:
  struct Page {
    Version version;
    std::map<uint32_t, LiveAssignment> by_sequence;
  };

  const LiveAssignment* Find(uint32_t sequence) const;
  LiveAssignment* Find(uint32_t sequence);

  // The one copy of `route` that all assignments of the table share.
  std::shared_ptr<const Route> Share(Route route);

  std::map<uint32_t, Page>& pages() { return pages_; }
  const std::map<uint32_t, Page>& pages() const { return pages_; }
  Page& PageOf(uint32_t sequence) { return pages_[sequence / kLeasesPerPage]; }

 private:
  std::map<uint32_t, Page> pages_;
  // Those in use, and at most as many that no assignment names any more.
  absl::flat_hash_map<Route, std::weak_ptr<const Route>> routes_;
  size_t sweep_at_ = 16;  // Size at which routes_ is rid of the latter.
};

}  // namespace tessera::core
