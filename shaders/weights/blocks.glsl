// What the block formats share: their plane of scales, and codes as floats (runtime/weight_format.h has the order of eight elements).
#extension GL_EXT_control_flow_attributes : require
#ifdef VL2_WEIGHT_HALVES
#define VL2_CODE_HALVES
#endif
#include "weights/codes.glsl"
layout(binding = SCALES_BINDING) readonly buffer Scales { uint scale_words[]; };
layout(binding = SCALES_BINDING) readonly buffer ScaleQuads { uvec4 scale_quads[]; };

// The word with number `index` of the f16 in a plane of nothing else: fetched_half_scale() has the second step.
uint fetch_half_scale(uint index) { return scale_words[index >> 1]; }

// A word of nibbles as the two words of bytes.
uvec2 nibble_bytes(uint word) { return uvec2(word, word >> 4) & 0x0f0f0f0fu; }

#ifdef VL2_WEIGHT_HALVES
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
uvec4 packed_halves(vec4 low, vec4 high) {
  return uvec4(packFloat2x16(f16vec2(low.xy)), packFloat2x16(f16vec2(low.zw)), packFloat2x16(f16vec2(high.xy)), packFloat2x16(f16vec2(high.zw)));
}
#endif

#ifdef VL2_WEIGHT_PARTS
#extension GL_EXT_integer_dot_product : require
layout(binding = WEIGHT_BINDING) readonly buffer WeightPairs { uvec2 weight_pairs[]; };
layout(binding = WEIGHT_BINDING) readonly buffer WeightQuads { uvec4 weight_quads[]; };
int quad_dot_add(uvec4 a, uvec4 b, int sum) {
  const ivec4 p = ivec4(a), q = ivec4(b);
  sum += dotPacked4x8EXT(p.x, q.x);
  sum += dotPacked4x8EXT(p.y, q.y);
  sum += dotPacked4x8EXT(p.z, q.z);
  return sum + dotPacked4x8EXT(p.w, q.w);
}
uvec4 nibble_quad(uvec2 words) { return uvec4(nibble_bytes(words.x), nibble_bytes(words.y)); }
// Bytes of 0..63 less `zero`, which is at most 64, as signed ones; the high bit keeps what is borrowed in its byte.
uvec4 signed_bytes(uvec4 codes, uint zero) { return ((codes | 0x80808080u) - zero * 0x01010101u) ^ 0x80808080u; }
#endif

#ifdef VL2_WEIGHT_CODE_DOTS
#extension GL_EXT_integer_dot_product : require
// The elements of x that a chunk multiplies, as signed bytes in the order of the weights, 16 a quad; what they are multiplied by, and that times
// their sum.
struct XChunk {
  uvec4 first, second;  // chunks of 16 have no second
  float scale, scaled_sum;
};
int quad_dot(uvec4 a, uvec4 b) {
  const ivec4 p = ivec4(a), q = ivec4(b);
  return dotPacked4x8EXT(p.x, q.x) + dotPacked4x8EXT(p.y, q.y) + dotPacked4x8EXT(p.z, q.z) + dotPacked4x8EXT(p.w, q.w);
}
uvec4 nibble_quad(uvec2 words) { return uvec4(nibble_bytes(words.x), nibble_bytes(words.y)); }
#endif
