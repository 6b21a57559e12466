#include "coordinator/deployment.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "coordinator/store/redis_store.h"

namespace tessera {
namespace {

constexpr absl::Duration kAnswerTimeout = absl::Seconds(30);
constexpr absl::string_view kMarkPrefix = "deployment ";
constexpr absl::string_view kMarkExplained =
    "\nThe coordinator left this mark beside its append-only file. As long as it is here, a file\n"
    "that was lost or emptied is an error and not the beginning of a new deployment.\n";

std::string KeyText(const SipKey& key) {
  std::string bytes;
  for (const uint64_t half : {key.low, key.high}) {
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(half >> (8 * i)));
  }
  return absl::BytesToHexString(bytes);
}

absl::StatusOr<SipKey> ParseKey(const std::string& text) {
  const std::string bytes = absl::HexStringToBytes(text);
  SipKey key;
  if (bytes.size() != 16 || text.size() != 32) {
    return absl::DataLossError("the deployment's key is damaged");
  }
  for (size_t i = 8; i-- > 0;) {
    key.low = key.low << 8 | static_cast<unsigned char>(bytes[i]);
    key.high = key.high << 8 | static_cast<unsigned char>(bytes[i + 8]);
  }
  return key;
}

// Tells deployments apart and gives nothing of the key away.
std::string MarkOf(const SipKey& key) {
  return absl::StrFormat("%016x", SipHash24(key, "the deployment's mark"));
}

absl::Status FileError(const std::string& path) {
  const std::string why = std::generic_category().message(errno);
  if (errno == ENOSPC || errno == EDQUOT) return absl::ResourceExhaustedError(path + ": " + why);
  return absl::PermissionDeniedError(path + ": " + why);
}

// Whole or not at all, whatever happens meanwhile.
absl::Status WriteMark(const std::string& path, const std::string& mark) {
  const std::string text = absl::StrCat(kMarkPrefix, mark, kMarkExplained);
  const std::string unfinished = path + ".new";
  const int fd = open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return FileError(unfinished);
  const bool written =
      write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const absl::Status status = written ? absl::OkStatus() : FileError(unfinished);
  close(fd);
  TESSERA_RETURN_IF_ERROR(status);
  if (rename(unfinished.c_str(), path.c_str()) != 0) return FileError(path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int folder_fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd < 0) return FileError(folder);
  const bool synced = fsync(folder_fd) == 0;
  const absl::Status folder_status = synced ? absl::OkStatus() : FileError(folder);
  close(folder_fd);
  return folder_status;
}

struct Stated {
  std::string key, partitions;  // Empty: not there.
  bool journals = false;        // There is a journal already.
};

// What an operator has to change, and no trying again does, is told as such.
absl::Status StatusOf(const redisReply* reply) {
  const absl::Status status = store::RedisReplyStatus(reply, "agreeing on the deployment");
  if (reply == nullptr || reply->type != REDIS_REPLY_ERROR) return status;
  if (!absl::StartsWith(absl::string_view(reply->str, reply->len), "NOPERM")) return status;
  return absl::FailedPreconditionError(
      absl::StrCat(status.message(), "; docs/redis.md says what the user must be allowed to do"));
}

// What Redis states, after `fresh` was put there where nothing was, and about journals of so many
// partitions.
absl::StatusOr<Stated> Ask(const std::optional<Stated>& fresh, uint32_t partitions,
                           store::PollLoop& loop, store::RedisConnection& connection,
                           absl::FunctionRef<bool()> give_up) {
  // Shared: an answer that comes after we gave up must find a place.
  auto answer = std::make_shared<std::optional<absl::StatusOr<Stated>>>();
  if (fresh.has_value()) {
    const auto refused = [answer](const redisReply* reply) {
      const absl::Status status = StatusOf(reply);
      if (absl::IsFailedPrecondition(status) && !answer->has_value()) answer->emplace(status);
    };
    connection.Command({"HSETNX", store::kDeploymentKey, "key", fresh->key}, refused);
    connection.Command({"HSETNX", store::kDeploymentKey, "partitions", fresh->partitions}, refused);
  }
  // The journals first: who puts them there has put the terms there before.
  auto journals = std::make_shared<bool>(false);
  // One by one: they are in different slots of a cluster.
  for (uint32_t p = 0; p < partitions; ++p) {
    connection.Command({"EXISTS", store::JournalKey(p)},
                       [answer, journals](const redisReply* reply) {
                         if (const absl::Status status = StatusOf(reply); !status.ok()) {
                           if (!answer->has_value()) answer->emplace(status);
                           return;
                         }
                         *journals = *journals || reply->integer > 0;
                       });
  }
  connection.Command(
      {"HMGET", store::kDeploymentKey, "key", "partitions"},
      [answer, journals](const redisReply* reply) {
        if (answer->has_value()) return;  // It was refused.
        if (const absl::Status status = StatusOf(reply); !status.ok()) {
          answer->emplace(status);
          return;
        }
        TESSERA_CHECK(reply->type == REDIS_REPLY_ARRAY && reply->elements == 2);
        const auto text = [](const redisReply* value) {
          return value->str == nullptr ? "" : std::string(value->str, value->len);
        };
        answer->emplace(Stated{text(reply->element[0]), text(reply->element[1]), *journals});
      });
  loop.RunUntil([&] { return answer->has_value() || give_up(); }, kAnswerTimeout);
  if (!answer->has_value()) return absl::UnavailableError("Redis does not answer");
  return std::move(**answer);
}

}  // namespace

absl::Status DeploymentMark::Read() {
  if (path_.empty()) return absl::OkStatus();
  const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return absl::OkStatus();
  if (fd < 0) return FileError(path_);
  std::array<char, 64> buffer;
  const ssize_t size = read(fd, buffer.data(), buffer.size());
  const absl::Status status = size < 0 ? FileError(path_) : absl::OkStatus();
  close(fd);
  TESSERA_RETURN_IF_ERROR(status);
  absl::string_view text(buffer.data(), static_cast<size_t>(size));
  text = text.substr(0, text.find('\n'));
  if (!absl::ConsumePrefix(&text, kMarkPrefix) || text.size() != 16) {
    return absl::DataLossError(absl::StrCat(path_, " is not what a coordinator left there"));
  }
  mark_ = std::string(text);
  return absl::OkStatus();
}

absl::Status DeploymentMark::Keep(const SipKey& key) {
  if (path_.empty() || mark_ == MarkOf(key)) return absl::OkStatus();
  if (present()) {
    return absl::DataLossError(absl::StrCat(
        "the data is of another deployment than ", path_, " tells of. Put the append-only file ",
        "back that was here; or, if the one here is right, delete ", path_));
  }
  mark_ = MarkOf(key);
  return WriteMark(path_, mark_);
}

absl::StatusOr<SipKey> AgreeOnDeployment(const DeploymentTerms& terms, store::PollLoop& loop,
                                         store::RedisConnection& connection,
                                         absl::FunctionRef<bool()> give_up) {
  const std::string partitions = absl::StrCat(terms.partitions);
  const auto ask = [&](const std::optional<Stated>& fresh) {
    return Ask(fresh, terms.partitions, loop, connection, give_up);
  };
  TESSERA_ASSIGN_OR_RETURN(Stated stated, ask(std::nullopt));
  const auto missing = [&] { return stated.key.empty() || stated.partitions.empty(); };
  if (missing() && stated.journals) {
    return absl::DataLossError(absl::StrCat(
        "Redis has journals, and the key ", store::kDeploymentKey, " that goes with ",
        "them is gone or damaged: all ids that were given out rest on it. Put it back ",
        "from a backup; or, to begin anew without that data, delete all keys that ",
        "begin with tessera:"));
  }
  if (missing() && !terms.may_be_fresh) {
    return absl::DataLossError("the data is gone: there was a deployment, and Redis has none");
  }
  if (missing()) {
    TESSERA_ASSIGN_OR_RETURN(stated, ask(Stated{KeyText(terms.fresh_key), partitions}));
    if (missing()) return absl::UnavailableError("Redis takes no writes");
  }
  if (stated.partitions != partitions) {
    return absl::FailedPreconditionError(absl::StrCat("the data in Redis is of ", stated.partitions,
                                                      " partitions and not of ", partitions,
                                                      ": say --partitions ", stated.partitions));
  }
  return ParseKey(stated.key);
}

}  // namespace tessera
