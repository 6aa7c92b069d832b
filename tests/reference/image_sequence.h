// The sequence of one picture, by appending.
#pragma once

#include <vector>

namespace vl2::reference {

/// features [1 + tiles_w * tiles_h, side, side, width]. Source: facts of the model, section 3.2.
inline std::vector<double> image_sequence(const std::vector<float>& features, const std::vector<float>& newline,
                                          const std::vector<float>& separator, size_t tiles_w, size_t tiles_h, size_t side) {
  const size_t width = newline.size();
  std::vector<double> y;
  const auto append = [&](const float* row) { y.insert(y.end(), row, row + width); };
  const auto token = [&](size_t view, size_t row, size_t column) {
    return &features[((view * side + row) * side + column) * width];
  };
  for (size_t row = 0; row < side; ++row) {
    for (size_t column = 0; column < side; ++column)
      append(token(0, row, column));
    append(newline.data());
  }
  append(separator.data());
  for (size_t tile_y = 0; tile_y < tiles_h; ++tile_y)
    for (size_t row = 0; row < side; ++row) {
      for (size_t tile_x = 0; tile_x < tiles_w; ++tile_x)
        for (size_t column = 0; column < side; ++column)
          append(token(1 + tile_y * tiles_w + tile_x, row, column));
      append(newline.data());
    }
  return y;
}

}  // namespace vl2::reference
