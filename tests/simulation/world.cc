#include "tests/simulation/world.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "coordinator/core/fusing/categorical.h"
#include "tests/simulation/gateway.h"
#include "tests/simulation/requester.h"
#include "tests/simulation/sabotage.h"

namespace tessera::simulation {

using edge::Coordinator;
using testing::FaultyDisk;
using testing::FaultyStore;

namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
constexpr size_t kNotesMax = 60;
constexpr uint64_t kLedgerEvery = 25;  // Steps.
constexpr uint64_t kAuditEvery = 400;
constexpr int kFreshWorkersEvery = 300;  // Rounds.
constexpr int kCalmRoundsMax = 6000;
constexpr absl::Duration kCalmMax = absl::Hours(6);

}  // namespace

// --- Fits ----------------------------------------------------------------------------------------

void FitBench::Compute(core::FitWork work, core::FitOptions options,
                       std::function<void(core::Fit)> done) {
  tasks_.push_back({std::move(work), options, std::move(done)});
}

bool FitBench::Finish(Random& random) {
  if (tasks_.empty()) return false;
  const auto place = tasks_.begin() + static_cast<std::ptrdiff_t>(random.Place(tasks_.size()));
  const Task task = std::move(*place);
  tasks_.erase(place);
  task.done(core::ComputeFit(task.work.votes, task.work.number, task.options));
  return true;
}

// --- Coordinators and streams --------------------------------------------------------------------

// A coordinator's clock, which may be set wrong and set anew; what elapses is right.
class World::ServerClock final : public Clock {
 public:
  ServerClock(const World* world, absl::Duration ahead) : ahead(ahead), world_(world) {}

  absl::Time Now() override { return world_->now_ + ahead; }
  absl::Duration Elapsed() override { return world_->now_ - kStart; }

  absl::Duration ahead;  // Of the true time.

 private:
  const World* const world_;
};

struct World::Server {
  Server(const World* world, absl::Duration ahead) : clock(world, ahead), time(&clock) {}

  int number = 0;
  bool serving = false;
  ServerClock clock;
  OnwardClock time;                                       // By that clock.
  std::vector<std::unique_ptr<FaultyStore>> connections;  // By partition.
  std::vector<std::unique_ptr<core::Store>> sabotaged;  // In front of them, if there is a saboteur.
  FitBench fits;
  Mail inbox;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  std::unique_ptr<Coordinator> coordinator;
};

// One gateway's stream, as both ends see it. Messages to the gateway go through the world's mail.
class World::Link final : public edge::SessionSink {
 public:
  // Of what is sent, `backlog_max` bytes may be on their way before the link is full.
  Link(World* world, uint64_t id, Gateway* gateway, const std::shared_ptr<Server>& server,
       size_t backlog_max)
      : world_(world), id_(id), gateway_(gateway), server_(server), backlog_max_(backlog_max) {}

  void Send(v1::WorkResponse response) override {
    if (broken_) return;
    const size_t bytes = response.ByteSizeLong();
    backlog_ += bytes;
    Put([this, bytes, response = std::move(response)] {
      backlog_ -= bytes;
      gateway_->OnMessage(id_, response);
    });
  }
  bool HasRoom() override { return backlog_ + on_the_way_ < backlog_max_; }
  void SetOnTheWay(size_t bytes) override { on_the_way_ = bytes; }
  void Close(absl::Status status) override {
    if (broken_) return;
    session_ = 0;
    Put([this, status = std::move(status)] { gateway_->OnClosed(id_, status); });
  }
  void Break() { broken_ = true; }

  std::shared_ptr<Server> server() const { return server_.lock(); }
  void set_session(Coordinator::SessionId session) { session_ = session; }
  Coordinator::SessionId session() const { return session_; }
  Gateway* gateway() const { return gateway_; }
  bool broken() const { return broken_; }

 private:
  void Put(std::function<void()> open) {
    world_->mail_.Put(
        {.lane = id_, .due = world_->now_ + world_->Delay(), .open = std::move(open)});
  }

  World* const world_;
  const uint64_t id_;
  Gateway* const gateway_;
  const std::weak_ptr<Server> server_;
  const size_t backlog_max_;
  size_t backlog_ = 0;
  size_t on_the_way_ = 0;
  Coordinator::SessionId session_ = 0;
  bool broken_ = false;
};

World::World(WorldOptions options)
    : options_(options),
      random_(options.seed),
      now_(kStart),
      partitions_(1 + static_cast<uint32_t>(random_.Below(2))),
      ids_({11, 12}, partitions_),
      next_start_(kStart) {
  edge::HostOptions& host = coordinator_options_.host;
  host.key_seed[0] = 11;
  host.key_seed[1] = 12;
  host.partition.refit_answers_min = 10;
  host.partition.refit_pages_per_step = 1;
  host.objects_per_write = static_cast<size_t>(random_.Int(1, 5));
  host.write_interval = random_.Between(absl::Milliseconds(1), absl::Seconds(2));
  host.trim = random_.Chance(800);
  host.journal_kept_bytes = random_.Chance(500) ? 0 : 2'000;
  host.payload_cache_bytes = random_.Chance(500) ? 256 : 1 << 20;
  for (uint32_t p = 0; p < partitions_; ++p) {
    disks_.push_back(std::make_unique<FaultyDisk>(FaultyDisk::Options{
        .seed = options.seed * 2 + p, .fencing_off = options.sabotage == Sabotage::kFencingOff}));
    witnesses_.push_back(std::make_unique<Witness>());
  }
  requesters_max_ = random_.Int(1, 6);  // They come one after another.
  requesters_.push_back(std::make_unique<Requester>(this, 0));
  const int gateways = random_.Int(1, 3);
  for (int g = 0; g < gateways; ++g) {
    gateways_.push_back(std::make_unique<Gateway>(this, g, random_.Int(1, 5)));
  }
}

World::~World() {
  while (!servers_.empty()) Crash(servers_.back(), "the history is over");
}

void World::Complain(const std::string& what) {
  if (broken_.empty()) broken_ = what;
}

void World::NoteLine(std::string line) {
  notes_.push_back(
      absl::StrCat("step ", steps_, ", ", absl::FormatDuration(now_ - kStart), ": ", line));
  if (notes_.size() > kNotesMax) notes_.pop_front();
}

const core::PartitionState& World::state(uint32_t partition) const {
  return witnesses_[partition]->state();
}

std::optional<core::ItemIndex> World::ItemOf(uint32_t partition, core::JobIndex job,
                                             const std::string& key) const {
  for (const auto& requester : requesters_) {
    if (requester->Owns(partition, job)) return requester->ItemOf(key);
  }
  return std::nullopt;
}

// --- The network ---------------------------------------------------------------------------------

absl::Duration World::Delay() {
  if (calm_) return absl::Milliseconds(1);
  if (random_.Chance(50)) return random_.Between(absl::Seconds(1), absl::Seconds(30));
  return random_.Between(absl::ZeroDuration(), absl::Milliseconds(300));
}

void World::Later(absl::Duration after, std::function<void()> action) {
  mail_.Put({.lane = 0, .due = now_ + after, .open = std::move(action)});
}

std::shared_ptr<World::Server> World::FindServer() {
  if (servers_.empty()) return nullptr;
  return Fault(150) ? servers_[random_.Place(servers_.size())] : servers_.back();
}

void World::ToServer(uint64_t lane, bool may_overtake, std::function<void(Callee)> action) {
  if (const std::shared_ptr<Server> server = FindServer()) {
    ToServer(server, lane, may_overtake, std::move(action));
  }
}

void World::ToServer(const std::shared_ptr<Server>& server, uint64_t lane, bool may_overtake,
                     std::function<void(Callee)> action) {
  // The inbox is the server's own: it cannot outlive it.
  server->inbox.Put({.lane = lane,
                     .due = now_ + Delay(),
                     .may_overtake = may_overtake,
                     .open = [s = server.get(), action = std::move(action)] {
                       action({s->coordinator.get(), s->alive, s->number});
                     }});
}

void World::WaitResults(const v1::StreamResultsRequest& request, bool told_end,
                        std::function<void(absl::StatusOr<v1::StreamResultsResponse>, bool)> done) {
  struct Reply {
    v1::StreamResultsResponse response;
    bool ended = false;
  };
  const auto once = Once<Reply>([done = std::move(done)](absl::StatusOr<Reply> reply) {
    if (!reply.ok()) return done(reply.status(), false);
    done(std::move(reply->response), reply->ended);
  });
  ToServer(0, true, [this, request, told_end, once](Callee callee) {
    const auto back = Back<Reply>(callee, once);
    const Coordinator::WaitId wait = callee.coordinator->WaitResults(
        request, told_end, [back](absl::StatusOr<v1::StreamResultsResponse> response, bool ended) {
          if (!response.ok()) return back(response.status());
          back(Reply{*std::move(response), ended});
        });
    if (Fault(50)) callee.coordinator->CancelWait(wait);
  });
}

uint64_t World::Connect(Gateway* gateway) {
  const std::shared_ptr<Server> server = FindServer();
  if (server == nullptr) return 0;
  const uint64_t id = next_link_++;
  // Some gateways read one assignment after another.
  const auto backlog_max =
      static_cast<size_t>(random_.Chance(300) ? random_.Int(1, 3000) : 1 << 20);
  links_[id] = std::make_unique<Link>(this, id, gateway, server, backlog_max);
  ToServer(server, id, false, [this, id](Callee callee) {
    Link& link = *links_.at(id);
    link.set_session(callee.coordinator->OpenSession("crowd", &link));
  });
  return id;
}

void World::Send(uint64_t stream, v1::WorkRequest request) {
  Link& link = *links_.at(stream);
  const std::shared_ptr<Server> server = link.server();
  if (server == nullptr || link.broken()) return;
  const bool hello = request.has_hello();
  const int copies = !hello && Fault(30) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    ToServer(server, stream, !hello, [this, stream, request](Callee callee) {
      const Link& l = *links_.at(stream);
      if (l.session() != 0) callee.coordinator->OnWork(l.session(), request);
    });
  }
}

void World::Disconnect(uint64_t stream) {
  Link& link = *links_.at(stream);
  if (link.broken()) return;
  link.Break();
  mail_.Break(stream, random_);
  const std::shared_ptr<Server> server = link.server();
  if (server == nullptr) return;
  server->inbox.Break(stream, random_);
  // The coordinator notices later, or not at all.
  if (Fault(300)) return;
  ToServer(server, stream, false, [this, stream](Callee callee) {
    Link& l = *links_.at(stream);
    if (l.session() == 0) return;
    callee.coordinator->CloseSession(l.session());
    l.set_session(0);
  });
}

absl::Time World::ClockOf(Server& server) { return server.time.Now(); }

absl::Time World::ClockOf(uint64_t stream) const {
  const std::shared_ptr<Server> server = links_.at(stream)->server();
  return server == nullptr ? absl::InfiniteFuture() : ClockOf(*server);
}

// --- Coordinators come and go --------------------------------------------------------------------

void World::StartServer() {
  absl::Duration ahead;
  if (!calm_ && random_.Chance(300)) ahead = random_.Between(-absl::Seconds(3), absl::Seconds(3));
  auto server = std::make_shared<Server>(this, ahead);
  server->number = ++newest_;
  std::vector<core::Store*> stores;
  for (uint32_t p = 0; p < partitions_; ++p) {
    server->connections.push_back(std::make_unique<FaultyStore>(disks_[p].get(), faults_));
    stores.push_back(server->connections.back().get());
    std::unique_ptr<core::Store> sabotaged =
        MakeSabotagedStore(options_.sabotage, stores.back(), options_.seed + p);
    if (sabotaged == nullptr) continue;
    stores.back() = sabotaged.get();
    server->sabotaged.push_back(std::move(sabotaged));
  }
  edge::CoordinatorOptions options = coordinator_options_;
  options.host.nonce = 1000 + static_cast<uint64_t>(server->number);
  options.host.epoch_step = 1 + random_.Below(1000);
  server->coordinator = std::make_unique<Coordinator>(options, stores, &server->fits);
  Note("coordinator ", server->number, " starts");
  servers_.push_back(server);
  server->coordinator->BeginTurn(ClockOf(*server));
  server->coordinator->Start(ClockOf(*server),
                             [this, s = server.get()](const absl::Status& status) {
                               Note("coordinator ", s->number, " has started: ", status.ToString());
                               s->serving = status.ok();
                               if (!status.ok()) return;
                               s->time.GoOnFrom(s->coordinator->latest_time());
                             });
  server->coordinator->EndTurn();
}

void World::Crash(const std::shared_ptr<Server>& server, absl::string_view why) {
  Note("coordinator ", server->number, " goes down: ", why);
  *server->alive = false;
  for (const auto& connection : server->connections) connection->Crash();
  for (const auto& [id, link] : links_) {
    if (link->server() != server || link->broken()) continue;
    link->Break();
    mail_.Break(id, random_);
    Later(Delay(), [gateway = link->gateway(), id = id] {
      gateway->OnClosed(id, absl::UnavailableError("the connection broke"));
    });
  }
  server->coordinator.reset();
  std::erase(servers_, server);
  ++crashes_;
  next_start_ = now_ + (Fault(200) ? random_.Between(absl::Seconds(30), absl::Minutes(6))
                                   : random_.Between(absl::ZeroDuration(), absl::Seconds(20)));
}

void World::CheckServer(const std::shared_ptr<Server>& server) {
  const absl::Status failure = server->coordinator->failure();
  if (failure.ok()) return;
  if (!absl::IsAborted(failure)) {
    Complain(absl::StrCat("coordinator ", server->number, " failed: ", failure.ToString()));
  } else if (server->number == newest_ && server->serving) {
    // It may lose the race for its first record to a late one of its predecessor, but nothing
    // later.
    Complain(absl::StrCat("coordinator ", server->number,
                          " is the newest, and was fenced: ", failure.ToString()));
  }
  Crash(server, failure.ToString());
}

void World::Turn(Server& server, int letters) {
  server.coordinator->BeginTurn(ClockOf(server));
  while (letters-- > 0 && server.inbox.Deliver(now_, random_, calm_ ? 0 : 50)) {
  }
  if (calm_) {
    while (server.fits.Finish(random_)) {
    }
  } else if (random_.Chance(150)) {
    server.fits.Finish(random_);
  }
  server.coordinator->EndTurn();
}

void World::StoreStep(Server& server) {
  const auto p = static_cast<uint32_t>(random_.Below(partitions_));
  FaultyStore& connection = *server.connections[p];
  if (random_.Chance(250)) {
    connection.Arrive();
  } else {
    for (int times = random_.Int(1, 6); times > 0 && connection.Deliver(); --times) Observe(p);
  }
  Observe(p);
}

void World::Observe(uint32_t partition) {
  if (!broken_.empty()) return;
  const Complaints complaints = witnesses_[partition]->Observe(*disks_[partition]);
  if (!complaints.empty()) {
    Complain(absl::StrCat("partition ", partition, ": ", absl::StrJoin(complaints, "; ")));
  }
}

void World::ObserveAll() {
  for (uint32_t p = 0; p < partitions_; ++p) Observe(p);
}

// --- Steps ---------------------------------------------------------------------------------------

bool World::ClientActs() {
  if (static_cast<int>(requesters_.size()) < requesters_max_ && random_.Chance(10)) {
    requesters_.push_back(std::make_unique<Requester>(this, static_cast<int>(requesters_.size())));
  }
  const size_t place = random_.Place(requesters_.size() + gateways_.size());
  if (place < requesters_.size()) {
    requesters_[place]->Act();
  } else {
    gateways_[place - requesters_.size()]->Act();
  }
  return true;
}

void World::Misfortune() {
  switch (random_.Int(0, 11)) {
    case 0:
    case 1:
    case 2:
      if (!servers_.empty()) Crash(servers_[random_.Place(servers_.size())], "killed");
      break;
    case 3:
      // A new owner comes while the old one still believes that it is one.
      if (servers_.size() == 1 && servers_.back()->serving) StartServer();
      break;
    case 4: {
      std::vector<uint64_t> open;
      for (const auto& [id, link] : links_) {
        if (!link->broken()) open.push_back(id);
      }
      if (open.empty()) break;
      const uint64_t id = open[random_.Place(open.size())];
      Note("stream ", id, " breaks");
      Gateway* const gateway = links_.at(id)->gateway();
      Disconnect(id);
      Later(Delay(), [gateway, id] {
        gateway->OnClosed(id, absl::UnavailableError("the connection broke"));
      });
      break;
    }
    case 5:
      if (!servers_.empty()) {
        absl::Duration& ahead = servers_[random_.Place(servers_.size())]->clock.ahead;
        if (random_.Chance(500)) {
          ahead += random_.Between(absl::ZeroDuration(), absl::Seconds(40));
        } else if (random_.Chance(700)) {
          ahead -= random_.Between(absl::ZeroDuration(), absl::Seconds(3));
        } else {
          ahead -= absl::Hours(1);
        }
        Note("a clock jumps");
      }
      break;
    case 6:
    case 7: {
      const bool bad = random_.Chance(500);
      faults_ = {.lose_request_per_mille = bad ? random_.Int(0, 30) : 0,
                 .lose_reply_per_mille = bad ? random_.Int(0, 30) : 0,
                 .refuse_per_mille = bad ? random_.Int(0, 100) : 0,
                 .delay_per_mille = bad ? random_.Int(0, 200) : 0};
      // At times it refuses everything.
      if (bad && random_.Chance(100)) faults_.refuse_per_mille = 900;
      for (const auto& server : servers_) {
        for (const auto& connection : server->connections) connection->SetFaults(faults_);
      }
      break;
    }
    case 8:
      random_.Chance(500) ? BlockOrUnblock() : ChangePool();
      break;
    case 9:
      if (!servers_.empty()) {
        const auto& connections = servers_[random_.Place(servers_.size())]->connections;
        connections[random_.Place(connections.size())]->Reconnect();
        Note("a connection to the store breaks");
      }
      break;
    default:
      now_ += random_.Between(absl::Seconds(5), absl::Minutes(2));
      break;
  }
}

void World::Step() {
  if (servers_.empty() && now_ >= next_start_) StartServer();
  const std::shared_ptr<Server> server =
      servers_.empty() ? nullptr : servers_[random_.Place(servers_.size())];
  const int draw = random_.Int(0, 999);
  if (draw < 8) {
    Misfortune();
  } else if (draw < 300) {
    if (server != nullptr) StoreStep(*server);
  } else if (draw < 550) {
    if (server != nullptr) Turn(*server, random_.Int(0, 8));
  } else if (draw < 750) {
    mail_.Deliver(now_, random_, 50);
  } else if (draw < 770) {
    const auto p = static_cast<uint32_t>(random_.Below(partitions_));
    if (disks_[p]->ArriveLate()) Note("a dead owner's write arrives at partition ", p);
    Observe(p);
  } else if (draw < 930) {
    ClientActs();
  } else if (draw < 945) {
    now_ += random_.Between(absl::Seconds(1), absl::Seconds(8));
  } else if (draw < 950) {
    RefuseAndCompare();
  }
  now_ += random_.Between(absl::ZeroDuration(), absl::Milliseconds(60));
  ObserveAll();
  for (size_t s = servers_.size(); s-- > 0;) CheckServer(servers_[s]);
}

// Faults have ended: everybody does what is due, and time passes to where something is.
void World::CalmRound() {
  if (servers_.empty()) StartServer();
  for (uint32_t p = 0; p < partitions_; ++p) {
    while (disks_[p]->ArriveLate()) Observe(p);
  }
  for (const auto& requester : requesters_) requester->Act();
  for (const auto& gateway : gateways_) gateway->Act();
  const std::vector<std::shared_ptr<Server>> servers = servers_;
  for (const std::shared_ptr<Server>& server : servers) {
    Turn(*server, 1000);
    for (uint32_t p = 0; p < partitions_; ++p) {
      for (int i = 0; i < 50 && server->connections[p]->Deliver(); ++i) Observe(p);
    }
    Turn(*server, 0);
  }
  while (mail_.Deliver(now_, random_, 0)) {
  }
  ObserveAll();
  for (size_t s = servers_.size(); s-- > 0;) CheckServer(servers_[s]);
  now_ += absl::Milliseconds(500);
}

// A refused call changes nothing.
void World::RefuseAndCompare() {
  if (servers_.empty() || !servers_.back()->serving) return;
  Server& server = *servers_.back();
  const auto& requester = *requesters_[random_.Place(requesters_.size())];
  const core::JobState* job = requester.state();
  if (job == nullptr) return;
  const auto name = absl::StrCat(job->head.identity.tenant, "/jobs/", job->head.identity.id);
  Coordinator& coordinator = *server.coordinator;
  coordinator.BeginTurn(ClockOf(server));
  std::vector<std::string> before;
  const auto digests = [&] {
    std::vector<std::string> all;
    for (uint32_t p = 0; p < partitions_; ++p) {
      const core::PartitionState* state = coordinator.state(p);
      all.push_back(state == nullptr ? "" : edge::StateDigest(*state));
    }
    return all;
  };
  before = digests();
  const auto refused = [this, alive = server.alive](absl::string_view what) {
    return [this, alive, what](const auto& reply) {
      if (*alive && reply.ok()) Complain(absl::StrCat(what, " is accepted"));
    };
  };
  switch (random_.Int(0, 4)) {
    case 0: {
      v1::AddItemsRequest request;
      request.set_job(absl::StrCat("tenants/", name));
      request.set_offset(static_cast<int64_t>(job->head.committed_offset) + 1'000'000);
      request.add_items()->set_key("far away");
      coordinator.AddItems(request, refused("a batch beyond the end"));
      break;
    }
    case 1: {
      v1::UpdateJobRequest request;
      request.mutable_job()->set_name(absl::StrCat("tenants/", name));
      request.mutable_job()->mutable_policy()->set_budget_micros(-1);
      request.mutable_update_mask()->add_paths("policy.budget_micros");
      coordinator.UpdateJob(request, refused("a budget below nothing"));
      break;
    }
    case 2: {
      v1::PayBonusRequest request;
      request.set_job(absl::StrCat("tenants/", name));
      request.set_worker("platforms/crowd/workers/gateway0-worker0");
      request.set_amount_micros(1'000'000'000'000);
      request.set_request_id("too much");
      coordinator.PayBonus(request, refused("a bonus beyond the budget"));
      break;
    }
    case 3: {
      v1::SealJobRequest request;
      request.set_name(absl::StrCat("tenants/", name));
      request.set_expected_offset(1'000'000);
      coordinator.SealJob(request, refused("a seal of another number of items"));
      break;
    }
    default: {
      v1::GetJobRequest request;
      request.set_name(absl::StrCat("tenants/", name, "x"));
      coordinator.GetJob(request, refused("a read of a job that is not there"));
    }
  }
  if (digests() != before) Complain("a refused call changes the state");
  coordinator.EndTurn();
}

// --- Checks --------------------------------------------------------------------------------------

void World::CheckClients() {
  for (const auto& requester : requesters_) requester->CheckLedger();
  for (const auto& gateway : gateways_) gateway->CheckLedger();
}

void World::Audit() {
  for (uint32_t p = 0; p < partitions_ && broken_.empty(); ++p) {
    const Complaints complaints = witnesses_[p]->Audit(*disks_[p]);
    if (!complaints.empty()) {
      Complain(absl::StrCat("audit of partition ", p, ": ", absl::StrJoin(complaints, "; ")));
    }
  }
}

// What the coordinator holds in memory is what it has committed, once it has committed all.
void World::CheckLiveStates() {
  if (servers_.empty() || !servers_.back()->serving) return;
  for (uint32_t p = 0; p < partitions_; ++p) {
    const core::PartitionState* live = servers_.back()->coordinator->state(p);
    if (live == nullptr) continue;
    if (edge::StateDigest(*live) != edge::StateDigest(state(p))) {
      Complain(absl::StrCat("the state in memory of partition ", p,
                            " is not what its journal folds to"));
    }
  }
}

bool World::AllEnded() const {
  return std::all_of(requesters_.begin(), requesters_.end(),
                     [](const auto& r) { return r->done(); }) &&
         std::all_of(gateways_.begin(), gateways_.end(), [](const auto& g) { return g->quiet(); });
}

Report World::Run() {
  const uint64_t steps = 500 + random_.Below(7000);
  while (steps_ < steps && broken_.empty()) {
    ++steps_;
    Step();
    if (steps_ % kLedgerEvery == 0) CheckClients();
    if (steps_ % kAuditEvery == 0) Audit();
  }

  // Faults end. Old owners die, new workers come, and everything must come to its end.
  calm_ = true;
  faults_ = {};
  Note("faults end");
  for (const auto& server : servers_) {
    server->clock.ahead = std::max(server->clock.ahead, absl::ZeroDuration());
    for (const auto& connection : server->connections) connection->SetFaults(faults_);
  }
  for (const auto& server : std::vector<std::shared_ptr<Server>>(servers_)) {
    if (server->number != newest_) Crash(server, "retired");
  }
  const absl::Time calm_since = now_;
  for (int round = 0; broken_.empty() && !AllEnded(); ++round) {
    ++steps_;
    // Each comes with workers that nobody has seen: others may have had all items, or reached a
    // cap.
    if (round % kFreshWorkersEvery == 0) {
      gateways_.push_back(std::make_unique<Gateway>(this, 100 + round / kFreshWorkersEvery, 12));
    }
    CalmRound();
    if (round % 50 == 0) CheckClients();
    if (broken_.empty() && (round >= kCalmRoundsMax || now_ - calm_since > kCalmMax)) {
      std::string still;
      for (const auto& r : requesters_) absl::StrAppend(&still, "\n  ", r->Describe());
      for (const auto& g : gateways_) absl::StrAppend(&still, "\n  ", g->Describe());
      Complain(absl::StrCat("not everything comes to its end:", still));
    }
  }
  for (int round = 0; broken_.empty() && round < 10; ++round) CalmRound();
  if (broken_.empty()) CheckClients();
  if (broken_.empty()) Audit();
  if (broken_.empty()) CheckLiveStates();

  Report report{.broken = broken_, .steps = steps_, .crashes = crashes_, .passed = now_ - kStart};
  for (uint32_t p = 0; p < partitions_; ++p) {
    for (const auto& [name, count] : witnesses_[p]->events()) report.events[name] += count;
    absl::StrAppend(&report.digest, edge::StateDigest(state(p)));
  }
  if (!broken_.empty()) {
    report.trace = absl::StrJoin(notes_, "\n");
    for (uint32_t p = 0; p < partitions_; ++p) {
      absl::StrAppend(&report.trace, "\npartition ", p, ", last records:\n",
                      witnesses_[p]->Tail(4));
    }
  }
  return report;
}

}  // namespace tessera::simulation
