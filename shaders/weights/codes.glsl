// Bytes and their f16 scales as numbers: what block formats of weights and the 8-bit cache share.
#ifndef VL2_CODES_GLSL
#define VL2_CODES_GLSL

// Number `index` of the f16 in a plane of nothing else, from the word that has it.
float fetched_half_scale(uint word, uint index) { return unpackHalf2x16(word >> ((index & 1u) * 16u)).x; }

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

#ifdef VL2_CODE_HALVES
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
// Two codes of 0..255, 16 bits apart, less `zero`, which is an integer: exact, since 1024 + code is an f16 whose last bits are the code.
f16vec2 halves_of(uint codes, float zero) { return unpackFloat2x16(codes | 0x64006400u) - float16_t(1024.0 + zero); }
// Two words of unsigned bytes, less `zero`, times a scale.
uvec4 scaled_halves(uvec2 bytes, float zero, float16_t scale) {
  return uvec4(packFloat2x16(halves_of(bytes.x & 0x00ff00ffu, zero) * scale), packFloat2x16(halves_of(bytes.y & 0x00ff00ffu, zero) * scale),
               packFloat2x16(halves_of((bytes.x >> 8) & 0x00ff00ffu, zero) * scale), packFloat2x16(halves_of((bytes.y >> 8) & 0x00ff00ffu, zero) * scale));
}
#endif

#endif
