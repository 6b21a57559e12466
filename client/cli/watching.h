// Following a job on the terminal, in plain lines or as JSON.
#pragma once

#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/cli/terminal.h"
#include "client/client.h"
#include "tessera/v1/job.pb.h"

namespace tessera::client {

// Shows one status after another: drawn again in place on a terminal, a line at a time otherwise
// (where only counts have changed not more often than `line_every`, and never the same twice), one
// JSON object a line with json.
// Where fewer items are done than were shown before, a note says why; programs see it in `fit`.
class StatusView {
 public:
  StatusView(std::ostream* out, Terminal terminal, bool json,
             absl::Duration line_every = absl::Seconds(1));

  void Show(const v1::JobStatus& status, bool last);
  // A line about something else, such as a break; it does not disturb the display.
  void Note(absl::string_view text);

 private:
  std::ostream* const out_;
  const Terminal terminal_;
  const bool json_;
  const absl::Duration line_every_;
  LiveDisplay display_;
  v1::Job shown_;  // What was shown last, for people.
  std::string note_;
  absl::Time note_until_ = absl::InfinitePast();
  std::string last_line_;
  std::string last_course_;
  absl::Time last_time_ = absl::InfinitePast();
};

// Until the job has ended: kExitOk where it was finalised, kExitRefused where it was cancelled.
absl::StatusOr<ExitCode> WatchToTheEnd(const Invocation& call, Client* client,
                                       const std::string& job, std::stop_token stop);

}  // namespace tessera::client
