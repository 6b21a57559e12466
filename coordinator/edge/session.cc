#include "coordinator/edge/session.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/errors.h"

namespace tessera::edge {

absl::StatusOr<std::string> Session::WorkerOf(absl::string_view worker) const {
  if (!absl::StrContains(worker, '/')) {
    return WorkerName{platform_.empty() ? "default" : platform_, std::string(worker)}.ToString();
  }
  if (!Owns(worker)) {
    return Error(absl::StatusCode::kPermissionDenied, "PLATFORM_DENIED",
                 "the worker is another platform's")
        .Field("worker", absl::StrCat("must be of platforms/", platform_));
  }
  return std::string(worker);
}

bool Session::Owns(absl::string_view worker_name) const {
  return platform_.empty() ||
         absl::StartsWith(worker_name, absl::StrCat("platforms/", platform_, "/"));
}

void Session::Send(v1::WorkResponse response, absl::Time now) {
  if (stream_->sink == nullptr) return;
  if (!welcomed_) {
    if (!response.has_welcome()) return before_welcome_.MergeFrom(response);
    welcomed_ = true;
    response.MergeFrom(std::exchange(before_welcome_, {}));
  }
  said_at_ = now;
  stream_->sink->Send(std::move(response));
}

std::shared_ptr<void> Session::OnTheWay(size_t bytes) {
  stream_->Add(bytes);
  return {nullptr, [stream = stream_, bytes](void*) { stream->Remove(bytes); }};
}

void Session::Stream::Add(size_t bytes) {
  on_the_way += bytes;
  if (sink != nullptr) sink->SetOnTheWay(on_the_way);
}

void Session::Stream::Remove(size_t bytes) {
  on_the_way -= bytes;
  if (sink != nullptr) sink->SetOnTheWay(on_the_way);
}

void Session::Close(absl::Status status) {
  if (stream_->sink != nullptr) std::exchange(stream_->sink, nullptr)->Close(std::move(status));
}

}  // namespace tessera::edge
