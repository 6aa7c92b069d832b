// Reads four neighbours of a row of x. The includer defines X_BINDING; constant_id 4 says whether rows start at multiples of 4 elements and have
// a multiple of 4. No branches: a driver that unrolls the loops around these makes them many times.
#ifndef VL2_MATMUL_X_ROWS_GLSL
#define VL2_MATMUL_X_ROWS_GLSL
#include "common/act_type.glsl"

layout(constant_id = 4) const bool X_ROWS_ALIGNED = false;
layout(binding = X_BINDING) readonly buffer X { act_t x[]; };
layout(binding = X_BINDING) readonly buffer XQuads { act4_t x_quads[]; };

// x[start + k .. start + k + 3], zeros from k_end on; k is a multiple of 4.
vec4 load_x4(uint start, uint k, uint k_end) {
  if (X_ROWS_ALIGNED)
    return k < k_end ? vec4(x_quads[(start + min(k, k_end - 4u)) >> 2]) : vec4(0.0);
  const uint last = k_end - 1u;
  const vec4 value = vec4(x[start + min(k, last)], x[start + min(k + 1u, last)], x[start + min(k + 2u, last)], x[start + min(k + 3u, last)]);
  return mix(vec4(0.0), value, lessThan(uvec4(k, k + 1u, k + 2u, k + 3u), uvec4(k_end)));
}

// The same without the zeros: any of the row's elements for those from k_end on. Nothing here waits for what it loads.
vec4 load_x4_or_others(uint start, uint k, uint k_end) {
  if (X_ROWS_ALIGNED)
    return vec4(x_quads[(start + min(k, k_end - 4u)) >> 2]);
  const uvec4 at = start + min(uvec4(k, k + 1u, k + 2u, k + 3u), uvec4(k_end - 1u));
  return vec4(x[at.x], x[at.y], x[at.z], x[at.w]);
}

#endif
