// Layer normalisation in double precision.
#pragma once

#include <cmath>
#include <vector>

namespace vl2::reference {

/// x [rows, width] row-major; weight, bias [width]. Source: facts of the model, section 2.
inline std::vector<double> layer_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                      const std::vector<float>& bias, double eps) {
  const size_t width = weight.size();
  std::vector<double> y(x.size());
  for (size_t first = 0; first < x.size(); first += width) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < width; ++i)
      mean += x[first + i] / static_cast<double>(width);
    for (size_t i = 0; i < width; ++i)
      variance += (x[first + i] - mean) * (x[first + i] - mean) / static_cast<double>(width);
    for (size_t i = 0; i < width; ++i)
      y[first + i] = (x[first + i] - mean) / std::sqrt(variance + eps) * weight[i] + bias[i];
  }
  return y;
}

}  // namespace vl2::reference
