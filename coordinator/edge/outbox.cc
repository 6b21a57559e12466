#include "coordinator/edge/outbox.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::edge {
namespace {

// What an assignment has beside its items and its job's template.
constexpr size_t kAssignmentBytes = 1 << 10;

}  // namespace

Outbox::Batch& Outbox::BatchOf(uint64_t session, uint32_t partition) {
  std::shared_ptr<Batch>& batch = batches_[partition][session];
  if (batch == nullptr) {
    batch = std::make_shared<Batch>();
    batch->session = session;
    batch->partition = partition;
  }
  return *batch;
}

v1::WorkResponse& Outbox::At(uint64_t session, uint32_t partition) {
  return BatchOf(session, partition).response;
}

void Outbox::Assign(uint64_t session, Assignment assignment) {
  if (Session* const s = find_(session)) {
    const JobRef job = assignment.job;
    size_t bytes = kAssignmentBytes +
                   assignment.items.size() * partitions_->host(job.partition).ItemBytesMax(job.job);
    if (!s->HasTemplate(job)) bytes += partitions_->job(job).head.identity.document.size();
    assignment.on_the_way = s->OnTheWay(bytes);
  }
  BatchOf(session, assignment.job.partition).assignments.push_back(std::move(assignment));
}

void Outbox::Flush() {
  std::map<uint64_t, v1::WorkResponse> now = std::exchange(now_, {});
  std::map<uint32_t, Batches> all = std::exchange(batches_, {});
  for (auto& [partition, batches] : all) {
    for (auto& [session, batch] : batches) {
      if (const auto said = now.find(session); said != now.end()) {
        batch->response.MergeFrom(said->second);
        now.erase(said);
      }
    }
    if (!partitions_->Serving(partition)) {
      for (const auto& [session, batch] : batches)
        fail_(session, partitions_->Accepting(partition));
      continue;
    }
    // The reads first: what is in memory is there when the commit is.
    std::vector<std::shared_ptr<Batch>> granting, refusing;
    for (auto& [session, batch] : batches) {
      Read(batch);
      (batch->response.rejected().empty() ? granting : refusing).push_back(batch);
    }
    PartitionHost& host = partitions_->host(partition);
    if (!granting.empty()) host.WhenCommitted(Sending(std::move(granting)));
    if (!refusing.empty()) host.WhenOwned(Sending(std::move(refusing)));
  }
  for (auto& [session, response] : now) {
    if (Session* s = find_(session)) s->Send(std::move(response), partitions_->now());
  }
}

std::function<void(absl::Status)> Outbox::Sending(std::vector<std::shared_ptr<Batch>> batches) {
  return [this, batches = std::move(batches)](const absl::Status& committed) {
    for (const std::shared_ptr<Batch>& batch : batches) {
      if (!committed.ok()) {
        fail_(batch->session, Partitions::Unknown(committed));
        continue;
      }
      batch->committed = true;
      Send(*batch);
    }
  };
}

void Outbox::Read(const std::shared_ptr<Batch>& batch) {
  std::map<core::JobIndex, std::vector<Assignment>> by_job;
  for (Assignment& a : batch->assignments) by_job[a.job.job].push_back(std::move(a));
  batch->assignments.clear();
  for (auto& [job, assignments] : by_job) Read(batch, job, std::move(assignments));
}

void Outbox::Read(const std::shared_ptr<Batch>& batch, core::JobIndex job,
                  std::vector<Assignment> assignments) {
  std::vector<core::ItemIndex> items;
  for (const Assignment& a : assignments) items.insert(items.end(), a.items.begin(), a.items.end());
  partitions_->host(batch->partition)
      .ReadPayloads(job, std::move(items),
                    [this, batch, job, assignments = std::move(assignments)](
                        absl::StatusOr<std::vector<core::Payload>> payloads) mutable {
                      OnPayloads(batch, job, std::move(assignments), std::move(payloads));
                    });
}

void Outbox::OnPayloads(const std::shared_ptr<Batch>& batch, core::JobIndex job,
                        std::vector<Assignment> assignments,
                        absl::StatusOr<std::vector<core::Payload>> payloads) {
  if (absl::IsNotFound(payloads.status())) return;  // The job was deleted meanwhile.
  if (absl::IsDataLoss(payloads.status())) {
    // One of them has lost an item, and cannot be sent; which one shows when each is read by itself.
    if (assignments.size() == 1) return;
    for (Assignment& a : assignments) {
      std::vector<Assignment> one;
      one.push_back(std::move(a));
      Read(batch, job, std::move(one));
    }
    return;
  }
  if (!payloads.ok()) return fail_(batch->session, Partitions::Unread(payloads.status()));
  auto payload = payloads->begin();
  for (Assignment& a : assignments) {
    for (size_t i = 0; i < a.items.size(); ++i, ++payload) {
      v1::Item item;
      item.ParseFromString(payload->bytes);  // Ours: written by AddItems.
      v1::AssignedItem& out = *a.message.add_items();
      out.set_key(std::move(payload->key));
      *out.mutable_content() = std::move(*item.mutable_content());
      out.set_language(std::move(*item.mutable_language()));
      out.set_length(item.length() > 0 ? item.length() : 1);
    }
    batch->ready.push_back(std::move(a));
  }
  if (batch->committed) Send(*batch);
}

void Outbox::Send(Batch& batch) {
  Session* const session = find_(batch.session);
  if (session == nullptr || !partitions_->Serving(batch.partition)) return;
  v1::WorkResponse response = std::exchange(batch.response, {});
  const core::RecordId head = partitions_->host(batch.partition).status().head;
  v1::CommitPosition position;
  position.set_partition(absl::StrCat("partitions/", PartitionId(batch.partition)));
  position.set_epoch(head.epoch);
  position.set_sequence(head.sequence);
  for (v1::Committed& committed : *response.mutable_committed()) {
    *committed.mutable_position() = position;
  }
  for (v1::Revoked& revoked : *response.mutable_revoked()) *revoked.mutable_position() = position;
  std::vector<Assignment> ready = std::exchange(batch.ready, {});
  for (Assignment& a : ready) {
    const core::JobState* job = partitions_->state(batch.partition).job(a.job.job);
    const core::LiveAssignment* live = job == nullptr ? nullptr : job->leases.Find(a.sequence);
    if (live == nullptr || live->expired) continue;  // It ended while its items were being read.
    if (a.with_drafts) {
      const JobWords& words = partitions_->words(a.job);
      for (size_t i = 0; i < a.items.size(); ++i) {
        const core::LeasedItem* leased = live->Find(a.items[i]);
        if (leased == nullptr) continue;
        v1::AssignedItem& item = *a.message.mutable_items(static_cast<int>(i));
        item.set_draft_edit(static_cast<int64_t>(leased->edit));
        if (leased->draft == core::kNoLabel) continue;  // There was none, or it was withdrawn.
        *item.mutable_draft() = ChoiceAnswer(words, leased->draft);
      }
    }
    if (session->NeedsTemplate(a.job)) {
      *response.add_templates() = TemplateToProto(job->head.identity);
    }
    *response.add_assigned() = std::move(a.message);
  }
  ready.clear();  // It is here, and counts there from now on.
  if (response.ByteSizeLong() > 0) session->Send(std::move(response), partitions_->now());
}

}  // namespace tessera::edge
