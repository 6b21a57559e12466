// Ids that cannot be taken for one another.
//
//   using JobIndex = StrongId<struct JobIndexTag, uint32_t>;
//   using WorkerIndex = StrongId<struct WorkerIndexTag, uint32_t>;
//   JobIndex job(7);
//   job.value();               // 7
//   JobIndex next = 8;         // Does not compile: a number is not an id.
//   WorkerIndex worker = job;  // Does not compile: nor is another id.
//
// An id costs what its number costs. It is compared, ordered, hashed and printed like its number;
// there is no arithmetic. A default id is zero.
#pragma once

#include <compare>
#include <ostream>
#include <type_traits>
#include <utility>

namespace tessera {

template <typename Tag, typename Rep>
class StrongId {
 public:
  static_assert(std::is_integral_v<Rep>, "an id is a number");
  using rep = Rep;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }

  friend constexpr bool operator==(StrongId, StrongId) = default;
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

  friend std::ostream& operator<<(std::ostream& out, StrongId id) {
    return out << +id.value_;  // The plus prints a one-byte id as a number.
  }

 private:
  Rep value_ = 0;
};

// IsStrongId<T>::value: for code that is generic over fields, such as encoders.
template <typename T>
struct IsStrongId : std::false_type {};
template <typename Tag, typename Rep>
struct IsStrongId<StrongId<Tag, Rep>> : std::true_type {};

}  // namespace tessera
