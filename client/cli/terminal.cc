#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tessera::client {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool LocaleIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = absl::AsciiStrToLower(Environment(name));
    if (value.empty()) continue;
    return absl::StrContains(value, "utf-8") || absl::StrContains(value, "utf8");
  }
  return false;
}

// `text` cut to so many columns, with a mark where something is missing; escape sequences are kept
// whole.
std::string Cut(absl::string_view text, int columns, bool unicode) {
  absl::string_view mark;
  if (DisplayWidth(text) > columns) {
    mark = unicode ? "…" : "...";
    columns = std::max(0, columns - DisplayWidth(mark));
  }
  std::string cut;
  int used = 0;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\x1b') {
      const size_t end = text.find('m', i);
      if (end == absl::string_view::npos) break;
      absl::StrAppend(&cut, text.substr(i, end + 1 - i));
      i = end + 1;
      continue;
    }
    size_t next = i + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xC0) == 0x80) ++next;
    if (used++ < columns) {
      absl::StrAppend(&cut, text.substr(i, next - i));
    } else {
      absl::StrAppend(&cut, std::exchange(mark, ""));
    }
    i = next;
  }
  return cut;
}

}  // namespace

Terminal DetectTerminal(int fd) {
  Terminal terminal;
  terminal.unicode = LocaleIsUtf8();
  const std::string term = Environment("TERM");
  terminal.live = isatty(fd) == 1 && !term.empty() && term != "dumb";
  terminal.colour = terminal.live && Environment("NO_COLOR").empty();
  winsize size = {};
  if (terminal.live && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  }
  return terminal;
}

std::string Styled(const Terminal& terminal, Style style, absl::string_view text) {
  static constexpr absl::string_view kCodes[] = {"", "1", "2", "32", "33", "31", "36"};
  const absl::string_view code = kCodes[static_cast<size_t>(style)];
  if (!terminal.colour || code.empty()) return std::string(text);
  return absl::StrCat("\x1b[", code, "m", text, "\x1b[0m");
}

std::string Bar(const Terminal& terminal, double share, int cells, Style style) {
  const double exact = std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * cells;
  std::string full;
  std::string rest;
  if (terminal.unicode) {
    static constexpr absl::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int whole = static_cast<int>(exact);
    const auto eighth = static_cast<size_t>((exact - whole) * 8);
    for (int i = 0; i < whole; ++i) absl::StrAppend(&full, "█");
    absl::StrAppend(&full, kEighths[eighth]);
    if (eighth > 0) ++whole;
    for (int i = whole; i < cells; ++i) absl::StrAppend(&rest, "░");
  } else {
    const int whole = static_cast<int>(std::lround(std::floor(exact)));
    full.assign(static_cast<size_t>(whole), '#');
    rest.assign(static_cast<size_t>(cells - whole), '.');
  }
  return absl::StrCat(Styled(terminal, style, full), Styled(terminal, Style::kDim, rest));
}

int DisplayWidth(absl::string_view text) {
  int width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = text.find('m', i);
      if (i == absl::string_view::npos) break;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++width;
    }
  }
  return width;
}

std::string Printable(absl::string_view text) {
  constexpr absl::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD.
  std::string shown;
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t ahead) -> unsigned {
      return i + ahead < text.size() ? static_cast<unsigned char>(text[i + ahead]) : 0;
    };
    size_t hidden = 0;  // Bytes of a character that is not shown.
    if (byte(0) < 0x20 || byte(0) == 0x7f) hidden = 1;
    if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) < 0xa0) hidden = 2;  // U+0080 to U+009F.
    // U+2028 to U+202E, U+2066 to U+2069: separators of lines, and what turns the direction.
    if (byte(0) == 0xe2 && ((byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) ||
                            (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9))) {
      hidden = 3;
    }
    if (hidden == 0) {
      shown.push_back(text[i]);
    } else if (absl::ascii_isspace(static_cast<unsigned char>(text[i]))) {
      shown.push_back(' ');
    } else {
      absl::StrAppend(&shown, kReplacement);
    }
    i += std::max<size_t>(hidden, 1);
  }
  return shown;
}

Table::Table(std::vector<std::string> headings, std::vector<Align> alignment)
    : headings_(std::move(headings)), alignment_(std::move(alignment)) {
  for (std::string& heading : headings_) heading = Printable(heading);
  alignment_.resize(headings_.size(), Align::kLeft);
}

void Table::Add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  cells.resize(headings_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Render(const Terminal& terminal) const {
  std::vector<int> widths;
  for (size_t i = 0; i < headings_.size(); ++i) {
    int width = DisplayWidth(headings_[i]);
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[i]));
    widths.push_back(width);
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const auto blanks = std::string(static_cast<size_t>(widths[i] - DisplayWidth(cells[i])), ' ');
      if (i > 0) absl::StrAppend(&text, "  ");
      if (alignment_[i] == Align::kRight) absl::StrAppend(&text, blanks);
      absl::StrAppend(&text, cells[i]);
      if (alignment_[i] == Align::kLeft && i + 1 < cells.size()) absl::StrAppend(&text, blanks);
    }
    return std::string(absl::StripTrailingAsciiWhitespace(text));
  };
  std::string table = absl::StrCat(Styled(terminal, Style::kDim, line(headings_)), "\n");
  for (const auto& row : rows_) absl::StrAppend(&table, line(row), "\n");
  return table;
}

LiveDisplay::~LiveDisplay() {
  if (shown_ > 0) *out_ << "\x1b[?25h" << std::flush;
}

void LiveDisplay::Show(const std::vector<std::string>& lines) {
  if (!terminal_.live) return;
  std::string frame = "\x1b[?25l";  // No cursor while drawing.
  if (shown_ > 0) absl::StrAppend(&frame, "\x1b[", shown_, "A");
  for (const std::string& line : lines) {
    absl::StrAppend(&frame, "\r\x1b[K", Cut(line, terminal_.width - 1, terminal_.unicode), "\n");
  }
  // What was longer before.
  if (lines.size() < shown_) absl::StrAppend(&frame, "\x1b[J");
  shown_ = lines.size();
  *out_ << frame << "\x1b[?25h" << std::flush;
}

void LiveDisplay::Clear() {
  if (shown_ == 0) return;
  *out_ << "\x1b[" << shown_ << "A\r\x1b[J\x1b[?25h" << std::flush;
  shown_ = 0;
}

}  // namespace tessera::client
