// Reads four neighbours of a row of x. The includer defines X_BINDING; constant_id 4 says whether rows start at multiples of 4 elements.
#ifndef VL2_MATMUL_X_ROWS_GLSL
#define VL2_MATMUL_X_ROWS_GLSL
#include "common/act_type.glsl"

layout(constant_id = 4) const bool X_ROWS_ALIGNED = false;
layout(binding = X_BINDING) readonly buffer X { act_t x[]; };
layout(binding = X_BINDING) readonly buffer XQuads { act4_t x_quads[]; };

// x[at .. at + 3]; `at` counts from a row's start in multiples of 4.
vec4 load_whole_x4(uint at) {
  if (X_ROWS_ALIGNED)
    return vec4(x_quads[at >> 2]);
  return vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

// x[start + k .. start + k + 3], zeros from k_end on; k is a multiple of 4.
vec4 load_x4(uint start, uint k, uint k_end) {
  const uint at = start + k;
  if (k + 4u <= k_end)
    return load_whole_x4(at);
  vec4 value = vec4(0.0);
  if (k < k_end)
    value.x = float(x[at]);
  if (k + 1u < k_end)
    value.y = float(x[at + 1u]);
  if (k + 2u < k_end)
    value.z = float(x[at + 2u]);
  return value;
}

#endif
