#include "tests/bench/figures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_format.h"

namespace tessera::bench {

void Figures::Add(absl::string_view name, absl::string_view unit, double value, Bound bound) {
  all_.push_back({std::string(name), std::string(unit), value, bound});
}

void Figures::Print(absl::string_view title, bool json) const {
  if (json) {
    nlohmann::json figures = nlohmann::json::array();
    for (const Figure& f : all_) figures.push_back(ToJson(f));
    std::printf("%s\n", nlohmann::json{{"figures", figures}}.dump().c_str());
    return;
  }
  absl::PrintF("%s\n", title);
  for (const Figure& f : all_) {
    absl::PrintF("  %-44s %12s %-12s", f.name, FormatNumber(f.value), f.unit);
    if (f.bound.kind != Bound::kNone) {
      absl::PrintF(" %s: %s", FormatBound(f.bound), f.bound.HoldsFor(f.value) ? "holds" : "MISSED");
    }
    absl::PrintF("\n");
  }
}

nlohmann::json ToJson(const Figure& figure) {
  nlohmann::json json{{"name", figure.name}, {"unit", figure.unit}, {"value", figure.value}};
  if (figure.bound.kind == Bound::kAtMost) json["at_most"] = figure.bound.value;
  if (figure.bound.kind == Bound::kAtLeast) json["at_least"] = figure.bound.value;
  return json;
}

Figure FromJson(const nlohmann::json& json) {
  Figure figure{.name = json.at("name"), .unit = json.at("unit"), .value = json.at("value")};
  if (json.contains("at_most")) figure.bound = AtMost(json["at_most"]);
  if (json.contains("at_least")) figure.bound = AtLeast(json["at_least"]);
  return figure;
}

std::string FormatNumber(double value) {
  const double size = std::abs(value);
  if (size >= 1000) {
    // Thousands apart, as in 123,456.
    std::string digits = absl::StrFormat("%.0f", value);
    const size_t first = digits[0] == '-' ? 1 : 0;
    for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
    return digits;
  }
  if (size >= 100) return absl::StrFormat("%.0f", value);
  if (size >= 10) return absl::StrFormat("%.1f", value);
  return absl::StrFormat("%.3g", value);
}

std::string FormatBound(const Bound& bound) {
  if (bound.kind == Bound::kNone) return "";
  return absl::StrFormat("at %s %s", bound.kind == Bound::kAtMost ? "most" : "least",
                         FormatNumber(bound.value));
}

double Quantile(std::vector<double>& samples, double share) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const auto place = static_cast<size_t>(std::ceil(share * static_cast<double>(samples.size())));
  return samples[std::min(samples.size(), std::max<size_t>(place, 1)) - 1];
}

}  // namespace tessera::bench
