#include "coordinator/core/record.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/core/seal.h"

namespace tessera::core {
namespace {

constexpr uint8_t kFormat = 1;

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

}  // namespace

std::string EncodeRecord(const Record& record) {
  std::string out(kSealBytes, '\0');
  Writer writer(&out);
  writer.Put(Encode(RecordHeader{
      .nonce = record.nonce,
      .at = record.at,
      .follows = record.follows,
      .kept_from = record.kept_from,
  }));
  writer.Put(record.events);
  writer.Put(record.payloads);
  Seal(kFormat, &out);
  return out;
}

absl::StatusOr<Record> DecodeRecord(absl::string_view bytes) {
  TESSERA_ASSIGN_OR_RETURN(const absl::string_view body, Unseal(kFormat, bytes, "a record"));
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
