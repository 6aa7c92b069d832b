// Activations as bytes, 32 with a scale, in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace vl2::reference {

struct Bytes {
  std::vector<int> codes;      // an element each
  std::vector<double> scales;  // one for 32
};

/// x whole blocks of 32: scale = max |x| / 127, codes = x / scale to the nearest, ties to even.
inline Bytes in_bytes(const std::vector<float>& x) {
  Bytes bytes;
  for (size_t first = 0; first < x.size(); first += 32) {
    double largest = 0;
    for (size_t i = first; i < first + 32; ++i)
      largest = std::max(largest, std::abs(double{x[i]}));
    const double scale = largest / 127;
    bytes.scales.push_back(scale);
    for (size_t i = first; i < first + 32; ++i)
      bytes.codes.push_back(scale == 0 ? 0 : static_cast<int>(std::nearbyint(x[i] / scale)));
  }
  return bytes;
}

/// What the codes stand for.
inline std::vector<float> values_of(const Bytes& bytes) {
  std::vector<float> values(bytes.codes.size());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(bytes.codes[i] * bytes.scales[i / 32]);
  return values;
}

/// x with zeros for what lies so close between two codes that f32 and double may round it differently.
inline std::vector<float> without_ties(std::vector<float> x) {
  const Bytes bytes = in_bytes(x);
  for (size_t i = 0; i < x.size(); ++i)
    if (bytes.scales[i / 32] > 0) {
      const double steps = std::abs(x[i] / bytes.scales[i / 32]);
      if (std::abs(steps - std::floor(steps) - 0.5) < 1e-3)
        x[i] = 0;
    }
  return x;
}

}  // namespace vl2::reference
