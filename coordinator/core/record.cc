#include "coordinator/core/record.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"

namespace tessera::core {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kPrefixBytes = 5;  // The version and the checksum.

// The fields of a Record that are not its contents. Append only.
struct RecordHeader {
  uint64_t nonce = 0;
  absl::Time at;
  RecordId follows;
  RecordId kept_from;
};
void Fields(auto& v, RecordHeader& h) {
  v("nonce", h.nonce);
  v("at", h.at);
  v("follows", h.follows);
  v("kept_from", h.kept_from);
}

void StoreChecksum(uint32_t crc, char* at) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(crc >> (8 * i));
}

uint32_t LoadChecksum(absl::string_view bytes) {
  uint32_t crc = 0;
  for (int i = 0; i < 4; ++i)
    crc |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  return crc;
}

}  // namespace

std::string EncodeRecord(const Record& record) {
  std::string out(kPrefixBytes, '\0');
  out[0] = static_cast<char>(kVersion);
  Writer writer(&out);
  writer.Put(Encode(RecordHeader{
      .nonce = record.nonce,
      .at = record.at,
      .follows = record.follows,
      .kept_from = record.kept_from,
  }));
  writer.Put(record.events);
  writer.Put(record.payloads);
  StoreChecksum(Crc32c(absl::string_view(out).substr(kPrefixBytes)), &out[1]);
  return out;
}

absl::StatusOr<Record> DecodeRecord(absl::string_view bytes) {
  if (bytes.size() < kPrefixBytes) {
    return absl::DataLossError(absl::StrCat("a record of ", bytes.size(), " bytes is cut off"));
  }
  const auto version = static_cast<uint8_t>(bytes[0]);
  const uint32_t checksum = LoadChecksum(bytes.substr(1));
  const absl::string_view body = bytes.substr(kPrefixBytes);
  if (Crc32c(body) != checksum) return absl::DataLossError("a record's checksum is wrong");
  if (version != kVersion) {
    return absl::DataLossError(
        absl::StrCat("a record is of format ", version, "; this version reads format ", kVersion));
  }

  Reader reader(body);
  Reader header_reader(reader.GetBytes());
  RecordHeader header;
  Record record;
  header_reader.Get(header);
  // What a newer version appended to the header is passed over.
  reader.Get(record.events);
  reader.Get(record.payloads);
  if (!header_reader.ok() || !reader.ok() || !reader.AtEnd()) {
    return absl::DataLossError("a record's layout is wrong");
  }
  record.nonce = header.nonce;
  record.at = header.at;
  record.follows = header.follows;
  record.kept_from = header.kept_from;
  return record;
}

absl::StatusOr<std::vector<Event>> DecodeEvents(const Record& record) {
  std::vector<Event> events;
  Reader reader(record.events);
  while (!reader.AtEnd()) {
    std::optional<Event> event = ReadEvent(reader);
    if (!event.has_value()) {
      return absl::DataLossError(absl::StrCat("event ", events.size(),
                                              " of a record is malformed, or of a newer version"));
    }
    events.push_back(*std::move(event));
  }
  return events;
}

}  // namespace tessera::core
