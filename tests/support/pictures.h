// Pictures for tests: gradients, hard edges and noise, a fixed function of their size and seed.
// tests/golden/resize/make_resize.py draws the same ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace vl2 {

/// The byte of channel `channel` of the pixel (x, y) of such a picture.
inline uint8_t test_picture_byte(uint32_t width, uint32_t height, uint32_t seed, uint32_t x, uint32_t y, uint32_t channel) {
  uint32_t hash = seed * 0x27d4eb2fu + x * 0x9e3779b1u + y * 0x85ebca77u + channel * 0xc2b2ae3du;
  hash = (hash ^ (hash >> 15)) * 0x2c1b3c6du;
  hash = (hash ^ (hash >> 12)) * 0x297a2d39u;
  hash ^= hash >> 15;
  if ((x / 16 + y / 16) % 3 == 0)  // squares of noise over the whole range: sums of pixels overshoot at both ends
    return hash & 1u ? (hash & 2u ? 255 : 0) : static_cast<uint8_t>(hash >> 24);
  const uint32_t across = 255 * x / std::max(width - 1, 1u), down = 255 * y / std::max(height - 1, 1u);
  const uint32_t gradient = channel == 0 ? across : channel == 1 ? down : 255 - (across + down) / 2;
  return static_cast<uint8_t>(std::min(gradient + (hash >> 29), 255u));
}

/// u8 [height, width, 3]; sides of at least 1.
inline std::vector<uint8_t> test_picture(uint32_t width, uint32_t height, uint32_t seed) {
  std::vector<uint8_t> bytes;
  bytes.reserve(size_t{width} * height * 3);
  for (uint32_t y = 0; y < height; ++y)
    for (uint32_t x = 0; x < width; ++x)
      for (uint32_t channel = 0; channel < 3; ++channel)
        bytes.push_back(test_picture_byte(width, height, seed, x, y, channel));
  return bytes;
}

}  // namespace vl2
