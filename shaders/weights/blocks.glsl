// What the block formats share: their plane of scales, and codes as floats. A word's even elements lie in its lower half and the odd ones in its
// upper half (runtime/weight_format.h).
#extension GL_EXT_control_flow_attributes : require
layout(binding = SCALES_BINDING) readonly buffer Scales { uint scale_words[]; };
layout(binding = SCALES_BINDING) readonly buffer ScaleQuads { uvec4 scale_quads[]; };

// Number `index` of the f16 in a plane of nothing else, in two steps.
uint fetch_half_scale(uint index) { return scale_words[index >> 1]; }
float fetched_half_scale(uint word, uint index) { return unpackHalf2x16(word >> ((index & 1u) * 16u)).x; }

// The four elements of a word of bytes; elements 4 (index / 4 % 2) .. of a word of nibbles.
vec4 byte_values(uint word) {
  const int bits = int(word);
  return vec4(bitfieldExtract(bits, 0, 8), bitfieldExtract(bits, 16, 8), bitfieldExtract(bits, 8, 8), bitfieldExtract(bits, 24, 8));
}
vec4 nibble_values(uint word, uint index) {
  const uint low = word >> ((index & 4u) * 2u);
  return vec4(low & 15u, (low >> 16) & 15u, (low >> 4) & 15u, (low >> 20) & 15u);
}
// All eight of a word of nibbles: two masks, so that each is a byte to be converted.
void nibble_values8(uint word, out vec4 low, out vec4 high) {
  const uint even = word & 0x0f0f0f0fu, odd = (word >> 4) & 0x0f0f0f0fu;  // elements 0 4 1 5 and 2 6 3 7
  low = vec4(even & 255u, (even >> 16) & 255u, odd & 255u, (odd >> 16) & 255u);
  high = vec4((even >> 8) & 255u, even >> 24, (odd >> 8) & 255u, odd >> 24);
}

#ifdef VL2_WEIGHT_HALVES
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
uvec4 packed_halves(vec4 low, vec4 high) {
  return uvec4(packFloat2x16(f16vec2(low.xy)), packFloat2x16(f16vec2(low.zw)), packFloat2x16(f16vec2(high.xy)), packFloat2x16(f16vec2(high.zw)));
}
// Two codes of 0..255, 16 bits apart, less `zero`, which is an integer: exact, since 1024 + code is an f16 whose last bits are the code.
f16vec2 halves_of(uint codes, float zero) { return unpackFloat2x16(codes | 0x64006400u) - float16_t(1024.0 + zero); }
#endif
