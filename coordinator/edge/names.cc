#include "coordinator/edge/names.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/check.h"

namespace tessera::edge {
namespace {

constexpr absl::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr size_t kAssignmentBytes = 10;  // Partition 2, job 4, sequence 4; sixteen digits.
constexpr size_t kCheckDigits = 4;

void AppendBigEndian(uint64_t value, int bytes, std::string* out) {
  for (int i = bytes - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t BigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

// `name` split at its slashes, if it is {first}/{id}/{second}/{id} with no id empty.
std::optional<std::pair<std::string, std::string>> ParseTwo(absl::string_view first,
                                                            absl::string_view second,
                                                            absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() != 4 || parts[0] != first || parts[2] != second) return std::nullopt;
  if (parts[1].empty() || parts[3].empty()) return std::nullopt;
  return std::make_pair(std::string(parts[1]), std::string(parts[3]));
}

}  // namespace

std::string JobName::ToString() const { return absl::StrCat("tenants/", tenant, "/jobs/", job); }

std::optional<JobName> JobName::Parse(absl::string_view name) {
  auto parts = ParseTwo("tenants", "jobs", name);
  if (!parts.has_value()) return std::nullopt;
  return JobName{std::move(parts->first), std::move(parts->second)};
}

std::string WorkerName::ToString() const {
  return absl::StrCat("platforms/", platform, "/workers/", worker);
}

std::optional<WorkerName> WorkerName::Parse(absl::string_view name) {
  auto parts = ParseTwo("platforms", "workers", name);
  if (!parts.has_value()) return std::nullopt;
  return WorkerName{std::move(parts->first), std::move(parts->second)};
}

std::optional<std::string> ParseId(absl::string_view collection, absl::string_view name) {
  if (!absl::ConsumePrefix(&name, collection) || !absl::ConsumePrefix(&name, "/"))
    return std::nullopt;
  if (name.empty() || absl::StrContains(name, '/')) return std::nullopt;
  return std::string(name);
}

std::string PartitionId(uint32_t partition) { return absl::StrCat("p", partition); }

std::optional<uint32_t> ParsePartitionId(absl::string_view id) {
  uint32_t partition = 0;
  if (!absl::ConsumePrefix(&id, "p") || !absl::SimpleAtoi(id, &partition)) return std::nullopt;
  // One partition has one id: no signs, spaces or leading zeros.
  if (id != absl::StrCat(partition)) return std::nullopt;
  return partition;
}

std::optional<uint32_t> PartitionOfJob(absl::string_view job_id) {
  const size_t dash = job_id.find('-');
  if (dash == absl::string_view::npos) return std::nullopt;
  return ParsePartitionId(job_id.substr(0, dash));
}

std::string Base32(absl::string_view bytes) {
  std::string digits;
  digits.reserve((bytes.size() * 8 + 4) / 5);
  uint32_t held = 0;
  int bits = 0;
  for (const char c : bytes) {
    held = held << 8 | static_cast<uint8_t>(c);
    for (bits += 8; bits >= 5; bits -= 5) digits.push_back(kDigits[(held >> (bits - 5)) & 31]);
    held &= (1u << bits) - 1;
  }
  if (bits > 0) digits.push_back(kDigits[(held << (5 - bits)) & 31]);
  return digits;
}

std::optional<std::string> UnBase32(absl::string_view digits) {
  std::string bytes;
  bytes.reserve(digits.size() * 5 / 8);
  uint32_t held = 0;
  int bits = 0;
  for (const char c : digits) {
    const size_t digit = kDigits.find(c);
    if (digit == absl::string_view::npos) return std::nullopt;
    held = held << 5 | static_cast<uint32_t>(digit);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<char>(held >> bits));
    held &= (1u << bits) - 1;
  }
  // What is left over are zeros of less than a digit, or these digits are not of any bytes.
  if (held != 0 || bits >= 5) return std::nullopt;
  return bytes;
}

IdMaker::IdMaker(SipKey key, uint32_t partitions)
    : key_(key),
      partitions_(partitions),
      home_key_(KeyFor("home")),
      assignment_key_(KeyFor("assignment")) {
  TESSERA_CHECK(partitions > 0 && partitions <= 1u << 16);
}

SipKey IdMaker::KeyFor(absl::string_view purpose) const {
  return {.low = SipHash24(key_, absl::StrCat("low ", purpose)),
          .high = SipHash24(key_, absl::StrCat("high ", purpose))};
}

uint64_t IdMaker::Digest(absl::string_view purpose, absl::string_view bytes) const {
  return SipHash24(KeyFor(purpose), bytes);
}

uint32_t IdMaker::HomeOf(absl::string_view name) const {
  return static_cast<uint32_t>(SipHash24(home_key_, name) % partitions_);
}

std::string IdMaker::JobId(absl::string_view tenant, absl::string_view request_id) const {
  // A tenant has no slash, so that no two pairs are written alike.
  const std::string what = absl::StrCat(tenant, "/", request_id);
  std::string digest;
  AppendBigEndian(Digest("job high", what), 8, &digest);
  AppendBigEndian(Digest("job low", what), 8, &digest);
  return absl::StrCat(PartitionId(HomeOf(what)), "-", Base32(digest));
}

std::string IdMaker::Assignment(uint32_t partition, core::AssignmentId id) const {
  std::string bytes;
  AppendBigEndian(partition, 2, &bytes);
  AppendBigEndian(id.job.value(), 4, &bytes);
  AppendBigEndian(id.sequence, 4, &bytes);
  std::string check;
  AppendBigEndian(SipHash24(assignment_key_, bytes), 8, &check);
  return absl::StrCat(Base32(bytes), Base32(check).substr(0, kCheckDigits));
}

std::optional<IdMaker::AssignmentRef> IdMaker::ParseAssignment(absl::string_view id) const {
  if (id.size() != kAssignmentBytes * 8 / 5 + kCheckDigits) return std::nullopt;
  const std::optional<std::string> bytes = UnBase32(id.substr(0, id.size() - kCheckDigits));
  if (!bytes.has_value()) return std::nullopt;
  const absl::string_view all(*bytes);
  const AssignmentRef ref{
      .partition = static_cast<uint32_t>(BigEndian(all.substr(0, 2))),
      .id = {.job = core::JobIndex(static_cast<uint32_t>(BigEndian(all.substr(2, 4)))),
             .sequence = static_cast<uint32_t>(BigEndian(all.substr(6, 4)))}};
  if (ref.partition >= partitions_ || Assignment(ref.partition, ref.id) != id) return std::nullopt;
  return ref;
}

}  // namespace tessera::edge
