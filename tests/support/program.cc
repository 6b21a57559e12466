#include "tests/support/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"

namespace tessera::testing {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(10);

std::string BinFolder() {
  if (const char* const folder = std::getenv("TESSERA_BIN_DIR"); folder != nullptr) return folder;
  // Run by hand: this is bin/tests/name or bin/bench/name.
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path().string();
}

std::string Contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Program::Program(const std::string& name, const std::vector<std::string>& words) {
  std::vector<std::string> line = {name[0] == '/' ? name : absl::StrCat(BinFolder(), "/", name)};
  line.insert(line.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : line) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const std::string out = folder_.Join("out");
  const std::string err = folder_.Join("err");
  const pid_t parent = getpid();
  pid_ = fork();
  TESSERA_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    // A test that is ended, such as for its time limit, leaves nothing behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    const int out_fd = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err_fd = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int in_fd = open("/dev/null", O_RDONLY);
    signal(SIGINT, SIG_DFL);  // A shell's background jobs ignore it; what they start would, too.
    dup2(in_fd, 0);
    dup2(out_fd, 1);
    dup2(err_fd, 2);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
}

Program::~Program() {
  if (HasEnded()) return;
  Signal(SIGKILL);
  waitpid(pid_, &status_, 0);
}

void Program::Signal(int signal) const { kill(pid_, signal); }

std::string Program::err() const { return Contents(folder_.Join("err")); }

bool Program::HasEnded() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return ended_;
}

std::string Program::WaitForLine(const std::string& text, absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (true) {
    const bool last = HasEnded() || absl::Now() > end;
    std::istringstream lines(Contents(folder_.Join("out")));
    std::string line;
    while (std::getline(lines, line) && !lines.eof()) {
      if (line.find(text) != std::string::npos) return line;
    }
    if (last) return "";
    absl::SleepFor(kPoll);
  }
}

Ended Program::Wait(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (!HasEnded()) {
    if (absl::Now() > end) Signal(SIGKILL);
    absl::SleepFor(kPoll);
  }
  return {.code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
          .out = Contents(folder_.Join("out")),
          .err = err()};
}

Ended RunProgram(const std::string& name, const std::vector<std::string>& words) {
  return Program(name, words).Wait();
}

}  // namespace tessera::testing
