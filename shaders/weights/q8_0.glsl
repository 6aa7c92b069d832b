// Q8_0 weights: signed bytes, four a word; an f16 scale for every 32 elements.
#include "weights/blocks.glsl"
#ifdef VL2_WEIGHT_CHUNKS
const uint WEIGHT_CHUNK = 16u;
struct WeightChunk {
  uvec4 codes;
  float scale;
};
WeightChunk load_weight_chunk(uint chunk) {
  return WeightChunk(weight_quads[chunk], fetched_half_scale(fetch_half_scale(chunk >> 1), chunk >> 1));
}
float weight_dot(WeightChunk chunk, const uint eight, vec4 low, vec4 high) {
  return chunk.scale * (dot(byte_values(chunk.codes[2u * eight]), low) + dot(byte_values(chunk.codes[2u * eight + 1u]), high));
}
#else
vec4 load_weight4(uint index) {
  const uint codes = weight_words[index >> 2];
  return fetched_half_scale(fetch_half_scale(index >> 5), index >> 5) * byte_values(codes);
}
#include "weights/block_elements.glsl"
#ifdef VL2_WEIGHT_HALVES
struct WeightFetch {
  uvec2 codes;
  uint scale;
};
WeightFetch fetch_weights(uint index) { return WeightFetch(weight_pairs[index >> 3], fetch_half_scale(index >> 5)); }
uvec4 fetched_halves(WeightFetch fetched, uint index) {
  const float16_t scale = float16_t(fetched_half_scale(fetched.scale, index >> 5));
  const uvec2 codes = fetched.codes ^ 0x80808080u;  // 128 more: not negative
  return uvec4(packFloat2x16(halves_of(codes.x & 0x00ff00ffu, 128.0) * scale), packFloat2x16(halves_of((codes.x >> 8) & 0x00ff00ffu, 128.0) * scale),
               packFloat2x16(halves_of(codes.y & 0x00ff00ffu, 128.0) * scale), packFloat2x16(halves_of((codes.y >> 8) & 0x00ff00ffu, 128.0) * scale));
}
#endif
#endif
