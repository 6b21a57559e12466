// Between the messages of the public contract and the core's values: what means the same on both
// sides, in one place.
//
// Into the core, defaults of the contract are filled in (a policy that is returned holds what is in
// force) and what is part of the contract but not served yet is refused with UNIMPLEMENTED. Out of
// the core, indexes become names: of jobs and assignments here, of items by the caller, who has
// their keys from the store. Pure functions. Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/core/commands.h"
#include "coordinator/core/fold.h"
#include "coordinator/core/split.h"
#include "coordinator/edge/host.h"
#include "coordinator/edge/names.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"
#include "tessera/v1/item.pb.h"
#include "tessera/v1/job.pb.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/operator.pb.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::edge {

namespace v1 = ::tessera::v1;

// --- Errors --------------------------------------------------------------------------------------

// A status of the core with the code that the contract gives to its reason, where that differs
// (proto/tessera/v1/errors.proto).
absl::Status ToContract(const absl::Status& status);

// --- Time, bytes ---------------------------------------------------------------------------------

absl::Time FromProto(const google::protobuf::Timestamp& time);
absl::Duration FromProto(const google::protobuf::Duration& duration);
google::protobuf::Timestamp TimeToProto(absl::Time time);
google::protobuf::Duration DurationToProto(absl::Duration duration);

// Equal messages give equal bytes, maps included, so that digests of them can be compared.
std::string SerialiseCanonical(const google::protobuf::Message& message);

// --- Into the core -------------------------------------------------------------------------------

// The policy with all defaults. `seed` is used where it asks for a random order and names none.
// UNIMPLEMENTED (NOT_SERVED, SEGMENTS_NOT_SERVED), INVALID_ARGUMENT; fields are named under `path`.
absl::StatusOr<core::JobPolicy> PolicyFromProto(const v1::Policy& policy, uint64_t seed,
                                                absl::string_view path);
core::QualityPolicy QualityFromProto(const v1::QualityPolicy& quality);

// Writes what is in force into the policy that the requester wrote.
void SetInForce(const core::JobPolicy& policy, v1::Policy* out);

// UNIMPLEMENTED: the contract has it, nobody serves it so far. `what` and `field` are told.
absl::Status NotServed(absl::string_view field, absl::string_view what,
                       absl::string_view reason = "NOT_SERVED");

// The classes of a template of one choice field, which is what is served. UNIMPLEMENTED
// (ANSWER_TYPE_NOT_SERVED).
absl::StatusOr<std::vector<std::string>> ClassesOf(const v1::TaskTemplate& task,
                                                   absl::string_view path);

// The choice that an answer makes under a template with one choice field of this name.
// INVALID_ARGUMENT (ANSWER_DOES_NOT_FIT), with the field under `path`.
absl::StatusOr<std::string> ChoiceOf(const v1::Answer& answer, absl::string_view field,
                                     absl::string_view path);

// The requester's part of a job: output-only fields cleared.
v1::Job DocumentOf(v1::Job job);

// --- Out of the core -----------------------------------------------------------------------------

// What is needed to speak of a job in the contract's words; fixed when the job is created.
struct JobWords {
  std::string name;   // tenants/{tenant}/jobs/{job}
  std::string field;  // Of the template's only question.
  std::string template_version;
  std::string currency_code;
  std::vector<std::string> classes;
};
JobWords WordsOf(const core::JobIdentity& identity);

v1::Answer ChoiceAnswer(const JobWords& words, core::Label label);

v1::JobState StateToProto(core::JobPhase phase);
v1::ItemState StateToProto(core::ItemState state);

v1::Job JobToProto(const core::JobView& view, const core::JobState& state);
v1::JobTemplate TemplateToProto(const core::JobIdentity& identity);
v1::Ledger LedgerToProto(const core::Ledger& ledger, absl::string_view currency_code);
// Without the key.
v1::Result ResultToProto(const core::ItemView& item, const core::JobHead& job,
                         const JobWords& words);
v1::SplitPlan PlanToProto(const core::SplitPlan& plan, const core::JobPolicy& policy,
                          const core::CostModel& cost, core::Micros price_micros,
                          core::Micros remaining_micros);

// The story without item and keys. `expected_gain` is the caller's.
v1::ItemExplanation ExplanationToProto(const core::ItemStory& story, const core::JobState& job,
                                       const JobWords& words, const IdMaker& ids,
                                       uint32_t partition);

v1::Pool PoolToProto(const core::Pool& pool);
absl::StatusOr<core::Pool> PoolFromProto(absl::string_view id, const v1::Pool& pool);

// Without what takes a look at every job: reports, earnings, open assignments, agreement.
v1::Worker WorkerToProto(const core::WorkerView& worker);

v1::Partition PartitionToProto(uint32_t partition, const PartitionHost::Status& status,
                               bool accepting);

}  // namespace tessera::edge
