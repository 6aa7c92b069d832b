// Tokens' activations, RMS-normalised or not, rounded to signed bytes: once, where many workgroups of decode_gemv_dot.comp would each do it again.
//
// Shapes    x [tokens, k] f32    norm [k] f32    codes [tokens, 2, blocks] of 16 bytes: of each token the first 16 elements of all blocks of 32, then
//           the second    scales [tokens, blocks + 1, 2] f32: of each block what a code is worth and that times the sum of its codes; last what
//           all sums are multiplied by: 1 / rms with NORM, else 1
// Work      along y the tokens; along x workgroups that share out the blocks, four invocations each. With NORM one, as it needs the sum of all squares
// Numbers   f32, in the order in which decode_gemv_dot.comp does the same with a workgroup of as many invocations: to the bit
// Needs     subgroup arithmetic and clusters; a multiple of 4 invocations
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2RMSNorm
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "interface/decode_bytes.h"
#include "decode/x_bytes.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool NORM = false;
layout(constant_id = 2) const uint BLOCKS = 1u;  // of 32 elements, of a token
layout(push_constant) uniform Push { DecodeBytesParams p; };
layout(binding = DECODE_BYTES_X) readonly buffer X { vec4 x_quads[]; };
layout(binding = DECODE_BYTES_NORM) readonly buffer Norm { vec4 norm_quads[]; };
layout(binding = DECODE_BYTES_CODES) writeonly buffer Codes { uvec2 codes[]; };
layout(binding = DECODE_BYTES_SCALES) writeonly buffer Scales { vec2 scales[]; };

const uint MAX_SUBGROUPS = 64u;
shared float subgroup_squares[MAX_SUBGROUPS];

void main() {
  const uint token = gl_WorkGroupID.y, eights = 4u * BLOCKS, step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
  float square = 0.0;
  for (uint first = gl_WorkGroupID.x * gl_WorkGroupSize.x; first < eights; first += step) {
    const uint e = first + gl_LocalInvocationIndex, block = e / 4u, part = e % 4u;
    const uint at = token * p.x_token_eights + min(e, eights - 1u);
    vec4 low = x_quads[2u * at], high = x_quads[2u * at + 1u];
    if (NORM) {
      square += e < eights ? square_of(low, high) : 0.0;
      low *= norm_quads[2u * min(e, eights - 1u)];
      high *= norm_quads[2u * min(e, eights - 1u) + 1u];
    }
    const XBytes bytes = x_bytes(low, high);
    if (e >= eights)
      continue;
    codes[2u * ((2u * token + part / 2u) * BLOCKS + block) + part % 2u] = bytes.words;
    if (part == 0u)
      scales[token * (BLOCKS + 1u) + block] = bytes.scales;
  }
  float scale = 1.0;
  if (NORM) {
    square = subgroupAdd(square);
    if (subgroupElect())
      subgroup_squares[gl_SubgroupID] = square;
    barrier();
    square = 0.0;
    for (uint i = 0u; i < gl_NumSubgroups; ++i)
      square += subgroup_squares[i];
    scale = rms_scale(square, 32u * BLOCKS, p.eps);
  }
  if (gl_WorkGroupID.x == 0u && gl_LocalInvocationIndex == 0u)
    scales[token * (BLOCKS + 1u) + BLOCKS] = vec2(scale, 0.0);
}
