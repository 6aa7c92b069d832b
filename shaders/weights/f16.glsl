// f16 weights: two a word, the lower index in the lower half.
#ifdef VL2_WEIGHT_CHUNKS
#define WeightChunk uvec4
uvec4 load_weight_chunk(uint chunk) { return weight_quads[chunk]; }
void unpack_weights(uvec4 chunk, out vec4 low, out vec4 high) {
  low = vec4(unpackHalf2x16(chunk.x), unpackHalf2x16(chunk.y));
  high = vec4(unpackHalf2x16(chunk.z), unpackHalf2x16(chunk.w));
}
#include "weights/plain_chunk.glsl"
#else
float load_weight(uint index) {
  const vec2 pair = unpackHalf2x16(weight_words[index >> 1]);
  return (index & 1u) == 0u ? pair.x : pair.y;
}
vec4 load_weight4(uint index) {
  return vec4(unpackHalf2x16(weight_words[index >> 1]), unpackHalf2x16(weight_words[(index >> 1) + 1]));
}
#ifdef VL2_WEIGHT_FOURS
vec4 load_weight_four(uint index) {
  const uvec2 pair = weight_pairs[index >> 2];
  return vec4(unpackHalf2x16(pair.x), unpackHalf2x16(pair.y));
}
#endif
#ifdef VL2_WEIGHT_QUADS
void load_weight8(uint index, out vec4 low, out vec4 high) {
  const uvec4 quad = weight_quads[index >> 3];
  low = vec4(unpackHalf2x16(quad.x), unpackHalf2x16(quad.y));
  high = vec4(unpackHalf2x16(quad.z), unpackHalf2x16(quad.w));
}
#endif
#ifdef VL2_WEIGHT_HALVES
#define WeightFetch uvec4
uvec4 fetch_weights(uint index) { return weight_quads[index >> 3]; }
uvec4 fetched_halves(uvec4 fetched, uint index) { return fetched; }
#endif
#endif
