#include "coordinator/store/embedded_redis.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tessera::store {
namespace {

constexpr char kSocketName[] = "redis.sock";
constexpr char kConfigurationName[] = "redis.conf";
constexpr char kLogName[] = "redis.log";
constexpr size_t kUnixPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
// A disk with less room than this is full, whatever else it says.
constexpr uint64_t kFullBytes = 1 << 20;
constexpr absl::Duration kPollPause = absl::Milliseconds(5);

std::string ErrnoText(int error) { return std::generic_category().message(error); }

absl::Status ErrnoStatus(absl::string_view doing) {
  const std::string message = absl::StrCat(doing, ": ", ErrnoText(errno));
  if (errno == ENOSPC || errno == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

void CloseFd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

// Ends at a time of the monotonic clock.
class Deadline {
 public:
  explicit Deadline(absl::Duration wait)
      : end_(std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(wait)) {}
  bool passed() const { return std::chrono::steady_clock::now() >= end_; }

 private:
  std::chrono::steady_clock::time_point end_;
};

// True once the lock is ours. Other processes give no notice of letting go, so this asks again.
bool LockWithin(int fd, absl::Duration wait) {
  const Deadline deadline(wait);
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(absl::ToChronoNanoseconds(kPollPause));
  }
  return true;
}

std::string ReadSmallFile(int fd) {
  std::array<char, 64> buffer;
  const ssize_t size = pread(fd, buffer.data(), buffer.size(), 0);
  return size <= 0 ? "" : std::string(buffer.data(), static_cast<size_t>(size));
}

// The process that listens on a unix socket, by the kernel's word; nothing where nobody does.
std::optional<pid_t> ListenerOf(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return std::nullopt;
  sockaddr_un address{.sun_family = AF_UNIX};
  std::strncpy(address.sun_path, path.c_str(), kUnixPathBytesMax);
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  const bool known =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0;
  close(fd);
  if (!known) return std::nullopt;
  return credentials.pid;
}

// Whether the server at `path` answers PING with PONG: not while it loads.
bool AnswersPing(const std::string& path) {
  redisContext* context = redisConnectUnixWithTimeout(path.c_str(), timeval{.tv_sec = 1});
  if (context == nullptr) return false;
  bool pong = false;
  if (context->err == 0) {
    redisSetTimeout(context, timeval{.tv_sec = 1});
    auto* reply = static_cast<redisReply*>(redisCommand(context, "PING"));
    pong = reply != nullptr && reply->type == REDIS_REPLY_STATUS;
    if (reply != nullptr) freeReplyObject(reply);
  }
  redisFree(context);
  return pong;
}

absl::StatusOr<std::string> FindServer(const std::string& wanted) {
  if (!wanted.empty()) {
    if (access(wanted.c_str(), X_OK) == 0) return std::filesystem::absolute(wanted).string();
    return absl::NotFoundError(absl::StrCat("no redis-server at ", wanted));
  }
  const char* path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    const std::string candidate = absl::StrCat(folder, "/redis-server");
    if (!folder.empty() && access(candidate.c_str(), X_OK) == 0) {
      return std::filesystem::absolute(candidate).string();
    }
  }
  return absl::NotFoundError(
      "there is no redis-server in PATH: install Redis 6.2 or newer, or name one to connect to");
}

}  // namespace

// The child process: started, watched and reaped by one thread, which lives as long as the child.
class EmbeddedRedis::Keeper {
 public:
  struct Plan {
    std::string server_path;
    int folder_fd = -1;
    int lock_fd = -1;  // Inherited.
    int log_fd = -1;   // Its output.
    off_t log_start = 0;
  };

  explicit Keeper(Plan plan) : plan_(std::move(plan)) {}
  ~Keeper() {
    Signal(SIGKILL);
    if (thread_.joinable()) thread_.join();
    CloseFd(&plan_.log_fd);
  }

  absl::Status Launch() {
    thread_ = std::thread([this] { Run(); });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return launched_.has_value(); });
    return *launched_;
  }

  pid_t pid() const { return pid_; }  // After Launch().

  bool running() const {
    const std::lock_guard lock(mutex_);
    return !ended_;
  }

  bool WaitForEnd(absl::Duration wait) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, absl::ToChronoNanoseconds(wait), [this] { return ended_; });
  }

  // To the child and never to a process that has its number by now.
  void Signal(int signal) {
    const std::lock_guard lock(mutex_);
    if (pid_ > 0 && !ended_) kill(pid_, signal);
  }

  // From here on the end is wanted.
  void Expect() {
    const std::lock_guard lock(mutex_);
    expected_ = true;
  }

  void OnUnexpectedEnd(std::function<void(absl::Status)> listener) {
    absl::Status why;
    {
      const std::lock_guard lock(mutex_);
      if (!ended_) {
        listener_ = std::move(listener);
        return;
      }
      if (expected_) return;
      why = why_;
    }
    listener(why);
  }

  absl::Status why() const {
    const std::lock_guard lock(mutex_);
    return why_;
  }

  // Whether the server's log of this start has `text`.
  bool Said(absl::string_view text) const {
    struct stat now {};
    if (fstat(plan_.log_fd, &now) != 0 || now.st_size <= plan_.log_start) return false;
    std::string log(static_cast<size_t>(now.st_size - plan_.log_start), '\0');
    const ssize_t size = pread(plan_.log_fd, log.data(), log.size(), plan_.log_start);
    return size > 0 &&
           absl::StrContains(absl::string_view(log).substr(0, static_cast<size_t>(size)), text);
  }

 private:
  void Run() {
    const pid_t pid = Fork();
    if (pid < 0) return;
    siginfo_t info{};
    // Without reaping: until ended_ is set the number is still the child's.
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    std::function<void(absl::Status)> listener;
    absl::Status why = WhyEnded(info);
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      why_ = why;
      if (!expected_) listener = std::move(listener_);
      waitpid(pid, nullptr, 0);
    }
    changed_.notify_all();
    if (listener) listener(std::move(why));
  }

  // The child's number, or below 0 where there is none; tells Launch().
  pid_t Fork() {
    // Closed by a successful exec, else it brings errno.
    std::array<int, 2> pipe_fds;
    if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0) {
      Launched(-1, ErrnoStatus("pipe"));
      return -1;
    }
    std::string configuration = kConfigurationName;
    const std::array<char*, 3> arguments = {plan_.server_path.data(), configuration.data(),
                                            nullptr};
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
      Launched(-1, ErrnoStatus("fork"));
      close(pipe_fds[0]);
      close(pipe_fds[1]);
      return -1;
    }
    if (pid == 0) {
      Become(arguments, parent, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    int error = 0;
    ssize_t size;
    do {
      size = read(pipe_fds[0], &error, sizeof(error));
    } while (size < 0 && errno == EINTR);
    close(pipe_fds[0]);
    if (size == sizeof(error)) {
      waitpid(pid, nullptr, 0);
      Launched(-1, absl::UnavailableError(
                       absl::StrCat("running ", plan_.server_path, ": ", ErrnoText(error))));
      return -1;
    }
    Launched(pid, absl::OkStatus());
    return pid;
  }

  // In the child, where only what is safe in a signal handler may be called.
  [[noreturn]] void Become(const std::array<char*, 3>& arguments, pid_t parent, int error_fd) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);  // It died before it could tell.
    setsid();  // A Ctrl-C meant for the coordinator would end the server before its last write.
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fchdir(plan_.folder_fd) == 0 && dup2(null_fd, 0) >= 0 && dup2(plan_.log_fd, 1) >= 0 &&
        dup2(plan_.log_fd, 2) >= 0 && fcntl(plan_.lock_fd, F_SETFD, 0) == 0) {
      execv(arguments[0], arguments.data());
    }
    const int error = errno;
    const ssize_t written = write(error_fd, &error, sizeof(error));
    _exit(written == sizeof(error) ? 1 : 2);
  }

  void Launched(pid_t pid, absl::Status status) {
    {
      const std::lock_guard lock(mutex_);
      pid_ = pid;
      ended_ = !status.ok();
      launched_ = std::move(status);
    }
    changed_.notify_all();
  }

  // Under `appendfsync always` a redis-server that cannot write its file does not refuse writes, as
  // it does otherwise, but exits. The log lies on the same disk, so it may not say so.
  absl::Status WhyEnded(const siginfo_t& info) const {
    const bool exited = info.si_code == CLD_EXITED;
    const std::string tail = LogTail();
    const std::string how =
        absl::StrCat("redis-server ", exited ? "exited with status " : "was ended by signal ",
                     info.si_status, tail.empty() ? "" : "; the end of its log:\n", tail);
    struct statvfs disk {};
    const bool known = fstatvfs(plan_.folder_fd, &disk) == 0;
    const uint64_t free_bytes = known ? uint64_t{disk.f_bavail} * disk.f_frsize : UINT64_MAX;
    const bool full = free_bytes < kFullBytes ||
                      absl::StrContains(tail, "Short write while writing to the AOF file") ||
                      absl::StrContains(tail, ErrnoText(ENOSPC)) ||
                      absl::StrContains(tail, ErrnoText(EDQUOT));
    if (!exited || !full) return absl::UnavailableError(how);
    return absl::ResourceExhaustedError(
        absl::StrCat("the data folder's disk is full (", free_bytes,
                     " bytes are free): make room and start again, nothing that was acknowledged "
                     "is lost; ",
                     how));
  }

  std::string LogTail() const {
    constexpr off_t kTailBytes = 600;
    struct stat now {};
    if (fstat(plan_.log_fd, &now) != 0) return "";
    const off_t start = std::max(plan_.log_start, now.st_size - kTailBytes);
    std::string tail(static_cast<size_t>(std::max<off_t>(0, now.st_size - start)), '\0');
    const ssize_t size = pread(plan_.log_fd, tail.data(), tail.size(), start);
    if (size <= 0) return "";
    tail.resize(static_cast<size_t>(size));
    // From the beginning of a line on.
    if (start > plan_.log_start) tail.erase(0, tail.find('\n') + 1);
    return tail;
  }

  Plan plan_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<absl::Status> launched_;  // These are guarded by mutex_.
  pid_t pid_ = -1;
  bool ended_ = false;
  bool expected_ = false;
  absl::Status why_;
  std::function<void(absl::Status)> listener_;
  std::thread thread_;
};

EmbeddedRedis::EmbeddedRedis(Options options) : options_(std::move(options)) {}

EmbeddedRedis::~EmbeddedRedis() {
  Stop();
  keeper_.reset();
  CloseFd(&redis_lock_fd_);
  CloseFd(&owner_lock_fd_);
  CloseFd(&folder_fd_);
}

absl::StatusOr<std::unique_ptr<EmbeddedRedis>> EmbeddedRedis::Start(Options options) {
  if (options.data_folder.empty()) return absl::InvalidArgumentError("no data folder is given");
  if (options.appendfsync != "always" && options.appendfsync != "everysec" &&
      options.appendfsync != "no") {
    return absl::InvalidArgumentError(
        absl::StrCat("appendfsync is always, everysec or no, not '", options.appendfsync, "'"));
  }
  if (options.maxmemory_bytes < 0) return absl::InvalidArgumentError("maxmemory is below 0");
  auto redis = std::unique_ptr<EmbeddedRedis>(new EmbeddedRedis(std::move(options)));
  TESSERA_RETURN_IF_ERROR(redis->Launch());
  return redis;
}

absl::Status EmbeddedRedis::Launch() {
  TESSERA_ASSIGN_OR_RETURN(const std::string server_path, FindServer(options_.server_path));
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(options_.data_folder, error);
  if (!std::filesystem::is_directory(folder, error)) {
    std::filesystem::create_directories(folder.parent_path(), error);
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoStatus(absl::StrCat("data folder ", folder.string()));
    }
  }
  folder_ = folder.string();
  folder_fd_ = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd_ < 0) return ErrnoStatus(absl::StrCat("data folder ", folder_));

  address_.unix_path = absl::StrCat(folder_, "/", kSocketName);
  if (address_.unix_path.size() > kUnixPathBytesMax) {
    // The server has no such trouble: it binds the name in its working folder.
    const std::string through = absl::StrCat("/proc/self/fd/", folder_fd_);
    if (access(through.c_str(), X_OK) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "data folder ", folder_, ": the path is too long for a unix socket (107 bytes with /",
          kSocketName, "), and there is no /proc to go around that"));
    }
    address_.unix_path = absl::StrCat(through, "/", kSocketName);
  }
  TESSERA_RETURN_IF_ERROR(TakeLocks());
  TESSERA_RETURN_IF_ERROR(WriteConfiguration());

  const int log_fd = openat(folder_fd_, kLogName, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) return ErrnoStatus(absl::StrCat(folder_, "/", kLogName));
  struct stat log {};
  fstat(log_fd, &log);
  keeper_ = std::make_unique<Keeper>(Keeper::Plan{.server_path = server_path,
                                                  .folder_fd = folder_fd_,
                                                  .lock_fd = redis_lock_fd_,
                                                  .log_fd = log_fd,
                                                  .log_start = log.st_size});
  TESSERA_RETURN_IF_ERROR(keeper_->Launch());
  return WaitUntilReady();
}

absl::Status EmbeddedRedis::TakeLocks() {
  owner_lock_fd_ = openat(folder_fd_, "owner.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (owner_lock_fd_ < 0) return ErrnoStatus(absl::StrCat(folder_, "/owner.lock"));
  if (!LockWithin(owner_lock_fd_, options_.owner_timeout)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data folder ", folder_, " is in use by process ", ReadSmallFile(owner_lock_fd_)));
  }
  const std::string pid = absl::StrCat(getpid());
  if (ftruncate(owner_lock_fd_, 0) != 0 ||
      pwrite(owner_lock_fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return ErrnoStatus(absl::StrCat(folder_, "/owner.lock"));
  }

  redis_lock_fd_ = openat(folder_fd_, "redis.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (redis_lock_fd_ < 0) return ErrnoStatus(absl::StrCat(folder_, "/redis.lock"));
  if (LockWithin(redis_lock_fd_, absl::ZeroDuration())) return absl::OkStatus();
  // An orphan: its owner's lock is ours. The kernel has told it to end; once more does no harm.
  const auto end_orphan = [this](int signal) {
    const std::optional<pid_t> orphan = ListenerOf(address_.unix_path);
    if (orphan.has_value() && *orphan > 1 && *orphan != getpid()) kill(*orphan, signal);
  };
  end_orphan(SIGTERM);
  if (LockWithin(redis_lock_fd_, options_.predecessor_timeout)) return absl::OkStatus();
  end_orphan(SIGKILL);
  if (LockWithin(redis_lock_fd_, options_.predecessor_timeout)) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("data folder ", folder_, ": the redis-server before does not end"));
}

absl::Status EmbeddedRedis::WriteConfiguration() const {
  const std::string text = absl::StrCat(
      "# Written by the coordinator at each start; changes are lost.\n"
      "port 0\n"
      "unixsocket ",
      kSocketName,
      "\n"
      "unixsocketperm 700\n"
      "protected-mode yes\n"
      "daemonize no\n"
      "databases 1\n"
      "dir ./\n"
      "logfile \"\"\n"
      "# The journal is the append-only file; there are no snapshots beside it.\n"
      "save \"\"\n"
      "appendonly yes\n"
      "appendfsync ",
      options_.appendfsync,
      "\n"
      "no-appendfsync-on-rewrite no\n"
      "aof-load-truncated ",
      options_.cut_broken_end ? "yes" : "no",
      "\n"
      "auto-aof-rewrite-percentage 100\n"
      "auto-aof-rewrite-min-size 64mb\n"
      "# Refuse rather than forget.\n"
      "maxmemory ",
      options_.maxmemory_bytes,
      "\n"
      "maxmemory-policy noeviction\n");
  const int fd =
      openat(folder_fd_, kConfigurationName, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(absl::StrCat(folder_, "/", kConfigurationName));
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const absl::Status status =
      written ? absl::OkStatus() : ErrnoStatus(absl::StrCat(folder_, "/", kConfigurationName));
  close(fd);
  return status;
}

absl::Status EmbeddedRedis::WaitUntilReady() {
  const Deadline deadline(options_.start_timeout);
  while (ListenerOf(address_.unix_path) != keeper_->pid() || !AnswersPing(address_.unix_path)) {
    if (keeper_->WaitForEnd(kPollPause)) return keeper_->why();
    if (deadline.passed()) {
      return absl::UnavailableError(
          absl::StrCat("redis-server in ", folder_, " does not answer; see ", kLogName, " there"));
    }
  }
  return absl::OkStatus();
}

void EmbeddedRedis::Stop() {
  if (keeper_ == nullptr) return;
  keeper_->Expect();
  keeper_->Signal(SIGTERM);
  if (keeper_->WaitForEnd(options_.stop_timeout)) return;
  Kill();
}

void EmbeddedRedis::Kill() {
  if (keeper_ == nullptr) return;
  keeper_->Expect();
  keeper_->Signal(SIGKILL);
  keeper_->WaitForEnd(absl::Hours(1));
}

pid_t EmbeddedRedis::pid() const { return keeper_->pid(); }

bool EmbeddedRedis::cut_end() const { return keeper_->Said("short read while loading the AOF"); }

bool EmbeddedRedis::running() const { return keeper_->running(); }

void EmbeddedRedis::OnUnexpectedEnd(std::function<void(absl::Status)> listener) {
  keeper_->OnUnexpectedEnd(std::move(listener));
}

}  // namespace tessera::store
