#include "client/items.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/csv.h"
#include "client/files.h"
#include "client/json.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr absl::string_view kKeyColumns[] = {"key", "item", "item_key", "id"};
constexpr int64_t kLineBytesMax = 16 << 20;

// One record: column and value, in the order of the file.
using Record = std::vector<std::pair<std::string, std::string>>;

bool Contains(const std::vector<std::string>& names, absl::string_view name) {
  for (const std::string& each : names) {
    if (each == name) return true;
  }
  return false;
}

bool IsUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80   ? 1
                          : lead < 0xC2 ? 0
                          : lead < 0xE0 ? 2
                          : lead < 0xF0 ? 3
                          : lead < 0xF5 ? 4
                                        : 0;
    if (length == 0 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if ((byte & 0xC0) != 0x80) return false;
      code = code << 6 | (byte & 0x3Fu);
    }
    if (length == 3 && (code < 0x800 || (code >= 0xD800 && code < 0xE000))) return false;
    if (length == 4 && (code < 0x10000 || code > 0x10FFFF)) return false;
    i += length;
  }
  return true;
}

// Which column holds the key, among those that are there.
absl::StatusOr<std::string> KeyColumn(const ItemColumns& columns,
                                      const std::vector<std::string>& present) {
  if (!columns.key.empty()) return columns.key;
  for (const absl::string_view name : kKeyColumns) {
    if (Contains(present, name)) return std::string(name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("which column is the item's key? There are: ", absl::StrJoin(present, ", "),
                   ". Say --key-column NAME"));
}

absl::Status CheckColumns(const ItemColumns& columns, const std::vector<std::string>& present) {
  for (const std::string& name : present) {
    if (IsUtf8(name)) continue;
    return absl::InvalidArgumentError(absl::StrCat("line 1: the column '", absl::CHexEscape(name),
                                                   "' is not UTF-8; save the file as UTF-8"));
  }
  std::vector<std::string> wanted = columns.content;
  wanted.insert(wanted.end(), columns.metadata.begin(), columns.metadata.end());
  wanted.insert(wanted.end(), columns.links.begin(), columns.links.end());
  for (const std::string* name : {&columns.key, &columns.length, &columns.stratum,
                                  &columns.importance, &columns.language, &columns.gold}) {
    if (!name->empty()) wanted.push_back(*name);
  }
  for (const std::string& name : wanted) {
    if (Contains(present, name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("there is no column '", name, "'; there are: ", absl::StrJoin(present, ", ")));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> Number(absl::string_view column, absl::string_view text) {
  double number = 0;
  if (absl::SimpleAtod(text, &number) && std::isfinite(number)) return number;
  return absl::InvalidArgumentError(
      absl::StrCat("column '", column, "' holds '", text, "', which is no number"));
}

// The name without what may change unsaid: case, and blanks that become `_`.
std::string Bare(absl::string_view name) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{" ", ""}, {"_", ""}});
}

absl::Status AddPart(const ItemColumns& columns, const std::string& column,
                     const std::string& value, v1::Item* item,
                     std::map<std::string, std::string>* renamed) {
  if (value.empty()) return absl::OkStatus();
  const std::string name = PartName(column);
  if (name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "column '", column, "' cannot name a part of the content; rename it with letters a to z"));
  }
  if (name != column && Bare(name) != Bare(column)) renamed->emplace(column, name);
  for (const v1::Part& part : item->content()) {
    if (part.name() == name) {
      return absl::InvalidArgumentError(
          absl::StrCat("two columns become the part '", name, "'; rename one of them"));
    }
  }
  v1::Part* part = item->add_content();
  part->set_name(name);
  if (!Contains(columns.links, column)) {
    part->set_text(value);
    return absl::OkStatus();
  }
  const absl::string_view type = MediaType(value);
  if (type.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "column '", column, "': the media type of '", value,
        "' cannot be told from its ending; use JSON lines, where `content` can name it"));
  }
  part->mutable_link()->set_uri(value);
  part->mutable_link()->set_media_type(std::string(type));
  return absl::OkStatus();
}

absl::Status ToItem(const ItemColumns& columns, absl::string_view key_column, const Record& record,
                    v1::Item* item, std::map<std::string, std::string>* renamed) {
  item->Clear();
  for (const auto& [column, value] : record) {
    if (!IsUtf8(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("column '", column,
                       "' is not UTF-8; convert the file, for example with "
                       "`iconv -f latin1 -t utf-8`"));
    }
    if (column == key_column) {
      if (value.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("the key (column '", column, "') is empty"));
      }
      item->set_key(value);
    } else if (column == columns.length) {
      if (value.empty()) continue;
      TESSERA_ASSIGN_OR_RETURN(const double length, Number(column, value));
      item->set_length(length);
    } else if (column == columns.importance) {
      if (value.empty()) continue;
      TESSERA_ASSIGN_OR_RETURN(const double importance, Number(column, value));
      item->set_importance(importance);
    } else if (column == columns.stratum) {
      item->set_stratum(value);
    } else if (column == columns.language) {
      item->set_language(value);
    } else if (column == columns.gold) {
      if (!value.empty()) item->mutable_gold()->add_fields()->set_choice(value);
    } else if (Contains(columns.metadata, column)) {
      (*item->mutable_metadata())[column] = value;
    } else if (columns.content.empty() || Contains(columns.content, column) ||
               Contains(columns.links, column)) {
      TESSERA_RETURN_IF_ERROR(AddPart(columns, column, value, item, renamed));
    }
  }
  if (item->key().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("there is no key ('", key_column, "')"));
  }
  if (item->content().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("item '", item->key(), "' has no content: every other column is empty"));
  }
  return absl::OkStatus();
}

// One JSON object. Of a name that stands twice in one, parsers take the one or the other: we take
// neither.
absl::StatusOr<nlohmann::ordered_json> ParseObject(const std::string& text) {
  using Json = nlohmann::ordered_json;
  std::vector<std::set<std::string>> open;  // Names so far of the objects that are open.
  std::string twice;
  const auto see = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!open.back().insert(name).second) twice = name;
    }
    return true;
  };
  Json json = Json::parse(text, see, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("this is no JSON object");
  if (twice.empty()) return json;
  return absl::InvalidArgumentError(absl::StrCat("'", twice, "' stands twice in one object"));
}

// A file that is read from the start again to go back, so that memory holds one item only.
class FileItems : public ItemSource {
 public:
  FileItems(std::string path, ItemColumns columns)
      : path_(std::move(path)), columns_(std::move(columns)) {}

  absl::Status Open() {
    TESSERA_ASSIGN_OR_RETURN(in_, OpenFile(path_));
    position_ = 0;
    return Named(Begin());
  }

  absl::StatusOr<bool> Next(v1::Item* item) final {
    absl::StatusOr<bool> more = Read(item);
    if (!more.ok()) return Named(more.status());
    if (*more) ++position_;
    return more;
  }

  absl::Status At(const absl::Status& problem) const final { return Named(AtLine(problem)); }

  absl::Status Seek(int64_t offset) final {
    if (offset < position_) TESSERA_RETURN_IF_ERROR(Open());
    v1::Item skipped;
    while (position_ < offset) {
      TESSERA_ASSIGN_OR_RETURN(const bool more, Next(&skipped));
      if (!more) {
        return absl::OutOfRangeError(
            absl::StrCat("'", path_, "' has ", position_, " items, but the job holds ", offset));
      }
    }
    return absl::OkStatus();
  }

 protected:
  virtual absl::Status Begin() = 0;
  virtual absl::StatusOr<bool> Read(v1::Item* item) = 0;

  absl::Status AtLine(const absl::Status& problem) const {
    if (problem.ok()) return problem;
    return absl::Status(problem.code(), absl::StrCat("line ", line(), ": ", problem.message()));
  }

  std::ifstream in_;
  const ItemColumns& columns() const { return columns_; }

 private:
  absl::Status Named(const absl::Status& status) const {
    if (status.ok()) return status;
    return absl::Status(status.code(), absl::StrCat(path_, ": ", status.message()));
  }

  const std::string path_;
  const ItemColumns columns_;
  int64_t position_ = 0;
};

class CsvItems final : public FileItems {
 public:
  using FileItems::FileItems;
  int64_t line() const override { return table_->line(); }

 private:
  absl::Status Begin() override {
    TESSERA_ASSIGN_OR_RETURN(CsvTable table, CsvTable::Open(&in_));
    table_.emplace(std::move(table));
    TESSERA_RETURN_IF_ERROR(CheckColumns(columns(), table_->columns()));
    TESSERA_ASSIGN_OR_RETURN(key_column_, KeyColumn(columns(), table_->columns()));
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Read(v1::Item* item) override {
    std::vector<std::string> fields;
    TESSERA_ASSIGN_OR_RETURN(const bool more, table_->Next(&fields));
    if (!more) return false;
    Record record;
    for (size_t i = 0; i < fields.size(); ++i) {
      record.emplace_back(table_->columns()[i], std::move(fields[i]));
    }
    TESSERA_RETURN_IF_ERROR(AtLine(ToItem(columns(), key_column_, record, item, &renamed_)));
    return true;
  }

  std::optional<CsvTable> table_;
  std::string key_column_;
};

class JsonItems final : public FileItems {
 public:
  using FileItems::FileItems;
  int64_t line() const override { return line_; }

 private:
  absl::Status Begin() override {
    line_ = 0;
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Read(v1::Item* item) override {
    std::string line;
    while (std::getline(in_, line)) {
      ++line_;
      if (line_ == 1 && absl::StartsWith(line, "\xEF\xBB\xBF")) line.erase(0, 3);
      if (absl::StripAsciiWhitespace(line).empty()) continue;
      TESSERA_RETURN_IF_ERROR(AtLine(Parse(line, item)));
      return true;
    }
    if (in_.bad()) return absl::UnavailableError("reading failed");
    // A record may lack a column; that none has it is a slip, and would show workers what the
    // column that was meant holds.
    if (any_) {
      TESSERA_RETURN_IF_ERROR(CheckColumns(columns(), {present_.begin(), present_.end()}));
    }
    return false;
  }

  absl::Status Parse(const std::string& line, v1::Item* item) {
    if (static_cast<int64_t>(line.size()) > kLineBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("longer than ", kLineBytesMax, " bytes; one object a line"));
    }
    TESSERA_ASSIGN_OR_RETURN(const nlohmann::ordered_json json, ParseObject(line));
    any_ = true;
    if (json.contains("content") && json["content"].is_array()) {
      item->Clear();
      TESSERA_RETURN_IF_ERROR(FromJson(line, item));
      if (item->key().empty()) return absl::InvalidArgumentError("`key` is missing");
      return absl::OkStatus();
    }
    Record record;
    std::vector<std::string> present;
    for (const auto& [name, value] : json.items()) {
      if (value.is_object() || value.is_array()) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", name,
                         "' is neither text nor number; write a whole Item, with "
                         "`key` and `content`, to say more"));
      }
      present.push_back(name);
      present_.insert(name);
      if (value.is_null()) continue;
      record.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    }
    TESSERA_ASSIGN_OR_RETURN(const std::string key_column, KeyColumn(columns(), present));
    return ToItem(columns(), key_column, record, item, &renamed_);
  }

  int64_t line_ = 0;
  bool any_ = false;               // There was an object.
  std::set<std::string> present_;  // Members of all records so far.
};

template <typename Items>
absl::StatusOr<std::unique_ptr<ItemSource>> OpenAs(const std::string& path,
                                                   const ItemColumns& columns) {
  auto items = std::make_unique<Items>(path, columns);
  TESSERA_RETURN_IF_ERROR(items->Open());
  return items;
}

}  // namespace

absl::StatusOr<bool> ItemList::Next(v1::Item* item) {
  if (next_ == items_.size()) return false;
  *item = items_[next_++];
  return true;
}

absl::Status ItemList::Seek(int64_t offset) {
  if (offset < 0 || offset > static_cast<int64_t>(items_.size())) {
    return absl::OutOfRangeError(
        absl::StrCat("there are ", items_.size(), " items, but the job holds ", offset));
  }
  next_ = static_cast<size_t>(offset);
  return absl::OkStatus();
}

absl::Status ItemList::At(const absl::Status& problem) const {
  if (problem.ok()) return problem;
  return absl::Status(problem.code(), absl::StrCat("item ", line(), ": ", problem.message()));
}

absl::StatusOr<std::unique_ptr<ItemSource>> OpenItems(const std::string& path,
                                                      const ItemColumns& columns) {
  const std::string lower = absl::AsciiStrToLower(path);
  if (absl::EndsWith(lower, ".csv")) return OpenAs<CsvItems>(path, columns);
  if (absl::EndsWith(lower, ".jsonl") || absl::EndsWith(lower, ".ndjson")) {
    return OpenAs<JsonItems>(path, columns);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", path, "' ends neither in .csv nor in .jsonl; rename it"));
}

std::string PartName(absl::string_view column) {
  std::string name;
  for (const char c : column) {
    const char lower = absl::ascii_tolower(c);
    if (absl::ascii_isalnum(lower)) {
      name.push_back(lower);
    } else if (c == '_' || c == '.' || c == '-') {
      if (!name.empty()) name.push_back(c);
    } else if (c == ' ' && !name.empty() && name.back() != '_') {
      name.push_back('_');
    }
    if (name.size() == 63) break;
  }
  return name;
}

absl::string_view MediaType(absl::string_view uri) {
  static constexpr std::pair<absl::string_view, absl::string_view> kTypes[] = {
      {".png", "image/png"},   {".jpg", "image/jpeg"},     {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},   {".webp", "image/webp"},    {".svg", "image/svg+xml"},
      {".mp3", "audio/mpeg"},  {".wav", "audio/wav"},      {".ogg", "audio/ogg"},
      {".flac", "audio/flac"}, {".m4a", "audio/mp4"},      {".mp4", "video/mp4"},
      {".webm", "video/webm"}, {".pdf", "application/pdf"}};
  const std::string lower = absl::AsciiStrToLower(uri.substr(0, uri.find_first_of("?#")));
  for (const auto& [ending, type] : kTypes) {
    if (absl::EndsWith(lower, ending)) return type;
  }
  return "";
}

}  // namespace tessera::client
