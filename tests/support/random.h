// Deterministic test data.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/half.h"
#include "runtime/tensor.h"
#include "runtime/weight_format.h"

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
  if (dtype_block(dtype) > 1) {
    std::vector<std::byte> blocks(dtype_bytes_of(dtype, values.size()));
    if (!quantize_row(dtype, values, blocks, "rounded").ok() || !dequantize_row(dtype, blocks, result, "rounded").ok())
      result.clear();  // of no use: the caller's sizes are not whole blocks
  }
  return result;
}

/// What a kernel multiplies by: matrix units have blocks made f16 on the way.
inline std::vector<float> as_multiplied(const std::vector<float>& exact, DType format, bool on_matrix_units) {
  const std::vector<float> stored = rounded(exact, format);
  return on_matrix_units && dtype_block(format) > 1 ? rounded(stored, DType::F16) : stored;
}

/// Every format that weights may have on a device.
inline constexpr DType kWeightFormats[] = {DType::F32,  DType::F16,  DType::BF16, DType::Q8_0,
                                           DType::Q4_0, DType::Q4_K, DType::Q6_K};

/// The least multiple of a format's block that is not below `count`.
inline uint32_t whole_blocks(uint32_t count, DType dtype) {
  return (count + dtype_block(dtype) - 1) / dtype_block(dtype) * dtype_block(dtype);
}

}  // namespace vl2
