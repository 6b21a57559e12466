// Which tenant is served next in one pool: start-time fair queueing (Goyal, Vin, Cheng 1996).
//
// Every tenant has a finish tag. What is bought for tenant f at cost l (expected worker-seconds;
// not money, as a model costs almost nothing) starts at S = max(v, F_f) and moves F_f to S + l /
// w_f, w_f being the tenant's weight. The virtual time v is the start tag served last. Served is
// the candidate with the least start tag: who has had least for its weight, with no claim on time
// in which it wanted nothing.
//
//   const size_t chosen = queue.Choose(candidates);          // Of those that have something to do.
//   queue.Charge(candidates[chosen].tenant, expected_seconds);
//   ...
//   queue.Correct(tenant, expected_seconds, actual_seconds); // When it is finished.
//
// Bound. Over any interval in which tenants f and m are candidates at each choice, what they were
// charged differs by at most one charge each:
//
//   | charged_f / w_f  -  charged_m / w_m |  <=  max charge_f / w_f + max charge_m / w_m
//
// A correction is carried by the tenant's next charges, which it raises or lowers, though never
// below nothing, so that tags only grow and the bound holds for charges as they stand. Seconds that
// were really worked differ from charges by the assignments that are open and by what is still
// carried. A correction is cut to kCorrectionMax times what was charged: one odd sitting must not
// starve a tenant.
//
// A tenant is never more than one charge ahead of v. One that v has passed wanted nothing
// meanwhile: it starts anew at v, what it still owed is settled by then and what it was owed is of
// the past. So it need not be remembered, and is not: `tenants_known` is at most twice those that v
// has not passed. Threads: none; belongs to a Broker.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tessera::edge {

class FairQueue {
 public:
  static constexpr double kCorrectionMax = 4;

  struct Candidate {
    absl::string_view tenant;
    double index = 0;  // Breaks ties between start tags: the higher, then the name.
  };
  // The place of the one to be served next. `candidates` is not empty.
  size_t Choose(absl::Span<const Candidate> candidates) const;

  // max(v, F): where the tenant's next charge would start.
  double StartTag(absl::string_view tenant) const;

  // The tenant was served: `seconds` >= 0, `weight` > 0. A weight that has changed holds from here
  // on.
  void Charge(absl::string_view tenant, double seconds, double weight = 1);
  // What was charged as `charged` turned out to be `actual`.
  void Correct(absl::string_view tenant, double charged, double actual);

  size_t tenants_known() const { return tenants_.size(); }

 private:
  struct Tenant {
    double finish = 0;
    double carried = 0;  // Seconds, to be added to the next charge.
    double weight = 1;   // At the last charge.
  };
  // Whether v has passed its tag, with what it owes: it is as if it had never been here.
  bool Passed(const Tenant& tenant) const;
  // The tenant, from v on where it is not known or was passed.
  Tenant& Present(absl::string_view tenant);
  void ForgetPassed();

  absl::flat_hash_map<std::string, Tenant> tenants_;
  size_t forget_at_ = 64;  // Tenants known at which those passed are looked for.
  double virtual_time_ = 0;
};

}  // namespace tessera::edge
