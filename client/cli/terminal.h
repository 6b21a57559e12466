// Where output goes, and what it can show.
//
// Colours, bars that redraw and cursor movements are for terminals only. A pipe or a file gets
// plain lines. NO_COLOR (https://no-color.org) and TERM=dumb are respected.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tessera::client {

struct Terminal {
  bool live = false;  // Lines can be drawn again.
  bool colour = false;
  bool unicode = false;  // Bars are drawn with blocks; else with # and dots.
  int width = 80;
};

// What the file descriptor leads to. 1 is stdout, 2 is stderr.
Terminal DetectTerminal(int fd);

enum class Style { kPlain, kBold, kDim, kGreen, kYellow, kRed, kCyan };

// `text` in that style, where the terminal has colours.
std::string Styled(const Terminal& terminal, Style style, absl::string_view text);

// A bar of `cells` cells, filled to `share` (0 to 1).
std::string Bar(const Terminal& terminal, double share, int cells, Style style = Style::kGreen);

// Columns of the terminal that `text` takes: UTF-8 code points, escape sequences excluded.
int DisplayWidth(absl::string_view text);

// `text`, which somebody else wrote, as one line that a terminal shows and does not obey: breaks
// and tabs are blanks, other control characters, and those that turn the direction of what follows
// round, a mark of replacement.
std::string Printable(absl::string_view text);

// A table: columns as wide as their widest cell, two blanks between. The last one is not padded.
// Headings and cells are shown as Printable() makes them.
class Table {
 public:
  enum class Align { kLeft, kRight };
  explicit Table(std::vector<std::string> headings, std::vector<Align> alignment = {});

  void Add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string Render(const Terminal& terminal) const;

 private:
  std::vector<std::string> headings_;
  std::vector<Align> alignment_;
  std::vector<std::vector<std::string>> rows_;
};

// Lines that are drawn again in place. On a plain output, Show() writes nothing; whoever wants
// plain lines writes them instead. The last lines shown stay when it is destroyed.
class LiveDisplay {
 public:
  LiveDisplay(std::ostream* out, Terminal terminal) : out_(out), terminal_(terminal) {}
  ~LiveDisplay();
  LiveDisplay(const LiveDisplay&) = delete;
  LiveDisplay& operator=(const LiveDisplay&) = delete;

  const Terminal& terminal() const { return terminal_; }
  void Show(const std::vector<std::string>& lines);
  void Clear();  // Takes away what is shown.

 private:
  std::ostream* const out_;
  const Terminal terminal_;
  size_t shown_ = 0;
};

}  // namespace tessera::client
