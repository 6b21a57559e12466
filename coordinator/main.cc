// tessera-coordinator: puts loop, store, coordinator and server together, and takes them apart
// again.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "coordinator/coordinator_thread.h"
#include "coordinator/options.h"
#include "coordinator/service/certificate_watch.h"
#include "coordinator/service/credentials.h"
#include "coordinator/service/library_logs.h"
#include "coordinator/service/log.h"
#include "coordinator/service/server.h"
#include "coordinator/service/service_context.h"
#include "coordinator/service/violations.h"
#include "coordinator/store/embedded_redis.h"

namespace tessera {
namespace {

using service::Log;
using service::LogLevel;

// Documented in options.cc and docs/operations.md.
enum ExitCode : int {
  kEnded = 0,
  kCannotStart = 1,
  kBadFlags = 2,
  kTakenOver = 3,
  kStoreFailed = 4,
  kEndedAtOnce = 5,
  kDiskFull = 6,
};

// Of the end of a coordinator, or of one that cannot start, for this reason.
ExitCode CodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return kBadFlags;
    case absl::StatusCode::kAborted:
      return kTakenOver;
    case absl::StatusCode::kDataLoss:
      return kStoreFailed;
    case absl::StatusCode::kResourceExhausted:
      return kDiskFull;
    default:
      return kCannotStart;
  }
}

// What the main thread waits for beside signals. Threads: any may tell.
class Happenings {
 public:
  Happenings() : fd_(eventfd(0, EFD_CLOEXEC)) { TESSERA_CHECK(fd_ >= 0); }
  ~Happenings() { close(fd_); }

  // The first one counts.
  void Tell(ExitCode code) {
    {
      const MutexLock lock(&mutex_);
      if (code_.has_value()) return;
      code_ = code;
    }
    const uint64_t one = 1;
    TESSERA_CHECK(write(fd_, &one, sizeof(one)) == sizeof(one));
  }
  std::optional<ExitCode> told() const {
    const MutexLock lock(&mutex_);
    return code_;
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
  mutable Mutex mutex_;
  std::optional<ExitCode> code_ ABSL_GUARDED_BY(mutex_);
};

// Blocks the signals that we wait for, in this thread and in those that it starts.
int WatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  TESSERA_CHECK(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  std::signal(SIGPIPE, SIG_IGN);
  const int fd = signalfd(-1, &signals, SFD_CLOEXEC);
  TESSERA_CHECK(fd >= 0);
  return fd;
}

// Ends the program on a signal to end that comes while it starts: nothing is served so far, so there
// is nothing to wait for. Redis ends with us.
class StartWatch {
 public:
  explicit StartWatch(int signals) : done_(eventfd(0, EFD_CLOEXEC)) {
    TESSERA_CHECK(done_ >= 0);
    thread_ = std::thread([this, signals] { Run(signals); });
  }
  ~StartWatch() {
    End();
    close(done_);
  }

  // Watches no more. Whether the tokens were to be read again meanwhile.
  bool End() {
    if (!thread_.joinable()) return reload_;
    const uint64_t one = 1;
    TESSERA_CHECK(write(done_, &one, sizeof(one)) == sizeof(one));
    thread_.join();
    return reload_;
  }

 private:
  void Run(int signals) {
    while (true) {
      pollfd fds[] = {{.fd = done_, .events = POLLIN, .revents = 0},
                      {.fd = signals, .events = POLLIN, .revents = 0}};
      if (poll(fds, 2, -1) < 0) continue;
      if (fds[0].revents != 0) return;
      signalfd_siginfo signal;
      if (read(signals, &signal, sizeof(signal)) != sizeof(signal)) continue;
      if (signal.ssi_signo == SIGHUP) {
        reload_ = true;
        continue;
      }
      Log(LogLevel::kInfo, "ended before it served");
      _exit(kEnded);
    }
  }

  const int done_;
  bool reload_ = false;  // Of the thread, until it has ended.
  std::thread thread_;
};

void Reload(service::Credentials& credentials) {
  const absl::Status status = credentials.Reload();
  if (status.ok()) {
    Log(LogLevel::kInfo, "tokens read again", {{"tokens", absl::StrCat(credentials.size())}});
  } else {
    Log(LogLevel::kError, "tokens stay as they were", {{"error", std::string(status.message())}});
  }
}

std::string HostName() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0) return "";
  return name;
}

int Fail(ExitCode code, absl::string_view doing, const absl::Status& status) {
  Log(LogLevel::kError, doing, {{"error", std::string(status.message())}});
  return code;
}

absl::StatusOr<std::unique_ptr<service::Credentials>> LoadCredentials(
    const CoordinatorFlags& flags) {
  TESSERA_RETURN_IF_ERROR(service::CheckDoors(flags.server, !flags.tokens_file.empty()));
  if (flags.tokens_file.empty()) return service::Credentials::Open();
  return service::Credentials::FromFile(flags.tokens_file);
}

absl::StatusOr<store::RedisConnection::Options> RedisOptions(const CoordinatorFlags& flags) {
  store::RedisConnection::Options options;
  TESSERA_ASSIGN_OR_RETURN(options.address, store::RedisAddress::Parse(flags.redis));
  options.user = flags.redis_user;
  if (!flags.redis_password_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const std::string text, service::ReadFile(flags.redis_password_file));
    options.password = std::string(absl::StripAsciiWhitespace(text.substr(0, text.find('\n'))));
    if (options.password.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the first line of ", flags.redis_password_file, " is empty; it must be the password"));
    }
  }
  return options;
}

void Look(service::CertificateWatch& certificate, absl::Time now) {
  if (!certificate.Due(now)) return;
  Log(LogLevel::kWarning,
      certificate.end() < now ? "the TLS certificate has ended" : "the TLS certificate ends soon",
      {{"end", absl::FormatTime(absl::RFC3339_sec, certificate.end(), absl::UTCTimeZone())}});
}

// Waits until `done` or `limit`. By asking: nothing that is told at the end would come sooner.
void WaitUntil(absl::FunctionRef<bool()> done, absl::Time limit) {
  while (!done() && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(10));
}

// Lets everybody leave: streams that go by themselves get the time to. False: somebody could not,
// such as a call that waits for a store which does not come back.
bool Drain(const CoordinatorFlags& flags, service::ServiceContext& context, service::Server& server,
           CoordinatorThread& thread) {
  const absl::Status ending = service::ErrorWith(absl::StatusCode::kUnavailable, v1::SHUTTING_DOWN,
                                                 "the coordinator is shutting down");
  server.EndServing();
  context.Close();
  thread.Post([&, ending](edge::Coordinator& coordinator) {
    context.streams().EndThoseThatDoNotDrain(ending);
    coordinator.Drain(flags.drain_timeout, [] {});
  });
  const auto idle = [&] { return context.idle(); };
  WaitUntil(idle, absl::Now() + flags.drain_timeout);
  thread.Post([&context, ending](edge::Coordinator&) { context.streams().EndAll(ending); });
  WaitUntil(idle, absl::Now() + absl::Seconds(2));
  if (!context.idle()) return false;         // The server would wait for them as well.
  server.Shutdown(absl::Milliseconds(100));  // For the last bytes.
  return true;
}

int Run(const CoordinatorFlags& flags) {
  const int signals = WatchSignals();
  Happenings happenings;

  absl::StatusOr<std::unique_ptr<service::Credentials>> credentials = LoadCredentials(flags);
  if (!credentials.ok()) return Fail(kBadFlags, "cannot start", credentials.status());
  // Before a folder is made or a Redis started for nothing.
  if (absl::Status status = service::CheckListening(flags.server, absl::Now()); !status.ok()) {
    return Fail(absl::IsUnavailable(status) ? kCannotStart : kBadFlags, "cannot start", status);
  }

  StartWatch starting(signals);
  CoordinatorThread::Options options;
  options.partitions = flags.partitions;
  options.start_timeout = flags.start_timeout;
  options.coordinator.name = flags.name.empty() ? HostName() : flags.name;
  options.coordinator.host.trim = flags.trim;
  options.coordinator.work = flags.limits.work;
  options.on_failure = [&](const absl::Status& status) {
    Log(LogLevel::kError, "a partition was lost", {{"error", status.ToString()}});
    happenings.Tell(absl::IsAborted(status) ? kTakenOver : kStoreFailed);
  };
  std::unique_ptr<store::EmbeddedRedis> redis;
  if (flags.redis.empty()) {
    absl::StatusOr<std::unique_ptr<store::EmbeddedRedis>> started =
        store::EmbeddedRedis::Start({.data_folder = flags.data_dir,
                                     .maxmemory_bytes = flags.redis_memory_bytes_max,
                                     .appendfsync = flags.appendfsync,
                                     .start_timeout = flags.start_timeout});
    if (!started.ok()) {
      // That another one uses the folder is no flaw of a flag: it may end.
      const bool in_use = absl::IsFailedPrecondition(started.status());
      return Fail(in_use ? kCannotStart : CodeOf(started.status()), "cannot start redis-server",
                  started.status());
    }
    redis = *std::move(started);
    redis->OnUnexpectedEnd([&](const absl::Status& why) {
      Log(LogLevel::kError, "redis-server ended", {{"error", std::string(why.message())}});
      happenings.Tell(absl::IsResourceExhausted(why) ? kDiskFull : kStoreFailed);
    });
    if (redis->cut_end()) {
      Log(LogLevel::kError,
          "the append-only file had a broken end, which redis-server has cut off: after a power "
          "cut "
          "nothing acknowledged is lost by that; else restore the file from a copy",
          {{"log", flags.data_dir + "/redis.log"}});
    }
    options.redis.address = redis->address();
    // Where Redis may forget the last second, a mark could tell of what it never had.
    if (flags.appendfsync == "always") options.mark_path = flags.data_dir + "/deployment";
    Log(LogLevel::kInfo, "redis-server runs",
        {{"pid", absl::StrCat(redis->pid())}, {"data", flags.data_dir}});
  } else {
    absl::StatusOr<store::RedisConnection::Options> external = RedisOptions(flags);
    if (!external.ok()) return Fail(kBadFlags, "cannot start", external.status());
    options.redis = *std::move(external);
  }

  CoordinatorThread thread(std::move(options));
  if (absl::Status status = thread.Start(); !status.ok()) {
    return Fail(CodeOf(status), "cannot start", status);
  }
  service::ServiceContext context(&thread, credentials->get(), flags.limits);
  absl::StatusOr<std::unique_ptr<service::Server>> server =
      service::Server::Start(flags.server, &context, absl::Now());
  if (!server.ok()) {
    return Fail(absl::IsUnavailable(server.status()) ? kCannotStart : kBadFlags, "cannot start",
                server.status());
  }
  if (starting.End()) Reload(**credentials);
  thread.OnAvailable([&](bool available) { (*server)->SetAvailable(available); });
  Log(LogLevel::kInfo, "serving",
      {{"address", (*server)->address()},
       {"partitions", absl::StrCat(flags.partitions)},
       {"tls", flags.server.tls.enabled() ? "on" : "off"},
       {"tokens", (*credentials)->open() ? "off" : absl::StrCat((*credentials)->size())}});
  std::printf("serving on %s\n", (*server)->address().c_str());
  std::fflush(stdout);

  service::CertificateWatch certificate((*server)->certificate_end());
  std::thread drain;
  bool draining = false;
  while (true) {
    Look(certificate, absl::Now());
    pollfd fds[] = {{.fd = signals, .events = POLLIN, .revents = 0},
                    {.fd = happenings.fd(), .events = POLLIN, .revents = 0}};
    // It looks at the certificate every hour, and is not late where the clock was set.
    if (poll(fds, 2, static_cast<int>(absl::ToInt64Milliseconds(absl::Hours(1)))) <= 0) continue;
    if (fds[1].revents != 0) break;
    signalfd_siginfo signal;
    if (read(signals, &signal, sizeof(signal)) != sizeof(signal)) continue;
    if (signal.ssi_signo == SIGHUP) {
      Reload(**credentials);
      continue;
    }
    if (draining) {
      Log(LogLevel::kWarning, "ending at once");
      _exit(kEndedAtOnce);  // What was acknowledged is in the store.
    }
    draining = true;
    Log(LogLevel::kInfo, "draining", {{"timeout", absl::FormatDuration(flags.drain_timeout)}});
    // Beside this thread, which listens for the second signal.
    drain = std::thread([&] {
      const bool all_left = Drain(flags, context, **server, thread);
      if (!all_left) {
        Log(LogLevel::kWarning, "ended with calls that were not answered");
        _exit(kEnded);  // What was acknowledged is in the store.
      }
      happenings.Tell(kEnded);
    });
  }

  const ExitCode code = *happenings.told();
  if (code != kEnded) {
    // Nothing can be committed any more, so there is nothing to wait for.
    _exit(code);
  }
  drain.join();
  thread.Stop();
  server->reset();
  redis.reset();
  close(signals);
  Log(LogLevel::kInfo, "ended");
  return kEnded;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  // Debian's Abseil looks for deadlocks of gRPC's mutexes, at a price: a sixth of the time while
  // connecting.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const absl::StatusOr<tessera::CoordinatorFlags> flags = tessera::ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::fprintf(stderr, "tessera-coordinator: %s\n",
                 std::string(flags.status().message()).c_str());
    return tessera::kBadFlags;
  }
  if (flags->help) {
    std::fputs(tessera::HelpText().c_str(), stdout);
    return 0;
  }
  tessera::service::SetLogLevel(flags->log_level);
  tessera::service::RouteLibraryLogs();
  return tessera::Run(*flags);
}
