// One list of fields per struct, and everything that must agree about it derived from that list.
//
// A stored struct names its fields once:
//
//   struct Extended {
//     AssignmentId assignment;
//     absl::Time deadline;
//   };
//   template <typename V>
//   void Fields(V& v, Extended& e) {
//     v("assignment", e.assignment);
//     v("deadline", e.deadline);
//   }
//
// Writer encodes it, Reader decodes it, Printer shows it as JSON for people, and tests visit it to
// make arbitrary values. Fields may be appended, never moved or removed: a Reader that reaches the
// end of its bytes leaves the remaining fields at their defaults, so old records stay readable.
//
// The encoding is canonical (equal values give equal bytes), which is what lets a digest of encoded
// objects stand for a digest of the state. Integers are varints (signed ones zigzagged), floating
// point is its raw bits, strings and vectors are length-prefixed, times are microseconds.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/core/types.h"

namespace tessera::core {

// Times are stored to the microsecond; so that a folded time equals a live one, the core's clock is
// truncated to it on the way in.
inline absl::Time TruncateTime(absl::Time t) {
  if (t == absl::InfiniteFuture() || t == absl::InfinitePast()) return t;
  return absl::FromUnixMicros(absl::ToUnixMicros(t));
}

inline void Fields(auto& v, RecordId& id) {
  v("epoch", id.epoch);
  v("sequence", id.sequence);
}

inline void Fields(auto& v, AssignmentId& id) {
  v("job", id.job);
  v("sequence", id.sequence);
}

class Writer {
 public:
  explicit Writer(std::string* out) : out_(*out) {}

  template <typename T>
  void operator()(const char* /*name*/, const T& value) {
    Put(value);
  }

  template <typename T>
  void Put(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.push_back(value ? 1 : 0);
    } else if constexpr (std::is_enum_v<T>) {
      PutVarint(static_cast<uint64_t>(static_cast<std::underlying_type_t<T>>(value)));
    } else if constexpr (std::is_unsigned_v<T>) {
      PutVarint(value);
    } else if constexpr (std::is_integral_v<T>) {
      PutVarint(ZigZag(value));
    } else if constexpr (std::is_same_v<T, float>) {
      PutFixed(std::bit_cast<uint32_t>(value));
    } else if constexpr (std::is_same_v<T, double>) {
      PutFixed(std::bit_cast<uint64_t>(value));
    } else if constexpr (std::is_same_v<T, std::string>) {
      PutVarint(value.size());
      out_.append(value);
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      PutVarint(ZigZag(EncodeTime(value)));
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      PutVarint(ZigZag(EncodeDuration(value)));
    } else if constexpr (IsStrongId<T>::value) {
      PutVarint(value.value());
    } else if constexpr (IsVector<T>::value) {
      PutVarint(value.size());
      for (const auto& element : value) Put(element);
    } else {
      // Fields() takes a mutable reference because Reader needs one; Writer only reads.
      Fields(*this, const_cast<T&>(value));
    }
  }

  void PutVarint(uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<char>(value));
  }

 private:
  friend class Reader;
  template <typename T>
  struct IsVector : std::false_type {};
  template <typename T>
  struct IsVector<std::vector<T>> : std::true_type {};

  static uint64_t ZigZag(int64_t value) {
    return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  }
  static int64_t EncodeTime(absl::Time time) {
    if (time == absl::InfiniteFuture()) return std::numeric_limits<int64_t>::max();
    if (time == absl::InfinitePast()) return std::numeric_limits<int64_t>::min();
    return absl::ToUnixMicros(time);
  }
  static int64_t EncodeDuration(absl::Duration duration) {
    return duration == absl::InfiniteDuration() ? std::numeric_limits<int64_t>::max()
                                                : absl::ToInt64Microseconds(duration);
  }
  template <typename Bits>
  void PutFixed(Bits bits) {
    for (size_t i = 0; i < sizeof(bits); ++i) out_.push_back(static_cast<char>(bits >> (8 * i)));
  }

  std::string& out_;
};

// Decodes what Writer wrote. Bytes from outside may be anything: on a malformed input ok() turns
// false, every further read leaves its target alone, and nothing is read past the end.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return at_ == end_; }
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }

  template <typename T>
  void operator()(const char* /*name*/, T& value) {
    if (ok_ && at_ != end_) Get(value);  // An older writer knew fewer fields: defaults stand.
  }

  template <typename T>
  void Get(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = GetVarint() != 0;
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(GetVarint());
    } else if constexpr (std::is_unsigned_v<T>) {
      value = static_cast<T>(GetVarint());
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(UnZigZag(GetVarint()));
    } else if constexpr (std::is_same_v<T, float>) {
      value = std::bit_cast<float>(GetFixed<uint32_t>());
    } else if constexpr (std::is_same_v<T, double>) {
      value = std::bit_cast<double>(GetFixed<uint64_t>());
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = std::string(GetBytes());
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      const int64_t micros = UnZigZag(GetVarint());
      value = micros == std::numeric_limits<int64_t>::max()   ? absl::InfiniteFuture()
              : micros == std::numeric_limits<int64_t>::min() ? absl::InfinitePast()
                                                              : absl::FromUnixMicros(micros);
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      const int64_t micros = UnZigZag(GetVarint());
      value = micros == std::numeric_limits<int64_t>::max() ? absl::InfiniteDuration()
                                                            : absl::Microseconds(micros);
    } else if constexpr (IsStrongId<T>::value) {
      value = T(static_cast<typename T::rep>(GetVarint()));
    } else if constexpr (Writer::IsVector<T>::value) {
      const uint64_t size = GetVarint();
      // Each element takes at least a byte: a length beyond that is a lie, not a reason to
      // allocate.
      if (size > remaining()) return Fail();
      value.clear();
      value.reserve(size);
      for (uint64_t i = 0; i < size && ok_; ++i) Get(value.emplace_back());
    } else {
      Fields(*this, value);
    }
  }

  uint64_t GetVarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) break;
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    Fail();
    return 0;
  }

  absl::string_view GetBytes() {
    const uint64_t size = GetVarint();
    if (size > remaining()) {
      Fail();
      return {};
    }
    const absl::string_view bytes(at_, size);
    at_ += size;
    return bytes;
  }

 private:
  void Fail() {
    ok_ = false;
    at_ = end_;
  }
  static int64_t UnZigZag(uint64_t value) {
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }
  template <typename Bits>
  Bits GetFixed() {
    if (remaining() < sizeof(Bits)) {
      Fail();
      return 0;
    }
    Bits bits = 0;
    for (size_t i = 0; i < sizeof(Bits); ++i) {
      bits |= static_cast<Bits>(static_cast<uint8_t>(*at_++)) << (8 * i);
    }
    return bits;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

template <typename T>
std::string Encode(const T& value) {
  std::string out;
  Writer(&out).Put(value);
  return out;
}

// The decoded value, or nothing if `bytes` is malformed or has something left over.
template <typename T>
std::optional<T> Decode(absl::string_view bytes) {
  Reader reader(bytes);
  T value{};
  reader.Get(value);
  if (!reader.ok() || !reader.AtEnd()) return std::nullopt;
  return value;
}

}  // namespace tessera::core
