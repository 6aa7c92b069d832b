// The 8-bit cache byte by byte, from its description in runtime/ops/cache_rows.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/half.h"

namespace vl2::reference {

/// Where things are in the bytes of a cache [capacity, segments * width].
struct CacheLayout {
  size_t capacity, segments, width;

  size_t row_elements() const { return segments * width; }
  size_t scales() const { return (capacity * row_elements() + 255) / 256 * 256; }
  size_t segment_scales() const { return (width + 63) / 64 * 2; }
  size_t bytes() const { return scales() + capacity * segments * segment_scales() * 2; }
  /// Of element `column` of a row: eight neighbours lie as 0 4 1 5 2 6 3 7.
  size_t code_at(size_t row, size_t column) const {
    constexpr size_t kPlace[] = {0, 2, 4, 6, 1, 3, 5, 7};
    return row * row_elements() + column / 8 * 8 + kPlace[column % 8];
  }
  size_t scale_at(size_t row, size_t column) const {
    const size_t segment = column / width, block = column % width / 32;
    return scales() + 2 * ((row * segments + segment) * segment_scales() + block);
  }
};

inline float cache_scale_at(const std::vector<uint8_t>& bytes, size_t at) {
  uint16_t half;
  std::memcpy(&half, &bytes[at], 2);
  return half_to_float(half);
}

/// What the bytes stand for, row by row.
inline std::vector<float> cache_values(const std::vector<uint8_t>& bytes, const CacheLayout& layout) {
  std::vector<float> values;
  for (size_t row = 0; row < layout.capacity; ++row)
    for (size_t column = 0; column < layout.row_elements(); ++column)
      values.push_back(static_cast<float>(static_cast<int8_t>(bytes[layout.code_at(row, column)])) *
                       cache_scale_at(bytes, layout.scale_at(row, column)));
  return values;
}

/// Rows in 8 bits: of a block the largest magnitude is 127 times its scale.
inline std::vector<uint8_t> cache_bytes(const std::vector<float>& rows, const CacheLayout& layout) {
  std::vector<uint8_t> bytes(layout.bytes());
  for (size_t row = 0; row < layout.capacity; ++row)
    for (size_t column = 0; column < layout.row_elements(); ++column) {
      const size_t segment = column / layout.width * layout.width, block = segment + (column - segment) / 32 * 32;
      double largest = 0;
      for (size_t i = block; i < std::min(block + 32, segment + layout.width); ++i)
        largest = std::max(largest, std::abs(double{rows[row * layout.row_elements() + i]}));
      const uint16_t half = float_to_half(static_cast<float>(largest / 127));
      std::memcpy(&bytes[layout.scale_at(row, column)], &half, 2);
      const double scale = static_cast<double>(half_to_float(half)), value = double{rows[row * layout.row_elements() + column]};
      const double code = scale > 0 ? std::clamp(std::nearbyint(value / scale), -127.0, 127.0) : 0;
      bytes[layout.code_at(row, column)] = static_cast<uint8_t>(static_cast<int8_t>(code));
    }
  return bytes;
}

/// Makes blocks of 32 differ in magnitude, up to 16-fold, so that the scale of another one is noticed.
inline std::vector<float> uneven(std::vector<float> values) {
  constexpr float kFactors[] = {1, 0.125f, 2, 0.5f, 0.25f};
  for (size_t i = 0; i < values.size(); ++i)
    values[i] *= kFactors[i / 32 % 5];
  return values;
}

}  // namespace vl2::reference
