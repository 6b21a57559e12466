#include "coordinator/options.h"

#include <getopt.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace tessera {
namespace {

constexpr absl::string_view kHelp =
    R"(tessera-coordinator: the scheduler of Tessera. Serves gRPC until SIGTERM or SIGINT.

Usage: tessera-coordinator [FLAGS]

Where it listens
  --listen ADDRESS            host:port, [v6]:port or unix:path; port 0 takes any free one.
                              Default 127.0.0.1:7070. An address that others can reach needs
                              TLS and tokens.

Who may come in
  --tokens-file FILE          One token a line: sha256:HEX ROLES SCOPE. See docs/operations.md.
                              Read again on SIGHUP. Without it every caller may do everything.
  --tls-cert FILE             Certificate chain, PEM.
  --tls-key FILE              Its private key, PEM.
  --tls-client-ca FILE        Clients must show a certificate of this authority.
  --reflection on|off         Serve gRPC's server reflection, which asks for no token. Default on
                              where only this machine can ask.

Where it keeps things
  --data-dir FOLDER           Data of the private redis-server. Default tessera-data.
  --redis ADDRESS             Use this Redis (host:port or unix:path) instead of a private one.
  --redis-user USER           For its AUTH, with the password.
  --redis-password-file FILE  The password: the file's first line.
  --appendfsync WHEN          Of the private Redis: always (default), everysec or no. Only with
                              always is nothing lost that was acknowledged.
  --redis-memory-max BYTES    Of the private Redis. Default 0: no limit.
  --partitions N              Partitions. Fixed once there is data. Default 1.
  --no-trim                   Keep journals whole, for audits.

Limits
  --message-bytes-max BYTES   Of a message received; 4194304 or more. Default 8388608.
  --item-bytes-max BYTES      Of an item. Default 65536.
  --streams-max N             Streams open at once. Default 10000.
  --calls-max N               Calls in progress at once. Default 10000.
  --stream-queue-max BYTES    Waiting to be read by one gateway. Default 67108864.
  --queue-memory-max BYTES    Waiting to be read by all gateways. Default 1073741824.
  --reply-memory-max BYTES    Waiting to be read by all other clients. Default 1073741824.
  --demand-memory-max BYTES   For the demands of all gateways. Default 1073741824.
  --receive-memory-max BYTES  For messages coming in, of all connections. Default 1073741824.
  --upload-idle-max DURATION  Between two batches of a stream of items. Default 5m.

Start and end
  --name NAME                 What operators see as the owner of its partitions. Default the
                              host's name.
  --start-timeout DURATION    How long the store may take. Default 10m.
  --drain-timeout DURATION    How long gateways may take to leave. Default 10s.
  --log-level LEVEL           debug, info (default), warning or error; to stderr.
  --help                      This text.

When it is ready it prints one line on stdout: serving on ADDRESS

Exit status: 0 ended on request; 1 could not start; 2 a flag, or a file or Redis that a flag names,
is no good; 3 another coordinator took over; 4 the store failed or has lost data; 5 ended at once on
a second signal; 6 the disk of the data folder is full.
)";

absl::Status Refuse(absl::string_view flag, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, " ", why));
}

// Sets a flag from its value.
struct Flag {
  const char* name;
  bool takes_value;
  std::function<absl::Status(absl::string_view value)> set;
};

Flag Text(const char* name, std::string* out) {
  return {name, true, [name, out](absl::string_view value) {
            if (value.empty()) return Refuse(name, "needs a value");
            *out = std::string(value);
            return absl::OkStatus();
          }};
}

template <typename Number>
Flag Count(const char* name, int64_t low, int64_t high, Number* out) {
  return {name, true, [=](absl::string_view value) {
            int64_t number = 0;
            if (!absl::SimpleAtoi(value, &number) || number < low || number > high) {
              return Refuse(name, absl::StrCat("must be a number from ", low, " to ", high));
            }
            *out = static_cast<Number>(number);
            return absl::OkStatus();
          }};
}

Flag Time(const char* name, absl::Duration* out) {
  return {name, true, [=](absl::string_view value) {
            if (!absl::ParseDuration(value, out) || *out < absl::ZeroDuration() ||
                *out > absl::Hours(24)) {
              return Refuse(name, "must be a duration up to 24h, such as 5s or 2m");
            }
            return absl::OkStatus();
          }};
}

Flag Switch(const char* name, bool* out, bool value) {
  return {name, false, [=](absl::string_view) {
            *out = value;
            return absl::OkStatus();
          }};
}

std::vector<Flag> FlagsOf(CoordinatorFlags* flags) {
  return {
      Text("name", &flags->name),
      Text("listen", &flags->server.listen),
      Text("tokens-file", &flags->tokens_file),
      Text("tls-cert", &flags->server.tls.certificate),
      Text("tls-key", &flags->server.tls.key),
      Text("tls-client-ca", &flags->server.tls.client_ca),
      {"reflection", true,
       [flags](absl::string_view value) {
         if (value != "on" && value != "off") return Refuse("reflection", "must be on or off");
         flags->server.reflection = value == "on";
         return absl::OkStatus();
       }},
      Text("data-dir", &flags->data_dir),
      Text("redis", &flags->redis),
      Text("redis-user", &flags->redis_user),
      Text("redis-password-file", &flags->redis_password_file),
      {"appendfsync", true,
       [flags](absl::string_view value) {
         if (value != "always" && value != "everysec" && value != "no") {
           return Refuse("appendfsync", "must be always, everysec or no");
         }
         flags->appendfsync = std::string(value);
         return absl::OkStatus();
       }},
      Count("redis-memory-max", 0, INT64_MAX, &flags->redis_memory_bytes_max),
      Count("partitions", 1, 1024, &flags->partitions),
      Switch("no-trim", &flags->trim, false),
      // What the contract lets into a message has to pass: batches, requests of gateways.
      Count("message-bytes-max", 4 << 20, 1 << 30, &flags->limits.message_bytes_max),
      Count("item-bytes-max", 1024, 2 << 20, &flags->limits.items.item_bytes_max),
      Count("streams-max", 1, 1'000'000, &flags->limits.streams_max),
      Count("calls-max", 1, 1'000'000, &flags->limits.calls_max),
      // A caller's share, a quarter, has to hold two of the largest messages and more.
      Count("queue-memory-max", 32 << 20, INT64_MAX, &flags->limits.queue_memory_bytes_max),
      // A caller's share has to hold the largest reply, as a message and as its bytes.
      Count("reply-memory-max", 64 << 20, INT64_MAX, &flags->limits.reply_memory_bytes_max),
      Count("demand-memory-max", 1 << 20, INT64_MAX, &flags->limits.work.demand_memory_bytes_max),
      // A quarter of it, with the largest message on top, has to go in.
      Count("stream-queue-max", 8 << 20, 1 << 30, &flags->limits.stream_queue_bytes_max),
      Count("receive-memory-max", 64 << 20, INT64_MAX, &flags->limits.receive_memory_bytes_max),
      Time("upload-idle-max", &flags->limits.upload_idle_max),
      Time("start-timeout", &flags->start_timeout),
      Time("drain-timeout", &flags->drain_timeout),
      {"log-level", true,
       [flags](absl::string_view value) {
         const auto level = service::ParseLogLevel(value);
         if (!level.has_value()) {
           return Refuse("log-level", "must be debug, info, warning or error");
         }
         flags->log_level = *level;
         return absl::OkStatus();
       }},
      Switch("help", &flags->help, true),
  };
}

}  // namespace

absl::StatusOr<CoordinatorFlags> ParseFlags(int argc, char** argv) {
  CoordinatorFlags flags;
  const std::vector<Flag> known = FlagsOf(&flags);
  std::vector<option> options;
  for (const Flag& flag : known) {
    options.push_back({flag.name, flag.takes_value ? required_argument : no_argument, nullptr, 0});
  }
  options.push_back({nullptr, 0, nullptr, 0});
  opterr = 0;
  optind = 1;
  int index = 0;
  int code = 0;
  while ((code = getopt_long(argc, argv, ":h", options.data(), &index)) != -1) {
    if (code == 'h') {
      flags.help = true;
      continue;
    }
    if (code == ':' || code == '?') {
      const absl::string_view word = argv[optind - 1];
      return absl::InvalidArgumentError(absl::StrCat(
          word, code == ':' ? " needs a value" : " is no flag of this program", "; see --help"));
    }
    absl::Status status = known[static_cast<size_t>(index)].set(optarg == nullptr ? "" : optarg);
    if (!status.ok()) return status;
  }
  if (optind < argc) {
    return absl::InvalidArgumentError(absl::StrCat("'", argv[optind], "' is no flag; see --help"));
  }
  if (flags.redis.empty() && !(flags.redis_user.empty() && flags.redis_password_file.empty())) {
    return Refuse("redis-user", "and --redis-password-file go with --redis");
  }
  if (!flags.redis_user.empty() && flags.redis_password_file.empty()) {
    return Refuse("redis-user", "needs the password: say --redis-password-file FILE");
  }
  return flags;
}

std::string HelpText() { return std::string(kHelp); }

}  // namespace tessera
