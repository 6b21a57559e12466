// Names of resources, and the ids that Tessera gives out.
//
// A job's id names its partition, so that any coordinator can route any call without asking
// anybody, and the rest of it is a keyed hash of tenant and request id, so that a create that is
// tried again lands where it did before. An assignment's id is opaque to gateways and holds
// partition, job and sequence; a keyed check in it tells ids that were given out from ones that
// were made up.
//
//   IdMaker ids({seed[0], seed[1]}, /*partitions=*/4);
//   std::string id = ids.JobId("acme", request_id);     // "p2-7k3m..."
//   JobName name{.tenant = "acme", .job = id};
//   name.ToString();                                     // "tenants/acme/jobs/p2-7k3m..."
//   ids.ParseAssignment(ids.Assignment(2, assignment));  // {2, assignment}
//
// All of these are values. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "common/hash.h"
#include "coordinator/core/types.h"

namespace tessera::edge {

// `tenants/{tenant}/jobs/{job}`.
struct JobName {
  std::string tenant;
  std::string job;

  std::string ToString() const;
  static std::optional<JobName> Parse(absl::string_view name);
};

// `platforms/{platform}/workers/{worker}`.
struct WorkerName {
  std::string platform;
  std::string worker;

  std::string ToString() const;
  static std::optional<WorkerName> Parse(absl::string_view name);
};

// The id in `{collection}/{id}`: ParseId("pools", "pools/experts") is "experts". Nothing if `name`
// is not of that form.
std::optional<std::string> ParseId(absl::string_view collection, absl::string_view name);

// The partition that a job's id names, or one's own id (`p3`); nothing if it names none.
std::optional<uint32_t> PartitionOfJob(absl::string_view job_id);
std::optional<uint32_t> ParsePartitionId(absl::string_view id);
std::string PartitionId(uint32_t partition);

// Lower-case base 32 without i, l, o and u: five bits a digit, the highest first, zero bits at the
// end.
std::string Base32(absl::string_view bytes);
// Nothing if there is another character, or a bit set that no byte holds.
std::optional<std::string> UnBase32(absl::string_view digits);

class IdMaker {
 public:
  // The key and the number of partitions stay the same for as long as a deployment's data lives.
  IdMaker(SipKey key, uint32_t partitions);

  // The partition that keeps what has this name: a pool, a worker, a job to be.
  uint32_t HomeOf(absl::string_view name) const;

  // The id of the tenant's job with this request id.
  std::string JobId(absl::string_view tenant, absl::string_view request_id) const;

  struct AssignmentRef {
    uint32_t partition = 0;
    core::AssignmentId id;
    friend bool operator==(const AssignmentRef&, const AssignmentRef&) = default;
  };
  std::string Assignment(uint32_t partition, core::AssignmentId id) const;
  // Nothing for an id that Assignment() never gave.
  std::optional<AssignmentRef> ParseAssignment(absl::string_view id) const;

  // A number that is fixed for these bytes, such as a seed for a job that names none.
  uint64_t Digest(absl::string_view purpose, absl::string_view bytes) const;

 private:
  SipKey KeyFor(absl::string_view purpose) const;

  SipKey key_;
  uint32_t partitions_;
  SipKey home_key_;  // Of what is asked for with every lease and answer.
  SipKey assignment_key_;
};

}  // namespace tessera::edge
