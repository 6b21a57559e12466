// A requester with one job, who remembers what was acknowledged.
//
// It creates the job, adds its items in batches, seals it, changes its mind, reviews, pays bonuses
// and streams results; calls that got no reply are made again, unchanged. What a reply said is
// checked against the committed state then, and at every CheckLedger() after.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/fold.h"
#include "tests/simulation/world.h"

namespace tessera::simulation {

class Requester {
 public:
  Requester(World* world, int number);

  // Does one thing, if there is one to do.
  void Act();
  // What was acknowledged is in the committed state.
  void CheckLedger();
  // The job has ended, its end was streamed, and what was streamed is the end.
  bool done() const;
  std::string Describe() const;

  // The committed job; nothing while there is none.
  const core::JobState* state() const;
  static v1::Answer Choice(const std::string& value);
  static const std::vector<std::string>& Classes();
  bool Owns(uint32_t partition, core::JobIndex job) const {
    return index_ == job && partition_ == partition;
  }
  // The item that this key becomes: items are numbered as their keys come first.
  std::optional<core::ItemIndex> ItemOf(const std::string& key) const;

 private:
  enum class Stage { kCreate, kFeed, kSeal, kRun };
  using JobReply = std::function<void(const absl::StatusOr<v1::Job>&)>;

  v1::CreateJobRequest CreateRequest(int answers_max) const;
  v1::Item ItemAt(size_t place) const;
  v1::AddItemsRequest Batch(int64_t offset, size_t size) const;

  void Create();
  void Feed();
  void Seal();
  void ChangeOfMind();
  void HelpToTheEnd();
  void BringBadItem();
  void UpdateBudget(int64_t budget);
  void UpdateQuality();
  void Review();
  void PayBonus();
  void Delete();
  void Read();
  void Stream();
  void OnResults(const absl::StatusOr<v1::StreamResultsResponse>& response, bool ended);
  void CheckStream();
  // Calls, and again until there is an answer that is not UNAVAILABLE.
  template <typename Request, typename Answer, typename Result>
  void Insist(Result (edge::Coordinator::*method)(const Request&, edge::Coordinator::Reply<Answer>),
              const Request& request, std::function<void(absl::StatusOr<Answer>)> done);
  void OnJob(const absl::StatusOr<v1::Job>& job, absl::string_view what);
  // The refusal is one that a running system may give to this call.
  bool May(const absl::Status& status, std::initializer_list<absl::StatusCode> codes,
           absl::string_view what);
  bool JobIsOver() const;
  template <typename... Parts>
  void Complain(const Parts&... parts);

  World* const world_;
  const int number_;
  Stage stage_ = Stage::kCreate;
  bool busy_ = false;  // A change is on its way; the next one waits for it.
  bool manual_ = false;
  bool pool_prices_ = false;  // An answer is paid what its pool says, and ...
  int64_t price_ = 0;         // ... at most this; else exactly this.
  int64_t budget_ = 0;
  v1::CreateJobRequest create_;
  std::string name_;
  std::string tenant_;
  std::vector<std::string> keys_;      // In the order of the list; some twice.
  std::vector<std::string> distinct_;  // By index of item.
  int64_t next_offset_ = 0;

  // --- What was acknowledged ---------------------------------------------------------------------
  uint32_t partition_ = 0;
  std::optional<core::JobIndex> index_;
  int64_t committed_offset_ = 0;
  bool sealed_ = false;
  bool finalised_ = false;
  bool cancelled_ = false;
  bool deleting_ = false;  // A delete was sent: the job may be gone.
  bool deleted_ = false;
  struct Bonus {
    int64_t micros = 0;
    bool paid = false;
  };
  std::map<std::string, Bonus> bonuses_;  // By request id.
  struct Reviewed {
    std::string assignment;
    core::ItemIndex item = 0;
    bool approved = false;
  };
  std::vector<Reviewed> reviewed_;

  // --- What was streamed -------------------------------------------------------------------------
  bool streaming_ = false;
  bool stream_ended_ = false;
  bool told_end_ = false;
  std::string token_;
  std::map<std::string, v1::Result> results_;  // The highest revision of each item.
  int64_t last_revision_ = 0;
};

}  // namespace tessera::simulation
