#include "client/cli/watching.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/words.h"
#include "client/json.h"
#include "client/messages.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

// State, why it is paused, why it stands still.
std::string CourseText(const v1::Job& job) {
  std::string text = StateText(job);
  for (const int reason : job.stall()) absl::StrAppend(&text, " ", reason);
  return text;
}

constexpr absl::Duration kNoteTime = absl::Seconds(5);  // On a display that is drawn again.

}  // namespace

StatusView::StatusView(std::ostream* out, Terminal terminal, bool json, absl::Duration line_every)
    : out_(out),
      terminal_(terminal),
      json_(json),
      line_every_(line_every),
      display_(out, terminal) {}

void StatusView::Show(const v1::JobStatus& status, bool last) {
  if (json_) {
    *out_ << ToJsonLine(status) << std::endl;  // Flushed: somebody may be reading along.
    return;
  }
  const absl::Time now = absl::Now();
  std::string line = StatusLine(status);
  // What a job does is told at once: after the last change before a standstill nothing may come
  // that would bring it along. Counts have time.
  std::string course = CourseText(status.job());
  const bool due = last || course != last_course_ || now - last_time_ >= line_every_;
  if (!terminal_.live && (line == last_line_ || !due)) return;
  const std::string note = ReopenedNote(shown_, status.job());
  shown_ = status.job();
  if (terminal_.live) {
    if (!note.empty()) {
      note_ = note;
      note_until_ = now + kNoteTime;
    }
    std::vector<std::string> block = StatusBlock(terminal_, status);
    if (now < note_until_) block.push_back(Styled(terminal_, Style::kDim, note_));
    display_.Show(block);
    return;
  }
  if (!note.empty()) *out_ << note << "\n";
  *out_ << line << std::endl;
  last_line_ = std::move(line);
  last_course_ = std::move(course);
  last_time_ = now;
}

void StatusView::Note(absl::string_view text) {
  if (json_) return;
  display_.Clear();
  *out_ << Printable(text) << std::endl;
}

absl::StatusOr<ExitCode> WatchToTheEnd(const Invocation& call, Client* client,
                                       const std::string& job, std::stop_token stop) {
  StatusView view(&call.out(), call.terminal(), call.json());
  v1::Job seen;
  bool broken = false;
  TESSERA_RETURN_IF_ERROR(client->WatchJob(
      job, stop,
      [&](const v1::JobStatus& status) {
        seen = status.job();
        broken = false;
        view.Show(status, HasEnded(seen));
        return call.out().good();  // Nobody reads on: RunCommand() says so.
      },
      [&](const absl::Status& status) {
        if (!std::exchange(broken, true)) {
          view.Note(absl::StrCat("waiting for the coordinator: ", std::string(status.message())));
        }
      }));
  return seen.state() == v1::JOB_STATE_CANCELLED ? kExitRefused : kExitOk;
}

}  // namespace tessera::client
