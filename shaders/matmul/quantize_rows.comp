// Rows of activations as signed bytes: of every block of 32 elements a scale, and each element divided by it. What gemm_dot.comp multiplies.
//
// Shapes    x [rows, k] ACT, rows may be strided; k a multiple of 32    codes [rows, k] bytes, eight elements in the order of
//           runtime/weight_format.h    numbers [rows, k / 32, 2] f32: a block's scale, and that times the sum of its codes
// Work      one invocation a block
// Numbers   scale: largest magnitude / 127; codes rounded to nearest, ties to even. A block below 1e-30 is zero
// Needs     integer dot products
// Variants  ACT = f32 | f16
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_integer_dot_product : require
#include "interface/quantize_rows.h"
#define X_BINDING QUANTIZE_ROWS_X
#include "common/cache_codes.glsl"
#include "common/flat_grid.glsl"
#include "matmul/x_rows.glsl"

layout(local_size_x = QUANTIZE_ROWS_THREADS) in;
layout(push_constant) uniform Push { QuantizeRowsParams p; };
layout(binding = QUANTIZE_ROWS_CODES) writeonly buffer Codes { uvec4 codes[]; };
layout(binding = QUANTIZE_ROWS_NUMBERS) writeonly buffer Numbers { vec2 numbers[]; };

const uint FOURS = QUANTIZE_ROWS_BLOCK / 4u;

void main() {
  const uint block = flat_group() * QUANTIZE_ROWS_THREADS + gl_LocalInvocationIndex;
  if (block >= p.blocks)
    return;
  const uint row = block / p.row_blocks, k = block % p.row_blocks * QUANTIZE_ROWS_BLOCK;
  vec4 fours[FOURS];
  vec4 sizes = vec4(0.0);
  [[unroll]] for (uint i = 0u; i < FOURS; ++i) {
    fours[i] = load_x4_or_others(p.x_offset + row * p.x_row_stride, k + 4u * i, k + QUANTIZE_ROWS_BLOCK);
    sizes = max(sizes, abs(fours[i]));
  }
  const float largest = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
  const float scale = largest > 1e-30 ? largest / 127.0 : 0.0;
  int sum = 0;
  [[unroll]] for (uint half_block = 0u; half_block < 2u; ++half_block) {
    const uint first = half_block * FOURS / 2u;
    const uvec2 low = cache_codes(fours[first], fours[first + 1u], scale), high = cache_codes(fours[first + 2u], fours[first + 3u], scale);
    codes[2u * block + half_block] = uvec4(low, high);
    const ivec4 words = ivec4(ivec2(low), ivec2(high));
    sum += dotPacked4x8EXT(words.x, 0x01010101) + dotPacked4x8EXT(words.y, 0x01010101) + dotPacked4x8EXT(words.z, 0x01010101) +
           dotPacked4x8EXT(words.w, 0x01010101);
  }
  numbers[block] = vec2(scale, scale * float(sum));
}
