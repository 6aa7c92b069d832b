// RMS normalisation in double precision.
#pragma once

#include <cmath>
#include <vector>

namespace vl2::reference {

/// x [rows, width] row-major; weight [width]. Source: facts of the model, section 6.1.
inline std::vector<double> rms_norm(const std::vector<float>& x, const std::vector<float>& weight, double eps) {
  const size_t width = weight.size();
  std::vector<double> y(x.size());
  for (size_t row = 0; row < x.size() / width; ++row) {
    double squares = 0;
    for (size_t i = 0; i < width; ++i)
      squares += double{x[row * width + i]} * x[row * width + i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (size_t i = 0; i < width; ++i)
      y[row * width + i] = x[row * width + i] * scale * weight[i];
  }
  return y;
}

}  // namespace vl2::reference
