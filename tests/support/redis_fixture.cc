#include "tests/support/redis_fixture.h"

#include <hiredis/hiredis.h>
#include <signal.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"

namespace tessera::testing {
namespace {

std::string ReplyText(const redisReply* reply) {
  switch (reply->type) {
    case REDIS_REPLY_NIL:
      return "(nil)";
    case REDIS_REPLY_INTEGER:
      return absl::StrCat(reply->integer);
    case REDIS_REPLY_ERROR:
      return absl::StrCat("-", absl::string_view(reply->str, reply->len));
    case REDIS_REPLY_ARRAY: {
      std::string text;
      for (size_t i = 0; i < reply->elements; ++i) {
        absl::StrAppend(&text, i == 0 ? "" : "\n", ReplyText(reply->element[i]));
      }
      return text;
    }
    default:
      return std::string(reply->str, reply->len);
  }
}

}  // namespace

RedisFixture::RedisFixture(Options options) : options_(std::move(options)) { Start(); }

RedisFixture::~RedisFixture() {
  Kill();  // Nobody will look at the data again; a goodbye takes the server a tenth of a second.
}

void RedisFixture::Start() {
  auto server = store::EmbeddedRedis::Start({.data_folder = folder_.path(),
                                             .maxmemory_bytes = options_.maxmemory_bytes,
                                             .appendfsync = options_.appendfsync});
  TESSERA_CHECK_OK(server);
  server_ = *std::move(server);
}

store::RedisAddress RedisFixture::address() const {
  return {.unix_path = folder_.Join("redis.sock")};
}

pid_t RedisFixture::pid() const { return server_->pid(); }

void RedisFixture::Kill() { server_->Kill(); }

void RedisFixture::Stop() { server_->Stop(); }

void RedisFixture::Restart() {
  server_.reset();
  Start();
}

void RedisFixture::Pause() { kill(server_->pid(), SIGSTOP); }

void RedisFixture::Resume() { kill(server_->pid(), SIGCONT); }

std::string RedisFixture::Command(absl::string_view words) {
  return Command(std::vector<std::string>(absl::StrSplit(words, ' ')));
}

std::string RedisFixture::Command(const std::vector<std::string>& arguments) {
  redisContext* context = redisConnectUnix(address().unix_path.c_str());
  TESSERA_CHECK(context != nullptr && context->err == 0);
  std::vector<const char*> argv;
  std::vector<size_t> sizes;
  for (const std::string& argument : arguments) {
    argv.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  auto* reply = static_cast<redisReply*>(
      redisCommandArgv(context, static_cast<int>(argv.size()), argv.data(), sizes.data()));
  TESSERA_CHECK(reply != nullptr) << context->errstr;
  std::string text = ReplyText(reply);
  freeReplyObject(reply);
  redisFree(context);
  return text;
}

}  // namespace tessera::testing
