// What the contract's enums are called in the command's output, and jobs as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/terminal.h"
#include "tessera/v1/item.pb.h"
#include "tessera/v1/job.pb.h"
#include "tessera/v1/job_service.pb.h"
#include "tessera/v1/operator.pb.h"

namespace tessera::client {

// The end of an enum value's name in small letters: JOB_STATE_RUNNING is `running`.
std::string Word(v1::JobState state);
std::string Word(v1::ItemState state);
std::string Word(v1::Finality finality);
std::string Word(v1::StopReason reason);
std::string Word(v1::AnswerStatus status);
std::string Word(v1::PaymentStatus status);
std::string Word(v1::SplitStrategy strategy);
std::string Word(v1::PartitionState state);

// Why a job buys nothing right now, and what would help.
std::string StallText(const v1::Job& job, v1::StallReason reason);
// What would end each of the reasons for which a job is paused.
std::string PauseRemedy(const v1::Job& job);
// The same with what it means: `stands still: ...`, or `no new leases: ...` while open ones go on.
std::string StallLine(const v1::Job& job, v1::StallReason reason);
// The state with its reasons: `paused: out of budget`.
std::string StateText(const v1::Job& job);

// Why fewer items are done than before; empty where no fewer are.
std::string ReopenedNote(const v1::Job& before, const v1::Job& now);

// What an answer says: the value of its one field, or `field=value; ...`. Empty without any.
std::string AnswerText(const v1::Answer& answer);

// 1 item, 1,234 items.
std::string Plural(int64_t count, absl::string_view noun);

// The last segment of a name: a job's id, a worker's id.
std::string ShortName(absl::string_view name);

// 2 h 5 min, 3.2 s.
std::string DurationText(absl::Duration duration);
// 2024-03-01 12:00:05, in local time.
std::string TimeText(absl::Time time);

// What was spent: earned, approved, settled, bonuses and fees.
int64_t SpentMicros(const v1::Ledger& ledger);

// A job's progress as a block of lines with bars.
std::vector<std::string> StatusBlock(const Terminal& terminal, const v1::JobStatus& status);

// The same as one plain line.
std::string StatusLine(const v1::JobStatus& status);

// A plan, as a block of text. Without a budget of one's own, `plan` is made for a boundless one.
std::string PlanText(const Terminal& terminal, const v1::SplitPlan& plan, bool has_budget = true);

// An item's story.
std::string ExplanationText(const Terminal& terminal, const v1::ItemExplanation& explanation,
                            absl::string_view currency);

// Results as CSV: the heading, and one line for each.
std::string ResultCsvHeading();
std::string ResultCsv(const v1::Result& result);

}  // namespace tessera::client
