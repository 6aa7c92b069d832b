// bf16 weights: two a word, the lower index in the lower half; a bf16 is the upper half of an f32.
#ifdef VL2_WEIGHT_CHUNKS
#define WeightChunk uvec4
uvec4 load_weight_chunk(uint chunk) { return weight_quads[chunk]; }
void unpack_weights(uvec4 chunk, out vec4 low, out vec4 high) {
  low = uintBitsToFloat(uvec4(chunk.x << 16, chunk.x & 0xffff0000u, chunk.y << 16, chunk.y & 0xffff0000u));
  high = uintBitsToFloat(uvec4(chunk.z << 16, chunk.z & 0xffff0000u, chunk.w << 16, chunk.w & 0xffff0000u));
}
#include "weights/plain_chunk.glsl"
#else
float load_weight(uint index) {
  const uint word = weight_words[index >> 1];
  return uintBitsToFloat((index & 1u) == 0u ? word << 16 : word & 0xffff0000u);
}
vec4 load_weight4(uint index) {
  const uint low = weight_words[index >> 1], high = weight_words[(index >> 1) + 1];
  return uintBitsToFloat(uvec4(low << 16, low & 0xffff0000u, high << 16, high & 0xffff0000u));
}
#ifdef VL2_WEIGHT_FOURS
vec4 load_weight_four(uint index) {
  const uvec2 pair = weight_pairs[index >> 2];
  return uintBitsToFloat(uvec4(pair.x << 16, pair.x & 0xffff0000u, pair.y << 16, pair.y & 0xffff0000u));
}
#endif
#ifdef VL2_WEIGHT_QUADS
void load_weight8(uint index, out vec4 low, out vec4 high) {
  const uvec4 quad = weight_quads[index >> 3];
  low = uintBitsToFloat(uvec4(quad.x << 16, quad.x & 0xffff0000u, quad.y << 16, quad.y & 0xffff0000u));
  high = uintBitsToFloat(uvec4(quad.z << 16, quad.z & 0xffff0000u, quad.w << 16, quad.w & 0xffff0000u));
}
#endif
#endif
