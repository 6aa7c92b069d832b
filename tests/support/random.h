// Deterministic test data.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/half.h"
#include "runtime/tensor.h"

namespace vl2 {

/// `count` values uniform in [-scale, scale): a fixed function of the seed on every platform.
inline std::vector<float> random_floats(size_t count, uint32_t seed, float scale = 1) {
  uint64_t state = 0x9e3779b97f4a7c15u * (seed + 1u);
  std::vector<float> values(count);
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = scale * (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f);
  }
  return values;
}

/// What the device holds after `values` were stored as `dtype`.
inline std::vector<float> rounded(const std::vector<float>& values, DType dtype) {
  std::vector<float> result(values);
  if (dtype == DType::F16)
    for (float& value : result)
      value = half_to_float(float_to_half(value));
  if (dtype == DType::BF16)
    for (float& value : result)
      value = bfloat16_to_float(float_to_bfloat16(value));
  return result;
}

}  // namespace vl2
