#include "tests/simulation/sabotage.h"

#include <utility>

namespace tessera::simulation {

using core::ObjectWrite;
using core::RecordId;
using core::StoredRecord;

namespace {

// Passes everything on.
class Honest : public core::Store {
 public:
  explicit Honest(core::Store* store) : store_(store) {}

  void Append(RecordId id, std::string bytes, Done done) override {
    store_->Append(id, std::move(bytes), std::move(done));
  }
  void LastRecord(DoneWith<StoredRecord> done) override { store_->LastRecord(std::move(done)); }
  void LastId(DoneWith<RecordId> done) override { store_->LastId(std::move(done)); }
  void ReadJournal(RecordId from, size_t records_max,
                   DoneWith<std::vector<StoredRecord>> done) override {
    store_->ReadJournal(from, records_max, std::move(done));
  }
  void WriteObjects(uint64_t epoch, std::vector<ObjectWrite> writes, Done done) override {
    store_->WriteObjects(epoch, std::move(writes), std::move(done));
  }
  void ReadObjects(std::vector<std::string> keys,
                   DoneWith<std::vector<std::optional<std::string>>> done) override {
    store_->ReadObjects(std::move(keys), std::move(done));
  }
  void Trim(uint64_t epoch, RecordId below, Done done) override {
    store_->Trim(epoch, below, std::move(done));
  }

 protected:
  core::Store* const store_;
};

// Acknowledges an append before it has been carried out, and looks at no answer.
class Hasty final : public Honest {
 public:
  using Honest::Honest;

  void Append(RecordId id, std::string bytes, Done done) override {
    if (id.sequence == 0) return Honest::Append(id, std::move(bytes), std::move(done));
    store_->LastRecord([this, id, bytes = std::move(bytes),
                        done = std::move(done)](const absl::StatusOr<StoredRecord>& /*last*/) {
      // The next append waits for a question behind this one, so that one at a time is in flight.
      store_->Append(id, bytes, [](const absl::Status&) {});
      done(absl::OkStatus());
    });
  }
};

class Eager final : public Honest {
 public:
  using Honest::Honest;
  void Trim(uint64_t epoch, RecordId below, Done done) override {
    Honest::Trim(epoch, below.Next(), std::move(done));
  }
};

class Forgetful final : public Honest {
 public:
  Forgetful(core::Store* store, uint64_t seed) : Honest(store), random_(seed) {}
  void WriteObjects(uint64_t epoch, std::vector<ObjectWrite> writes, Done done) override {
    if (random_.Chance(100)) writes.clear();
    Honest::WriteObjects(epoch, std::move(writes), std::move(done));
  }

 private:
  Random random_;
};

}  // namespace

std::unique_ptr<core::Store> MakeSabotagedStore(Sabotage sabotage, core::Store* store,
                                                uint64_t seed) {
  switch (sabotage) {
    case Sabotage::kAppendNotAwaited:
      return std::make_unique<Hasty>(store);
    case Sabotage::kTrimTooFar:
      return std::make_unique<Eager>(store);
    case Sabotage::kObjectsNotWritten:
      return std::make_unique<Forgetful>(store, seed);
    default:
      return nullptr;
  }
}

}  // namespace tessera::simulation
