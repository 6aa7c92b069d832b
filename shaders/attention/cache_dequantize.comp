// Rows of the 8-bit cache as activations, from row 0 on.
//
// Shapes    y [rows, segments * width] ACT, contiguous    codes, scales: see common/cache_codes.glsl
// Work      one invocation eight elements
// Numbers   code * scale in f32, rounded at the store
// Variants  ACT = f32 | f16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/cache_codes.glsl"
#include "common/flat_grid.glsl"

layout(local_size_x = CACHE_ROWS_THREADS) in;
layout(push_constant) uniform Push { CacheDequantizeParams p; };
layout(binding = CACHE_ROWS_X) writeonly buffer Y { uvec4 y_quads[]; };
layout(binding = CACHE_ROWS_CODES) readonly buffer Codes { uvec2 codes[]; };
layout(binding = CACHE_ROWS_SCALES) readonly buffer Scales { uint scales[]; };

void main() {
  const uint index = flat_group() * CACHE_ROWS_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint segment = index / p.segment_chunks, chunk = index % p.segment_chunks;
  vec4 low, high;
  cache_values(codes[index], CACHE_SCALE_OF(scales[segment * CACHE_SCALE_WORDS(p.segment_chunks) + chunk / 8u], chunk), low, high);
#ifdef ACT_f16
  y_quads[index] = uvec4(packHalf2x16(low.xy), packHalf2x16(low.zw), packHalf2x16(high.xy), packHalf2x16(high.zw));
#else
  y_quads[2u * index] = floatBitsToUint(low);
  y_quads[2u * index + 1u] = floatBitsToUint(high);
#endif
}
