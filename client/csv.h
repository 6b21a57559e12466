// CSV as people have it: RFC 4180, with what spreadsheets add to it.
//
//   std::ifstream in("items.csv");
//   CsvReader reader(&in);
//   std::vector<std::string> fields;
//   while (true) {
//     TESSERA_ASSIGN_OR_RETURN(bool more, reader.Next(&fields));
//     if (!more) break;
//     ...  // reader.line() is where this record began.
//   }
//
// Fields are separated by commas. A field in double quotes may hold commas, line breaks and quotes
// (written twice). Records end with LF or CRLF; the last one need not. A byte-order mark at the
// start and lines without any character are skipped. Bytes are taken as they are; whoever needs
// UTF-8 checks for it.
//
// Refused with INVALID_ARGUMENT, naming the line: a quote inside a field that does not begin with
// one, anything but a comma or a line's end after a closing quote, a quote that is never closed, a
// NUL byte, a record above `record_bytes_max`. UNAVAILABLE where the input fails before its end.
// After an error the reader stays at that error.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tessera::client {

class CsvReader {
 public:
  static constexpr int64_t kRecordBytesMax = 16 << 20;

  // Reads from `in`, which outlives the reader, from where it stands.
  explicit CsvReader(std::istream* in, int64_t record_bytes_max = kRecordBytesMax);

  // Reads the next record into `fields`; false at the end of the input.
  absl::StatusOr<bool> Next(std::vector<std::string>* fields);

  // The line, from 1, at which the record that was read last began.
  int64_t line() const { return record_line_; }

 private:
  // The next byte, or the one after so many more; -1 at the end, and where reading failed (then
  // there is an error_).
  int Peek(size_t ahead = 0);
  int Get();  // Takes the next byte.
  absl::Status Fail(int64_t line, absl::string_view problem);
  absl::StatusOr<bool> ReadRecord(std::vector<std::string>* fields);
  absl::Status ReadQuoted(std::string* field);
  absl::Status ReadPlain(std::string* field);
  bool AtLineEnd();    // LF or CRLF is next.
  bool TakeLineEnd();  // Takes it, if it is.

  std::istream* in_;
  int64_t record_bytes_max_;
  std::string buffer_;  // Read from `in_`; taken up to `position_`.
  size_t position_ = 0;
  int64_t line_ = 1;  // Of the next byte.
  int64_t record_line_ = 0;
  int64_t record_bytes_ = 0;  // Read of this record so far.
  bool started_ = false;
  absl::Status error_;
};

// A CSV file whose first record names the columns. Every record has as many fields as there are
// columns; the names are not empty and distinct.
class CsvTable {
 public:
  // Reads the header. As CsvReader::Next; INVALID_ARGUMENT also where there is none, or names are
  // empty or the same.
  static absl::StatusOr<CsvTable> Open(std::istream* in);

  const std::vector<std::string>& columns() const { return columns_; }

  // Place of the column, or -1.
  int Find(absl::string_view column) const;

  // As CsvReader::Next; INVALID_ARGUMENT also for a record with too few or too many fields.
  absl::StatusOr<bool> Next(std::vector<std::string>* fields);

  int64_t line() const { return reader_.line(); }

 private:
  explicit CsvTable(std::istream* in) : reader_(in) {}

  CsvReader reader_;
  std::vector<std::string> columns_;
};

// `field` as it is written in a CSV file: in quotes only where it must be.
std::string CsvField(absl::string_view field);

}  // namespace tessera::client
