#include "coordinator/edge/host.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/errors.h"
#include "coordinator/core/mutation.h"
#include "coordinator/edge/backoff.h"
#include "coordinator/edge/committer.h"
#include "coordinator/edge/key_index.h"
#include "coordinator/edge/lifeline.h"
#include "coordinator/edge/message_size.h"
#include "coordinator/edge/payload_pages.h"
#include "coordinator/edge/recovery.h"
#include "coordinator/edge/write_behind.h"

namespace tessera::edge {

using core::JobIndex;
using core::Payload;
using core::RecordId;
using core::StoredRecord;

namespace {

// While leases are open, time is written to the journal this often: see Partition::Tick.
constexpr absl::Duration kTickInterval = absl::Seconds(1);

// With leases open a tick is due each second. One that comes later than this by so much means that
// the process stood still (a paused machine, a stopped process) or that its clock was set forwards.
// Nobody could hand in anything meanwhile, so it is an outage as well.
constexpr absl::Duration kStandstillMin = absl::Seconds(5);

// Refusing for this long counts as an outage: people could not hand in their answers, so their
// deadlines move.
constexpr absl::Duration kOutageMin = absl::Seconds(1);
// An append without an answer for so long is told to who asks how the store is.
constexpr absl::Duration kSlowMin = absl::Seconds(3);
// How often who commits nothing looks whether the store is there, and still ours.
constexpr absl::Duration kListenInterval = absl::Seconds(5);
constexpr absl::Duration kListenAgain = absl::Seconds(1);

// What an assignment has beside its items, and an item beside its key and payload: names, times, a
// draft.
constexpr size_t kAssignmentBytesMax = kMessageBytesMax - (64 << 10);
constexpr size_t kAssignedItemBytes = 512;

using PayloadsDone = std::function<void(absl::StatusOr<std::vector<Payload>>)>;

}  // namespace

class PartitionHost::Impl {
 public:
  Impl(const HostOptions& options, core::Store* store)
      : options_(options),
        store_(store),
        keys_({options_.key_seed[0], options_.key_seed[1]}),
        payloads_(std::make_unique<PayloadPages>(store, options_.payload_cache_bytes)) {}

  ~Impl() {
    Fall(absl::UnavailableError("the partition is not served here any more"));
    payloads_.reset();  // Answers the reads that wait for it ...
    ReleaseReplies();   // ... and this passes the answers on.
  }

  // --- Taking over -------------------------------------------------------------------------------

  void Start(absl::Time now, std::function<void(absl::Status)> done) {
    TESSERA_CHECK(!started_) << "a host starts once";
    started_ = true;
    start_time_ = now_ = now;
    start_done_ = std::move(done);
    AskLast();
  }

  // --- Commands and their replies ----------------------------------------------------------------

  HostState state() const { return state_; }
  const absl::Status& failure() const { return failure_; }

  bool accepting() const {
    return state_ == HostState::kServing && !refusing() && !trouble_since_.has_value();
  }

  bool has_upload_room() const {
    return !accepting() || unflushed_bytes() < options_.unflushed_bytes_max / 2;
  }

  core::Partition& partition() {
    TESSERA_CHECK(partition_ != nullptr) << "only while serving";
    return *partition_;
  }

  void WhenCommitted(std::function<void(absl::Status)> done) {
    replies_.push_back({RecordNow(), std::move(done)});
    EndCommand();
  }

  void WhenOwned(std::function<void(absl::Status)> done) {
    if (state_ != HostState::kServing) return WhenCommitted(std::move(done));
    if (!heard_.ok()) {
      return WhenCommitted([done = std::move(done), unheard = heard_](absl::Status committed) {
        done(committed.ok() ? unheard : std::move(committed));
      });
    }
    EndCommand();
    to_ask_for_.push_back(std::move(done));
    // A question under way may be too old to be sure by; its answer brings the next one.
    if (listen_at_ != absl::InfiniteFuture()) listen_at_ = now_;
  }

  RecordId RecordNow() {
    if (partition_ == nullptr) return last_closed_;
    Gather();
    return OpenBytes() > 0 ? open_id_ : last_closed_;
  }

  // Between two commands, and only there, a record may be closed.
  void EndCommand() {
    if (state_ != HostState::kServing) return;
    Gather();
    if (OpenBytes() >= options_.record_bytes_max) CloseRecord();
  }

  void Flush(absl::Time now) {
    now_ = std::max(now_, now);
    ReleaseReplies();
    SendGathered();
  }

  void Tick(absl::Time now) {
    now_ = std::max(now_, now);
    Retry();
    if (committer_ != nullptr) {
      if (refusing() && !trouble_since_.has_value()) trouble_since_ = now_;
      committer_->Tick(now_);
    }
    if (state_ != HostState::kServing) return ReleaseReplies();
    write_behind_->Tick(now_, absl::IsResourceExhausted(committer_->trouble()));
    // Nobody can be heard while the store refuses, so no lease ends meanwhile.
    if (!refusing()) {
      EndOutage();
      partition_->Tick(now_);
      last_tick_ = now_;
      Listen();
    }
    ReadAgain();
    Gather();
    // What time brings about is complete here, as a command is in WhenCommitted().
    if (OpenBytes() >= options_.record_bytes_max) CloseRecord();
    if (OpenBytes() == 0) {
      if (committer_->idle() && write_behind_->WantsRecord()) CloseRecord();
      write_behind_->AtBoundary(last_closed_, now_);
    }
    ReleaseReplies();
  }

  absl::Time NextWake() {
    absl::Time wake = retry_.has_value() ? retry_->at : absl::InfiniteFuture();
    if (CanRelease()) return now_;
    if (committer_ != nullptr) wake = std::min(wake, committer_->NextWake());
    if (!reads_again_.empty()) wake = std::min(wake, reads_again_.begin()->first);
    if (SlowSince().has_value() && now_ < *SlowSince()) wake = std::min(wake, *SlowSince());
    if (state_ != HostState::kServing || refusing()) return wake;
    wake = std::min(wake, listen_at_);
    if (trouble_since_.has_value()) return now_;
    Gather();
    if (OpenBytes() > 0) {
      if (committer_->idle()) return now_;
    } else {
      wake = std::min(wake, write_behind_->NextWake());
    }
    wake = std::min(wake, partition_->NextWake());
    if (partition_->open_assignments() > 0) wake = std::min(wake, last_tick_ + kTickInterval);
    return wake;
  }

  // --- Keys and payloads -------------------------------------------------------------------------

  const KeyIndex& keys() const { return keys_; }

  size_t ItemBytesMax(JobIndex job) const { return keys_.largest(job) + kAssignedItemBytes; }

  void AddPayloads(core::PayloadBatch batch) {
    TESSERA_CHECK(batch.first == keys_.size(batch.job))
        << "job " << batch.job << ": item " << batch.first << " after " << keys_.size(batch.job);
    for (const Payload& payload : batch.payloads) {
      keys_.Add(batch.job, payload.key, payload.bytes);
      open_payload_bytes_ += payload.key.size() + payload.bytes.size();
    }
    payloads_->Add(batch, open_id_);
    LimitLeases(batch.job);
    open_.payloads.push_back(std::move(batch));
  }

  void ReadPayloads(JobIndex job, std::vector<core::ItemIndex> items, PayloadsDone done) {
    Read(std::make_shared<PayloadRead>(job, std::move(items), RecordNow(), std::move(done)));
  }

  void ForgetJob(JobIndex job) {
    payloads_->Forget(job, keys_.size(job), open_id_);
    keys_.Forget(job);
  }

  // --- For operators -----------------------------------------------------------------------------

  absl::Status trouble() const {
    if (committer_ == nullptr) return absl::OkStatus();
    if (!committer_->trouble().ok()) return committer_->trouble();
    if (!heard_.ok()) return heard_;
    if (SlowSince().has_value() && now_ >= *SlowSince()) {
      return absl::UnavailableError("the store has not answered for some seconds");
    }
    return absl::OkStatus();
  }
  const absl::Status& damage() const { return payloads_->damage(); }
  const PartitionHost::Takeover& takeover() const { return takeover_; }
  std::vector<EndedAssignment> TakeEnded() { return std::exchange(ended_, {}); }

  PartitionHost::Status status() const {
    PartitionHost::Status status;
    status.state = state_;
    status.key_index_bytes = keys_.bytes();
    status.payload_cache_bytes = payloads_->bytes();
    status.stored_bytes = sizes_.total();
    if (committer_ != nullptr) {
      status.head = committer_->committed();
      status.committed_at = committed_at_;
      status.records = committer_->records();
      status.bytes = committer_->bytes();
    }
    if (write_behind_ != nullptr) {
      status.trimmed_below = write_behind_->trimmed_below();
      status.dirty_objects = write_behind_->waiting();
    }
    return status;
  }

 private:
  struct Reply {
    RecordId after;  // Not before this record is committed.
    std::function<void(absl::Status)> done;
  };
  struct PayloadRead {
    PayloadRead(JobIndex job, std::vector<core::ItemIndex> items, RecordId after, PayloadsDone done)
        : job(job), items(std::move(items)), after(after), done(std::move(done)) {}

    const JobIndex job;
    const std::vector<core::ItemIndex> items;
    const RecordId after;  // Its answer does not come before this record is committed.
    PayloadsDone done;
    Backoff backoff;
  };

  // --- Taking over, step by step -----------------------------------------------------------------

  void AskLast() {
    ReadEnd(store_, lifeline_.Guard([this](absl::StatusOr<StoredRecord> last) {
      if (MayPass(last.status())) return RetryLater(last.status(), [this] { AskLast(); });
      if (!last.ok()) return Fail(last.status());
      WriteFence(*last);
    }));
  }

  // The first record of our epoch. From here on nobody else writes, and what is stored stands
  // still.
  void WriteFence(const StoredRecord& last) {
    core::Record fence{.nonce = options_.nonce, .at = core::TruncateTime(now_), .follows = last.id};
    std::optional<uint64_t> last_nonce;
    if (last.id != RecordId{}) {
      const absl::StatusOr<core::Record> record = core::DecodeRecord(last.bytes);
      if (!record.ok()) {
        return Fail(absl::DataLossError(
            absl::StrCat("record ", last.id.ToString(), ": ", record.status().message())));
      }
      fence.kept_from = record->kept_from;
      last_nonce = record->nonce;
    }
    last_closed_ = {last.id.epoch + options_.epoch_step, 0};
    committer_ = std::make_unique<Committer>(
        store_,
        Committer::Options{.nonce = options_.nonce, .last = last.id, .last_nonce = last_nonce},
        Committer::Callbacks{.committed = [this](RecordId id) { OnCommitted(id); },
                             .failed = [this](absl::Status status) { Fail(std::move(status)); }});
    committer_->Append(last_closed_, core::EncodeRecord(fence), now_);
  }

  void Recover() {
    recovery_ = std::make_unique<Recovery>(
        store_, &keys_, payloads_.get(),
        [this](const absl::Status& trouble, std::function<void()> again) {
          RetryLater(trouble, std::move(again));
        },
        [this](absl::StatusOr<LoadedState> loaded) {
          if (!loaded.ok()) return Fail(loaded.status());
          Begin(*std::move(loaded));
        });
    recovery_->Start();
  }

  void Begin(LoadedState loaded) {
    takeover_ = {.epoch = last_closed_.epoch,
                 .records = loaded.tail.size(),
                 .objects = loaded.objects,
                 .pages = loaded.pages,
                 .duration = {}};
    sizes_ = std::move(loaded.sizes);
    ended_ = std::move(loaded.ended);
    // As it stands in the journal: the owner before may have written on until our fence was there.
    std::vector<RecordId> inherited;
    for (const RecordId id : loaded.tail) {
      if (id >= last_closed_) break;
      if (inherited.empty() || inherited.back().epoch != id.epoch) inherited.emplace_back();
      inherited.back() = id;
    }
    std::deque<std::pair<RecordId, size_t>> records;
    for (size_t i = 0; i < loaded.tail.size(); ++i) {
      records.emplace_back(loaded.tail[i], loaded.tail_bytes[i]);
    }
    partition_ = std::make_unique<core::Partition>(options_.partition, std::move(loaded.state));
    write_behind_ = std::make_unique<WriteBehind>(
        WriteBehind::Options{.epoch = last_closed_.epoch,
                             .kept_from = loaded.kept_from,
                             .objects_per_write = options_.objects_per_write,
                             .write_interval = options_.write_interval,
                             .commits_per_trim = options_.commits_per_trim,
                             .bytes_per_trim = options_.bytes_per_trim,
                             .trim = options_.trim,
                             .journal_kept_bytes = options_.journal_kept_bytes,
                             .records = std::move(records)},
        store_, &partition_->mutable_state(), payloads_.get(), &sizes_,
        [this](absl::Status status) { Fail(std::move(status)); });
    for (uint32_t j = 0; j < partition_->state().jobs(); ++j) {
      if (keys_.size(JobIndex(j)) > 0) LimitLeases(JobIndex(j));
    }
    write_behind_->Committed(last_closed_);
    open_id_ = last_closed_.Next();
    partition_->BeginRecord(open_id_);
    partition_->Start(options_.nonce, now_, std::move(inherited));
    Gather();
    CloseRecord();  // When it is committed, we serve.
  }

  void RetryLater(const absl::Status& /*trouble*/, std::function<void()> again) {
    retry_ = {now_ + retry_backoff_.Next(), std::move(again)};
  }

  void Retry() {
    if (!retry_.has_value() || now_ < retry_->at) return;
    const std::function<void()> again = std::move(retry_->again);
    retry_.reset();
    again();
  }

  // --- Records -----------------------------------------------------------------------------------

  // Takes what the partition decided into the open record.
  void Gather() {
    std::string events = partition_->TakeEvents();
    if (open_.events.empty()) {
      open_.events = std::move(events);
    } else {
      open_.events += events;
    }
  }

  size_t OpenBytes() const { return open_.events.size() + open_payload_bytes_; }
  size_t unflushed_bytes() const { return committer_->waiting_bytes() + OpenBytes(); }

  // Commands are refused: the store takes nothing, or not as fast as it is wanted to.
  bool refusing() const {
    return committer_->troubled() || unflushed_bytes() > options_.unflushed_bytes_max;
  }

  // As many of its largest items as one message holds.
  void LimitLeases(JobIndex job) {
    const size_t items = kAssignmentBytesMax / ItemBytesMax(job);
    partition_->LimitLeases(job, static_cast<uint32_t>(items));
  }

  void SendGathered() {
    if (state_ != HostState::kServing) return;
    Gather();
    if (OpenBytes() > 0 && committer_->idle()) CloseRecord();
  }

  void CloseRecord() {
    core::Record record = std::exchange(open_, {});
    open_payload_bytes_ = 0;
    record.nonce = options_.nonce;
    record.at = core::TruncateTime(now_);
    record.follows = last_closed_;
    record.kept_from = write_behind_->Announce(open_id_);
    last_closed_ = open_id_;
    open_id_ = open_id_.Next();
    partition_->BeginRecord(open_id_);
    std::string bytes = core::EncodeRecord(record);
    write_behind_->Closed(last_closed_, bytes.size());
    committer_->Append(last_closed_, std::move(bytes), now_);
    write_behind_->AtBoundary(last_closed_, now_);
  }

  void OnCommitted(RecordId id) {
    if (state_ == HostState::kFailed) return;
    committed_at_ = now_;
    unheard_ = false;
    heard_ = absl::OkStatus();
    if (listen_at_ != absl::InfiniteFuture() && to_ask_for_.empty()) {
      listen_at_ = now_ + kListenInterval;
    }
    if (partition_ == nullptr) return Recover();  // The fence stands.
    if (state_ == HostState::kRecovering) {
      state_ = HostState::kServing;
      listen_at_ = now_ + kListenInterval;
      recovery_.reset();
      takeover_.duration = now_ - start_time_;
      last_tick_ = now_;
      write_behind_->Committed(id);
      std::exchange(start_done_, nullptr)(absl::OkStatus());
      return;
    }
    write_behind_->Committed(id);
    ReleaseReplies();
    SendGathered();  // What has gathered while this record was in flight.
  }

  // --- Replies -----------------------------------------------------------------------------------

  bool CanRelease() const {
    return !replies_.empty() &&
           (state_ == HostState::kFailed ||
            (committer_ != nullptr && replies_.front().after <= committer_->committed()) ||
            core::Mutated(core::Mutation::kReplyBeforeCommit));
  }

  // Those that were there when it began: a reply may ask for another one.
  void ReleaseReplies() {
    for (size_t count = replies_.size(); count > 0 && CanRelease(); --count) {
      const Reply reply = std::move(replies_.front());
      replies_.pop_front();
      reply.done(state_ == HostState::kFailed
                     ? absl::UnavailableError(absl::StrCat("the commit is not known to have been "
                                                           "done: ",
                                                           failure_.message()))
                     : absl::OkStatus());
    }
  }

  // --- Reads of payloads -------------------------------------------------------------------------

  void Read(std::shared_ptr<PayloadRead> read) {
    // From memory the answer comes inside the call, and has to wait for its end.
    asking_for_payloads_ = true;
    if (!read->items.empty() && keys_.size(read->job) == 0) {
      OnPayloads(*read, absl::NotFoundError(
                            absl::StrCat("job ", read->job.value(), " is not here any more")));
    } else {
      payloads_->Read(
          read->job, read->items, [this, read](absl::StatusOr<std::vector<Payload>> payloads) {
            // A hiccup of the store is no reason to end what waits for it.
            if (absl::IsUnavailable(payloads.status()) && state_ == HostState::kServing) {
              reads_again_.emplace(now_ + read->backoff.Next(), read);
              return;
            }
            OnPayloads(*read, std::move(payloads));
          });
    }
    asking_for_payloads_ = false;
  }

  void OnPayloads(PayloadRead& read, absl::StatusOr<std::vector<Payload>> payloads) {
    // That the job is gone was decided after the read was asked for.
    const RecordId seen = absl::IsNotFound(payloads.status()) ? RecordNow() : read.after;
    const bool lost = absl::IsDataLoss(payloads.status());
    auto done = [done = std::move(read.done),
                 payloads = std::move(payloads)](absl::Status committed) mutable {
      if (!committed.ok()) return done(std::move(committed));
      done(std::move(payloads));
    };
    // To an owner that was replaced and has not noticed, what the next one deleted looks lost.
    if (lost) return WhenOwned(std::move(done));
    replies_.push_back({seen, std::move(done)});
    if (!asking_for_payloads_) ReleaseReplies();
  }

  void ReadAgain() {
    const auto end = reads_again_.upper_bound(now_);
    std::vector<std::shared_ptr<PayloadRead>> due;
    for (auto at = reads_again_.begin(); at != end; ++at) due.push_back(at->second);
    reads_again_.erase(reads_again_.begin(), end);
    for (auto& read : due) Read(std::move(read));
  }

  // --- The end -----------------------------------------------------------------------------------

  void Fail(absl::Status status) {
    if (state_ == HostState::kFailed) return;
    Fall(std::move(status));
    ReleaseReplies();
  }

  void Fall(absl::Status status) {
    if (state_ == HostState::kFailed) return;
    state_ = HostState::kFailed;
    failure_ = std::move(status);
    retry_.reset();
    for (const auto& [at, read] : std::exchange(reads_again_, {})) {
      OnPayloads(*read, absl::UnavailableError(failure_.message()));
    }
    for (auto* const waiting : {&asked_for_, &to_ask_for_}) {
      for (auto& done : std::exchange(*waiting, {})) WhenCommitted(std::move(done));
    }
    if (start_done_) std::exchange(start_done_, nullptr)(failure_);
  }

  // When a record has been on its way for so long that something is wrong.
  std::optional<absl::Time> SlowSince() const {
    if (committer_ == nullptr || !committer_->waiting_since().has_value()) return std::nullopt;
    return *committer_->waiting_since() + kSlowMin;
  }

  // Who has nothing to commit would not notice that the store is away, or that somebody else has
  // taken the partition over, and go on answering from a state that is old by now.
  void Listen() {
    if (now_ < listen_at_) return;
    const bool ask = committer_->idle() || !to_ask_for_.empty();
    listen_at_ = ask ? absl::InfiniteFuture() : now_ + kListenInterval;
    if (!ask) return;
    asked_for_ = std::exchange(to_ask_for_, {});
    const RecordId committed = committer_->committed();
    if (now_ >= look_whole_at_) {
      look_whole_at_ = now_ + kListenInterval;
      store_->LastId(lifeline_.Guard(
          [this, committed](const absl::StatusOr<RecordId>& last) { OnHeard(committed, last); }));
      return;
    }
    // That nobody else writes behind us is cheap to see, however large our records are.
    store_->ReadJournal(
        {committed.epoch + 1, 0}, 1,
        lifeline_.Guard([this, committed](absl::StatusOr<std::vector<StoredRecord>> later) {
          absl::StatusOr<RecordId> last = committed;
          if (!later.ok()) {
            last = later.status();
          } else if (!later->empty()) {
            last = later->back().id;
          }
          OnHeard(committed, last);
        }));
  }

  // `last`: the journal's last id, or another owner's record behind `committed`.
  void OnHeard(RecordId committed, const absl::StatusOr<RecordId>& last) {
    if (state_ != HostState::kServing) return;
    if (MayPass(last.status())) {
      listen_at_ = now_ + kListenAgain;
      // A single request that was lost is no trouble. After that nobody is kept waiting.
      if (std::exchange(unheard_, true)) {
        heard_ = Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
                       "the store of the partition does not answer");
        for (auto* const waiting : {&asked_for_, &to_ask_for_}) {
          for (auto& done : std::exchange(*waiting, {})) done(heard_);
        }
        return;
      }
      to_ask_for_.insert(to_ask_for_.begin(), std::make_move_iterator(asked_for_.begin()),
                         std::make_move_iterator(asked_for_.end()));
      asked_for_.clear();
      return;
    }
    listen_at_ = to_ask_for_.empty() ? now_ + kListenInterval : now_;
    unheard_ = false;
    heard_ = absl::OkStatus();
    if (!last.ok()) return Fail(last.status());
    if (last->epoch > committed.epoch) {
      Fail(absl::AbortedError(absl::StrCat("fenced: the journal goes on at ", last->ToString(),
                                           " with another owner's record")));
    } else if (*last < committed) {
      Fail(absl::DataLossError(absl::StrCat("the journal ends at ", last->ToString(), ", but ",
                                            committed.ToString(), " had been acknowledged")));
    } else {
      for (auto& done : std::exchange(asked_for_, {})) WhenCommitted(std::move(done));
    }
  }

  // The store takes records and we are awake: if either was not so for long, deadlines move by it,
  // as they do when a new owner comes.
  void EndOutage() {
    const bool refused = trouble_since_.has_value() && now_ - *trouble_since_ >= kOutageMin;
    const bool stood_still =
        partition_->open_assignments() > 0 && now_ - last_tick_ >= kTickInterval + kStandstillMin;
    if (refused || stood_still) partition_->Start(options_.nonce, now_);
    trouble_since_.reset();
  }

  const HostOptions options_;
  core::Store* const store_;

  HostState state_ = HostState::kRecovering;
  absl::Status failure_;
  bool started_ = false;
  std::function<void(absl::Status)> start_done_;
  absl::Time now_ = absl::InfinitePast();
  absl::Time start_time_ = absl::InfinitePast();
  absl::Time last_tick_ = absl::InfinitePast();
  std::optional<absl::Time> trouble_since_;
  absl::Time listen_at_ = absl::InfiniteFuture();  // InfiniteFuture: not serving, or listening.
  // Whom it is to tell whether we are the owner: of the question under way, and of the next one.
  std::vector<std::function<void(absl::Status)>> asked_for_, to_ask_for_;
  // Then at the last id, and not only behind ours.
  absl::Time look_whole_at_ = absl::InfinitePast();
  bool unheard_ = false;  // The last one had no answer ...
  absl::Status heard_;    // ... nor the one before; then why.
  struct PendingRetry {
    absl::Time at;
    std::function<void()> again;
  };
  std::optional<PendingRetry> retry_;  // Of a step of recovery.
  Backoff retry_backoff_;

  KeyIndex keys_;
  std::unique_ptr<PayloadPages> payloads_;
  StoredSizes sizes_;
  std::unique_ptr<Recovery> recovery_;
  std::unique_ptr<core::Partition> partition_;
  std::unique_ptr<Committer> committer_;
  std::unique_ptr<WriteBehind> write_behind_;

  core::Record open_;  // Gathers what is decided now.
  RecordId open_id_;
  size_t open_payload_bytes_ = 0;
  RecordId last_closed_;
  absl::Time committed_at_ = absl::InfinitePast();
  PartitionHost::Takeover takeover_;
  std::vector<EndedAssignment> ended_;
  std::deque<Reply> replies_;
  bool asking_for_payloads_ = false;
  std::multimap<absl::Time, std::shared_ptr<PayloadRead>> reads_again_;  // By when.
  Lifeline lifeline_;
};

PartitionHost::PartitionHost(const HostOptions& options, core::Store* store)
    : impl_(std::make_unique<Impl>(options, store)) {}
PartitionHost::~PartitionHost() = default;

void PartitionHost::Start(absl::Time now, std::function<void(absl::Status)> done) {
  impl_->Start(now, std::move(done));
}
HostState PartitionHost::state() const { return impl_->state(); }
absl::Status PartitionHost::failure() const { return impl_->failure(); }
bool PartitionHost::accepting() const { return impl_->accepting(); }
core::RecordId PartitionHost::RecordNow() { return impl_->RecordNow(); }
bool PartitionHost::has_upload_room() const { return impl_->has_upload_room(); }
core::Partition& PartitionHost::partition() { return impl_->partition(); }
void PartitionHost::WhenCommitted(std::function<void(absl::Status)> done) {
  impl_->WhenCommitted(std::move(done));
}
void PartitionHost::WhenOwned(std::function<void(absl::Status)> done) {
  impl_->WhenOwned(std::move(done));
}
void PartitionHost::EndCommand() { impl_->EndCommand(); }
void PartitionHost::Flush(absl::Time now) { impl_->Flush(now); }
void PartitionHost::Tick(absl::Time now) { impl_->Tick(now); }
absl::Time PartitionHost::NextWake() const { return impl_->NextWake(); }

std::optional<PartitionHost::KeyEntry> PartitionHost::FindKey(JobIndex job,
                                                              absl::string_view key) const {
  const std::optional<KeyIndex::Entry> entry = impl_->keys().Find(job, key);
  if (!entry.has_value()) return std::nullopt;
  return KeyEntry{.item = entry->item, .payload_digest = entry->payload_digest};
}
uint64_t PartitionHost::PayloadDigest(absl::string_view bytes) const {
  return impl_->keys().PayloadDigest(bytes);
}
size_t PartitionHost::ItemBytesMax(JobIndex job) const { return impl_->ItemBytesMax(job); }
void PartitionHost::AddPayloads(core::PayloadBatch batch) { impl_->AddPayloads(std::move(batch)); }
void PartitionHost::ReadPayloads(JobIndex job, std::vector<core::ItemIndex> items,
                                 std::function<void(absl::StatusOr<std::vector<Payload>>)> done) {
  impl_->ReadPayloads(job, std::move(items), std::move(done));
}
void PartitionHost::ForgetJob(JobIndex job) { impl_->ForgetJob(job); }
absl::Status PartitionHost::trouble() const { return impl_->trouble(); }
const absl::Status& PartitionHost::damage() const { return impl_->damage(); }
const PartitionHost::Takeover& PartitionHost::takeover() const { return impl_->takeover(); }

std::vector<EndedAssignment> PartitionHost::TakeEnded() { return impl_->TakeEnded(); }
PartitionHost::Status PartitionHost::status() const { return impl_->status(); }

}  // namespace tessera::edge
