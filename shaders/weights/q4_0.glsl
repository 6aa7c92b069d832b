// Q4_0 weights: nibbles, less 8; an f16 scale for every 32 elements.
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
  unsigned_values(nibble_bytes(chunk.codes[eight]), code_low, code_high);
  return chunk.scale * (dot(code_low, low) + dot(code_high, high) - 8.0 * (dot(low, vec4(1.0)) + dot(high, vec4(1.0))));
}
#ifdef VL2_WEIGHT_CODE_DOTS
float weight_code_dot(WeightChunk chunk, XChunk x) {
  const int sum = quad_dot(nibble_quad(chunk.codes.xy), x.first) + quad_dot(nibble_quad(chunk.codes.zw), x.second);
  precise const float result = chunk.scale * (x.scale * float(sum) - 8.0 * x.scaled_sum);
  return result;
}
#endif
#elif defined(VL2_WEIGHT_PARTS)
struct WeightPart {
  uvec2 codes;
  uint scale;
};
WeightPart fetch_weight_part(uint index) { return WeightPart(weight_pairs[index >> 4], fetch_half_scale(index >> 5)); }
uvec4 part_bytes(WeightPart part) { return signed_bytes(nibble_quad(part.codes), 8u); }
float part_number(WeightPart part, uint index) { return fetched_half_scale(part.scale, index >> 5); }
const bool PARTS_ARE_APART = false;
float scaled_sum(int first, int both, vec2 numbers, vec2 x_numbers) { return numbers.x * x_numbers.x * float(both); }
#else
void block_values8(uint index, out vec4 low, out vec4 high) {
  unsigned_values(nibble_bytes(weight_words[index >> 3]), low, high);
  const float scale = fetched_half_scale(fetch_half_scale(index >> 5), index >> 5);
  low = scale * (low - 8.0);
  high = scale * (high - 8.0);
}
#include "weights/block_elements.glsl"
#ifdef VL2_WEIGHT_HALVES
struct WeightFetch {
  uint codes;
  uint scale;
};
WeightFetch fetch_weights(uint index) { return WeightFetch(weight_words[index >> 3], fetch_half_scale(index >> 5)); }
uvec4 fetched_halves(WeightFetch fetched, uint index) {
  return scaled_halves(nibble_bytes(fetched.codes), 8.0, float16_t(fetched_half_scale(fetched.scale, index >> 5)));
}
#endif
#endif
