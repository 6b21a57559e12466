#include "coordinator/core/events.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tessera::core {
namespace {

constexpr std::array<const char*, std::variant_size_v<Event>> kNames = {
    "OwnerStarted",    "Ticked",     "WorkerSeen",     "WorkerUpdated", "PoolPut",
    "PoolDeleted",     "JobCreated", "JobUpdated",     "ItemsAdded",    "JobSealed",
    "JobPhaseChanged", "JobEnded",   "JobDeleted",     "Granted",       "Drafted",
    "ItemsEnded",      "Extended",   "AnswerReviewed", "BonusPaid",     "FitApplied",
    "PageRefitted"};

template <size_t... I>
bool GetAlternative(Reader& reader, size_t kind, Event* event, std::index_sequence<I...>) {
  return ((kind == I && (reader.Get(event->emplace<I>()), true)) || ...);
}

// Shows a value as JSON. Not a general writer: it prints what Fields() lists.
class Printer {
 public:
  explicit Printer(std::string* out) : out_(*out) {}

  template <typename T>
  void operator()(const char* name, const T& value) {
    if (out_.back() != '{') out_.push_back(',');
    absl::StrAppend(&out_, "\"", name, "\":");
    Put(value);
  }

  template <typename T>
  void Put(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.append(value ? "true" : "false");
    } else if constexpr (std::is_enum_v<T>) {
      absl::StrAppend(&out_, static_cast<int>(value));
    } else if constexpr (std::is_floating_point_v<T>) {
      // JSON has no infinities; a confusion of exactly zero has one for its logarithm.
      absl::StrAppend(&out_, std::isfinite(value) ? absl::StrCat(value) : "null");
    } else if constexpr (std::is_integral_v<T>) {
      absl::StrAppend(
          &out_, static_cast<std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(value));
    } else if constexpr (std::is_same_v<T, std::string>) {
      PutString(value);
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      absl::StrAppend(&out_, "\"", absl::FormatTime(absl::RFC3339_full, value, absl::UTCTimeZone()),
                      "\"");
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      absl::StrAppend(&out_, "\"", absl::FormatDuration(value), "\"");
    } else if constexpr (IsStrongId<T>::value) {
      absl::StrAppend(&out_, value.value());
    } else if constexpr (requires { value.begin(); }) {
      out_.push_back('[');
      bool first = true;
      for (const auto& element : value) {
        if (!std::exchange(first, false)) out_.push_back(',');
        Put(element);
      }
      out_.push_back(']');
    } else {
      out_.push_back('{');
      Fields(*this, const_cast<T&>(value));
      out_.push_back('}');
    }
  }

 private:
  // Strings may be any bytes (a requester's document is); those beyond ASCII are shown as Latin-1.
  void PutString(absl::string_view value) {
    out_.push_back('"');
    for (const char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out_.push_back('\\');
        out_.push_back(c);
      } else if (byte < 0x20 || byte >= 0x7f) {
        absl::StrAppendFormat(&out_, "\\u%04x", byte);
      } else {
        out_.push_back(c);
      }
    }
    out_.push_back('"');
  }

  std::string& out_;
};

}  // namespace

absl::string_view EventName(const Event& event) { return kNames[event.index()]; }

void AppendEvent(const Event& event, std::string* out) {
  std::string body;
  std::visit([&](const auto& e) { Writer(&body).Put(e); }, event);
  Writer w(out);
  w.PutVarint(event.index());
  w.Put(body);
}

std::optional<Event> ReadEvent(Reader& reader) {
  const uint64_t kind = reader.GetVarint();
  Reader body(reader.GetBytes());
  Event event;
  if (!reader.ok() || kind >= std::variant_size_v<Event>) return std::nullopt;
  GetAlternative(body, kind, &event, std::make_index_sequence<std::variant_size_v<Event>>());
  if (!body.ok() || !body.AtEnd()) return std::nullopt;
  return event;
}

std::string EventToJson(const Event& event) {
  std::string out = absl::StrCat("{\"event\":\"", EventName(event), "\"");
  Printer printer(&out);
  std::visit([&](const auto& e) { Fields(printer, const_cast<std::decay_t<decltype(e)>&>(e)); },
             event);
  out.push_back('}');
  return out;
}

}  // namespace tessera::core
