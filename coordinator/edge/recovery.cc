#include "coordinator/edge/recovery.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/edge/backoff.h"

namespace tessera::edge {

using core::ItemIndex;
using core::JobIndex;
using core::kPayloadsPerPage;
using core::ObjectKey;
using core::ObjectKind;

namespace {

constexpr uint32_t kPagesPerRead = 64;  // About a megabyte.

}  // namespace

Recovery::Recovery(core::Store* store, KeyIndex* keys, PayloadPages* payloads,
                   RetryLater retry_later, Done done)
    : store_(store),
      keys_(keys),
      payloads_(payloads),
      retry_later_(std::move(retry_later)),
      done_(std::move(done)) {}

Recovery::~Recovery() {
  if (state_loader_ != nullptr) state_loader_->Cancel();
}

void Recovery::Start() {
  state_loader_ = std::make_shared<StateLoader>(
      store_, StateLoader::Options(), retry_later_,
      [this](absl::StatusOr<LoadedState> loaded) { OnState(std::move(loaded)); });
  state_loader_->Start();
}

void Recovery::OnState(absl::StatusOr<LoadedState> loaded) {
  if (!loaded.ok()) return Finish(loaded.status());
  loaded_ = *std::move(loaded);
  for (const LoadedState::Deletion& deletion : loaded_.deletions) {
    payloads_->Forget(deletion.job, deletion.items, deletion.record);
  }
  ReadPages();
}

void Recovery::ReadPages() {
  for (; job_ < loaded_.state.jobs(); ++job_, page_ = 0, tail_batch_ = 0) {
    const core::JobState* job = loaded_.state.job(JobIndex(job_));
    if (job == nullptr) continue;
    const uint32_t pages = (job->head.items + kPayloadsPerPage - 1) / kPayloadsPerPage;
    if (page_ >= pages) continue;

    const uint32_t count = std::min(pages - page_, kPagesPerRead);
    std::vector<std::string> names;
    names.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      names.push_back(ObjectKey{ObjectKind::kPayload, job_, page_ + i}.ToString());
    }
    using Objects = std::vector<std::optional<std::string>>;
    store_->ReadObjects(std::move(names),
                        lifeline_.Guard([this, count](absl::StatusOr<Objects> objects) {
                          if (objects.ok()) return OnPages(count, *std::move(objects));
                          if (!MayPass(objects.status())) return Finish(objects.status());
                          retry_later_(objects.status(), lifeline_.Guard([this] { ReadPages(); }));
                        }));
    return;
  }
  Finish(absl::OkStatus());
}

void Recovery::OnPages(uint32_t count, std::vector<std::optional<std::string>> pages) {
  if (pages.size() != count) {
    return Finish(absl::InternalError("the store answered for other pages than were asked for"));
  }
  for (const std::optional<std::string>& bytes : pages) {
    const absl::Status status = TakePage(page_, bytes);
    if (!status.ok()) return Finish(status);
    ++page_;
  }
  ReadPages();
}

absl::Status Recovery::TakePage(uint32_t number, const std::optional<std::string>& bytes) {
  const JobIndex job(job_);
  const ItemIndex first = number * kPayloadsPerPage;
  const ItemIndex end = std::min(first + kPayloadsPerPage, loaded_.state.job(job)->head.items);
  ItemIndex next = first;
  if (bytes.has_value()) {
    const ObjectKey key{ObjectKind::kPayload, job_, number};
    loaded_.sizes.Set(key, bytes->size());
    ++loaded_.pages;
    TESSERA_ASSIGN_OR_RETURN(PayloadPage page, DecodePayloadPage(key, *bytes));
    if (!loaded_.Knows(page.current) || page.payloads.size() > end - first) {
      return absl::DataLossError(absl::StrCat(
          "records after ", loaded_.last.ToString(), " up to ", page.current.ToString(),
          " are lost: ", key.ToString(), " is current to them"));
    }
    for (const core::Payload& payload : page.payloads) keys_->Add(job, payload.key, payload.bytes);
    next += static_cast<uint32_t>(page.payloads.size());
    payloads_->AddStored(job, number, std::move(page.payloads));
  }
  return TakeFromTail(next, end);
}

absl::Status Recovery::TakeFromTail(ItemIndex from, ItemIndex to) {
  const JobIndex job(job_);
  const auto intake = loaded_.intake.find(job);
  while (from < to) {
    const auto end_of = [](const core::PayloadBatch& batch) {
      return batch.first + static_cast<uint32_t>(batch.payloads.size());
    };
    const size_t batches = intake == loaded_.intake.end() ? 0 : intake->second.size();
    while (tail_batch_ < batches && end_of(intake->second[tail_batch_].batch) <= from)
      ++tail_batch_;
    if (tail_batch_ == batches || intake->second[tail_batch_].batch.first > from) {
      return absl::DataLossError(absl::StrCat("the payload of item ", from, " of job ", job_,
                                              " is neither in a page nor in the journal"));
    }
    const LoadedState::Intake& found = intake->second[tail_batch_];
    core::PayloadBatch part{.job = job, .first = from};
    for (; from < std::min(to, end_of(found.batch)); ++from) {
      const core::Payload& payload = found.batch.payloads[from - found.batch.first];
      keys_->Add(job, payload.key, payload.bytes);
      part.payloads.push_back(payload);
    }
    payloads_->Add(part, found.record);
  }
  return absl::OkStatus();
}

void Recovery::Finish(absl::Status status) {
  loaded_.intake.clear();
  if (status.ok()) return done_(std::move(loaded_));
  done_(std::move(status));
}

}  // namespace tessera::edge
