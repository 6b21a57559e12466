#include "coordinator/store/redis_connection.h"

#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/check.h"

namespace tessera::store {
namespace {

absl::string_view Text(const redisReply* reply) {
  return reply->str == nullptr ? absl::string_view() : absl::string_view(reply->str, reply->len);
}

// A field of INFO's reply, which has lines `name:value\r\n`.
absl::string_view InfoField(absl::string_view info, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(info, '\n')) {
    if (absl::ConsumePrefix(&line, name) && absl::ConsumePrefix(&line, ":")) {
      absl::ConsumeSuffix(&line, "\r");
      return line;
    }
  }
  return "";
}

// OK where the server can be trusted with a journal.
absl::Status CheckServer(absl::string_view info) {
  const absl::string_view version = InfoField(info, "redis_version");
  const std::vector<absl::string_view> parts = absl::StrSplit(version, '.');
  int major = 0;
  int minor = 0;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &major) ||
      !absl::SimpleAtoi(parts[1], &minor) || major < 6 || (major == 6 && minor < 2)) {
    return absl::FailedPreconditionError(
        absl::StrCat("Redis 6.2 or newer is needed, this one says it is '", version, "'"));
  }
  const absl::string_view policy = InfoField(info, "maxmemory_policy");
  if (absl::StartsWith(policy, "allkeys")) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Redis may evict the journal: set maxmemory-policy to noeviction, not '", policy, "'"));
  }
  return absl::OkStatus();
}

// Of an error in answer to the handshake. Who lacks the right credential lacks it until an operator
// has changed something, here or there; all else may pass by itself.
absl::StatusCode HandshakeCode(absl::string_view error) {
  for (const absl::string_view of_credential : {"WRONGPASS ", "NOAUTH ", "NOPERM ", "ERR AUTH "}) {
    if (absl::StartsWith(error, of_credential)) return absl::StatusCode::kFailedPrecondition;
  }
  return absl::StatusCode::kUnavailable;
}

// What Redis says when it did not even begin. The caller may try the same again.
constexpr std::array<absl::string_view, 14> kRefusals = {
    "OOM",        "READONLY",   "MISCONF",     "LOADING",  "BUSY",  "NOAUTH", "NOPERM",
    "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK",    "UNKILLABLE"};

// The refusal in an error's text. Scripts wrap it, before Redis 7 in the middle of the text.
bool IsRefusal(absl::string_view error) {
  for (const absl::string_view code : kRefusals) {
    if (absl::StartsWith(error, absl::StrCat(code, " "))) return true;
    if (absl::StrContains(error, absl::StrCat("-", code, " "))) return true;
    if (absl::StrContains(error, absl::StrCat(": ", code, " "))) return true;
  }
  return absl::StrContains(error, "max number of clients reached");
}

}  // namespace

class RedisConnection::State : public std::enable_shared_from_this<State> {
 public:
  State(EventLoop* loop, Options options)
      : loop_(loop), options_(std::move(options)), pause_(options_.retry_first) {}

  void Connect();
  void Close();
  void Command(absl::Span<const absl::string_view> arguments, OnReply on_reply);

  bool connected() const { return connected_; }
  const absl::Status& last_error() const { return last_error_; }
  bool persistent() const { return persistent_; }
  int64_t connections() const { return connections_; }

 private:
  // One hiredis context and its place in the loop. hiredis may outlast our interest in it, when it
  // is freed inside one of its own callbacks.
  struct Link {
    std::shared_ptr<State> state;
    redisAsyncContext* context = nullptr;  // Null when hiredis has let go of it.
    int fd = -1;
    bool read = false;
    bool write = false;
    bool open = false;             // connect(2) is done.
    bool flush_scheduled = false;  // A write waits for the end of the round.
    bool flushing = false;
    bool lost = false;  // The state has moved on.
    int64_t in_flight = 0;
    int64_t in_flight_bytes = 0;
    int64_t replies = 0;

    void SetInterest() { state->loop_->SetInterest(fd, read, write); }
  };
  struct Pending {
    std::shared_ptr<Link> link;
    int64_t bytes;
    OnReply on_reply;
  };

  static std::shared_ptr<Link>& LinkOf(void* hook_data) {
    return *static_cast<std::shared_ptr<Link>*>(hook_data);
  }
  static void Attach(const std::shared_ptr<Link>& link);
  static void Flush(const std::shared_ptr<Link>& link);
  static void Ready(const std::shared_ptr<Link>& link, bool readable, bool writable);
  static void Replied(redisAsyncContext* context, void* reply, void* pending);

  void Send(const std::shared_ptr<Link>& link, absl::Span<const absl::string_view> arguments,
            OnReply on_reply);
  void Authenticate(const std::shared_ptr<Link>& link);
  void Introduce(const std::shared_ptr<Link>& link);
  void EndPredecessor(const std::shared_ptr<Link>& link, int64_t id, std::string run_id);
  void Connected(const std::shared_ptr<Link>& link, int64_t id, std::string run_id);
  void WatchReplies(const std::shared_ptr<Link>& link);
  // The server answered `command` of the handshake with an error.
  void Refused(const std::shared_ptr<Link>& link, absl::string_view command,
               const redisReply* reply);
  // The connection is gone; hiredis knows.
  void Lost(const std::shared_ptr<Link>& link, absl::string_view why,
            absl::StatusCode code = absl::StatusCode::kUnavailable);
  // The connection is to go; hiredis does not know yet.
  void GiveUp(const std::shared_ptr<Link>& link, absl::string_view why,
              absl::StatusCode code = absl::StatusCode::kUnavailable);
  void CancelTimer(std::optional<EventLoop::TimerId>& timer);

  EventLoop* const loop_;
  const Options options_;
  std::shared_ptr<Link> link_;  // The current one, connected or on its way.
  bool closed_ = false;
  bool connected_ = false;
  absl::Status last_error_ = absl::UnavailableError("not connected so far");
  int64_t connections_ = 0;
  absl::Duration pause_;
  std::optional<EventLoop::TimerId> retry_timer_;
  std::optional<EventLoop::TimerId> connect_timer_;
  std::optional<EventLoop::TimerId> reply_timer_;
  std::vector<const char*> argv_;  // Kept for their capacity.
  std::vector<size_t> argv_sizes_;

  // The last connection as the server knows it.
  bool persistent_ = false;
  int64_t client_id_ = 0;
  std::string run_id_;
};

void RedisConnection::State::Connect() {
  retry_timer_.reset();
  const RedisAddress& address = options_.address;
  redisAsyncContext* context = address.unix_path.empty()
                                   ? redisAsyncConnect(address.host.c_str(), address.port)
                                   : redisAsyncConnectUnix(address.unix_path.c_str());
  TESSERA_CHECK(context != nullptr);  // Out of memory.
  auto link = std::make_shared<Link>();
  link->state = shared_from_this();
  link_ = link;
  if (context->err != 0) {
    const std::string why = context->errstr;
    redisAsyncFree(context);
    Lost(link, why);
    return;
  }
  link->context = context;
  link->fd = context->c.fd;
  fcntl(link->fd, F_SETFD, FD_CLOEXEC);
  if (address.unix_path.empty()) redisEnableKeepAlive(&context->c);
  connect_timer_ = loop_->After(options_.connect_timeout, [self = shared_from_this(), link] {
    self->connect_timer_.reset();
    self->GiveUp(link, "no connection in time");
  });
  Attach(link);
}

void RedisConnection::State::Attach(const std::shared_ptr<Link>& link) {
  redisAsyncContext* context = link->context;
  link->state->loop_->Watch(
      link->fd, [link](bool readable, bool writable) { Ready(link, readable, writable); });
  context->data = context->ev.data = new std::shared_ptr<Link>(link);
  context->ev.addRead = [](void* data) {
    Link& self = *LinkOf(data);
    self.read = true;
    self.SetInterest();
  };
  context->ev.delRead = [](void* data) {
    Link& self = *LinkOf(data);
    self.read = false;
    self.SetInterest();
  };
  context->ev.addWrite = [](void* data) {
    const std::shared_ptr<Link>& self = LinkOf(data);
    if (!self->open || self->flushing) {  // Not before the socket is ready for it.
      self->write = true;
      self->SetInterest();
      return;
    }
    if (self->flush_scheduled || self->write) return;
    self->flush_scheduled = true;
    self->state->loop_->Defer([link = self] { Flush(link); });
  };
  context->ev.delWrite = [](void* data) {
    Link& self = *LinkOf(data);
    self.write = false;
    self.SetInterest();
  };
  context->ev.cleanup = [](void* data) {
    auto* self = static_cast<std::shared_ptr<Link>*>(data);
    (*self)->state->loop_->Unwatch((*self)->fd);
    (*self)->context = nullptr;
    delete self;
  };
  redisAsyncSetConnectCallback(context, [](const redisAsyncContext* ac, int status) {
    const std::shared_ptr<Link> self = LinkOf(ac->data);
    if (status != REDIS_OK) {
      self->state->Lost(self, ac->errstr);
      return;
    }
    self->open = true;
    self->state->Authenticate(self);
  });
}

void RedisConnection::State::Flush(const std::shared_ptr<Link>& link) {
  link->flush_scheduled = false;
  if (link->context == nullptr) return;
  link->flushing = true;
  redisAsyncHandleWrite(link->context);
  link->flushing = false;
  if (link->context == nullptr) link->state->Lost(link, "the connection broke");
}

void RedisConnection::State::Ready(const std::shared_ptr<Link>& link, bool readable,
                                   bool writable) {
  if (writable && link->context != nullptr && (link->write || !link->open)) {
    link->flushing = true;
    redisAsyncHandleWrite(link->context);
    link->flushing = false;
  }
  if (readable && link->context != nullptr && link->open) redisAsyncHandleRead(link->context);
  if (link->context == nullptr) link->state->Lost(link, "the server closed the connection");
}

void RedisConnection::State::Replied(redisAsyncContext* context, void* reply, void* pending) {
  const std::unique_ptr<Pending> call(static_cast<Pending*>(pending));
  const std::shared_ptr<Link> link = call->link;
  const std::shared_ptr<State> self = link->state;
  --link->in_flight;
  link->in_flight_bytes -= call->bytes;
  const auto* answer = static_cast<const redisReply*>(reply);
  if (answer == nullptr) {
    self->Lost(link, context->err != 0 ? context->errstr : "the server closed the connection");
  } else {
    ++link->replies;
    if (answer->type == REDIS_REPLY_ERROR && absl::StartsWith(Text(answer), "READONLY") &&
        self->options_.address.unix_path.empty()) {
      self->loop_->Post([self, link] { self->GiveUp(link, "the server is a replica now"); });
    }
  }
  if (!self->closed_) call->on_reply(answer);
}

void RedisConnection::State::Send(const std::shared_ptr<Link>& link,
                                  absl::Span<const absl::string_view> arguments, OnReply on_reply) {
  argv_.clear();
  argv_sizes_.clear();
  int64_t bytes = 0;
  for (const absl::string_view argument : arguments) {
    argv_.push_back(argument.data());
    argv_sizes_.push_back(argument.size());
    bytes += static_cast<int64_t>(argument.size());
  }
  auto pending = std::make_unique<Pending>(Pending{link, bytes, std::move(on_reply)});
  const int result =
      redisAsyncCommandArgv(link->context, &State::Replied, pending.get(),
                            static_cast<int>(argv_.size()), argv_.data(), argv_sizes_.data());
  TESSERA_CHECK(result ==
                REDIS_OK);  // It refuses only where it is on its way out: then link->lost.
  static_cast<void>(pending.release());
  ++link->in_flight;
  link->in_flight_bytes += bytes;
  if (!reply_timer_.has_value()) WatchReplies(link);
}

void RedisConnection::State::Authenticate(const std::shared_ptr<Link>& link) {
  if (link->lost) return;
  if (options_.password.empty()) {
    Introduce(link);
    return;
  }
  std::vector<absl::string_view> arguments = {"AUTH"};
  if (!options_.user.empty()) arguments.push_back(options_.user);
  arguments.push_back(options_.password);
  Send(link, arguments, [this, link](const redisReply* reply) {
    if (reply == nullptr) return;
    if (reply->type == REDIS_REPLY_ERROR) {
      Refused(link, "AUTH", reply);
      return;
    }
    Introduce(link);
  });
}

void RedisConnection::State::Introduce(const std::shared_ptr<Link>& link) {
  auto id = std::make_shared<int64_t>(0);
  Send(link, {"CLIENT", "ID"}, [this, link, id](const redisReply* reply) {
    if (reply == nullptr || link->lost) return;
    if (reply->type != REDIS_REPLY_INTEGER) {
      Refused(link, "CLIENT ID", reply);
      return;
    }
    *id = reply->integer;
  });
  Send(link, {"INFO"}, [this, link, id](const redisReply* reply) {
    if (reply == nullptr || link->lost) return;
    if (reply->type != REDIS_REPLY_STRING) {
      Refused(link, "INFO", reply);
      return;
    }
    if (const absl::Status status = CheckServer(Text(reply)); !status.ok()) {
      GiveUp(link, status.message(), status.code());
      return;
    }
    persistent_ = InfoField(Text(reply), "aof_enabled") == "1";
    EndPredecessor(link, *id, std::string(InfoField(Text(reply), "run_id")));
  });
}

void RedisConnection::State::EndPredecessor(const std::shared_ptr<Link>& link, int64_t id,
                                            std::string run_id) {
  // The first time there is none: it is asked to end us, which SKIPME forbids, to find out now
  // rather than after the first trouble whether we may ask.
  const bool known = client_id_ != 0 && run_id_ == run_id;
  const std::string victim = absl::StrCat(known ? client_id_ : id);
  Send(link, {"CLIENT", "KILL", "ID", victim, "SKIPME", "yes"},
       [this, link, id, run_id = std::move(run_id)](const redisReply* reply) mutable {
         if (reply == nullptr || link->lost) return;
         if (reply->type != REDIS_REPLY_INTEGER) {
           Refused(link, "CLIENT KILL", reply);
           return;
         }
         Connected(link, id, std::move(run_id));
       });
}

void RedisConnection::State::Refused(const std::shared_ptr<Link>& link, absl::string_view command,
                                     const redisReply* reply) {
  GiveUp(link, absl::StrCat(command, ": ", Text(reply)), HandshakeCode(Text(reply)));
}

void RedisConnection::State::Connected(const std::shared_ptr<Link>& link, int64_t id,
                                       std::string run_id) {
  TESSERA_CHECK(link == link_);
  CancelTimer(connect_timer_);
  client_id_ = id;
  run_id_ = std::move(run_id);
  connected_ = true;
  last_error_ = absl::OkStatus();
  pause_ = options_.retry_first;
  ++connections_;
}

void RedisConnection::State::WatchReplies(const std::shared_ptr<Link>& link) {
  reply_timer_ = loop_->After(options_.reply_timeout,
                              [self = shared_from_this(), link, replies = link->replies] {
                                self->reply_timer_.reset();
                                if (link->lost || link->in_flight == 0) return;
                                if (link->replies != replies) {
                                  self->WatchReplies(link);
                                  return;
                                }
                                self->GiveUp(link, "no reply in time");
                              });
}

void RedisConnection::State::Lost(const std::shared_ptr<Link>& link, absl::string_view why,
                                  absl::StatusCode code) {
  if (link->lost) return;
  link->lost = true;
  if (closed_) return;
  TESSERA_CHECK(link == link_);
  link_.reset();
  CancelTimer(connect_timer_);
  CancelTimer(reply_timer_);
  connected_ = false;
  last_error_ =
      absl::Status(code, absl::StrCat("Redis at ", options_.address.ToString(), ": ", why));
  retry_timer_ = loop_->After(pause_, [self = shared_from_this()] { self->Connect(); });
  pause_ = std::min(pause_ * 2, options_.retry_max);
}

void RedisConnection::State::GiveUp(const std::shared_ptr<Link>& link, absl::string_view why,
                                    absl::StatusCode code) {
  if (link->lost) return;
  Lost(link, why, code);
  if (link->context != nullptr) redisAsyncFree(link->context);
}

void RedisConnection::State::CancelTimer(std::optional<EventLoop::TimerId>& timer) {
  if (timer.has_value()) loop_->Cancel(*timer);
  timer.reset();
}

void RedisConnection::State::Close() {
  closed_ = true;
  connected_ = false;
  CancelTimer(retry_timer_);
  CancelTimer(connect_timer_);
  CancelTimer(reply_timer_);
  if (link_ == nullptr) return;
  const std::shared_ptr<Link> link = std::move(link_);
  link->lost = true;
  if (link->context != nullptr) redisAsyncFree(link->context);
}

void RedisConnection::State::Command(absl::Span<const absl::string_view> arguments,
                                     OnReply on_reply) {
  int64_t bytes = 0;
  for (const absl::string_view argument : arguments) bytes += static_cast<int64_t>(argument.size());
  if (!connected_ || link_->in_flight_bytes + bytes > options_.in_flight_bytes_max) {
    loop_->Post([self = shared_from_this(), on_reply = std::move(on_reply)]() mutable {
      if (!self->closed_) on_reply(nullptr);
    });
    return;
  }
  Send(link_, arguments, std::move(on_reply));
}

RedisConnection::RedisConnection(EventLoop* loop, Options options)
    : state_(std::make_shared<State>(loop, std::move(options))) {
  state_->Connect();
}

RedisConnection::~RedisConnection() { state_->Close(); }

void RedisConnection::Command(absl::Span<const absl::string_view> arguments, OnReply on_reply) {
  state_->Command(arguments, std::move(on_reply));
}

bool RedisConnection::connected() const { return state_->connected(); }

const absl::Status& RedisConnection::last_error() const { return state_->last_error(); }
bool RedisConnection::persistent() const { return state_->persistent(); }

int64_t RedisConnection::connections() const { return state_->connections(); }

absl::Status RedisReplyStatus(const redisReply* reply, absl::string_view doing) {
  if (reply == nullptr) return absl::UnavailableError(absl::StrCat(doing, ": no reply"));
  if (reply->type != REDIS_REPLY_ERROR) return absl::OkStatus();
  const absl::string_view error = Text(reply);
  const std::string message = absl::StrCat(doing, ": ", error);
  if (absl::StartsWith(error, "FENCED") || absl::StrContains(error, "equal or smaller")) {
    return absl::AbortedError(message);
  }
  if (absl::StartsWith(error, "GONE")) return absl::DataLossError(message);
  if (IsRefusal(error)) return absl::ResourceExhaustedError(message);
  if (absl::StrContains(error, "WRONGTYPE")) return absl::DataLossError(message);
  // An error that we do not know, perhaps of a proxy: it does not say whether anything was done.
  return absl::UnavailableError(message);
}

}  // namespace tessera::store
