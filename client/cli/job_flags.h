// What the flags of `submit` and `plan` say about a job and its items.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/items.h"
#include "tessera/v1/job.pb.h"
#include "tessera/v1/template.pb.h"

namespace tessera::client {

// The template of --template or --classes. Usage error with neither or both.
absl::StatusOr<v1::TaskTemplate> TemplateOf(const Invocation& call, absl::string_view title);

// Writes what --policy and the flags say into `policy`; the rest of it stays. What a flag says
// stands instead of what the policy says, lists included; --pool-price instead of its price for
// that pool.
absl::Status ApplyPolicyFlags(const Invocation& call, absl::Time now, v1::Policy* policy);

// The part of it that `update` may change as well: budget, priority, deadline (`none`: no deadline)
// and the numbers of quality.
absl::Status ApplyUpdatableFlags(const Invocation& call, absl::Time now, v1::Policy* policy);

// Some flag says something about the policy.
bool HasPolicyFlags(const Invocation& call);

ItemColumns ColumnsOf(const Invocation& call);

// An instant: RFC 3339, or a duration from `now` on.
absl::StatusOr<absl::Time> ParseTime(absl::string_view flag, absl::string_view text,
                                     absl::Time now);

// `default` and `pools/default` are the same.
std::string PoolName(absl::string_view pool);

// A whole file as text. Errors as OpenFile() (client/files.h); UNAVAILABLE if reading fails.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace tessera::client
