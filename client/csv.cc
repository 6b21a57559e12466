#include "client/csv.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace tessera::client {
namespace {

constexpr size_t kChunkBytes = 64 << 10;

}  // namespace

CsvReader::CsvReader(std::istream* in, int64_t record_bytes_max)
    : in_(in), record_bytes_max_(record_bytes_max) {}

int CsvReader::Peek(size_t ahead) {
  if (position_ + ahead >= buffer_.size() && *in_) {
    buffer_.erase(0, position_);
    position_ = 0;
    const size_t kept = buffer_.size();
    buffer_.resize(kept + kChunkBytes);
    in_->read(buffer_.data() + kept, kChunkBytes);
    buffer_.resize(kept + static_cast<size_t>(in_->gcount()));
    if (in_->bad()) error_ = absl::UnavailableError("reading failed");
  }
  if (position_ + ahead >= buffer_.size()) return -1;
  return static_cast<unsigned char>(buffer_[position_ + ahead]);
}

int CsvReader::Get() {
  const int byte = Peek();
  if (byte == -1) return -1;
  ++position_;
  ++record_bytes_;
  if (byte == '\n') ++line_;
  return byte;
}

absl::Status CsvReader::Fail(int64_t line, absl::string_view problem) {
  // What looks like half a record may be one whose rest could not be read.
  if (error_.ok()) error_ = absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", problem));
  return error_;
}

bool CsvReader::AtLineEnd() {
  if (Peek() == '\n') return true;
  // A CR by itself is a character like any other, except where a file was cut after it.
  return Peek() == '\r' && (Peek(1) == '\n' || Peek(1) == -1);
}

bool CsvReader::TakeLineEnd() {
  if (!AtLineEnd()) return false;
  if (Get() == '\r') Get();
  return true;
}

absl::StatusOr<bool> CsvReader::Next(std::vector<std::string>* fields) {
  if (!error_.ok()) return error_;
  const absl::StatusOr<bool> more = ReadRecord(fields);
  // An end that is none.
  if (!error_.ok()) return error_;
  return more;
}

absl::StatusOr<bool> CsvReader::ReadRecord(std::vector<std::string>* fields) {
  fields->clear();
  if (!started_) {
    started_ = true;
    if (Peek() == 0xEF) {
      Get();
      if (Get() != 0xBB || Get() != 0xBF) {
        return Fail(1, "the file begins with half a byte-order mark; save it as UTF-8");
      }
    } else if (Peek() == 0xFF || Peek() == 0xFE) {
      return Fail(1, "the file is UTF-16; save it as UTF-8");
    }
  }
  while (TakeLineEnd()) {
  }
  record_line_ = line_;
  record_bytes_ = 0;
  if (Peek() == -1) return false;
  while (true) {
    std::string field;
    if (Peek() == '"') {
      TESSERA_RETURN_IF_ERROR(ReadQuoted(&field));
    } else {
      TESSERA_RETURN_IF_ERROR(ReadPlain(&field));
    }
    fields->push_back(std::move(field));
    if (Peek() == ',') {
      Get();
      continue;
    }
    if (Peek() == -1 || TakeLineEnd()) return true;
    return Fail(line_,
                "after a closing quote comes a comma or the line's end; "
                "write a quote inside a quoted field twice (\"\")");
  }
}

absl::Status CsvReader::ReadQuoted(std::string* field) {
  const int64_t opened = line_;
  Get();
  while (true) {
    const int byte = Get();
    if (byte == -1) return Fail(opened, "the quote that opens here is never closed");
    if (byte == 0) return Fail(line_, "there is a NUL byte; is this a text file?");
    if (record_bytes_ > record_bytes_max_) {
      return Fail(record_line_, absl::StrCat("a record has more than ", record_bytes_max_,
                                             " bytes; is a quote not closed?"));
    }
    if (byte != '"') {
      field->push_back(static_cast<char>(byte));
      continue;
    }
    if (Peek() != '"') return absl::OkStatus();
    Get();
    field->push_back('"');
  }
}

absl::Status CsvReader::ReadPlain(std::string* field) {
  while (true) {
    const int byte = Peek();
    if (byte == -1 || byte == ',' || AtLineEnd()) return absl::OkStatus();
    if (byte == '"') {
      return Fail(line_,
                  "there is a quote in a field that does not begin with one; put the field "
                  "in quotes and write the quote twice (\"\")");
    }
    if (byte == 0) return Fail(line_, "there is a NUL byte; is this a text file?");
    Get();
    if (record_bytes_ > record_bytes_max_) {
      return Fail(record_line_,
                  absl::StrCat("a record has more than ", record_bytes_max_, " bytes"));
    }
    field->push_back(static_cast<char>(byte));
  }
}

absl::StatusOr<CsvTable> CsvTable::Open(std::istream* in) {
  CsvTable table(in);
  TESSERA_ASSIGN_OR_RETURN(const bool any, table.reader_.Next(&table.columns_));
  if (!any)
    return absl::InvalidArgumentError("the file is empty; its first line names the columns");
  for (size_t i = 0; i < table.columns_.size(); ++i) {
    if (table.columns_[i].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", table.line(), ": column ", i + 1, " has no name"));
    }
    if (table.Find(table.columns_[i]) != static_cast<int>(i)) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", table.line(), ": two columns are named '", table.columns_[i], "'"));
    }
  }
  return table;
}

int CsvTable::Find(absl::string_view column) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == column) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<bool> CsvTable::Next(std::vector<std::string>* fields) {
  TESSERA_ASSIGN_OR_RETURN(const bool more, reader_.Next(fields));
  if (more && fields->size() != columns_.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "line ", line(), ": ", fields->size(), fields->size() == 1 ? " field" : " fields",
        ", but there are ", columns_.size(), " columns (", absl::StrJoin(columns_, ","), ")"));
  }
  return more;
}

std::string CsvField(absl::string_view field) {
  const bool plain = field.find_first_of(",\"\r\n") == absl::string_view::npos &&
                     (field.empty() || (field.front() != ' ' && field.back() != ' '));
  if (plain) return std::string(field);
  std::string quoted = "\"";
  for (const char c : field) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  quoted.push_back('"');
  return quoted;
}

}  // namespace tessera::client
