// The projector's unfold, in plain loops.
#pragma once

#include <vector>

namespace vl2::reference {

/// x [views, grid, grid, channels]; the result [views, side, side, channels, factor, factor]. Source: facts of the model,
/// section 3.1.
inline std::vector<double> pixel_unshuffle(const std::vector<float>& x, size_t views, size_t grid, size_t channels,
                                           size_t factor) {
  const size_t side = (grid + factor - 1) / factor, padded = side * factor;
  // First the padding, as a picture of its own; then the unfold, which has no edge.
  std::vector<double> square(views * padded * padded * channels, 0.0);
  for (size_t view = 0; view < views; ++view)
    for (size_t row = 0; row < grid; ++row)
      for (size_t i = 0; i < grid * channels; ++i)
        square[(view * padded + row) * padded * channels + i] = x[(view * grid + row) * grid * channels + i];
  std::vector<double> y;
  y.reserve(square.size());
  for (size_t view = 0; view < views; ++view)
    for (size_t py = 0; py < side; ++py)
      for (size_t px = 0; px < side; ++px)
        for (size_t channel = 0; channel < channels; ++channel)
          for (size_t dy = 0; dy < factor; ++dy)
            for (size_t dx = 0; dx < factor; ++dx)
              y.push_back(square[((view * padded + factor * py + dy) * padded + factor * px + dx) * channels + channel]);
  return y;
}

}  // namespace vl2::reference
