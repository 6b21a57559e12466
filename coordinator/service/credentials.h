// Bearer tokens: who a caller is.
//
// A tokens file has one token a line, as its SHA-256, so that the file lets nobody in:
//
//   # printf %s "$TOKEN" | sha256sum
//   sha256:9f86d081...  requester            tenant=acme         # the nightly import
//   sha256:60303ae2...  gateway              platform=mturk
//   sha256:fd61a03a...  requester,operator   *                   # on call
//
// A requester has a tenant, a gateway a platform, an operator everything (`*`), which stands for
// any tenant and platform. Tokens ought to be long and random: a hash does not protect a guessable
// one.
//
// Threads: any. Reload() replaces the table; calls in progress keep the principal that they have.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/hash.h"
#include "common/mutex.h"
#include "coordinator/service/authorize.h"

namespace tessera::service {

// What a tokens file says.
class TokenTable {
 public:
  // INVALID_ARGUMENT, naming the line.
  static absl::StatusOr<TokenTable> Parse(absl::string_view text);

  // The principal whose token has this SHA-256 (32 bytes), or null. How long it takes says nothing
  // about the tokens in the table: they are found by a hash under a random key.
  const Principal* Find(absl::string_view digest) const;

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string digest;
    Principal principal;
  };
  TokenTable();

  SipKey key_;
  std::vector<Entry> entries_;
  absl::flat_hash_map<uint64_t, size_t> by_hash_;
};

class Credentials {
 public:
  // Nobody has a credential, and everybody may do everything: for a coordinator that only its own
  // machine can reach.
  static std::unique_ptr<Credentials> Open();
  // NOT_FOUND, INVALID_ARGUMENT.
  static absl::StatusOr<std::unique_ptr<Credentials>> FromFile(std::string path);

  // Reads the file again. After an error the table is what it was.
  absl::Status Reload() ABSL_LOCKS_EXCLUDED(mutex_);

  // Who calls, by the value of `authorization`, which is `Bearer <token>`; null where there is
  // none. UNAUTHENTICATED: CREDENTIAL_MISSING or CREDENTIAL_UNKNOWN.
  absl::StatusOr<Principal> Find(const absl::string_view* authorization) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  bool open() const { return path_.empty(); }
  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit Credentials(std::string path) : path_(std::move(path)) {}

  const std::string path_;  // Empty: open.
  mutable Mutex mutex_;
  std::shared_ptr<const TokenTable> table_ ABSL_GUARDED_BY(mutex_);
};

// SHA-256 of `bytes`, 32 bytes.
std::string Sha256(absl::string_view bytes);

// The file's bytes. NOT_FOUND with the system's reason.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace tessera::service
