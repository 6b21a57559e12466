// Requesters' calls about items, results and money.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/errors.h"
#include "common/status_macros.h"
#include "coordinator/edge/coordinator_impl.h"
#include "coordinator/edge/message_size.h"
#include "coordinator/edge/tokens.h"

namespace tessera::edge {
namespace {

using absl::StatusCode;

constexpr size_t kStrataMax = 256;
// Items looked at for one page of a list that is filtered by state.
constexpr uint32_t kItemsLookedAtMax = 100'000;

absl::Status Invalid(absl::string_view reason, absl::string_view field, absl::string_view what) {
  return Error(StatusCode::kInvalidArgument, reason, absl::StrCat(field, " ", what))
      .Field(field, what);
}

// One batch of intake on its way in: what is new of it.
class Intake {
 public:
  Intake(PartitionHost& host, core::JobIndex index, const core::JobState& job,
         const JobWords& words)
      : host_(host), index_(index), job_(job), words_(words) {
    const std::vector<std::string>& names = job.head.strata_names;
    for (size_t i = 0; i < names.size(); ++i) strata_[names[i]] = static_cast<uint16_t>(i);
  }

  // Takes item `i` of the batch in; ALREADY_EXISTS, INVALID_ARGUMENT.
  absl::Status Add(int i, const v1::Item& item) {
    const std::string path = absl::StrCat("items[", i, "]");
    core::ItemTraits traits{
        .length = item.length() > 0 ? static_cast<float>(item.length()) : 1,
        .importance = item.importance() > 0 ? static_cast<float>(item.importance()) : 1};
    // Of a job whose workers all have the item's language nobody else can be given the item.
    const std::vector<std::string>& languages = job_.head.policy.languages;
    if (!item.language().empty() && (languages.size() != 1 || languages[0] != item.language())) {
      return NotServed(absl::StrCat(path, ".language"), "an item in a language of its own");
    }
    if (item.has_gold()) {
      TESSERA_ASSIGN_OR_RETURN(const std::string choice,
                               ChoiceOf(item.gold(), words_.field, absl::StrCat(path, ".gold")));
      const auto found = std::find(words_.classes.begin(), words_.classes.end(), choice);
      if (found == words_.classes.end()) {
        return Invalid("ANSWER_DOES_NOT_FIT", absl::StrCat(path, ".gold.fields[0].choice"),
                       "must be one of the template's classes");
      }
      traits.gold = static_cast<core::Label>(found - words_.classes.begin());
    }
    v1::Item kept = item;
    kept.clear_gold();  // Kept in the traits, so that no message to a worker can hold it.
    core::Payload payload{.key = item.key(), .bytes = SerialiseCanonical(kept)};

    if (const auto there = host_.FindKey(index_, item.key())) {
      const bool same = there->payload_digest == host_.PayloadDigest(payload.bytes) &&
                        job_.items.Traits(there->item).gold == traits.gold;
      if (!same) return Differs(i, "is there with another content");
      ++present_;
      return absl::OkStatus();
    }
    const auto [twin, fresh] = by_key_.try_emplace(item.key(), payloads_.size());
    if (!fresh) {
      const bool same = payloads_[twin->second].bytes == payload.bytes &&
                        traits_[twin->second].gold == traits.gold;
      if (!same) return Differs(i, "is twice in the batch with different contents");
      ++present_;
      return absl::OkStatus();
    }
    TESSERA_ASSIGN_OR_RETURN(traits.stratum, StratumOf(item.stratum(), path));
    plain_ = plain_ && traits == core::ItemTraits();
    traits_.push_back(traits);
    payloads_.push_back(std::move(payload));
    return absl::OkStatus();
  }

  // What is to be said of an item that is another than it was.
  static absl::Status Differs(int i, absl::string_view what) {
    const std::string path = absl::StrCat("items[", i, "].key");
    return Error(StatusCode::kAlreadyExists, "ITEM_DIFFERS", absl::StrCat(path, " ", what))
        .Field(path, what);
  }

  uint32_t fresh() const { return static_cast<uint32_t>(payloads_.size()); }
  uint32_t present() const { return present_; }
  std::vector<core::ItemTraits> TakeTraits() {
    return plain_ ? std::vector<core::ItemTraits>() : std::move(traits_);
  }
  std::vector<std::string> TakeNewStrata() { return std::move(new_strata_); }
  std::vector<core::Payload> TakePayloads() { return std::move(payloads_); }

 private:
  absl::StatusOr<uint16_t> StratumOf(const std::string& name, absl::string_view path) {
    if (name == "default") return uint16_t{0};  // Which the core calls "".
    const auto [found, fresh] = strata_.try_emplace(name, static_cast<uint16_t>(strata_.size()));
    if (fresh) {
      if (strata_.size() > kStrataMax) {
        return Invalid("FIELD_OUT_OF_LIMITS", absl::StrCat(path, ".stratum"),
                       absl::StrCat("is one more than the ", kStrataMax, " strata of a job"));
      }
      new_strata_.push_back(name);
    }
    return found->second;
  }

  PartitionHost& host_;
  const core::JobIndex index_;
  const core::JobState& job_;
  const JobWords& words_;
  absl::flat_hash_map<std::string, uint16_t> strata_;
  absl::flat_hash_map<std::string, size_t> by_key_;  // Place among the new ones.
  std::vector<core::ItemTraits> traits_;
  std::vector<core::Payload> payloads_;
  std::vector<std::string> new_strata_;
  uint32_t present_ = 0;
  bool plain_ = true;
};

}  // namespace

// --- Intake --------------------------------------------------------------------------------------

absl::StatusOr<v1::AddItemsResponse> Coordinator::Impl::AddItems(
    JobRef ref, const v1::AddItemsRequest& request) {
  PartitionHost& host = partitions_.host(ref.partition);
  const core::JobState& job = partitions_.job(ref);
  core::AddItems command{.job = ref.job,
                         .offset = static_cast<uint64_t>(request.offset()),
                         .size = static_cast<uint32_t>(request.items_size())};
  Intake intake(host, ref.job, job, partitions_.words(ref));
  // The next batch is looked into, and whether a repeat is one; of any other the core says what it
  // is.
  const bool next = command.offset == job.head.committed_offset;
  const bool repeat = command.offset + command.size <= job.head.committed_offset;
  for (int i = 0; (next || repeat) && i < request.items_size(); ++i) {
    TESSERA_RETURN_IF_ERROR(intake.Add(i, request.items(i)));
    if (repeat && intake.fresh() > 0) {
      return intake.Differs(i, "is not among the items that were added at this offset");
    }
  }
  command.fresh = intake.fresh();
  command.traits = intake.TakeTraits();
  command.new_strata = intake.TakeNewStrata();
  TESSERA_ASSIGN_OR_RETURN(const core::ItemsAddedReply added,
                           host.partition().AddItems(command, partitions_.now()));
  v1::AddItemsResponse response;
  response.set_committed_offset(static_cast<int64_t>(added.committed_offset));
  response.set_added(intake.fresh());
  response.set_present(intake.present());
  if (intake.fresh() > 0) {
    host.AddPayloads({.job = ref.job, .first = added.first, .payloads = intake.TakePayloads()});
  }
  return response;
}

bool Coordinator::AddItems(const v1::AddItemsRequest& request, Reply<v1::AddItemsResponse> reply) {
  bool taken = false;
  impl_->partitions_.Call(request.job(), std::move(reply), [&](JobRef job) {
    absl::StatusOr<v1::AddItemsResponse> response = impl_->AddItems(job, request);
    taken = response.ok();
    if (taken) return response;
    // Whatever the error, the next batch begins here.
    ErrorDetails details = GetDetails(response.status());
    const bool said =
        std::any_of(details.metadata.begin(), details.metadata.end(),
                    [](const auto& entry) { return entry.first == "committed_offset"; });
    if (!said) {
      details.metadata.emplace_back(
          "committed_offset", absl::StrCat(impl_->partitions_.job(job).head.committed_offset));
    }
    return absl::StatusOr<v1::AddItemsResponse>(WithDetails(response.status(), details));
  });
  return taken;
}

void Coordinator::WhenUploadRoom(absl::string_view job, std::function<void()> add) {
  const std::optional<uint32_t> partition = impl_->partitions_.PartitionOf(job);
  if (!partition.has_value()) return add();  // It will be refused.
  impl_->partitions_.WhenUploadRoom(*partition, std::move(add));
}

// --- Results -------------------------------------------------------------------------------------

void Coordinator::ListResults(const v1::ListResultsRequest& request,
                              Reply<v1::ListResultsResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  const absl::StatusOr<JobRef> found = partitions.FindJob(request.parent());
  if (!found.ok()) {
    return partitions.Refuse(std::move(reply), found.status(),
                             partitions.PartitionOf(request.parent()));
  }
  const JobRef ref = *found;
  const std::string scope = partitions.TokenScope(ref);
  ItemsCursor cursor;
  if (!request.page_token().empty()) {
    const auto decoded =
        DecodeToken<ItemsCursor>(partitions.ids(), "items", scope, request.page_token());
    if (!decoded.has_value()) {
      return partitions.Refuse(std::move(reply), BadPageToken(), ref.partition);
    }
    cursor = *decoded;
  }
  const core::Partition& partition = partitions.partition(ref.partition);
  const core::JobState& job = partitions.job(ref);
  const JobWords& words = partitions.words(ref);
  const uint32_t items = job.items.size();
  const auto end =
      static_cast<uint32_t>(std::min<uint64_t>(items, uint64_t{cursor.next} + kItemsLookedAtMax));
  v1::ListResultsResponse response;
  std::vector<core::ItemIndex> listed;
  size_t bytes = 0;
  for (; cursor.next < end && listed.size() < PageSize(request.page_size()) &&
         bytes < kMessageBytesMax;
       ++cursor.next) {
    // The state first: many items are looked at for few that are wanted.
    const v1::ItemState state = StateToProto(job.EffectiveState(job.items.State(cursor.next)));
    const auto& states = request.states();
    if (!states.empty() && std::find(states.begin(), states.end(), state) == states.end()) {
      continue;
    }
    v1::Result result = ResultToProto(partition.Item(ref.job, cursor.next), job.head, words);
    bytes += result.ByteSizeLong() + kItemKeyBytesMax;
    *response.add_results() = std::move(result);
    listed.push_back(cursor.next);
  }
  if (cursor.next < items) {
    response.set_next_page_token(EncodeToken(partitions.ids(), "items", scope, cursor));
  }
  partitions.host(ref.partition)
      .ReadPayloads(
          ref.job, std::move(listed),
          [reply, response = std::move(response)](
              absl::StatusOr<std::vector<core::Payload>> payloads) mutable {
            if (!payloads.ok()) return reply(Partitions::Unread(payloads.status()));
            for (size_t i = 0; i < payloads->size(); ++i) {
              response.mutable_results(static_cast<int>(i))->set_item_key((*payloads)[i].key);
            }
            reply(std::move(response));
          });
}

void Coordinator::ExplainItem(const v1::ExplainItemRequest& request,
                              Reply<v1::ItemExplanation> reply) {
  Partitions& partitions = impl_->partitions_;
  const absl::StatusOr<JobRef> found = partitions.FindJob(request.job());
  if (!found.ok()) {
    return partitions.Refuse(std::move(reply), found.status(),
                             partitions.PartitionOf(request.job()));
  }
  const JobRef ref = *found;
  PartitionHost& host = partitions.host(ref.partition);
  const auto entry = host.FindKey(ref.job, request.item_key());
  if (!entry.has_value()) {
    return partitions.Refuse(
        std::move(reply),
        Error(StatusCode::kNotFound, "ITEM_NOT_FOUND", absl::StrCat("no item ", request.item_key()))
            .Field("item_key", "is not in the job"),
        ref.partition);
  }
  const core::Partition& partition = host.partition();
  const core::JobState& state = partitions.job(ref);
  const JobWords& words = partitions.words(ref);
  const core::ItemStory story = partition.Explain(ref.job, entry->item);
  v1::ItemExplanation out =
      ExplanationToProto(story, state, words, partitions.ids(), ref.partition);
  if (story.item.state == core::ItemState::kWaiting ||
      story.item.state == core::ItemState::kInProgress) {
    const auto fit = state.fits.find(story.item.fit);
    const core::Fit prior = core::PriorFit(static_cast<uint16_t>(words.classes.size()),
                                           impl_->options_.host.partition.fit);
    // Of a worker whom no fit knows: an average one.
    out.set_expected_gain(core::ExpectedGain(fit == state.fits.end() ? prior : fit->second.fit,
                                             story.posterior, core::WorkerIndex(UINT32_MAX)));
  }
  v1::Answer gold = ChoiceAnswer(words, story.item.traits.gold);
  host.ReadPayloads(ref.job, {entry->item},
                    [reply, out = std::move(out), gold = std::move(gold)](
                        absl::StatusOr<std::vector<core::Payload>> payloads) mutable {
                      if (!payloads.ok()) return reply(Partitions::Unread(payloads.status()));
                      out.mutable_item()->ParseFromString(payloads->front().bytes);
                      if (gold.fields_size() > 0)
                        *out.mutable_item()->mutable_gold() = std::move(gold);
                      out.mutable_result()->set_item_key(payloads->front().key);
                      reply(std::move(out));
                    });
}

// --- Money ---------------------------------------------------------------------------------------

namespace {

struct CheckedReview {
  core::ReviewAnswer command;
  bool fresh = false;  // It changes something.
};

// The reviews, if all of them can be carried out.
absl::StatusOr<std::vector<CheckedReview>> CheckReviews(Partitions& partitions, JobRef ref,
                                                        const v1::ReviewAnswersRequest& request) {
  const core::JobState& job = partitions.job(ref);
  std::vector<CheckedReview> reviews;
  for (int i = 0; i < request.reviews_size(); ++i) {
    const v1::Review& review = request.reviews(i);
    const std::string path = absl::StrCat("reviews[", i, "]");
    const auto assignment = partitions.ids().ParseAssignment(review.assignment());
    if (!assignment.has_value() || JobRef{assignment->partition, assignment->id.job} != ref ||
        assignment->id.sequence >= job.head.next_sequence) {
      return Error(StatusCode::kNotFound, "ASSIGNMENT_NOT_FOUND", "the job has no such assignment")
          .Field(absl::StrCat(path, ".assignment"), "is not one of the job's");
    }
    if (review.item_key().empty()) {
      return Error(StatusCode::kUnimplemented, "NOT_SERVED",
                   "reviewing all answers of an assignment at once is not served yet")
          .Field(absl::StrCat(path, ".item_key"), "must be set");
    }
    const bool approve = review.decision() == v1::REVIEW_DECISION_APPROVE;
    if (!approve && review.reason().empty()) {
      return Invalid("FIELD_REQUIRED", absl::StrCat(path, ".reason"), "must say why");
    }
    const auto entry = partitions.host(ref.partition).FindKey(ref.job, review.item_key());
    const core::ItemRecord item = entry ? job.items.Get(entry->item) : core::ItemRecord();
    const core::ItemEntry* answer = item.FindAssignment(assignment->id.sequence);
    const bool rejected = answer != nullptr && (answer->status == core::ItemEntry::kRejected ||
                                                (answer->flags & core::ItemEntry::kUnpaid) != 0);
    if (answer == nullptr || (!answer->counted() && !rejected)) {
      return Error(StatusCode::kNotFound, "ANSWER_NOT_FOUND",
                   "the assignment has no accepted answer to this item")
          .Field(absl::StrCat(path, ".item_key"), "has no accepted answer in the assignment");
    }
    const bool approved = (answer->flags & core::ItemEntry::kApproved) != 0;
    if (approve ? rejected : approved) {
      return Error(StatusCode::kFailedPrecondition,
                   approved ? "ALREADY_APPROVED" : "ALREADY_REJECTED",
                   approved ? "the answer was approved" : "the answer was rejected")
          .Field(absl::StrCat(path, ".decision"), "contradicts an earlier one");
    }
    const bool twice = std::any_of(reviews.begin(), reviews.end(), [&](const CheckedReview& r) {
      return r.command.assignment == assignment->id && r.command.item == entry->item;
    });
    if (twice)
      return Invalid("VALUE_DUPLICATED", path, "reviews an answer that another one reviews");
    reviews.push_back({.command = {.assignment = assignment->id,
                                   .item = entry->item,
                                   .approve = approve,
                                   .reason = review.reason()},
                       .fresh = approve ? !approved : !rejected});
  }
  return reviews;
}

}  // namespace

void Coordinator::ReviewAnswers(const v1::ReviewAnswersRequest& request,
                                Reply<v1::ReviewAnswersResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  partitions.Call(
      request.job(), std::move(reply),
      [&](JobRef ref) -> absl::StatusOr<v1::ReviewAnswersResponse> {
        TESSERA_ASSIGN_OR_RETURN(const std::vector<CheckedReview> reviews,
                                 CheckReviews(partitions, ref, request));
        core::Partition& partition = partitions.partition(ref.partition);
        v1::ReviewAnswersResponse response;
        for (const CheckedReview& review : reviews) {
          TESSERA_RETURN_IF_ERROR(partition.ReviewAnswer(review.command, partitions.now()));
          if (!review.fresh) continue;
          if (review.command.approve) {
            response.set_approved(response.approved() + 1);
          } else {
            response.set_rejected(response.rejected() + 1);
          }
        }
        *response.mutable_ledger() =
            LedgerToProto(partitions.job(ref).head.ledger, partitions.words(ref).currency_code);
        return response;
      });
}

void Coordinator::PayBonus(const v1::PayBonusRequest& request, Reply<v1::PayBonusResponse> reply) {
  Partitions& partitions = impl_->partitions_;
  partitions.Call(
      request.job(), std::move(reply), [&](JobRef ref) -> absl::StatusOr<v1::PayBonusResponse> {
        if (!request.assignment().empty()) {
          return NotServed("assignment", "a bonus for one assignment");
        }
        TESSERA_RETURN_IF_ERROR(partitions.partition(ref.partition)
                                    .PayBonus({.job = ref.job,
                                               .worker = request.worker(),
                                               .amount_micros = request.amount_micros(),
                                               .request_id = request.request_id(),
                                               .reason = request.reason()},
                                              partitions.now()));
        v1::PayBonusResponse response;
        *response.mutable_ledger() =
            LedgerToProto(partitions.job(ref).head.ledger, partitions.words(ref).currency_code);
        return response;
      });
}

}  // namespace tessera::edge
