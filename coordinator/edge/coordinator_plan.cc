// PlanJob: how a job would be split and what that would cost.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator_impl.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

// Of a draft with more items about so many are planned for all, each stratum in proportion, so that
// a plan takes as long as it may take the coordinator's thread.
constexpr int64_t kDraftItemsMax = 20'000;

// What is planned for a job that does not exist.
struct Subject {
  core::JobPolicy policy;
  uint32_t classes = 2;
  std::vector<core::ItemTraits> traits;
  std::vector<std::string> strata_names;
  std::vector<core::WaitingItems> sampled_from;  // Empty: `traits` are those of all items.
};

core::SplitPlan PlanSubject(const Subject& subject, core::Micros price) {
  return core::PlanSplit(
      subject.policy.split, subject.policy.quality,
      {.items = subject.traits.size(),
       .traits = subject.traits,
       .strata_names = subject.strata_names,
       .price_micros = price,
       .answers_per_item = core::GuessAnswersPerItem(subject.policy.quality, subject.classes),
       .budget_micros = subject.policy.budget_micros,
       .cost = subject.policy.split.cost,
       .sampled_from = subject.sampled_from});
}

Subject SubjectOf(const v1::JobDraft& draft, core::JobPolicy policy) {
  Subject subject{.policy = std::move(policy)};
  subject.strata_names.push_back("");
  int64_t items_in_all = 0;
  for (const v1::StratumStatistics& stratum : draft.strata()) items_in_all += stratum.items();
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
    int64_t count = stratum.items();
    if (items_in_all > kDraftItemsMax) {
      const uint16_t planned = core::PlannedStratum(subject.policy.split, traits);
      if (subject.sampled_from.size() <= planned) subject.sampled_from.resize(planned + size_t{1});
      const auto items = static_cast<double>(count);
      core::WaitingItems& all = subject.sampled_from[planned];
      all.items += static_cast<uint64_t>(count);
      all.units += items * traits.length;
      all.importance += items * traits.importance;
      count = std::max<int64_t>(1, count * kDraftItemsMax / items_in_all);
    }
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
