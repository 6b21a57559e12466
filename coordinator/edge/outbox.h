// What a turn has to say to gateways, kept until it may be said.
//
// A turn's entries for a session are gathered by the partition that decided them and leave in one
// message when that partition has committed them; with a refusal among them, when it is known to be
// ours besides, as in Partitions::Answer(). Assignments take their items' content along, read
// from the host meanwhile; where that has to come from the store, they follow in a message of their
// own and hold nothing else up. From when one is put here until it has been sent it counts as on its
// way (session.h), with the most that it may take.
//
// An assignment with an item that the store has lost is not sent. Its worker's credit is used, and
// its deadline gives it back: were it returned at once, everybody who asks would be leased it next.
// All others are sent, and the stream goes on.
//
//   outbox.At(session, partition).add_committed()...;
//   outbox.Assign(session, {.job = job, .items = lease.items, .message = ...});
//   outbox.Flush();                  // At the end of the turn.
//
// Threads: none; belongs to a WorkDesk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/leases.h"
#include "coordinator/core/record.h"
#include "coordinator/edge/partitions.h"
#include "coordinator/edge/session.h"
#include "tessera/v1/work_service.pb.h"

namespace tessera::edge {

class Outbox {
 public:
  // `find` gives the session of an id, or nothing once it has ended. `fail` ends one.
  Outbox(Partitions* partitions, std::function<Session*(uint64_t)> find,
         std::function<void(uint64_t, absl::Status)> fail)
      : partitions_(partitions), find_(std::move(find)), fail_(std::move(fail)) {}

  // Entries that may be said once the partition has committed what it decided so far.
  v1::WorkResponse& At(uint64_t session, uint32_t partition);
  // Entries that rest on no partition.
  v1::WorkResponse& Now(uint64_t session) { return now_[session]; }

  // An assignment whose items are still to be filled in.
  struct Assignment {
    JobRef job;
    uint32_t sequence = 0;
    std::vector<core::ItemIndex> items;
    bool with_drafts = false;          // It is sent again, with what is held.
    v1::Assigned message;              // Complete but for `items`.
    std::shared_ptr<void> on_the_way;  // Kept by Assign().
  };
  void Assign(uint64_t session, Assignment assignment);

  void Flush();

 private:
  struct Batch {
    uint64_t session = 0;
    uint32_t partition = 0;
    v1::WorkResponse response;
    std::vector<Assignment> assignments;
    std::vector<Assignment> ready;  // Their items are filled in.
    bool committed = false;
  };
  using Batches = std::map<uint64_t, std::shared_ptr<Batch>>;

  Batch& BatchOf(uint64_t session, uint32_t partition);
  // What sends these once they may be.
  std::function<void(absl::Status)> Sending(std::vector<std::shared_ptr<Batch>> batches);
  // Reads the items of the batch's assignments.
  void Read(const std::shared_ptr<Batch>& batch);
  // Those of some of its assignments of one job, together.
  void Read(const std::shared_ptr<Batch>& batch, core::JobIndex job,
            std::vector<Assignment> assignments);
  void OnPayloads(const std::shared_ptr<Batch>& batch, core::JobIndex job,
                  std::vector<Assignment> assignments,
                  absl::StatusOr<std::vector<core::Payload>> payloads);
  void Send(Batch& batch);

  Partitions* const partitions_;
  const std::function<Session*(uint64_t)> find_;
  const std::function<void(uint64_t, absl::Status)> fail_;
  std::map<uint32_t, Batches> batches_;
  std::map<uint64_t, v1::WorkResponse> now_;
};

}  // namespace tessera::edge
