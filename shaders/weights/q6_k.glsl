// Q6_K weights: the low four bits as nibbles, eight a word; for every 256 elements 24 words: the high bits of 16 elements each, then 16 signed
// bytes that scale 16 elements each, then an f16 that scales those, and nothing.
#include "weights/blocks.glsl"
const uint BLOCK_WORDS = 24u, PART_SCALES = 16u, BLOCK_SCALE = 20u;

// In two steps: the word of four scales and the one of the f16; then the scale of part `part` of a block, of 16 elements.
uvec2 fetch_part_scale(uint block, uint part) {
  return uvec2(scale_words[block * BLOCK_WORDS + PART_SCALES + (part >> 2)], scale_words[block * BLOCK_WORDS + BLOCK_SCALE]);
}
float fetched_part_scale(uvec2 words, uint part) {
  return unpackHalf2x16(words.y).x * float(bitfieldExtract(int(words.x), int(part & 3u) * 8, 8));
}

// The codes of eight elements: a word of nibbles, and their high bits from bit 0 and bit 16 on.
void code_values8(uint codes, uint bits, out vec4 low, out vec4 high) {
  const uint even = (codes & 0x000f000fu) | ((bits << 4) & 0x00300030u), odd = ((codes >> 4) & 0x000f000fu) | ((bits << 2) & 0x00300030u);
  const uint high_even = ((codes >> 8) & 0x000f000fu) | (bits & 0x00300030u), high_odd = ((codes >> 12) & 0x000f000fu) | ((bits >> 2) & 0x00300030u);
  low = vec4(even & 255u, even >> 16, odd & 255u, odd >> 16);
  high = vec4(high_even & 255u, high_even >> 16, high_odd & 255u, high_odd >> 16);
}

#ifdef VL2_WEIGHT_CHUNKS
const uint WEIGHT_CHUNK = 32u;
struct WeightChunk {
  uvec4 codes;
  uvec2 high, scale;
  uint part;
};
WeightChunk load_weight_chunk(uint chunk) {
  const uint block = chunk >> 3, part = (chunk & 7u) * 2u, high = block * BLOCK_WORDS + part;
  return WeightChunk(weight_quads[chunk], uvec2(scale_words[high], scale_words[high + 1u]), fetch_part_scale(block, part), part);
}
float weight_dot(WeightChunk chunk, const uint eight, vec4 low, vec4 high) {
  vec4 code_low, code_high;
  code_values8(chunk.codes[eight], chunk.high[eight >> 1] >> ((eight & 1u) * 8u), code_low, code_high);
  return fetched_part_scale(chunk.scale, chunk.part + (eight >> 1)) * (dot(code_low - 32.0, low) + dot(code_high - 32.0, high));
}
#else
vec4 load_weight4(uint index) {
  const uint block = index >> 8, part = (index >> 4) & 15u;
  const uint codes = weight_words[index >> 3] >> ((index & 4u) * 2u), bits = scale_words[block * BLOCK_WORDS + part] >> (index & 12u);
  const uvec4 code = uvec4(codes, codes >> 16, codes >> 4, codes >> 20) & 15u, high = uvec4(bits, bits >> 16, bits >> 2, bits >> 18) & 3u;
  return fetched_part_scale(fetch_part_scale(block, part), part) * (vec4(code | (high << 4)) - 32.0);
}
#include "weights/block_elements.glsl"
#ifdef VL2_WEIGHT_HALVES
struct WeightFetch {
  uint codes, high;
  uvec2 scale;
};
WeightFetch fetch_weights(uint index) {
  const uint block = index >> 8, part = (index >> 4) & 15u;
  return WeightFetch(weight_words[index >> 3], scale_words[block * BLOCK_WORDS + part], fetch_part_scale(block, part));
}
uvec4 fetched_halves(WeightFetch fetched, uint index) {
  const float scale = fetched_part_scale(fetched.scale, (index >> 4) & 15u);  // f32: f16 has not enough bits for it
  vec4 low, high;
  code_values8(fetched.codes, fetched.high >> (index & 8u), low, high);
  return packed_halves(scale * (low - 32.0), scale * (high - 32.0));
}
#endif
#endif
