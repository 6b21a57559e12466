// From an item that is added to its committed answer, over gRPC, with every acknowledgement after
// fsync: how many a second, and how soon a worker has an item.
//
// A real tessera-coordinator with its private Redis (`appendfsync always`), and in this process 64
// gateways on connections of their own and two tenants who add items while others are answered. One
// item a microtask, one answer an item, so an item is: added, granted, answered, paid, resolved.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <semaphore>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "tests/bench/data_folder.h"
#include "tests/bench/figures.h"
#include "tests/bench/fleet.h"
#include "tests/bench/requester.h"
#include "tests/support/coordinator_process.h"

ABSL_FLAG(int, streams, 64, "Gateways' streams, each on a connection of its own.");
ABSL_FLAG(int, credit, 32, "Credit of each that is not used up: most assignments in a message.");
ABSL_FLAG(int, tenants, 2, "Tenants, each with one job.");
ABSL_FLAG(int, payload_bytes, 200, "Bytes of each item's text.");
ABSL_FLAG(int, batch, 256, "Items in a message of AddItems.");
ABSL_FLAG(int, backlog, 16384, "Items added and not yet answered, at most.");
ABSL_FLAG(double, warm_up_seconds, 2, "Not counted.");
ABSL_FLAG(double, seconds, 8, "Counted.");
ABSL_FLAG(int, probes, 400, "Items sent one at a time for the latency of an empty queue.");
ABSL_FLAG(double, background_rate, 10'000,
          "Items a second while latency is measured under load; 0: not measured.");
ABSL_FLAG(double, background_seconds, 5, "For how long.");
ABSL_FLAG(bool, json, false, "Print one JSON object.");
ABSL_FLAG(std::string, perf, "",
          "Record a profile of the coordinator to this file, while microtasks are counted.");

namespace tessera::bench {
namespace {

using Clock = std::chrono::steady_clock;
double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// Processor seconds that a process has used so far.
double CpuSeconds(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(std::min(text.size(), text.rfind(')') + 2)), ' ');
  if (fields.size() < 13) return 0;
  return (std::stod(fields[11]) + std::stod(fields[12])) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

// The redis-server that the coordinator started.
pid_t ChildOf(pid_t parent) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::vector<std::string> fields =
        absl::StrSplit(text.substr(std::min(text.size(), text.rfind(')') + 2)), ' ');
    if (fields.size() > 1 && fields[1] == absl::StrCat(parent)) return pid;
  }
  return 0;
}

// When each probe left and arrived. A probe's key is "p" and its number.
class Probes {
 public:
  explicit Probes(int count)
      : sent_(static_cast<size_t>(count)), arrived_(static_cast<size_t>(count)) {}

  std::string Send(int probe) {
    sent_[static_cast<size_t>(probe)] = Clock::now();
    return absl::StrCat("p", probe);
  }
  void Arrive(absl::string_view key) {
    const Clock::time_point now = Clock::now();
    size_t probe = 0;
    TESSERA_CHECK(absl::SimpleAtoi(key.substr(1), &probe) && probe < arrived_.size());
    arrived_[probe].store(now.time_since_epoch().count(), std::memory_order_relaxed);
  }
  // Milliseconds of those that arrived.
  std::vector<double> Latencies() const {
    std::vector<double> latencies;
    for (size_t i = 0; i < sent_.size(); ++i) {
      const Clock::rep arrived = arrived_[i].load();
      if (arrived == 0) continue;
      latencies.push_back(1e3 * Seconds(Clock::time_point(Clock::duration(arrived)) - sent_[i]));
    }
    return latencies;
  }

 private:
  std::vector<Clock::time_point> sent_;
  std::vector<std::atomic<Clock::rep>> arrived_;
};

void AddLatencies(absl::string_view name, std::vector<double> latencies, Figures* figures,
                  Bound p99 = {}) {
  TESSERA_CHECK(!latencies.empty());
  figures->Add(absl::StrCat(name, "_p50"), "ms", Quantile(latencies, 0.50));
  figures->Add(absl::StrCat(name, "_p90"), "ms", Quantile(latencies, 0.90));
  figures->Add(absl::StrCat(name, "_p99"), "ms", Quantile(latencies, 0.99), p99);
}

class Bench {
 public:
  Bench()
      : redis_(ChildOf(coordinator_.pid())),
        fleet_(coordinator_, {.streams = absl::GetFlag(FLAGS_streams),
                              .credit = absl::GetFlag(FLAGS_credit),
                              .on_assigned = [this](absl::string_view key) { OnAssigned(key); },
                              .on_committed = [this] { OnCommitted(); }}) {}

  // One item at a time: the next is sent when the last one's answer has been acknowledged.
  void MeasureEmptyQueue(Figures* figures) {
    const int count = absl::GetFlag(FLAGS_probes);
    constexpr int kWarmUp = 50;
    Probes probes(count + kWarmUp);
    Requester requester(coordinator_, "latency", {.payload_bytes = Payload()});
    probes_ = &probes;
    for (int i = 0; i < count + kWarmUp; ++i) {
      requester.Add({probes.Send(i)});
      probe_committed_.acquire();
    }
    probes_ = nullptr;
    std::vector<double> latencies = probes.Latencies();
    TESSERA_CHECK(latencies.size() == static_cast<size_t>(count + kWarmUp));
    latencies.erase(latencies.begin(), latencies.begin() + kWarmUp);
    AddLatencies("dispatch_empty", std::move(latencies), figures);
  }

  void MeasureThroughput(Figures* figures) {
    const int tenants = absl::GetFlag(FLAGS_tenants);
    const int64_t before = fleet_.committed();
    const Fleet::Messages messages_before = fleet_.messages();
    std::atomic<bool> ending{false};
    std::atomic<int64_t> added{0};
    std::vector<std::unique_ptr<Requester>> requesters;
    std::vector<std::thread> threads;
    for (int t = 0; t < tenants; ++t) {
      requesters.push_back(
          std::make_unique<Requester>(coordinator_, absl::StrCat("tenant-", t),
                                      Requester::Options{.payload_bytes = Payload()}));
      threads.emplace_back([&, requester = requesters.back().get()] {
        const auto batch = static_cast<size_t>(absl::GetFlag(FLAGS_batch));
        std::vector<std::string> keys(batch);
        while (!ending) {
          const int64_t backlog = added.load() - (fleet_.committed() - before);
          if (backlog > absl::GetFlag(FLAGS_backlog)) {
            absl::SleepFor(absl::Microseconds(500));
            continue;
          }
          for (size_t i = 0; i < batch; ++i) {
            keys[i] = absl::StrCat("t", requester->added() + static_cast<int64_t>(i));
          }
          added += static_cast<int64_t>(batch);
          requester->Add(keys);
        }
      });
    }
    absl::SleepFor(absl::Seconds(absl::GetFlag(FLAGS_warm_up_seconds)));
    const pid_t perf = StartPerf();
    const Sample from = Take();
    absl::SleepFor(absl::Seconds(absl::GetFlag(FLAGS_seconds)));
    const Sample to = Take();
    StopPerf(perf);
    ending = true;
    for (std::thread& thread : threads) thread.join();
    AwaitCommitted(before + added);

    const auto done = static_cast<double>(to.committed - from.committed);
    const double seconds = Seconds(to.at - from.at);
    figures->Add("microtasks", "per second", done / seconds, AtLeast(100'000));
    figures->Add("cpu_coordinator", "us/microtask",
                 1e6 * (to.coordinator - from.coordinator) / done);
    figures->Add("cpu_redis", "us/microtask", 1e6 * (to.redis - from.redis) / done);
    figures->Add("cpu_client", "us/microtask", 1e6 * (to.client - from.client) / done);
    const Fleet::Messages messages = fleet_.messages();
    figures->Add(
        "assignments_per_message", "mean",
        static_cast<double>(messages.assignments - messages_before.assignments) /
            static_cast<double>(messages.with_assignments - messages_before.with_assignments));
    figures->Add("assignments_per_message_max", "", static_cast<double>(messages.assignments_max),
                 AtMost(Fleet::kEntriesMax));
    // That what was acknowledged is so: every item answered once and paid.
    for (const auto& requester : requesters) {
      const v1::Job job = requester->Get();
      TESSERA_CHECK(job.counts().items_resolved() == requester->added() &&
                    job.counts().answers() == requester->added())
          << job.counts().ShortDebugString();
      TESSERA_CHECK(job.ledger().reserved_micros() == 0) << job.ledger().ShortDebugString();
      TESSERA_CHECK(job.ledger().earned_micros() + job.ledger().approved_micros() ==
                    1000 * requester->added())
          << job.ledger().ShortDebugString();
    }
  }

  // Items at a steady rate, in a batch each millisecond, and another tenant's single ones beside
  // them.
  void MeasureLoaded(Figures* figures) {
    const double rate = absl::GetFlag(FLAGS_background_rate);
    if (rate <= 0) return;
    constexpr auto kProbeInterval = std::chrono::milliseconds(5);
    const auto seconds = std::chrono::duration<double>(absl::GetFlag(FLAGS_background_seconds));
    const int count = static_cast<int>(seconds / kProbeInterval);
    const int64_t before = fleet_.committed();
    Probes probes(count);
    probes_ = &probes;
    Requester background(coordinator_, "background", {.payload_bytes = Payload()});
    Requester prober(coordinator_, "latency-loaded", {.payload_bytes = Payload()});
    std::atomic<bool> ending{false};
    std::thread adder([&] {
      const Clock::time_point start = Clock::now();
      std::vector<std::string> keys;
      while (!ending) {
        const auto due = static_cast<int64_t>(rate * Seconds(Clock::now() - start));
        keys.clear();
        for (int64_t i = background.added(); i < due; ++i) keys.push_back(absl::StrCat("t", i));
        if (!keys.empty()) background.Add(keys);
        absl::SleepFor(absl::Milliseconds(1));
      }
    });
    absl::SleepFor(absl::Seconds(1));
    const Clock::time_point start = Clock::now();
    const Sample from = Take();
    for (int i = 0; i < count; ++i) {
      std::this_thread::sleep_until(start + i * kProbeInterval);
      prober.Add({probes.Send(i)});
    }
    const Sample to = Take();
    ending = true;
    adder.join();
    AwaitCommitted(before + background.added() + prober.added());
    probes_ = nullptr;
    figures->Add("background_rate", "per second",
                 static_cast<double>(to.committed - from.committed) / Seconds(to.at - from.at));
    AddLatencies("dispatch_loaded", probes.Latencies(), figures, AtMost(20));
  }

 private:
  struct Sample {
    Clock::time_point at;
    int64_t committed = 0;
    double coordinator = 0, redis = 0, client = 0;  // Processor seconds.
  };
  Sample Take() const {
    return {.at = Clock::now(),
            .committed = fleet_.committed(),
            .coordinator = CpuSeconds(coordinator_.pid()),
            .redis = CpuSeconds(redis_),
            .client = CpuSeconds(getpid())};
  }

  static int Payload() { return absl::GetFlag(FLAGS_payload_bytes); }

  void OnAssigned(absl::string_view key) {
    if (key[0] == 'p') probes_.load()->Arrive(key);
  }
  void OnCommitted() {
    if (probes_.load(std::memory_order_relaxed) != nullptr) probe_committed_.release();
  }

  void AwaitCommitted(int64_t count) {
    const absl::Time limit = absl::Now() + absl::Minutes(1);
    while (fleet_.committed() < count) {
      TESSERA_CHECK(absl::Now() < limit)
          << fleet_.committed() << " of " << count << " answers came back\n"
          << coordinator_.log();
      absl::SleepFor(absl::Milliseconds(2));
    }
  }

  pid_t StartPerf() const {
    const std::string file = absl::GetFlag(FLAGS_perf);
    if (file.empty()) return 0;
    const std::string pid = absl::StrCat(coordinator_.pid());
    const pid_t perf = fork();
    if (perf == 0) {
      execlp("perf", "perf", "record", "-q", "--call-graph", "dwarf,16384", "-F", "249", "-o",
             file.c_str(), "-p", pid.c_str(), nullptr);
      _exit(127);
    }
    return perf;
  }
  static void StopPerf(pid_t perf) {
    if (perf == 0) return;
    kill(perf, SIGINT);
    waitpid(perf, nullptr, 0);
  }

  testing::CoordinatorProcess coordinator_;
  const pid_t redis_;
  std::atomic<Probes*> probes_{nullptr};
  std::counting_semaphore<> probe_committed_{0};
  Fleet fleet_;
};

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  tessera::bench::UseDataFolder();
  tessera::bench::Figures figures;
  {
    tessera::bench::Bench bench;
    bench.MeasureEmptyQueue(&figures);
    bench.MeasureThroughput(&figures);
    bench.MeasureLoaded(&figures);
  }
  figures.Print("Pipeline", absl::GetFlag(FLAGS_json));
  return 0;
}
