// What a benchmark measured: named numbers with units and, where one was set, a bound to hold.
//
//   Figures figures;
//   figures.Add("core_waiting", "bytes/item", 4.1, AtMost(40));
//   figures.Print("memory", json);
//
// A program prints a table for people, or one JSON object that suite.cc gathers over runs. What
// each name means is in docs/benchmarks.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace tessera::bench {

struct Bound {
  enum Kind { kNone, kAtMost, kAtLeast };
  Kind kind = kNone;
  double value = 0;

  bool HoldsFor(double figure) const {
    return kind == kNone || (kind == kAtMost ? figure <= value : figure >= value);
  }
};
inline Bound AtMost(double value) { return {Bound::kAtMost, value}; }
inline Bound AtLeast(double value) { return {Bound::kAtLeast, value}; }

struct Figure {
  std::string name;  // [a-z0-9_]+, unique in its program.
  std::string unit;
  double value = 0;
  Bound bound;
};

class Figures {
 public:
  void Add(absl::string_view name, absl::string_view unit, double value, Bound bound = {});

  const std::vector<Figure>& all() const { return all_; }

  // To standard output: a table, or {"figures": [{"name", "unit", "value", "at_most"}]}.
  void Print(absl::string_view title, bool json) const;

 private:
  std::vector<Figure> all_;
};

nlohmann::json ToJson(const Figure& figure);
Figure FromJson(const nlohmann::json& json);

// With as many digits as the size deserves.
std::string FormatNumber(double value);
std::string FormatBound(const Bound& bound);

// The value below which this share of the sorted samples lies; 0 of none. Sorts.
double Quantile(std::vector<double>& samples, double share);

}  // namespace tessera::bench
