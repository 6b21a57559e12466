#include "tests/house_rules/proto_comments.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace tessera::house_rules {
namespace {

enum class Block { kFile, kMessage, kOneof, kEnum, kService, kOther };

class Scanner {
 public:
  Scanner(absl::string_view path, absl::string_view text) : path_(path), text_(text) {}

  Complaints Run() {
    while (SkipSpaceAndComments()) {
      if (text_[at_] == '}') {
        if (blocks_.size() > 1) blocks_.pop_back();
        commented_ = false;
        ++at_;
      } else if (text_[at_] == ';') {
        ++at_;
      } else {
        Statement();
      }
    }
    return complaints_;
  }

 private:
  // Moves to the next statement. A comment counts for it unless a blank line comes between.
  bool SkipSpaceAndComments() {
    int newlines = 0;
    while (at_ < text_.size()) {
      const absl::string_view rest = text_.substr(at_);
      if (absl::StartsWith(rest, "//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
        commented_ = true;
        newlines = 0;
      } else if (absl::StartsWith(rest, "/*")) {
        const size_t end = text_.find("*/", at_ + 2);
        at_ = end == absl::string_view::npos ? text_.size() : end + 2;
        commented_ = true;
        newlines = 0;
      } else if (std::isspace(static_cast<unsigned char>(text_[at_]))) {
        if (text_[at_] == '\n' && ++newlines > 1) commented_ = false;
        ++at_;
      } else {
        return true;
      }
    }
    return false;
  }

  // From the first character of a statement to past its `;` or `{`.
  void Statement() {
    const size_t begin = at_;
    int brackets = 0;  // Field options may hold braces and semicolons.
    char quote = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (quote != 0) {
        if (c == '\\') ++at_;
        if (c == quote) quote = 0;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '[' || c == ']') {
        brackets += c == '[' ? 1 : -1;
      } else if (absl::StartsWith(text_.substr(at_), "//")) {
        at_ = std::min(text_.find('\n', at_), text_.size()) - 1;
      } else if (brackets == 0 && (c == ';' || c == '{' || c == '}')) {
        break;
      }
    }
    const absl::string_view statement = text_.substr(begin, at_ - begin);
    const bool opens = at_ < text_.size() && text_[at_] == '{';
    if (at_ < text_.size() && text_[at_] != '}') ++at_;

    const absl::string_view keyword =
        statement.substr(0, std::min(statement.find_first_of(" \t\n<="), statement.size()));
    const Block inner = InnerBlock(keyword);
    if (NeedsComment(keyword, inner) && !commented_ && !CommentFollows()) {
      complaints_.push_back(
          absl::StrCat(path_, ":", 1 + std::count(text_.begin(), text_.begin() + begin, '\n'),
                       ": no comment on: ",
                       absl::StripAsciiWhitespace(statement.substr(0, statement.find('\n')))));
    }
    commented_ = false;
    if (opens) blocks_.push_back(inner);
    SkipTrailingComment();
  }

  Block InnerBlock(absl::string_view keyword) const {
    const bool may_declare = blocks_.back() == Block::kFile || blocks_.back() == Block::kMessage;
    if (may_declare && keyword == "message") return Block::kMessage;
    if (may_declare && keyword == "enum") return Block::kEnum;
    if (blocks_.back() == Block::kFile && keyword == "service") return Block::kService;
    if (blocks_.back() == Block::kMessage && keyword == "oneof") return Block::kOneof;
    return Block::kOther;
  }

  bool NeedsComment(absl::string_view keyword, Block inner) const {
    if (inner == Block::kMessage || inner == Block::kEnum || inner == Block::kService) return true;
    if (inner == Block::kOneof || keyword == "option" || keyword == "reserved") return false;
    switch (blocks_.back()) {
      case Block::kMessage:
        return keyword != "extensions" && keyword != "extend";
      case Block::kOneof:
      case Block::kEnum:
        return true;
      case Block::kService:
        return keyword == "rpc";
      case Block::kFile:
      case Block::kOther:
        return false;
    }
    return false;
  }

  absl::string_view RestOfLine() const {
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    return absl::StripLeadingAsciiWhitespace(text_.substr(at_, end - at_));
  }
  bool CommentFollows() const { return absl::StartsWith(RestOfLine(), "//"); }

  // A comment behind a statement is not one above the next.
  void SkipTrailingComment() {
    if (CommentFollows()) at_ = std::min(text_.find('\n', at_), text_.size());
  }

  absl::string_view path_;
  absl::string_view text_;
  size_t at_ = 0;
  bool commented_ = false;  // A comment ends directly above.
  std::vector<Block> blocks_ = {Block::kFile};
  Complaints complaints_;
};

}  // namespace

Complaints CheckProtoComments(absl::string_view path, absl::string_view text) {
  if (!absl::EndsWith(path, ".proto")) return {};
  return Scanner(path, text).Run();
}

}  // namespace tessera::house_rules
