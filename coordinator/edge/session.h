// One gateway's stream: who it is, and what is said to it in which order.
//
// Messages wait until Welcome has been said, which itself waits for the commits that it speaks of.
// Assignments are large, so they are given only as far as the gateway reads them; see HasRoom().
// Templates are added to the message with the first assignment that needs them. A session says
// something at least once each heartbeat, and ends when its gateway said nothing for three.
//
// Threads: none; belongs to a WorkDesk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/edge/coordinator.h"
#include "coordinator/edge/partitions.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::edge {

class Session {
 public:
  // `platform`: an id, or "" for any. `sink` lives until Close() or the session's end.
  Session(uint64_t id, absl::string_view platform, SessionSink* sink, absl::Time now)
      : id_(id),
        platform_(platform),
        stream_(std::make_shared<Stream>(Stream{.sink = sink})),
        heard_at_(now),
        said_at_(now) {}
  ~Session() { stream_->sink = nullptr; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  uint64_t id() const { return id_; }
  const std::string& platform() const { return platform_; }

  // Key of the gateway in this coordinator, `{platform}/{gateway}`; empty before its Hello.
  const std::string& gateway() const { return gateway_; }
  void set_gateway(std::string gateway) { gateway_ = std::move(gateway); }

  // The full name of a worker of this session, from a full name or an id. PERMISSION_DENIED
  // (PLATFORM_DENIED).
  absl::StatusOr<std::string> WorkerOf(absl::string_view worker) const;
  // Whether a worker of this full name may be spoken for here.
  bool Owns(absl::string_view worker_name) const;

  // Sends, in order, Welcome first.
  void Send(v1::WorkResponse response, absl::Time now);

  // Whether the template of this job has to be sent now; true once.
  bool NeedsTemplate(JobRef job) { return templates_.insert(job).second; }
  bool HasTemplate(JobRef job) const { return templates_.contains(job); }

  // Whether one more assignment may be put on its way. Not before Welcome, and not while enough waits
  // to be read or is on its way there.
  bool HasRoom() const { return welcomed_ && stream_->sink != nullptr && stream_->sink->HasRoom(); }
  // Counts `bytes` as on their way to the sink for as long as what it gives lives.
  std::shared_ptr<void> OnTheWay(size_t bytes);

  // What the gateway knows looks lost. Until it has been found out it is not listened to.
  void Doubt() { doubted_ = true; }
  bool doubted() const { return doubted_; }

  void Heard(absl::Time now) { heard_at_ = now; }
  absl::Time heard_at() const { return heard_at_; }
  absl::Time said_at() const { return said_at_; }

  // Ends the stream; the sink is not used again.
  void Close(absl::Status status);

 private:
  // Outlives the session where something is still on its way.
  struct Stream {
    void Add(size_t bytes);
    void Remove(size_t bytes);

    SessionSink* sink = nullptr;  // Nothing once closed.
    size_t on_the_way = 0;
  };

  const uint64_t id_;
  const std::string platform_;
  const std::shared_ptr<Stream> stream_;
  std::string gateway_;
  bool welcomed_ = false;
  bool doubted_ = false;
  v1::WorkResponse before_welcome_;
  absl::flat_hash_set<JobRef> templates_;
  absl::Time heard_at_;
  absl::Time said_at_;
};

}  // namespace tessera::edge
