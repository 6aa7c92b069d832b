// Q4_0 weights: nibbles, eight a word, less 8; an f16 scale for every 32 elements.
#include "weights/blocks.glsl"
#ifdef VL2_WEIGHT_CHUNKS
const uint WEIGHT_CHUNK = 32u;
struct WeightChunk {
  uvec4 codes;
  float scale;
};
WeightChunk load_weight_chunk(uint chunk) { return WeightChunk(weight_quads[chunk], fetched_half_scale(fetch_half_scale(chunk), chunk)); }
float weight_dot(WeightChunk chunk, const uint eight, vec4 low, vec4 high) {
  vec4 code_low, code_high;
  nibble_values8(chunk.codes[eight], code_low, code_high);
  return chunk.scale * (dot(code_low, low) + dot(code_high, high) - 8.0 * (dot(low, vec4(1.0)) + dot(high, vec4(1.0))));
}
#else
vec4 load_weight4(uint index) {
  const uint codes = weight_words[index >> 3];
  return fetched_half_scale(fetch_half_scale(index >> 5), index >> 5) * (nibble_values(codes, index) - 8.0);
}
#include "weights/block_elements.glsl"
#ifdef VL2_WEIGHT_HALVES
struct WeightFetch {
  uint codes;
  uint scale;
};
WeightFetch fetch_weights(uint index) { return WeightFetch(weight_words[index >> 3], fetch_half_scale(index >> 5)); }
uvec4 fetched_halves(WeightFetch fetched, uint index) {
  const float16_t scale = float16_t(fetched_half_scale(fetched.scale, index >> 5));
  uvec4 halves;
  [[unroll]] for (uint i = 0u; i < 4u; ++i)
    halves[i] = packFloat2x16(halves_of((fetched.codes >> (4u * i)) & 0x000f000fu, 8.0) * scale);
  return halves;
}
#endif
#endif
