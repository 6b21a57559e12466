// What is stored must come back: every event, whatever its fields hold, and no bytes may break a
// reader.
#include "coordinator/core/events.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <utility>

#include "coordinator/core/archive.h"
#include "nlohmann/json.hpp"

namespace tessera::core {
namespace {

// Fills a struct with arbitrary values by visiting its fields.
class Filler {
 public:
  explicit Filler(uint64_t seed) : random_(seed) {}

  template <typename T>
  void operator()(const char* /*name*/, T& value) {
    Fill(value);
  }

  template <typename T>
  void Fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = random_() % 2 == 0;
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(random_() % 3);
    } else if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<T>(static_cast<int64_t>(random_())) / 1000;
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(random_() >> (random_() % 64));
    } else if constexpr (std::is_same_v<T, std::string>) {
      value.resize(random_() % 20);
      for (char& c : value) c = static_cast<char>(random_());
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      value = random_() % 8 == 0 ? absl::InfiniteFuture()
                                 : absl::FromUnixMicros(static_cast<int64_t>(random_() >> 14));
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      value = random_() % 8 == 0 ? absl::InfiniteDuration()
                                 : absl::Microseconds(static_cast<int64_t>(random_() >> 20));
    } else if constexpr (IsStrongId<T>::value) {
      value = T(static_cast<typename T::rep>(random_()));
    } else if constexpr (requires { value.emplace_back(); }) {
      value.clear();
      for (size_t i = random_() % 4; i > 0; --i) Fill(value.emplace_back());
    } else {
      Fields(*this, value);
    }
  }

 private:
  std::mt19937_64 random_;
};

template <size_t... I>
std::vector<Event> OneOfEach(uint64_t seed, std::index_sequence<I...>) {
  Filler filler(seed);
  std::vector<Event> events(sizeof...(I));
  ((filler.Fill(events[I].emplace<I>())), ...);
  return events;
}

std::vector<Event> OneOfEach(uint64_t seed) {
  return OneOfEach(seed, std::make_index_sequence<std::variant_size_v<Event>>());
}

TEST(EventsTest, EveryEventComesBackAsItWas) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::string bytes;
    const std::vector<Event> events = OneOfEach(seed);
    for (const Event& event : events) AppendEvent(event, &bytes);
    Reader reader(bytes);
    std::string again;
    for (const Event& event : events) {
      const std::optional<Event> read = ReadEvent(reader);
      ASSERT_TRUE(read.has_value()) << EventName(event);
      ASSERT_EQ(read->index(), event.index());
      AppendEvent(*read, &again);
    }
    EXPECT_TRUE(reader.AtEnd());
    ASSERT_EQ(again, bytes);
  }
}

TEST(EventsTest, AnOlderEventLacksNewerFieldsAndKeepsTheirDefaults) {
  std::string body;
  Writer writer(&body);
  writer.Put(AssignmentId{JobIndex(3), 4});
  writer.Put(WorkerIndex(5));
  std::string bytes;
  Writer framed(&bytes);
  framed.PutVarint(Event(ItemsEnded{}).index());
  framed.Put(body);
  Reader reader(bytes);
  const std::optional<Event> event = ReadEvent(reader);
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(std::get<ItemsEnded>(*event).worker, WorkerIndex(5));
  EXPECT_EQ(std::get<ItemsEnded>(*event).price_micros, 0);
}

TEST(EventsTest, AnEventOfALaterVersionIsRefused) {
  std::string bytes;
  Writer writer(&bytes);
  writer.PutVarint(std::variant_size_v<Event>);
  writer.Put(std::string("from the future"));
  Reader reader(bytes);
  EXPECT_FALSE(ReadEvent(reader).has_value());
}

TEST(EventsTest, NoBytesBreakTheReader) {
  std::mt19937_64 random(7);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::string bytes;
    for (const Event& event : OneOfEach(seed)) AppendEvent(event, &bytes);
    bytes.resize(random() % bytes.size());
    for (int flips = 0; flips < 5 && !bytes.empty(); ++flips)
      bytes[random() % bytes.size()] ^= static_cast<char>(random());
    Reader reader(bytes);
    size_t read = 0;
    while (!reader.AtEnd() && ReadEvent(reader).has_value()) ++read;
    EXPECT_LE(read, bytes.size());
  }
}

TEST(EventsTest, JsonIsWellFormedForAnyBytes) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (const Event& event : OneOfEach(seed)) {
      const std::string json = EventToJson(event);
      const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
      ASSERT_TRUE(parsed.is_object()) << json;
      EXPECT_EQ(parsed["event"], std::string(EventName(event)));
      // On one line, and safe to show on any terminal.
      for (const char c : json)
        ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f);
    }
  }
}

TEST(EventsTest, JsonShowsWhatIsHeld) {
  const auto parsed =
      nlohmann::json::parse(EventToJson(WorkerUpdated{.worker = WorkerIndex(7),
                                                      .skills = {"a \"b\"", "c\\d\n"},
                                                      .languages = {},
                                                      .blocked = true,
                                                      .blocked_reason = "\xe9"}));
  EXPECT_EQ(parsed["worker"], 7);
  EXPECT_EQ(parsed["skills"], nlohmann::json({"a \"b\"", "c\\d\n"}));
  EXPECT_EQ(parsed["languages"], nlohmann::json::array());
  EXPECT_EQ(parsed["blocked"], true);
  EXPECT_EQ(parsed["blocked_reason"], "\u00e9");
}

TEST(EventsTest, JsonIsWellFormedForNumbersThatJsonHasNot) {
  for (const float number :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    const std::string json = EventToJson(
        PageRefitted{.job = JobIndex(1), .page = 0, .outcomes = {{.confidence = number}}});
    EXPECT_TRUE(nlohmann::json::accept(json)) << json;
  }
}

}  // namespace
}  // namespace tessera::core
