// Q8_0 weights: signed bytes; an f16 scale for every 32 elements.
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
  vec4 code_low, code_high;
  signed_values(eight == 0u ? chunk.codes.xy : chunk.codes.zw, code_low, code_high);
  return chunk.scale * (dot(code_low, low) + dot(code_high, high));
}
#ifdef VL2_WEIGHT_CODE_DOTS
float weight_code_dot(WeightChunk chunk, XChunk x) {
  precise const float result = chunk.scale * x.scale * float(quad_dot(chunk.codes, x.first));
  return result;
}
#endif
#elif defined(VL2_WEIGHT_PARTS)
struct WeightPart {
  uvec4 codes;
  uint scale;
};
WeightPart fetch_weight_part(uint index) { return WeightPart(weight_quads[index >> 4], fetch_half_scale(index >> 5)); }
uvec4 part_bytes(WeightPart part) { return part.codes; }
float part_number(WeightPart part, uint index) { return fetched_half_scale(part.scale, index >> 5); }
const bool PARTS_ARE_APART = false;
float scaled_sum(int first, int both, vec2 numbers, vec2 x_numbers) { return numbers.x * x_numbers.x * float(both); }
#else
void block_values8(uint index, out vec4 low, out vec4 high) {
  signed_values(uvec2(weight_words[index >> 2], weight_words[(index >> 2) + 1u]), low, high);
  const float scale = fetched_half_scale(fetch_half_scale(index >> 5), index >> 5);
  low *= scale;
  high *= scale;
}
#include "weights/block_elements.glsl"
#ifdef VL2_WEIGHT_HALVES
struct WeightFetch {
  uvec2 codes;
  uint scale;
};
WeightFetch fetch_weights(uint index) { return WeightFetch(weight_pairs[index >> 3], fetch_half_scale(index >> 5)); }
uvec4 fetched_halves(WeightFetch fetched, uint index) {
  return scaled_halves(fetched.codes ^ 0x80808080u, 128.0, float16_t(fetched_half_scale(fetched.scale, index >> 5)));  // 128 more: not negative
}
#endif
#endif
