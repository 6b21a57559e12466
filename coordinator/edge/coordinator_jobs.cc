// Requesters' calls about jobs.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator_impl.h"
#include "coordinator/edge/message_size.h"
#include "coordinator/edge/tokens.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

// Jobs looked at for one page of a list that is filtered by state.
constexpr size_t kJobsLookedAtMax = 10'000;

absl::Status BadField(absl::string_view field, absl::string_view what,
                      absl::string_view reason = "FIELD_OUT_OF_LIMITS") {
  return Error(StatusCode::kInvalidArgument, reason, absl::StrCat(field, " ", what))
      .Field(field, what);
}

}  // namespace

v1::Job Coordinator::Impl::ReadJob(JobRef ref) {
  return JobToProto(*partitions_.partition(ref.partition).Job(ref.job), partitions_.job(ref));
}

absl::Status Coordinator::Impl::CheckPools(const core::JobPolicy& policy, absl::string_view path) {
  for (size_t i = 0; i < policy.pools.size(); ++i) {
    const uint32_t home = partitions_.PoolHome(policy.pools[i]);
    TESSERA_RETURN_IF_ERROR(partitions_.Accepting(home));
    if (partitions_.partition(home).FindPool(policy.pools[i]) != nullptr) continue;
    return Error(StatusCode::kFailedPrecondition, "POOL_NOT_FOUND",
                 absl::StrCat("there is no pool pools/", policy.pools[i]))
        .Field(absl::StrCat(path, ".eligibility.pools[", i, "]"), "does not exist");
  }
  return absl::OkStatus();
}

// --- Create, read, list --------------------------------------------------------------------------

absl::StatusOr<JobRef> Coordinator::Impl::CreateJob(const v1::CreateJobRequest& request,
                                                    uint32_t partition) {
  core::Partition& owner = partitions_.partition(partition);
  const absl::Time now = partitions_.now();
  core::CreateJob command{.paused = request.start_paused()};
  core::JobIdentity& identity = command.identity;
  identity.tenant = *ParseId("tenants", request.parent());
  identity.id = partitions_.ids().JobId(identity.tenant, request.request_id());
  v1::Job document = DocumentOf(request.job());
  identity.request_digest = partitions_.ids().Digest(
      "create job", absl::StrCat(request.start_paused() ? "1" : "0", SerialiseCanonical(document)));
  const bool repeat = owner.state().FindJob(identity.tenant, identity.id).has_value();
  if (!repeat) {
    TESSERA_ASSIGN_OR_RETURN(identity.classes, ClassesOf(document.template_(), "job.template"));
    TESSERA_ASSIGN_OR_RETURN(
        command.policy,
        PolicyFromProto(document.policy(), partitions_.ids().Digest("order", identity.id) >> 1,
                        "job.policy"));
    const core::JobPolicy& policy = command.policy;
    if (policy.deadline <= std::max(now, policy.start_time)) {
      return BadField("job.policy.deadline", "must lie after now and after the start");
    }
    TESSERA_RETURN_IF_ERROR(CheckPools(policy, "job.policy"));
    if (document.template_().version().empty()) document.mutable_template_()->set_version("1");
    SetInForce(policy, document.mutable_policy());
    identity.document = SerialiseCanonical(document);
  }
  const absl::StatusOr<core::JobIndex> job = owner.CreateJob(command, now);
  if (repeat && !job.ok()) {  // Of another request: which job it has made is for the caller to see.
    ErrorDetails details = GetDetails(job.status());
    details.metadata.emplace_back(
        "job", JobName{.tenant = identity.tenant, .job = identity.id}.ToString());
    return WithDetails(job.status(), details);
  }
  TESSERA_RETURN_IF_ERROR(job.status());
  for (const std::string& pool : command.policy.pools) partitions_.ShowPool(pool, partition);
  return JobRef{partition, *job};
}

void Coordinator::CreateJob(const v1::CreateJobRequest& request, Reply<v1::Job> reply) {
  Partitions& partitions = impl_->partitions_;
  const std::string tenant = *ParseId("tenants", request.parent());
  const uint32_t partition = *PartitionOfJob(partitions.ids().JobId(tenant, request.request_id()));
  if (absl::Status status = partitions.Accepting(partition); !status.ok()) {
    return partitions.Refuse(std::move(reply), status);
  }
  const absl::StatusOr<JobRef> job = impl_->CreateJob(request, partition);
  // That there is no such pool its home says.
  if (!job.ok() && GetDetails(job.status()).reason == "POOL_NOT_FOUND") {
    return partitions.AnswerAll(std::move(reply), job.status());
  }
  partitions.Answer(partition, std::move(reply),
                    job.ok() ? absl::StatusOr<v1::Job>(impl_->ReadJob(*job)) : job.status());
}

void Coordinator::GetJob(const v1::GetJobRequest& request, Reply<v1::Job> reply) {
  impl_->partitions_.Call(
      request.name(), std::move(reply),
      [&](JobRef job) -> absl::StatusOr<v1::Job> { return impl_->ReadJob(job); });
}

void Coordinator::ListJobs(const v1::ListJobsRequest& request, Reply<v1::ListJobsResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  const std::string tenant = *ParseId("tenants", request.parent());
  JobsCursor cursor;
  if (!request.page_token().empty()) {
    const auto decoded =
        DecodeToken<JobsCursor>(partitions.ids(), "jobs", request.parent(), request.page_token());
    if (!decoded.has_value()) return partitions.Refuse(std::move(reply), BadPageToken());
    cursor = *decoded;
  }
  v1::ListJobsResponse response;
  const size_t size = PageSize(request.page_size());
  size_t looked_at = 0;
  size_t bytes = 0;
  const auto full = [&] {
    return static_cast<size_t>(response.jobs_size()) >= size || looked_at >= kJobsLookedAtMax ||
           bytes >= kMessageBytesMax;
  };
  for (; cursor.partition < partitions.size(); cursor = {cursor.partition + 1, 0}) {
    const uint32_t p = cursor.partition;
    if (absl::Status status = partitions.Accepting(p); !status.ok()) {
      return partitions.Refuse(std::move(reply), status);
    }
    bool more = true;
    while (more && !full()) {
      const auto after =
          cursor.next == 0 ? std::nullopt : std::optional(core::JobIndex(cursor.next - 1));
      const auto found = partitions.partition(p).Jobs(
          tenant, after, size - static_cast<size_t>(response.jobs_size()));
      more = !found.empty();
      for (const core::JobIndex index : found) {
        // The state first: many jobs are looked at for few that are wanted.
        const v1::JobState state = StateToProto(partitions.job({p, index}).head.phase);
        const bool wanted = request.states().empty() ||
                            std::find(request.states().begin(), request.states().end(), state) !=
                                request.states().end();
        if (!wanted) {
          ++looked_at;
          cursor.next = index.value() + 1;
          continue;
        }
        v1::Job job = impl_->ReadJob({p, index});
        const size_t job_bytes = job.ByteSizeLong();
        // One that does not fit begins the next page.
        if (bytes > 0 && bytes + job_bytes > kMessageBytesMax) {
          bytes = kMessageBytesMax;
          break;
        }
        ++looked_at;
        cursor.next = index.value() + 1;
        bytes += job_bytes;
        *response.add_jobs() = std::move(job);
      }
    }
    if (more) break;
  }
  if (cursor.partition < partitions.size()) {
    response.set_next_page_token(EncodeToken(partitions.ids(), "jobs", request.parent(), cursor));
  }
  partitions.AnswerAll(std::move(reply), std::move(response));
}

// --- Change --------------------------------------------------------------------------------------

absl::StatusOr<v1::Job> Coordinator::Impl::UpdateJob(JobRef ref,
                                                     const v1::UpdateJobRequest& request) {
  core::Partition& partition = partitions_.partition(ref.partition);
  const core::JobState& state = partitions_.job(ref);
  const core::JobPolicy& policy = state.head.policy;
  v1::Job document;
  document.ParseFromString(state.head.identity.document);
  core::UpdateJob command{.job = ref.job,
                          .priority = policy.priority,
                          .budget_micros = policy.budget_micros,
                          .deadline = policy.deadline,
                          .quality = policy.quality};
  const v1::Policy& asked = request.job().policy();
  // Quality as the requester would have written it, so that its numbers get their defaults
  // together.
  v1::QualityPolicy quality = document.policy().quality();
  for (const std::string& path : request.update_mask().paths()) {
    if (path == "display_name") {
      document.set_display_name(request.job().display_name());
    } else if (path == "policy.priority") {
      command.priority = asked.priority() > 0 ? asked.priority() : 1;
    } else if (path == "policy.budget_micros") {
      command.budget_micros = asked.budget_micros();
    } else if (path == "policy.deadline") {
      command.deadline =
          asked.has_deadline() ? FromProto(asked.deadline()) : absl::InfiniteFuture();
      if (command.deadline <= policy.start_time) {
        return BadField("job.policy.deadline", "must lie after the start");
      }
      // The one in force may be set again: a repeat is good, however late.
      if (command.deadline <= partitions_.now() &&
          core::TruncateTime(command.deadline) != core::TruncateTime(policy.deadline)) {
        return BadField("job.policy.deadline", "must lie after now");
      }
    } else if (path == "policy.quality") {
      quality = asked.quality();
    } else if (path == "policy.quality.target_confidence") {
      quality.set_target_confidence(asked.quality().target_confidence());
    } else if (path == "policy.quality.answers_min") {
      quality.set_answers_min(asked.quality().answers_min());
    } else if (path == "policy.quality.answers_max") {
      quality.set_answers_max(asked.quality().answers_max());
    } else {
      return BadField("update_mask", absl::StrCat("names ", path, ", which cannot be updated"),
                      "FIELD_NOT_UPDATABLE");
    }
  }
  command.quality = QualityFromProto(quality);
  if (command.quality.answers_min > command.quality.answers_max) {
    return BadField("job.policy.quality.answers_min", "must not be above answers_max",
                    "FIELDS_CONFLICT");
  }
  core::JobPolicy in_force = policy;
  in_force.priority = command.priority;
  in_force.budget_micros = command.budget_micros;
  in_force.deadline = command.deadline;
  in_force.quality = command.quality;
  SetInForce(in_force, document.mutable_policy());
  command.document = SerialiseCanonical(document);
  TESSERA_RETURN_IF_ERROR(partition.UpdateJob(command, partitions_.now()));
  return ReadJob(ref);
}

void Coordinator::UpdateJob(const v1::UpdateJobRequest& request, Reply<v1::Job> reply) {
  impl_->partitions_.Call(request.job().name(), std::move(reply),
                          [&](JobRef job) { return impl_->UpdateJob(job, request); });
}

void Coordinator::DeleteJob(const v1::DeleteJobRequest& request, Reply<Empty> reply) {
  Partitions& partitions = impl_->partitions_;
  if (request.allow_missing()) {
    reply = [reply = std::move(reply)](absl::StatusOr<Empty> answer) {
      reply(absl::IsNotFound(answer.status()) ? Empty() : std::move(answer));
    };
  }
  partitions.Call(request.name(), std::move(reply), [&](JobRef job) -> absl::StatusOr<Empty> {
    TESSERA_RETURN_IF_ERROR(
        partitions.partition(job.partition).DeleteJob(job.job, partitions.now()));
    partitions.host(job.partition).ForgetJob(job.job);
    partitions.ForgetJob(job);
    return Empty();
  });
}

void Coordinator::Impl::Change(
    absl::string_view name, Reply<v1::Job> reply,
    const std::function<absl::Status(core::Partition&, core::JobIndex)>& change) {
  partitions_.Call(name, std::move(reply), [&](JobRef job) -> absl::StatusOr<v1::Job> {
    TESSERA_RETURN_IF_ERROR(change(partitions_.partition(job.partition), job.job));
    return ReadJob(job);
  });
}

void Coordinator::SealJob(const v1::SealJobRequest& request, Reply<v1::Job> reply) {
  const absl::Time now = impl_->partitions_.now();
  impl_->Change(request.name(), std::move(reply),
                [&](core::Partition& partition, core::JobIndex job) -> absl::Status {
                  const uint64_t offset = partition.state().job(job)->head.committed_offset;
                  if (request.has_expected_offset() &&
                      request.expected_offset() != static_cast<int64_t>(offset)) {
                    return Error(StatusCode::kFailedPrecondition, "ITEM_COUNT_DIFFERS",
                                 absl::StrCat("the job has taken in ", offset, " items"))
                        .Field("expected_offset", "differs from the job's committed_offset")
                        .Meta("committed_offset", absl::StrCat(offset));
                  }
                  return partition.SealJob(job, now);
                });
}

void Coordinator::PauseJob(const v1::PauseJobRequest& request, Reply<v1::Job> reply) {
  impl_->Change(request.name(), std::move(reply),
                [&](core::Partition& partition, core::JobIndex job) {
                  return partition.PauseJob(job, impl_->partitions_.now());
                });
}

void Coordinator::ResumeJob(const v1::ResumeJobRequest& request, Reply<v1::Job> reply) {
  impl_->Change(request.name(), std::move(reply),
                [&](core::Partition& partition, core::JobIndex job) {
                  return partition.ResumeJob(job, impl_->partitions_.now());
                });
}

void Coordinator::CancelJob(const v1::CancelJobRequest& request, Reply<v1::Job> reply) {
  impl_->Change(request.name(), std::move(reply),
                [&](core::Partition& partition, core::JobIndex job) {
                  return partition.CancelJob(job, impl_->partitions_.now());
                });
}

void Coordinator::FinaliseJob(const v1::FinaliseJobRequest& request, Reply<v1::Job> reply) {
  impl_->Change(request.name(), std::move(reply),
                [&](core::Partition& partition, core::JobIndex job) {
                  return partition.FinaliseJob(job, impl_->partitions_.now());
                });
}

}  // namespace tessera::edge
