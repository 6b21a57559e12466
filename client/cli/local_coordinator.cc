#include "client/cli/local_coordinator.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace tessera::client {
namespace {

constexpr absl::string_view kServing = "serving on ";
constexpr char kExitStatusUrl[] = "tessera/exit-status";
constexpr auto kPoll = std::chrono::milliseconds(20);

}  // namespace

// What the child prints: read until its end, so that it never blocks on a full pipe.
struct LocalCoordinator::Output {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::string address;  // Under `mutex`; empty until it serves.
  bool closed = false;  // Under `mutex`.
  int fd = -1;
  std::thread reader;

  void Read() {
    std::string line;
    char buffer[4096];
    while (true) {
      const ssize_t count = read(fd, buffer, sizeof(buffer));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      for (ssize_t i = 0; i < count; ++i) {
        if (buffer[i] != '\n') {
          line.push_back(buffer[i]);
          continue;
        }
        const size_t at = line.find(kServing.data(), 0, kServing.size());
        if (at != std::string::npos) {
          const std::lock_guard lock(mutex);
          if (address.empty()) address = line.substr(at + kServing.size());
          address = address.substr(0, address.find_first_of(" \t\r,;"));
          changed.notify_all();
        }
        line.clear();
      }
    }
    close(fd);
    const std::lock_guard lock(mutex);
    closed = true;
    changed.notify_all();
  }
};

std::string ProgramFolder() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : self.parent_path().string();
}

LocalCoordinator::LocalCoordinator(Options options)
    : options_(std::move(options)), output_(std::make_unique<Output>()) {}

LocalCoordinator::~LocalCoordinator() { Stop().IgnoreError(); }

const std::string& LocalCoordinator::address() const { return output_->address; }

absl::StatusOr<std::unique_ptr<LocalCoordinator>> LocalCoordinator::Start(Options options,
                                                                          std::stop_token stop) {
  if (options.program.empty()) {
    options.program = absl::StrCat(ProgramFolder(), "/tessera-coordinator");
  }
  if (access(options.program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("there is no program ", options.program, "; build it with `./dev build`"));
  }
  std::unique_ptr<LocalCoordinator> coordinator(new LocalCoordinator(std::move(options)));
  const Options& with = coordinator->options_;
  std::vector<std::string> words = {with.program, "--listen", with.listen, "--data-dir",
                                    with.data_dir};
  words.insert(words.end(), with.more.begin(), with.more.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a pipe");
  }
  int log = -1;
  if (!with.log_file.empty()) {
    log = open(with.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", with.log_file));
  }
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return absl::ErrnoToStatus(errno, "cannot start a process");
  if (child == 0) {
    // Only what is allowed between fork and exec.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(ends[1], STDOUT_FILENO);
    if (log >= 0) dup2(log, STDERR_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  if (log >= 0) close(log);
  coordinator->pid_ = child;
  Output& output = *coordinator->output_;
  output.fd = ends[0];
  output.reader = std::thread([&output] { output.Read(); });

  std::unique_lock lock(output.mutex);
  output.changed.wait_for(lock, stop, absl::ToChronoMilliseconds(with.start_timeout),
                          [&output] { return output.closed || !output.address.empty(); });
  if (!output.address.empty()) {
    lock.unlock();
    return coordinator;
  }
  const bool closed = output.closed;
  lock.unlock();
  if (stop.stop_requested()) return absl::CancelledError("stopped");
  if (!closed) return absl::DeadlineExceededError("the coordinator did not come up in time");
  coordinator->Reap(/*block=*/true);
  return coordinator->Ended(absl::StrCat(
      "the coordinator ended before it served (", coordinator->EndStatus().message(), ")",
      with.log_file.empty() ? "; what it says is above" : absl::StrCat("; see ", with.log_file)));
}

bool LocalCoordinator::Reap(bool block) {
  if (ended_ || pid_ < 0) return true;
  pid_t result = 0;
  do {
    result = waitpid(pid_, &wait_status_, block ? 0 : WNOHANG);
  } while (result < 0 && errno == EINTR);
  ended_ = result == pid_ || result < 0;
  return ended_;
}

absl::Status LocalCoordinator::EndStatus() const {
  if (WIFSIGNALED(wait_status_)) {
    return absl::InternalError(
        absl::StrCat("the coordinator was ended by signal ", WTERMSIG(wait_status_)));
  }
  if (WIFEXITED(wait_status_) && WEXITSTATUS(wait_status_) == 0) return absl::OkStatus();
  return Ended(absl::StrCat("the coordinator ended with exit code ", WEXITSTATUS(wait_status_)));
}

absl::Status LocalCoordinator::Ended(absl::string_view message) const {
  absl::Status status = absl::InternalError(message);
  if (WIFEXITED(wait_status_)) {
    status.SetPayload(kExitStatusUrl, absl::Cord(absl::StrCat(WEXITSTATUS(wait_status_))));
  }
  return status;
}

std::optional<int> LocalCoordinator::ExitStatus(const absl::Status& error) {
  const auto payload = error.GetPayload(kExitStatusUrl);
  int status = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &status)) return std::nullopt;
  return status;
}

absl::Status LocalCoordinator::Wait(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (Reap(/*block=*/false)) {
      const absl::Status status = EndStatus();
      return status.ok() ? absl::InternalError("the coordinator ended by itself") : status;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return absl::OkStatus();
}

absl::Status LocalCoordinator::Stop() {
  if (pid_ < 0) return absl::OkStatus();
  if (!Reap(/*block=*/false)) {
    kill(pid_, SIGTERM);
    const absl::Time give_up = absl::Now() + options_.stop_timeout;
    while (!Reap(/*block=*/false)) {
      if (absl::Now() > give_up) {
        kill(pid_, SIGKILL);
        Reap(/*block=*/true);
        break;
      }
      std::this_thread::sleep_for(kPoll);
    }
  }
  const absl::Status status = EndStatus();
  pid_ = -1;
  if (output_->reader.joinable()) output_->reader.join();
  return status;
}

}  // namespace tessera::client
