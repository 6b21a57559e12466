// What a coordinator says to a gateway, for tests of gateways.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/crowd.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::client {

inline constexpr char kJob[] = "tenants/t/jobs/j";

inline Crowd MakeCrowd(int workers, int items_each) {
  Crowd crowd;
  for (int w = 0; w < workers; ++w) {
    RecordedWorker worker = {.name = absl::StrCat("w", w), .answers = {}};
    for (int i = 0; i < items_each; ++i) {
      worker.answers.push_back({.item_key = absl::StrCat("i", i),
                                .label = absl::StrCat("w", w, "-i", i),
                                .seconds = 1.0 + i});
    }
    crowd.answers += items_each;
    crowd.workers.push_back(std::move(worker));
  }
  return crowd;
}

inline v1::WorkResponse WelcomeOf(const v1::WorkLimits& limits = {}) {
  v1::WorkResponse response;
  *response.mutable_welcome()->mutable_limits() = limits;
  response.mutable_welcome()->mutable_heartbeat_interval()->set_seconds(10);
  return response;
}

inline v1::WorkResponse Grant(const v1::Lease& lease, const std::string& assignment,
                              const std::vector<std::string>& keys) {
  v1::WorkResponse response;
  v1::Assigned& assigned = *response.add_assigned();
  assigned.set_assignment(assignment);
  assigned.set_demand_id(lease.demand_id());
  assigned.set_job(kJob);
  assigned.set_worker(absl::StrCat("platforms/p/workers/", lease.worker()));
  for (const std::string& key : keys) assigned.add_items()->set_key(key);
  return response;
}

inline v1::WorkResponse Commit(const v1::Submit& submit) {
  v1::WorkResponse response;
  v1::Committed& committed = *response.add_committed();
  committed.set_kind(v1::WORK_KIND_SUBMIT);
  committed.set_assignment(submit.assignment());
  committed.set_items_accepted(submit.answers_size());
  committed.set_earned_micros(10 * submit.answers_size());
  committed.mutable_position()->set_partition("partitions/0");
  committed.mutable_position()->set_epoch(1);
  committed.mutable_position()->set_sequence(7);
  return response;
}

inline v1::WorkResponse Ended(uint64_t demand, v1::DemandEndReason reason) {
  v1::WorkResponse response;
  response.add_demands_ended()->set_demand_id(demand);
  response.mutable_demands_ended(0)->set_reason(reason);
  return response;
}

}  // namespace tessera::client
