// The gated activation, in double precision.
#pragma once

#include <cmath>
#include <vector>

namespace vl2::reference {

/// x [rows, 2 width], gate first -> [rows, width]. Source: facts of the model, DeepseekV2MLP.
inline std::vector<double> swiglu(const std::vector<float>& x, size_t width) {
  std::vector<double> y;
  for (size_t row = 0; row < x.size() / (2 * width); ++row)
    for (size_t i = 0; i < width; ++i) {
      const double gate = x[row * 2 * width + i], up = x[row * 2 * width + width + i];
      y.push_back(gate / (1 + std::exp(-gate)) * up);
    }
  return y;
}

}  // namespace vl2::reference
