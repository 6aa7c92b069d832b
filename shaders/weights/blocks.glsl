// What the block formats share: their plane of scales, and codes as floats (runtime/weight_format.h has the order of eight elements).
#extension GL_EXT_control_flow_attributes : require
layout(binding = SCALES_BINDING) readonly buffer Scales { uint scale_words[]; };
layout(binding = SCALES_BINDING) readonly buffer ScaleQuads { uvec4 scale_quads[]; };

// Number `index` of the f16 in a plane of nothing else, in two steps.
uint fetch_half_scale(uint index) { return scale_words[index >> 1]; }
float fetched_half_scale(uint word, uint index) { return unpackHalf2x16(word >> ((index & 1u) * 16u)).x; }

// A word of nibbles as the two words of bytes.
uvec2 nibble_bytes(uint word) { return uvec2(word, word >> 4) & 0x0f0f0f0fu; }

// Elements 0..3 and 4..7 of two words of bytes, signed or not.
void signed_values(uvec2 bytes, out vec4 low, out vec4 high) {
  const ivec2 b = ivec2(bytes);
  low = vec4(bitfieldExtract(b.x, 0, 8), bitfieldExtract(b.x, 16, 8), bitfieldExtract(b.y, 0, 8), bitfieldExtract(b.y, 16, 8));
  high = vec4(bitfieldExtract(b.x, 8, 8), b.x >> 24, bitfieldExtract(b.y, 8, 8), b.y >> 24);
}
void unsigned_values(uvec2 bytes, out vec4 low, out vec4 high) {
  low = vec4(bytes.x & 255u, (bytes.x >> 16) & 255u, bytes.y & 255u, (bytes.y >> 16) & 255u);
  high = vec4((bytes.x >> 8) & 255u, bytes.x >> 24, (bytes.y >> 8) & 255u, bytes.y >> 24);
}

#ifdef VL2_WEIGHT_HALVES
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
uvec4 packed_halves(vec4 low, vec4 high) {
  return uvec4(packFloat2x16(f16vec2(low.xy)), packFloat2x16(f16vec2(low.zw)), packFloat2x16(f16vec2(high.xy)), packFloat2x16(f16vec2(high.zw)));
}
// Two codes of 0..255, 16 bits apart, less `zero`, which is an integer: exact, since 1024 + code is an f16 whose last bits are the code.
f16vec2 halves_of(uint codes, float zero) { return unpackFloat2x16(codes | 0x64006400u) - float16_t(1024.0 + zero); }
// Two words of unsigned bytes, less `zero`, times a scale.
uvec4 scaled_halves(uvec2 bytes, float zero, float16_t scale) {
  return uvec4(packFloat2x16(halves_of(bytes.x & 0x00ff00ffu, zero) * scale), packFloat2x16(halves_of(bytes.y & 0x00ff00ffu, zero) * scale),
               packFloat2x16(halves_of((bytes.x >> 8) & 0x00ff00ffu, zero) * scale), packFloat2x16(halves_of((bytes.y >> 8) & 0x00ff00ffu, zero) * scale));
}
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
