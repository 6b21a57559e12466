#include "client/item_check.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/contract_text.h"
#include "common/hash.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr int kPartsMax = 16;
constexpr size_t kStrataMax = 256;  // The default one included, which is always there.
constexpr size_t kNotesMax = 64;
constexpr absl::string_view kIdForm = "a to z, 0 to 9, `_`, `.` and `-`, at most 63";

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

// Not secret: nobody is served who would make these collide for himself.
uint64_t Digest(uint64_t which, absl::string_view bytes) {
  return SipHash24({.low = which, .high = 0x6974656d73}, bytes);
}

std::string Canonical(const v1::Item& item) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);  // Maps have no order of their own.
    item.SerializeToCodedStream(&coded);
  }
  return bytes;
}

// For a message: short, and without what would disturb a terminal.
std::string Shown(absl::string_view text) {
  constexpr size_t kShown = 60;
  return absl::StrCat("'", absl::Utf8SafeCEscape(text.substr(0, kShown)),
                      text.size() > kShown ? "..." : "", "'");
}

absl::Status CheckKey(absl::string_view key) {
  if (key.empty()) return Bad("the item has no key");
  if (key.size() > 256) {
    return Bad(absl::StrCat("the key ", Shown(key), " has ", key.size(),
                            " bytes, and at most 256 are allowed; shorten it"));
  }
  if (HasControlCharacter(key)) {
    return Bad(absl::StrCat("the key ", Shown(key),
                            " has a control character (a tab, a line's end); take it out"));
  }
  return absl::OkStatus();
}

absl::Status CheckMediaType(absl::string_view type, absl::string_view part) {
  const size_t slash = type.find('/');
  const bool good =
      type.size() <= 127 && slash != absl::string_view::npos && slash > 0 &&
      slash + 1 < type.size() &&
      std::all_of(type.begin(), type.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (good) return absl::OkStatus();
  return Bad(absl::StrCat("part ", Shown(part), ": ", Shown(type),
                          " is no media type; write one like image/png"));
}

absl::Status CheckLink(const v1::MediaLink& link, absl::string_view part) {
  const absl::string_view uri = link.uri();
  if (uri.size() > 2048 || !absl::StartsWith(uri, "https://") || uri.size() == 8 ||
      HasControlCharacter(uri) || absl::StrContains(uri, ' ')) {
    return Bad(absl::StrCat("part ", Shown(part), ": ", Shown(uri),
                            " is no address of a medium; it must begin with https://, have no "
                            "blanks and at most 2048 bytes"));
  }
  const bool hex = std::all_of(link.sha256().begin(), link.sha256().end(), [](char c) {
    return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
  });
  if (!link.sha256().empty() && (link.sha256().size() != 64 || !hex)) {
    return Bad(
        absl::StrCat("part ", Shown(part),
                     ": a sha256 has 64 digits of lower-case hex; mend it, or leave it out"));
  }
  return CheckMediaType(link.media_type(), part);
}

absl::Status CheckPart(const v1::Part& part) {
  if (!IsId(part.name())) {
    return Bad(absl::StrCat("the part ", Shown(part.name()), " needs another name: ", kIdForm));
  }
  if (part.entity().size() > 256) {
    return Bad(absl::StrCat("part ", Shown(part.name()), ": its entity has more than 256 bytes"));
  }
  switch (part.content_case()) {
    case v1::Part::kText:
      return absl::OkStatus();
    case v1::Part::kLink:
      return CheckLink(part.link(), part.name());
    case v1::Part::kInline:
      if (part.inline_().data().empty()) {
        return Bad(absl::StrCat("part ", Shown(part.name()), ": its medium has no bytes"));
      }
      return CheckMediaType(part.inline_().media_type(), part.name());
    case v1::Part::CONTENT_NOT_SET:
      break;
  }
  return Bad(absl::StrCat("the part ", Shown(part.name()), " has neither text, link nor inline"));
}

absl::Status CheckParts(const v1::Item& item) {
  if (item.content().empty()) return Bad("the item has no content; a worker would see nothing");
  if (item.content_size() > kPartsMax) {
    return Bad(absl::StrCat("the item has ", item.content_size(), " parts, and at most ", kPartsMax,
                            " are allowed; choose what workers see with --content-column"));
  }
  for (int i = 0; i < item.content_size(); ++i) {
    TESSERA_RETURN_IF_ERROR(CheckPart(item.content(i)));
    for (int k = 0; k < i; ++k) {
      if (item.content(k).name() != item.content(i).name()) continue;
      return Bad(absl::StrCat("two parts are named ", Shown(item.content(i).name()),
                              "; rename one of them"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLanguage(absl::string_view tag) {
  if (tag.empty()) return absl::OkStatus();
  bool good = tag.size() <= 64;
  bool first = true;
  for (const absl::string_view subtag : absl::StrSplit(tag, '-')) {
    good &= !subtag.empty() && subtag.size() <= 8;
    for (const char c : subtag) good &= first ? absl::ascii_isalpha(c) : absl::ascii_isalnum(c);
    first = false;
  }
  if (good) return absl::OkStatus();
  return Bad(
      absl::StrCat(Shown(tag), " is no language; write a BCP 47 tag, such as en or zh-Hans"));
}

absl::Status CheckNotes(const v1::Item& item) {
  if (item.metadata().size() > kNotesMax) {
    return Bad(absl::StrCat("the item has ", item.metadata().size(),
                            " entries of metadata, and at most ", kNotesMax, " are allowed"));
  }
  for (const auto& [key, value] : item.metadata()) {
    if (key.empty() || key.size() > 64) {
      return Bad(absl::StrCat("metadata ", Shown(key), ": its name must have 1 to 64 bytes"));
    }
    if (value.size() > 1024) {
      return Bad(absl::StrCat("metadata ", Shown(key), " has ", value.size(),
                              " bytes, and at most 1024 are allowed; shorten it"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckProbabilities(const v1::FieldAnswer& gold) {
  if (gold.probabilities().empty()) return absl::OkStatus();
  double sum = 0;
  bool good = gold.probabilities_size() <= 1000;
  for (const double each : gold.probabilities()) {
    good &= each >= 0 && each <= 1;
    sum += each;
  }
  if (good && std::abs(sum - 1) <= 0.001) return absl::OkStatus();
  return Bad("the gold answer's probabilities must be from 0 to 1 and sum to 1; or leave them out");
}

}  // namespace

absl::Status CheckItem(const v1::Item& item, int64_t item_bytes_max) {
  TESSERA_RETURN_IF_ERROR(CheckKey(item.key()));
  TESSERA_RETURN_IF_ERROR(CheckParts(item));
  if (!(item.length() >= 0 && item.length() <= 1e6)) {
    return Bad(absl::StrCat("the length ", item.length(), " must be from 0 to 1000000"));
  }
  if (!item.stratum().empty() && !IsId(item.stratum())) {
    return Bad(
        absl::StrCat("the stratum ", Shown(item.stratum()), " needs another name: ", kIdForm));
  }
  if (item.importance() != 0 && !(item.importance() >= 0.001 && item.importance() <= 1000)) {
    return Bad(absl::StrCat("the importance ", item.importance(),
                            " must be from 0.001 to 1000, or 0 or nothing for 1"));
  }
  TESSERA_RETURN_IF_ERROR(CheckLanguage(item.language()));
  TESSERA_RETURN_IF_ERROR(CheckNotes(item));
  const auto bytes = static_cast<int64_t>(item.ByteSizeLong());
  if (bytes > item_bytes_max) {
    return Bad(absl::StrCat("the item has ", bytes, " bytes, and at most ", item_bytes_max,
                            " are allowed; shorten it, or link to large media. Where the "
                            "coordinator allows more, say --item-bytes-max"));
  }
  return absl::OkStatus();
}

absl::Status ItemCheck::CheckGold(const v1::Item& item) const {
  // Other templates are not served: the job will not come to be.
  if (!item.has_gold() || task_.fields_size() != 1 || !task_.fields(0).has_choice()) {
    return absl::OkStatus();
  }
  const v1::Field& field = task_.fields(0);
  const v1::Answer& gold = item.gold();
  const auto& classes = field.choice().classes();
  const bool one = gold.fields_size() == 1 && gold.fields(0).has_choice() &&
                   (gold.fields(0).field().empty() || gold.fields(0).field() == field.name());
  const bool fits = one && std::any_of(classes.begin(), classes.end(), [&](const auto& each) {
                      return each.value() == gold.fields(0).choice();
                    });
  if (fits) return CheckProbabilities(gold.fields(0));
  return Bad(absl::StrCat("the gold answer ", one ? Shown(gold.fields(0).choice()) : "",
                          one ? " " : "",
                          "is none of the job's classes; mend the answer, or the "
                          "classes of the template"));
}

absl::Status ItemCheck::Check(const v1::Item& item, int64_t line) {
  TESSERA_RETURN_IF_ERROR(CheckItem(item, item_bytes_max_));
  TESSERA_RETURN_IF_ERROR(CheckGold(item));
  if (!item.stratum().empty() && item.stratum() != "default") strata_.insert(item.stratum());
  if (strata_.size() >= kStrataMax) {
    return Bad(absl::StrCat("the stratum ", Shown(item.stratum()), " is one more than the ",
                            kStrataMax, " that a job may have, `default` included"));
  }
  const std::array<uint64_t, 2> key = {Digest(1, item.key()), Digest(2, item.key())};
  const uint64_t content = Digest(3, Canonical(item));
  const auto [seen, is_new] = seen_.try_emplace(key, Seen{.content = content, .line = line});
  if (is_new) return absl::OkStatus();
  if (seen->second.content != content) {
    return Bad(absl::StrCat("the key ", Shown(item.key()), " stands in line ", seen->second.line,
                            " already, with another content; give each item a key of its own"));
  }
  ++repeated_;
  return absl::OkStatus();
}

}  // namespace tessera::client
