// Operators' calls: pools, workers, partitions.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/core/fusing/categorical.h"
#include "coordinator/core/money.h"
#include "coordinator/edge/coordinator_impl.h"
#include "coordinator/edge/message_size.h"
#include "coordinator/edge/tokens.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

constexpr size_t kPoolsMax = 10'000;
constexpr size_t kReportJobsMax = 100;
// Items looked at for the agreement of the workers that one call shows.
constexpr size_t kAgreementItemsMax = 50'000;

absl::Status NoSuchPool(absl::string_view name) {
  return Error(StatusCode::kNotFound, "POOL_NOT_FOUND", absl::StrCat("there is no pool ", name));
}

absl::Status NoSuchWorker(absl::string_view name) {
  return Error(StatusCode::kNotFound, "WORKER_NOT_FOUND", absl::StrCat("nobody has seen ", name));
}

absl::Status NotUpdatable(absl::string_view path) {
  return Error(StatusCode::kInvalidArgument, "FIELD_NOT_UPDATABLE",
               absl::StrCat(path, " cannot be updated"))
      .Field("update_mask", absl::StrCat("names ", path, ", which cannot be updated"));
}

absl::Status EmptyMask() {
  return Error(StatusCode::kInvalidArgument, "FIELD_REQUIRED", "the mask names nothing")
      .Field("update_mask", "must name what to change");
}

std::string PoolId(absl::string_view name) { return ParseId("pools", name).value_or(""); }

// The worker as known by several partitions, which each know a part.
void Join(const core::WorkerView& part, core::WorkerView* whole) {
  whole->answers += part.answers;
  whole->active_seconds += part.active_seconds;
}

}  // namespace

// --- Pools ---------------------------------------------------------------------------------------

void Coordinator::CreatePool(const v1::CreatePoolRequest& request, Reply<v1::Pool> reply) {
  Partitions& partitions = impl_->partitions_;
  const uint32_t home = partitions.PoolHome(request.pool_id());
  if (absl::Status status = partitions.Accepting(home); !status.ok()) {
    return partitions.Refuse(std::move(reply), status);
  }
  const auto create = [&]() -> absl::StatusOr<v1::Pool> {
    TESSERA_ASSIGN_OR_RETURN(core::Pool pool, PoolFromProto(request.pool_id(), request.pool()));
    core::Partition& partition = partitions.partition(home);
    pool.request_id = request.request_id();
    if (const core::Pool* there = partition.FindPool(pool.id)) {
      const bool repeat = !pool.request_id.empty() && pool.request_id == there->request_id;
      pool.request_id = there->request_id;
      if (repeat || core::Encode(*there) == core::Encode(pool)) return PoolToProto(*there);
      return Error(StatusCode::kAlreadyExists, "POOL_EXISTS",
                   absl::StrCat("there is another pool pools/", pool.id))
          .Field("pool_id", "is taken");
    }
    if (partition.Pools().size() >= kPoolsMax) {
      return Error(StatusCode::kResourceExhausted, "POOLS_MAX",
                   "there are as many pools as may be");
    }
    TESSERA_RETURN_IF_ERROR(partition.PutPool(pool));
    partitions.ShowPoolToAll(pool.id);
    return PoolToProto(pool);
  };
  partitions.Answer(home, std::move(reply), create());
}

void Coordinator::GetPool(const v1::GetPoolRequest& request, Reply<v1::Pool> reply) {
  Partitions& partitions = impl_->partitions_;
  const std::string id = PoolId(request.name());
  const uint32_t home = partitions.PoolHome(id);
  if (absl::Status status = partitions.Accepting(home); !status.ok()) {
    return partitions.Refuse(std::move(reply), status);
  }
  const core::Pool* pool = partitions.partition(home).FindPool(id);
  partitions.Answer(
      home, std::move(reply),
      pool == nullptr ? absl::StatusOr<v1::Pool>(NoSuchPool(request.name())) : PoolToProto(*pool));
}

void Coordinator::ListPools(const v1::ListPoolsRequest& request,
                            Reply<v1::ListPoolsResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  NameCursor cursor;
  if (!request.page_token().empty()) {
    const auto decoded =
        DecodeToken<NameCursor>(partitions.ids(), "pools", "", request.page_token());
    if (!decoded.has_value()) return partitions.Refuse(std::move(reply), BadPageToken());
    cursor = *decoded;
  }
  std::map<std::string, const core::Pool*> pools;
  for (uint32_t p = 0; p < partitions.size(); ++p) {
    if (absl::Status status = partitions.Accepting(p); !status.ok()) {
      return partitions.Refuse(std::move(reply), status);
    }
    for (const core::Pool* pool : partitions.partition(p).Pools()) pools[pool->id] = pool;
  }
  v1::ListPoolsResponse response;
  const size_t size = PageSize(request.page_size());
  auto pool = cursor.after.empty() ? pools.begin() : pools.upper_bound(cursor.after);
  size_t bytes = 0;
  for (; pool != pools.end() && static_cast<size_t>(response.pools_size()) < size &&
         bytes < kMessageBytesMax;
       ++pool) {
    v1::Pool& out = *response.add_pools() = PoolToProto(*pool->second);
    bytes += out.ByteSizeLong();
    cursor.after = pool->first;
  }
  if (pool != pools.end()) {
    response.set_next_page_token(EncodeToken(partitions.ids(), "pools", "", cursor));
  }
  partitions.AnswerAll(std::move(reply), std::move(response));
}

void Coordinator::UpdatePool(const v1::UpdatePoolRequest& request, Reply<v1::Pool> reply) {
  Partitions& partitions = impl_->partitions_;
  const std::string id = PoolId(request.pool().name());
  const uint32_t home = partitions.PoolHome(id);
  if (absl::Status status = partitions.Accepting(home); !status.ok()) {
    return partitions.Refuse(std::move(reply), status);
  }
  const auto update = [&]() -> absl::StatusOr<v1::Pool> {
    core::Partition& partition = partitions.partition(home);
    const core::Pool* there = partition.FindPool(id);
    if (there == nullptr) return NoSuchPool(request.pool().name());
    TESSERA_ASSIGN_OR_RETURN(const core::Pool asked, PoolFromProto(id, request.pool()));
    if (request.update_mask().paths().empty()) return EmptyMask();
    core::Pool pool = *there;
    for (const std::string& path : request.update_mask().paths()) {
      if (path == "display_name") {
        pool.display_name = asked.display_name;
      } else if (path == "skills") {
        pool.skills = asked.skills;
      } else if (path == "languages") {
        pool.languages = asked.languages;
      } else if (path == "price_per_item_micros") {
        pool.price_micros = asked.price_micros;
      } else if (path == "tenant_weights") {
        pool.tenant_weights = asked.tenant_weights;
      } else if (path != "platforms") {
        return NotUpdatable(path);  // Platforms are none, or PoolFromProto would have refused them.
      }
    }
    TESSERA_RETURN_IF_ERROR(partition.PutPool(pool));
    partitions.ShowPoolToAll(pool.id);
    return PoolToProto(pool);
  };
  partitions.Answer(home, std::move(reply), update());
}

void Coordinator::DeletePool(const v1::DeletePoolRequest& request, Reply<Empty> reply) {
  Partitions& partitions = impl_->partitions_;
  const std::string id = PoolId(request.name());
  const uint32_t home = partitions.PoolHome(id);
  if (absl::Status status = partitions.Accepting(home); !status.ok()) {
    return partitions.Refuse(std::move(reply), status);
  }
  const auto remove = [&]() -> absl::StatusOr<Empty> {
    if (id == "default") {
      return Error(StatusCode::kFailedPrecondition, "POOL_DEFAULT",
                   "pools/default cannot be deleted")
          .Field("name", "is the default pool");
    }
    const absl::Status status = partitions.partition(home).DeletePool(id);
    if (!status.ok() && !(absl::IsNotFound(status) && request.allow_missing())) return status;
    partitions.ShowPoolToAll(id);
    return Empty();
  };
  partitions.Answer(home, std::move(reply), remove());
}

// --- Workers -------------------------------------------------------------------------------------

void Coordinator::Impl::FillReports(v1::Worker* worker) {
  struct Told {
    absl::Time created_at;
    JobRef ref;
    core::WorkerIndex index;  // The worker's, in the job's partition.
  };
  std::vector<Told> told;
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    if (!partitions_.Serving(p)) continue;
    const core::PartitionState& state = partitions_.state(p);
    const auto index = state.FindWorker(worker->name());
    if (!index.has_value()) continue;
    for (uint32_t j = 0; j < state.jobs(); ++j) {
      const core::JobState* job = state.job(core::JobIndex(j));
      if (job == nullptr || job->FindTally(*index) == nullptr) continue;
      told.push_back({job->head.created_at, {p, core::JobIndex(j)}, *index});
    }
  }
  const size_t count = std::min(told.size(), kReportJobsMax);
  std::partial_sort(told.begin(), told.begin() + static_cast<ptrdiff_t>(count), told.end(),
                    [](const Told& a, const Told& b) {
                      return std::tie(a.created_at, a.ref) > std::tie(b.created_at, b.ref);
                    });
  told.resize(count);
  for (const auto& [created_at, ref, index] : told) {
    const core::JobState& job = partitions_.job(ref);
    const core::Tally& tally = *job.FindTally(index);
    v1::WorkerJobReport& report = *worker->add_jobs();
    report.set_job(partitions_.words(ref).name);
    report.set_answers(tally.answered);
    report.set_fit(job.head.fit);
    const auto fit = job.fits.find(job.head.fit);
    report.set_accuracy_mean(
        core::Accuracy(fit != job.fits.end()
                           ? fit->second.fit
                           : core::PriorFit(static_cast<uint16_t>(job.head.identity.classes.size()),
                                            options_.host.partition.fit),
                       index));
    report.set_earned_micros(tally.earned_micros);
    report.set_answers_rejected(tally.rejected);
    if (tally.answered > 0 && tally.active_seconds > 0) {
      *report.mutable_duration_per_item() =
          DurationToProto(absl::Seconds(tally.active_seconds / tally.answered));
    }
  }
}

void Coordinator::Impl::FillFigures(absl::Span<v1::Worker* const> workers) {
  std::vector<std::map<std::string, int64_t>> earnings(workers.size());
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    if (!partitions_.Serving(p)) continue;
    const core::PartitionState& state = partitions_.state(p);
    std::map<core::WorkerIndex, size_t> known;  // Here, with the place in `workers`.
    for (size_t i = 0; i < workers.size(); ++i) {
      if (const auto index = state.FindWorker(workers[i]->name())) known[*index] = i;
    }
    for (uint32_t j = 0; j < state.jobs(); ++j) {
      const core::JobState* job = state.job(core::JobIndex(j));
      if (job == nullptr) continue;
      job->ForEachTally(known, [&](size_t place, const core::Tally& tally) {
        core::Micros& earned = earnings[place][job->head.policy.currency_code];
        earned = core::AddSaturated(earned, tally.earned_micros);
      });
      if (job->head.open_assignments == 0) continue;
      for (const auto& [number, page] : job->leases.pages()) {
        for (const auto& [sequence, live] : page.by_sequence) {
          const auto found = known.find(live.worker);
          if (found == known.end() || live.expired) continue;
          v1::Worker& worker = *workers[found->second];
          worker.set_assignments_open(worker.assignments_open() + 1);
        }
      }
    }
  }
  for (size_t i = 0; i < workers.size(); ++i) {
    for (const auto& [currency, micros] : earnings[i]) {
      v1::Earnings& one = *workers[i]->add_earnings();
      one.set_currency_code(currency);
      one.set_earned_micros(micros);
    }
  }
  FillAgreements(workers);
}

void Coordinator::Impl::FillAgreements(absl::Span<v1::Worker* const> workers) {
  std::vector<std::string> names;
  for (const v1::Worker* worker : workers) names.push_back(worker->name());
  std::vector<core::Agreement> whole(names.size());
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    if (!partitions_.Serving(p)) continue;
    const std::vector<core::Agreement> part =
        partitions_.partition(p).Agreements(names, kAgreementItemsMax / partitions_.size());
    for (size_t i = 0; i < whole.size(); ++i) {
      whole[i].compared += part[i].compared;
      whole[i].agreed += part[i].agreed;
    }
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i].compared > 0) workers[i]->set_agreement(whole[i].agreed / whole[i].compared);
  }
}

std::optional<core::WorkerView> Coordinator::Impl::FindWorker(absl::string_view name) {
  std::optional<core::WorkerView> whole;
  const uint32_t home = partitions_.ids().HomeOf(name);
  for (uint32_t p = 0; p < partitions_.size(); ++p) {
    if (!partitions_.Serving(p)) continue;
    const absl::StatusOr<core::WorkerView> part = partitions_.partition(p).FindWorker(name);
    if (!part.ok()) continue;
    if (!whole.has_value()) {
      whole = *part;
      continue;
    }
    core::WorkerView joined = p == home ? *part : *whole;  // Skills and block are the home's.
    Join(p == home ? *whole : *part, &joined);
    whole = std::move(joined);
  }
  return whole;
}

void Coordinator::GetWorker(const v1::GetWorkerRequest& request, Reply<v1::Worker> reply) {
  Partitions& partitions = impl_->partitions_;
  for (uint32_t p = 0; p < partitions.size(); ++p) {
    if (absl::Status status = partitions.Accepting(p); !status.ok()) {
      return partitions.Refuse(std::move(reply), status);
    }
  }
  const std::optional<core::WorkerView> whole = impl_->FindWorker(request.name());
  absl::StatusOr<v1::Worker> answer = NoSuchWorker(request.name());
  if (whole.has_value()) {
    answer = WorkerToProto(*whole);
    impl_->FillReports(&*answer);
    impl_->FillFigures({&*answer});
  }
  partitions.AnswerAll(std::move(reply), std::move(answer));
}

void Coordinator::ListWorkers(const v1::ListWorkersRequest& request,
                              Reply<v1::ListWorkersResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  std::optional<JobRef> only;
  if (!request.job().empty()) {
    const absl::StatusOr<JobRef> job = partitions.FindJob(request.job());
    if (!job.ok()) {
      return partitions.Refuse(std::move(reply), job.status(),
                               partitions.PartitionOf(request.job()));
    }
    only = *job;
  }
  const std::string scope =
      absl::StrCat(request.parent(), " ", only.has_value() ? partitions.TokenScope(*only) : "");
  const std::string prefix = request.parent() == "platforms/-"
                                 ? "platforms/"
                                 : absl::StrCat(request.parent(), "/workers/");
  NameCursor cursor{.after = prefix};
  if (!request.page_token().empty()) {
    const auto decoded =
        DecodeToken<NameCursor>(partitions.ids(), "workers", scope, request.page_token());
    if (!decoded.has_value()) {
      return partitions.Refuse(std::move(reply), BadPageToken(),
                               partitions.PartitionOf(request.job()));
    }
    cursor = *decoded;
  }
  const size_t size = PageSize(request.page_size());
  std::map<std::string, core::WorkerView> workers;
  // Names up to here are complete: every partition has been asked for them.
  std::string complete;
  bool more = false;
  for (uint32_t p = 0; p < partitions.size(); ++p) {
    if (absl::Status status = partitions.Accepting(p); !status.ok()) {
      return partitions.Refuse(std::move(reply), status);
    }
    std::vector<core::WorkerView> part = partitions.partition(p).Workers(cursor.after, size + 1);
    if (part.size() > size && (!more || part.back().name < complete)) {
      complete = part.back().name;
      more = true;
    }
    for (core::WorkerView& view : part) {
      if (!absl::StartsWith(view.name, prefix)) continue;
      const auto [there, fresh] = workers.try_emplace(view.name, view);
      if (fresh) continue;
      if (partitions.ids().HomeOf(view.name) == p) std::swap(there->second, view);
      Join(view, &there->second);
    }
  }
  v1::ListWorkersResponse response;
  size_t listed = 0;
  size_t bytes = 0;
  bool full = false;
  for (const auto& [name, view] : workers) {
    if (listed == size || bytes >= kMessageBytesMax || (more && name > complete)) {
      full = true;
      break;
    }
    ++listed;
    cursor.after = name;
    if (only.has_value()) {
      const core::PartitionState& state = partitions.state(only->partition);
      const auto index = state.FindWorker(name);
      const core::Tally* tally = index ? state.job(only->job)->FindTally(*index) : nullptr;
      if (tally == nullptr || tally->answered == 0) continue;
    }
    v1::Worker& out = *response.add_workers() = WorkerToProto(view);
    bytes += out.ByteSizeLong();
  }
  std::vector<v1::Worker*> shown;
  for (v1::Worker& worker : *response.mutable_workers()) shown.push_back(&worker);
  impl_->FillFigures(shown);
  if (full) response.set_next_page_token(EncodeToken(partitions.ids(), "workers", scope, cursor));
  partitions.AnswerAll(std::move(reply), std::move(response));
}

void Coordinator::UpdateWorker(const v1::UpdateWorkerRequest& request, Reply<v1::Worker> reply) {
  Partitions& partitions = impl_->partitions_;
  const v1::Worker& asked = request.worker();
  const uint32_t home = partitions.ids().HomeOf(asked.name());
  const auto update = [&]() -> absl::StatusOr<v1::Worker> {
    for (uint32_t p = 0; p < partitions.size(); ++p)
      TESSERA_RETURN_IF_ERROR(partitions.Accepting(p));
    bool known = false;
    for (uint32_t p = 0; p < partitions.size(); ++p) {
      known = known || partitions.state(p).FindWorker(asked.name()).has_value();
    }
    if (!known && !request.allow_missing()) return NoSuchWorker(asked.name());
    if (request.update_mask().paths().empty()) return EmptyMask();
    core::WorkerView worker{.name = asked.name()};
    if (const auto index = partitions.state(home).FindWorker(asked.name())) {
      const core::WorkerRecord& record = partitions.state(home).worker(*index);
      worker.skills = record.skills;
      worker.languages = record.languages;
      worker.blocked = record.blocked;
      worker.blocked_reason = record.blocked_reason;
    }
    for (const std::string& path : request.update_mask().paths()) {
      if (path == "skills") {
        worker.skills = {asked.skills().begin(), asked.skills().end()};
      } else if (path == "languages") {
        worker.languages = {asked.languages().begin(), asked.languages().end()};
      } else if (path == "blocked" || path == "blocked_reason") {
        worker.blocked = asked.blocked();
        worker.blocked_reason = asked.blocked() ? asked.blocked_reason() : "";
      } else if (path == "qualifications") {
        return Error(StatusCode::kUnimplemented, "NOT_SERVED", "qualifications are not served yet")
            .Field("worker.qualifications", "is not served yet");
      } else {
        return NotUpdatable(path);
      }
    }
    if (worker.blocked && worker.blocked_reason.empty()) {
      return Error(StatusCode::kInvalidArgument, "FIELD_REQUIRED", "a block has a reason")
          .Field("worker.blocked_reason", "must say why");
    }
    // At home, and wherever it has leases that a block takes back.
    for (uint32_t p = 0; p < partitions.size(); ++p) {
      if (p != home && !partitions.state(p).FindWorker(asked.name()).has_value()) continue;
      TESSERA_RETURN_IF_ERROR(partitions.partition(p).UpdateWorker(worker, partitions.now()));
    }
    v1::Worker out = WorkerToProto(*impl_->FindWorker(asked.name()));
    impl_->FillFigures({&out});
    return out;
  };
  absl::StatusOr<v1::Worker> answer = update();
  partitions.AnswerAll(std::move(reply), std::move(answer));
}

// --- Partitions ----------------------------------------------------------------------------------

namespace {

// What shows only what is committed, unless the partition takes commits: then the rest is as it is
// now, and waits for its commit.
v1::Partition Describe(Partitions& partitions, uint32_t p, const std::string& owner) {
  const PartitionHost& host = partitions.host(p);
  const bool takes_writes = host.accepting() && host.trouble().ok();
  v1::Partition out = PartitionToProto(p, host.status(), takes_writes);
  if (host.state() != HostState::kFailed) out.set_owner(owner);
  if (!takes_writes) return out;
  const core::PartitionState& state = partitions.state(p);
  int64_t jobs = 0;
  for (uint32_t j = 0; j < state.jobs(); ++j)
    jobs += state.job(core::JobIndex(j)) != nullptr ? 1 : 0;
  out.set_jobs(jobs);
  out.set_assignments_open(static_cast<int64_t>(partitions.partition(p).open_assignments()));
  return out;
}

}  // namespace

void Coordinator::GetPartition(const v1::GetPartitionRequest& request, Reply<v1::Partition> reply) {
  Partitions& partitions = impl_->partitions_;
  const auto id = ParseId("partitions", request.name());
  const auto p = id ? ParsePartitionId(*id) : std::nullopt;
  if (!p.has_value() || *p >= partitions.size()) {
    return partitions.Refuse(std::move(reply),
                             Error(StatusCode::kNotFound, "PARTITION_NOT_FOUND",
                                   absl::StrCat("there is no partition ", request.name())));
  }
  // A commit may be long in coming, and why is what the caller wants to know.
  if (!partitions.host(*p).accepting() || !partitions.host(*p).trouble().ok()) {
    return partitions.Later(
        [reply, out = Describe(partitions, *p, impl_->options_.name)] { reply(out); });
  }
  v1::Partition out = Describe(partitions, *p, impl_->options_.name);
  out.set_state_digest(StateDigest(partitions.state(*p)));
  partitions.host(*p).WhenCommitted(
      [this, reply, partition = *p, out = std::move(out)](const absl::Status& committed) mutable {
        if (!committed.ok()) return reply(Partitions::Unknown(committed));
        // The digest is of what has just been committed.
        out.set_head_position(impl_->partitions_.host(partition).status().head.ToString());
        reply(std::move(out));
      });
}

void Coordinator::ListPartitions(const v1::ListPartitionsRequest& request,
                                 Reply<v1::ListPartitionsResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  ItemsCursor cursor;
  if (!request.page_token().empty()) {
    const auto decoded =
        DecodeToken<ItemsCursor>(partitions.ids(), "partitions", "", request.page_token());
    if (!decoded.has_value()) return partitions.Refuse(std::move(reply), BadPageToken());
    cursor = *decoded;
  }
  v1::ListPartitionsResponse response;
  const size_t size = PageSize(request.page_size());
  std::set<uint32_t> accepting;
  for (; cursor.next < partitions.size() && static_cast<size_t>(response.partitions_size()) < size;
       ++cursor.next) {
    const PartitionHost& host = partitions.host(cursor.next);
    if (host.accepting() && host.trouble().ok()) accepting.insert(cursor.next);
    *response.add_partitions() = Describe(partitions, cursor.next, impl_->options_.name);
  }
  if (cursor.next < partitions.size()) {
    response.set_next_page_token(EncodeToken(partitions.ids(), "partitions", "", cursor));
  }
  partitions.WhenCommitted(
      accepting, [reply, response = std::move(response)](const absl::Status& committed) mutable {
        if (!committed.ok()) return reply(committed);
        reply(std::move(response));
      });
}

}  // namespace tessera::edge
