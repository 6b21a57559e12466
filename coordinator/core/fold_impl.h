// The inside of PartitionState, shared by fold.cc (objects, recovery, reads) and folder.cc
// (events).
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "coordinator/core/archive.h"
#include "coordinator/core/fold.h"

namespace tessera::core {

// What is stored of the partition itself.
struct PartitionObject {
  absl::Time time = absl::InfinitePast();
  uint32_t jobs = 0;
  uint32_t workers = 0;
  std::vector<Pool> pools;
  std::vector<RecordId> ends;  // Where earlier owners ended, the latest kEndsKept of them.
};
inline void Fields(auto& v, PartitionObject& p) {
  v("time", p.time);
  v("jobs", p.jobs);
  v("workers", p.workers);
  v("pools", p.pools);
  v("ends", p.ends);
}

// An owner's end takes 4 bytes or so, and a coordinator is started a few times a day.
inline constexpr size_t kEndsKept = 4096;

// The pages of a job that its head names: there are no others, but for pages of leases that have
// become empty and are still to be erased.
inline std::vector<ObjectKey> PagesNamed(uint32_t job, const JobHead& head) {
  std::vector<ObjectKey> pages;
  for (uint32_t page = 0; page * kItemsPerPage < head.items; ++page) {
    pages.push_back({ObjectKind::kItems, job, page});
  }
  for (const PageUse& use : head.lease_pages) pages.push_back({ObjectKind::kLeases, job, use.page});
  for (const uint32_t page : head.tally_pages) pages.push_back({ObjectKind::kTallies, job, page});
  for (uint32_t fit = std::max(head.fit, 2u) - 1; fit <= head.fit; ++fit) {
    pages.push_back({ObjectKind::kFit, job, fit});
  }
  return pages;
}

struct PartitionState::Rep {
  PartitionObject partition;
  Version partition_version;
  std::map<std::string, Pool, std::less<>> pools;

  std::vector<WorkerRecord> workers;
  std::vector<Version> worker_pages;
  absl::flat_hash_map<std::string, WorkerIndex> worker_by_name;

  // A deleted one leaves its mark; nothing where the journal still has to tell of one.
  std::vector<std::unique_ptr<JobState>> jobs;
  absl::flat_hash_map<std::string, JobIndex> job_by_name;

  std::deque<DirtyObject> dirty;   // By `since`.
  std::vector<DirtyObject> taken;  // Being written.
  bool record_open = false;

  // Recovery reads in rounds: the partition, then heads and workers, then what the heads name.
  int load_round = 0;

  static std::string JobName(absl::string_view tenant, absl::string_view id) {
    return absl::StrCat(tenant, "/", id);
  }

  void Mark(const ObjectKey& key, Version& version, RecordId id) {
    if (version.dirty) return;
    version.dirty = true;
    dirty.push_back({key, id});
  }

  void Untake(const DirtyObject& object) {
    const auto at = std::find_if(taken.begin(), taken.end(), [&](const DirtyObject& t) {
      return t.key == object.key && t.since == object.since;
    });
    if (at != taken.end()) taken.erase(at);
  }

  // A page of leases that is empty here and gone from the store is as if it had never been; a job
  // of a million answers would be left with thousands of them.
  void DropEmptyLeases(const ObjectKey& key) {
    JobState* job = Job(JobIndex(key.job));
    if (job == nullptr) return;
    const auto page = job->leases.pages().find(key.page);
    if (page == job->leases.pages().end()) return;
    if (!page->second.by_sequence.empty() || page->second.version.dirty) return;
    job->leases.pages().erase(page);
  }

  JobState* Job(JobIndex index) {
    return index.value() < jobs.size() ? jobs[index.value()].get() : nullptr;
  }

  WorkerRecord& Worker(WorkerIndex index) {
    if (workers.size() <= index.value()) workers.resize(index.value() + 1);
    const uint32_t pages = index.value() / kWorkersPerPage + 1;
    if (worker_pages.size() < pages) worker_pages.resize(pages);
    return workers[index.value()];
  }

  JobState& NewJob(JobIndex index) {
    if (jobs.size() <= index.value()) jobs.resize(index.value() + 1);
    auto& job = jobs[index.value()];
    if (job == nullptr) job = std::make_unique<JobState>();
    return *job;
  }

  Version* FindVersion(const ObjectKey& key) {
    if (key.kind == ObjectKind::kPartition) return &partition_version;
    if (key.kind == ObjectKind::kWorkers) {
      return key.page < worker_pages.size() ? &worker_pages[key.page] : nullptr;
    }
    JobState* job = Job(JobIndex(key.job));
    if (job == nullptr) return nullptr;
    if (job->head.deleted && key.kind != ObjectKind::kJob) return nullptr;
    switch (key.kind) {
      case ObjectKind::kJob:
        return &job->head_version;
      case ObjectKind::kItems:
        return &job->items.PageVersion(key.page);
      case ObjectKind::kLeases: {
        const auto page = job->leases.pages().find(key.page);
        return page == job->leases.pages().end() ? nullptr : &page->second.version;
      }
      case ObjectKind::kTallies: {
        const auto page = job->tallies.find(key.page);
        return page == job->tallies.end() ? nullptr : &page->second.version;
      }
      case ObjectKind::kFit: {
        const auto fit = job->fits.find(key.page);
        return fit == job->fits.end() ? nullptr : &fit->second.version;
      }
      default:
        return nullptr;
    }
  }

  std::string ObjectBody(const ObjectKey& key) const;
  // False: it is no such object.
  bool LoadBody(const ObjectKey& key, absl::string_view body, const Version& version);
};

}  // namespace tessera::core
