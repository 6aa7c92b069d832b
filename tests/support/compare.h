// Distances between what was computed and what was wanted. NaN on either side, or another size, is infinitely far.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

namespace vl2 {

template <typename A, typename B>
double max_abs_diff(const std::vector<A>& a, const std::vector<B>& b) {
  double worst = 0;
  if (a.size() != b.size())
    return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < a.size(); ++i) {
    const double distance = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(distance <= std::numeric_limits<double>::max()))
      return std::numeric_limits<double>::infinity();
    worst = std::fmax(worst, distance);
  }
  return worst;
}

/// |a - b| / |b|, Euclidean.
template <typename A, typename B>
double relative_l2(const std::vector<A>& a, const std::vector<B>& b) {
  double error = 0, norm = 0;
  if (a.size() != b.size())
    return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    error += difference * difference;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  const double result = std::sqrt(error / norm);
  return result <= std::numeric_limits<double>::max() ? result : std::numeric_limits<double>::infinity();
}

}  // namespace vl2
