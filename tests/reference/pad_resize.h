// Pillow's bicubic resize of 8-bit pictures onto a grey canvas, in double and plain integers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace vl2::reference {

/// Of one axis: output i sums sources first[i] .. first[i] + count[i] - 1 with weights[i * taps ...], of 22 fractional bits.
struct ResampleTable {
  uint32_t taps = 0;
  std::vector<int32_t> bounds;   // [out, 2]: first, count
  std::vector<int32_t> weights;  // [out, taps]
};

inline double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/// Source: facts of the model, section 4.5.
inline ResampleTable resample_table(uint32_t in, uint32_t out) {
  const double scale = static_cast<double>(in) / out, filter_scale = std::max(scale, 1.0), support = 2 * filter_scale;
  ResampleTable table;
  table.taps = static_cast<uint32_t>(std::ceil(support)) * 2 + 1;
  for (uint32_t i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int end = std::min(static_cast<int>(centre + support + 0.5), static_cast<int>(in));
    std::vector<double> weights(table.taps);
    double sum = 0;
    for (int k = 0; k < end - first; ++k)
      sum += weights[static_cast<size_t>(k)] = bicubic((k + first - centre + 0.5) * (1 / filter_scale));
    table.bounds.insert(table.bounds.end(), {first, end - first});
    for (const double weight : weights) {
      const double fixed = weight / sum * (1 << 22);
      table.weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return table;
}

/// Where the resized picture lies on the canvas.
struct Placement {
  uint32_t fit_width, fit_height, x, y;
};

/// Sums `count` bytes from `source`, `step` apart.
inline uint8_t resampled_byte(const uint8_t* source, size_t step, const ResampleTable& table, size_t out) {
  int64_t sum = 1 << 21;
  for (size_t k = 0; k < static_cast<size_t>(table.bounds[2 * out + 1]); ++k)
    sum += int64_t{source[(static_cast<size_t>(table.bounds[2 * out]) + k) * step]} * table.weights[out * table.taps + k];
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> 22, 0, 255));
}

/// picture [height, width, 3]; the result [canvas_height, canvas_width, 3].
inline std::vector<uint8_t> pad_resize(const std::vector<uint8_t>& picture, uint32_t width, uint32_t height,
                                       const Placement& place, uint32_t canvas_width, uint32_t canvas_height) {
  const size_t fit_w = place.fit_width, fit_h = place.fit_height;
  std::vector<uint8_t> wide = picture;
  if (fit_w != width) {
    const ResampleTable table = resample_table(width, place.fit_width);
    wide.resize(size_t{height} * fit_w * 3);
    for (size_t row = 0; row < height; ++row)
      for (size_t i = 0; i < fit_w * 3; ++i)
        wide[row * fit_w * 3 + i] = resampled_byte(&picture[row * width * 3 + i % 3], 3, table, i / 3);
  }
  std::vector<uint8_t> fitted = wide;
  if (fit_h != height) {
    const ResampleTable table = resample_table(height, place.fit_height);
    fitted.resize(fit_h * fit_w * 3);
    for (size_t row = 0; row < fit_h; ++row)
      for (size_t i = 0; i < fit_w * 3; ++i)
        fitted[row * fit_w * 3 + i] = resampled_byte(&wide[i], fit_w * 3, table, row);
  }
  std::vector<uint8_t> canvas(size_t{canvas_width} * canvas_height * 3, 127);
  for (size_t row = 0; row < fit_h; ++row)
    std::copy_n(&fitted[row * fit_w * 3], fit_w * 3, &canvas[((row + place.y) * canvas_width + place.x) * 3]);
  return canvas;
}

}  // namespace vl2::reference
