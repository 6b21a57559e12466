// Programs as people run them: started, read, interrupted. All tests start theirs here.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/support/temp_dir.h"

namespace tessera::testing {

struct Ended {
  int code = -1;  // Exit code; 128 + signal where a signal ended it.
  std::string out;
  std::string err;
};

// A program of the build, by its name, with its output in files of its own. It dies with the test,
// however that ends.
class Program {
 public:
  // Starts bin/`name`, or the program at that path. TESSERA_SERVER and the like come from this
  // process' environment.
  Program(const std::string& name, const std::vector<std::string>& words);
  // Kills what still runs.
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  bool Running() { return !HasEnded(); }
  // What it wrote to stderr so far.
  std::string err() const;
  // Waits until its stdout has a whole line that holds `text`, and returns it; empty if it ends, or
  // `timeout` passes, before.
  std::string WaitForLine(const std::string& text, absl::Duration timeout = absl::Seconds(60));
  // Waits for its end. Killed after `timeout`.
  Ended Wait(absl::Duration timeout = absl::Minutes(5));

 private:
  bool HasEnded();

  const TempDir folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

// Starts it and waits for its end.
Ended RunProgram(const std::string& name, const std::vector<std::string>& words);

}  // namespace tessera::testing
