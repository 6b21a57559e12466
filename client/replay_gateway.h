// A gateway that brings a recorded crowd (replay.h) over one WorkService stream, through restarts
// of the coordinator.
//
//   ReplayGateway gateway(client, crowd, {.replay = {.job = job.name(), .speed = 50}});
//   TESSERA_ASSIGN_OR_RETURN(ReplayOutcome outcome, gateway.Run(stop));
//
// It ends when the job has ended, when no worker has anything left, or when all who are left wait
// for work and none comes: for `idle_max` while the job says why (no eligible worker, no money, it
// waits for FinaliseJob), for `quiet_max` while it does not (their items are not in the job, or not
// yet). It waits on while the job is paused, before its start or at a limit of its rate, and, where
// no reason is given, while somebody else is at work on it.
//
// Threads: Run() blocks and uses two more threads, one that reads and one that watches the job.
// `on_status` is called on the watching one.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/crowd.h"
#include "client/replay.h"

namespace tessera::client {

struct ReplayGatewayOptions {
  ReplayOptions replay;
  absl::Duration idle_max = absl::Seconds(3);
  absl::Duration quiet_max = absl::Seconds(10);
  // Give up when no stream could be had for so long.
  absl::Duration reconnect_for = absl::Minutes(2);
  // Hears every status of the job, and what the crowd is doing.
  std::function<void(const v1::JobStatus&, const ReplayCounts&)> on_status;
  // Hears of a break that is being waited out.
  std::function<void(const absl::Status&)> on_break;
};

enum class ReplayEnd {
  kJobEnded,
  kNothingLeft,  // Every worker answered all that they had, or is not wanted any more.
  kIdle,         // The job wants nothing that those who are left could give.
  kStopped,      // On request.
};

struct ReplayOutcome {
  ReplayEnd end = ReplayEnd::kNothingLeft;
  ReplayCounts counts;
  int64_t reconnects = 0;
};

class ReplayGateway {
 public:
  // `client` outlives the gateway. An empty `replay.gateway` becomes a name made of the job's.
  ReplayGateway(Client* client, Crowd crowd, ReplayGatewayOptions options);
  ~ReplayGateway();

  // Runs to the end. An error is one that reconnecting did not get over.
  absl::StatusOr<ReplayOutcome> Run(std::stop_token stop);

 private:
  struct State;
  absl::Status RunStream(std::stop_token stop);
  void Watch(std::stop_token stop);

  Client* const client_;
  const ReplayGatewayOptions options_;
  std::unique_ptr<State> state_;
};

}  // namespace tessera::client
