// PlanJob: how a job would be split and what that would cost.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator_impl.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

// A draft of more items is planned as a smaller one of the same make-up.
constexpr int64_t kDraftItemsMax = 1'000'000;

// What is planned for a job that does not exist.
struct Subject {
  core::JobPolicy policy;
  uint32_t classes = 2;
  std::vector<core::ItemTraits> traits;
  std::vector<std::string> strata_names;
  int64_t scale = 1;  // Each item stands for so many.
};

core::SplitPlan PlanSubject(const Subject& subject, core::Micros price) {
  core::SplitPlan plan = core::PlanSplit(
      subject.policy.split, subject.policy.quality,
      {.items = subject.traits.size(),
       .traits = subject.traits,
       .strata_names = subject.strata_names,
       .price_micros = price,
       .answers_per_item = core::GuessAnswersPerItem(subject.policy.quality, subject.classes),
       .budget_micros = subject.policy.budget_micros / subject.scale,
       .cost = subject.policy.split.cost});
  const auto scale = static_cast<uint64_t>(subject.scale);
  const auto factor = static_cast<double>(subject.scale);
  for (core::Stratum& stratum : plan.strata) {
    stratum.items *= scale;
    stratum.items_admitted *= scale;
    stratum.units *= factor;
    stratum.answers_expected *= factor;
    stratum.cost_micros *= subject.scale;
    stratum.sittings *= factor;
    stratum.worker_seconds *= factor;
  }
  plan.items_admitted *= scale;
  plan.answers_expected *= factor;
  plan.cost_micros *= subject.scale;
  plan.worker_seconds *= factor;
  return plan;
}

Subject SubjectOf(const v1::JobDraft& draft, core::JobPolicy policy) {
  Subject subject{.policy = std::move(policy)};
  subject.strata_names.push_back("");
  int64_t items = 0;
  for (const v1::StratumStatistics& stratum : draft.strata())
    items += std::max<int64_t>(0, stratum.items());
  subject.scale = std::max<int64_t>(1, (items + kDraftItemsMax - 1) / kDraftItemsMax);
  for (const v1::StratumStatistics& stratum : draft.strata()) {
    uint16_t index = 0;
    if (!stratum.stratum().empty() && stratum.stratum() != "default") {
      index = static_cast<uint16_t>(subject.strata_names.size());
      subject.strata_names.push_back(stratum.stratum());
    }
    const core::ItemTraits traits{
        .length = stratum.length_mean() > 0 ? static_cast<float>(stratum.length_mean()) : 1,
        .stratum = index,
        .importance =
            stratum.importance_mean() > 0 ? static_cast<float>(stratum.importance_mean()) : 1};
    const int64_t count =
        (std::max<int64_t>(0, stratum.items()) + subject.scale - 1) / subject.scale;
    subject.traits.insert(subject.traits.end(), static_cast<size_t>(count), traits);
  }
  return subject;
}

}  // namespace

void Coordinator::PlanJob(const v1::PlanJobRequest& request, Reply<v1::SplitPlan> reply) {
  Partitions& partitions = impl_->partitions_;
  // The least that an answer may cost, as the core reckons. UNAVAILABLE where a pool's home cannot
  // be asked; FAILED_PRECONDITION (POOL_NOT_FOUND) where none of them is there any more.
  const auto price_of = [&](const core::JobPolicy& policy) -> absl::StatusOr<core::Micros> {
    std::optional<core::Micros> least;
    for (const std::string& id : policy.pools) {
      core::Micros pool_price = 0;
      if (policy.AsksPoolForPrice(id)) {
        const uint32_t home = partitions.PoolHome(id);
        TESSERA_RETURN_IF_ERROR(partitions.Accepting(home));
        const core::Pool* pool = partitions.partition(home).FindPool(id);
        if (pool == nullptr) continue;
        pool_price = pool->price_micros;
      }
      const core::Micros price = policy.PriceIn(id, pool_price);
      least = std::min(least.value_or(price), price);
    }
    if (least.has_value()) return *least;
    return Error(StatusCode::kFailedPrecondition, "POOL_NOT_FOUND",
                 "none of the pools that would price an answer is there any more");
  };
  if (request.has_draft()) {
    const auto plan = [&]() -> absl::StatusOr<v1::SplitPlan> {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> classes,
                               ClassesOf(request.draft().template_(), "draft.template"));
      TESSERA_ASSIGN_OR_RETURN(core::JobPolicy policy,
                               PolicyFromProto(request.draft().policy(), 1, "draft.policy"));
      TESSERA_RETURN_IF_ERROR(impl_->CheckPools(policy, "draft.policy"));
      Subject subject = SubjectOf(request.draft(), std::move(policy));
      subject.classes = static_cast<uint32_t>(classes.size());
      TESSERA_ASSIGN_OR_RETURN(const core::Micros price, price_of(subject.policy));
      return PlanToProto(PlanSubject(subject, price), subject.policy, subject.policy.split.cost,
                         price, subject.policy.budget_micros);
    };
    absl::StatusOr<v1::SplitPlan> planned = plan();
    return partitions.AnswerAll(std::move(reply), std::move(planned));
  }
  const absl::StatusOr<JobRef> job = partitions.FindJob(request.job());
  if (!job.ok()) {
    return partitions.Refuse(std::move(reply), job.status(), partitions.PartitionOf(request.job()));
  }
  const auto plan = [&](JobRef ref) -> absl::StatusOr<v1::SplitPlan> {
    const core::Partition& partition = partitions.partition(ref.partition);
    const core::JobView view = *partition.Job(ref.job);
    if (core::Ended(view.phase)) {
      return Error(StatusCode::kFailedPrecondition, "JOB_ENDED", "the job has ended");
    }
    std::optional<core::JobPolicy> instead;
    if (request.has_policy_override()) {
      TESSERA_ASSIGN_OR_RETURN(instead, PolicyFromProto(request.policy_override(),
                                                        view.policy.split.seed, "policy_override"));
      TESSERA_RETURN_IF_ERROR(impl_->CheckPools(*instead, "policy_override"));
    }
    const core::JobPolicy& policy = instead.has_value() ? *instead : view.policy;
    TESSERA_ASSIGN_OR_RETURN(const core::Micros price, price_of(policy));
    for (const std::string& pool : policy.pools) partitions.ShowPool(pool, ref.partition);
    TESSERA_ASSIGN_OR_RETURN(const core::SplitPlan plan,
                             partition.PlanJob(ref.job, instead.has_value() ? &*instead : nullptr));
    const bool learns = policy.split.strategy == core::SplitStrategy::kAdaptive;
    return PlanToProto(
        plan, policy, learns ? view.cost : policy.split.cost, price,
        std::max<core::Micros>(0, policy.budget_micros - view.ledger.committed_micros()));
  };
  // Pools may be at home elsewhere.
  partitions.AnswerAll(std::move(reply), plan(*job));
}

}  // namespace tessera::edge
