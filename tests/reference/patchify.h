// Patches of a canvas's tiles in double.
#pragma once

#include <cstdint>
#include <vector>

namespace vl2::reference {

/// canvas [height, width, 3], cut into tiles row by row; all of them, [tiles * grid^2, 3 * patch^2]. Source: facts of the model,
/// sections 2 and 4.4.
inline std::vector<double> patchify(const std::vector<uint8_t>& canvas, size_t height, size_t width, size_t view, size_t patch) {
  std::vector<double> y;
  for (size_t top = 0; top < height; top += view)
    for (size_t left = 0; left < width; left += view)
      for (size_t patch_y = top; patch_y + patch <= top + view; patch_y += patch)
        for (size_t patch_x = left; patch_x + patch <= left + view; patch_x += patch)
          for (size_t channel = 0; channel < 3; ++channel)
            for (size_t dy = 0; dy < patch; ++dy)
              for (size_t dx = 0; dx < patch; ++dx)
                y.push_back((canvas[((patch_y + dy) * width + patch_x + dx) * 3 + channel] / 255.0 - 0.5) / 0.5);
  return y;
}

}  // namespace vl2::reference
