#include "coordinator/service/credentials.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/contract_text.h"
#include "common/status_macros.h"
#include "coordinator/service/validate_values.h"
#include "coordinator/service/violations.h"

namespace tessera::service {
namespace {

constexpr size_t kDigestBytes = 32;
constexpr size_t kTokenBytesMax = 4096;

absl::StatusOr<std::string> ParseDigest(absl::string_view word) {
  const bool is_hex = absl::ConsumePrefix(&word, "sha256:") && word.size() == 2 * kDigestBytes &&
                      std::all_of(word.begin(), word.end(), absl::ascii_isxdigit);
  if (!is_hex) return absl::InvalidArgumentError("a token is sha256: and 64 hex digits");
  return absl::HexStringToBytes(word);
}

absl::StatusOr<Roles> ParseRoles(absl::string_view word) {
  Roles roles;
  for (const absl::string_view name : absl::StrSplit(word, ',')) {
    bool known = false;
    for (const Role role : {Role::kRequester, Role::kGateway, Role::kOperator}) {
      if (name != RoleName(role)) continue;
      roles.Add(role);
      known = true;
    }
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", name, "' is no role; requester, gateway and operator are"));
    }
  }
  return roles;
}

absl::StatusOr<Principal> ParsePrincipal(absl::string_view roles, absl::string_view scope) {
  Principal principal;
  TESSERA_ASSIGN_OR_RETURN(principal.roles, ParseRoles(roles));
  if (scope == "*") {
    principal.everywhere = true;
    return principal;
  }
  absl::string_view id = scope;
  if (absl::ConsumePrefix(&id, "tenant=") && IsId(id)) {
    principal.tenant = std::string(id);
    if (principal.roles == Roles{Role::kRequester}) return principal;
    return absl::InvalidArgumentError("with tenant= the one role that makes sense is requester");
  }
  id = scope;
  if (absl::ConsumePrefix(&id, "platform=") && IsId(id)) {
    principal.platform = std::string(id);
    if (principal.roles == Roles{Role::kGateway}) return principal;
    return absl::InvalidArgumentError("with platform= the one role that makes sense is gateway");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", scope, "' is neither tenant=..., nor platform=..., nor *"));
}

}  // namespace

TokenTable::TokenTable() {
  unsigned char random[16];
  TESSERA_CHECK(RAND_bytes(random, sizeof(random)) == 1);
  std::memcpy(&key_.low, random, 8);
  std::memcpy(&key_.high, random + 8, 8);
}

absl::StatusOr<TokenTable> TokenTable::Parse(absl::string_view text) {
  TokenTable table;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = line.substr(0, line.find('#'));
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    const auto refuse = [number](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", why));
    };
    if (words.size() != 3) return refuse("three words are expected: token, roles, scope");
    absl::StatusOr<std::string> digest = ParseDigest(words[0]);
    if (!digest.ok()) return refuse(digest.status().message());
    absl::StatusOr<Principal> principal = ParsePrincipal(words[1], words[2]);
    if (!principal.ok()) return refuse(principal.status().message());
    const uint64_t hash = SipHash24(table.key_, *digest);
    if (!table.by_hash_.emplace(hash, table.entries_.size()).second) {
      return refuse("the token is there twice");
    }
    table.entries_.push_back({*std::move(digest), *std::move(principal)});
  }
  return table;
}

const Principal* TokenTable::Find(absl::string_view digest) const {
  const auto found = by_hash_.find(SipHash24(key_, digest));
  if (found == by_hash_.end()) return nullptr;
  const Entry& entry = entries_[found->second];
  if (digest.size() != kDigestBytes ||
      CRYPTO_memcmp(entry.digest.data(), digest.data(), kDigestBytes) != 0) {
    return nullptr;
  }
  return &entry.principal;
}

std::unique_ptr<Credentials> Credentials::Open() {
  return std::unique_ptr<Credentials>(new Credentials(std::string()));
}

absl::StatusOr<std::unique_ptr<Credentials>> Credentials::FromFile(std::string path) {
  std::unique_ptr<Credentials> credentials(new Credentials(std::move(path)));
  TESSERA_RETURN_IF_ERROR(credentials->Reload());
  return credentials;
}

absl::Status Credentials::Reload() {
  if (open()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_));
  absl::StatusOr<TokenTable> table = TokenTable::Parse(text);
  if (!table.ok()) {
    return absl::Status(table.status().code(), absl::StrCat(path_, ": ", table.status().message()));
  }
  auto shared = std::make_shared<const TokenTable>(*std::move(table));
  const MutexLock lock(&mutex_);
  // It is being written at this moment; or else all are to be locked out, which is better done by
  // ending the coordinator.
  if (table_ != nullptr && table_->size() > 0 && shared->size() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": holds no token"));
  }
  table_ = std::move(shared);
  return absl::OkStatus();
}

absl::StatusOr<Principal> Credentials::Find(const absl::string_view* authorization) const {
  if (open()) return Principal::Anybody();
  if (authorization == nullptr) {
    return absl::Status(ErrorWith(absl::StatusCode::kUnauthenticated, v1::CREDENTIAL_MISSING,
                                  "there is no 'authorization: Bearer <token>'"));
  }
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(*authorization, kScheme)) {
    return absl::Status(ErrorWith(absl::StatusCode::kUnauthenticated, v1::CREDENTIAL_MISSING,
                                  "'authorization' does not begin with 'Bearer '"));
  }
  const absl::string_view token = absl::StripAsciiWhitespace(authorization->substr(kScheme.size()));
  std::shared_ptr<const TokenTable> table;
  {
    const MutexLock lock(&mutex_);
    table = table_;
  }
  if (!token.empty() && token.size() <= kTokenBytesMax) {
    const Principal* const principal = table->Find(Sha256(token));
    if (principal != nullptr) return *principal;
  }
  return absl::Status(ErrorWith(absl::StatusCode::kUnauthenticated, v1::CREDENTIAL_UNKNOWN,
                                "the token is not known"));
}

size_t Credentials::size() const {
  const MutexLock lock(&mutex_);
  return table_ == nullptr ? 0 : table_->size();
}

std::string Sha256(absl::string_view bytes) {
  std::string digest(kDigestBytes, '\0');
  TESSERA_CHECK(EVP_Digest(bytes.data(), bytes.size(),
                           reinterpret_cast<unsigned char*>(digest.data()), nullptr, EVP_sha256(),
                           nullptr) == 1);
  return digest;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || (file.peek() != std::ifstream::traits_type::eof() && !(bytes << file.rdbuf()))) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  return std::move(bytes).str();
}

}  // namespace tessera::service
