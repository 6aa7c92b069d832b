// Rotary position embedding in double precision.
#pragma once

#include <cmath>
#include <vector>

namespace vl2::reference {

/// x [rows, heads, width] row-major; row t is at position first_position + t. Pairs are (2i, 2i + 1) if interleaved, else (i, i +
/// width / 2), and stay where they are. Source: facts of the model, sections 6.2 and 6.3.
inline std::vector<double> rope(const std::vector<float>& x, size_t heads, size_t width, size_t first_position, double theta,
                                bool interleaved) {
  std::vector<double> y(x.size());
  for (size_t row = 0; row < x.size() / (heads * width); ++row)
    for (size_t head = 0; head < heads; ++head)
      for (size_t i = 0; i < width / 2; ++i) {
        const size_t start = (row * heads + head) * width;
        const size_t a = start + (interleaved ? 2 * i : i), b = start + (interleaved ? 2 * i + 1 : i + width / 2);
        const double exponent = 2 * static_cast<double>(i) / static_cast<double>(width);
        const double angle = static_cast<double>(first_position + row) / std::pow(theta, exponent);
        y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
        y[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
      }
  return y;
}

}  // namespace vl2::reference
