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

// The codes of eight elements, 0..63 a byte: a word of nibbles, and their high bits from bit 0 and bit 2 of each byte on.
uvec2 code_bytes(uint codes, uint high) { return nibble_bytes(codes) | ((uvec2(high, high >> 2) & 0x03030303u) << 4); }

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
  unsigned_values(code_bytes(chunk.codes[eight], chunk.high[eight >> 1] >> ((eight & 1u) * 4u)), code_low, code_high);
  return fetched_part_scale(chunk.scale, chunk.part + (eight >> 1)) * (dot(code_low - 32.0, low) + dot(code_high - 32.0, high));
}
#ifdef VL2_WEIGHT_CODE_DOTS
// Of 16 elements. Codes less 32, as signed bytes: with the highest bit set no byte borrows from the next. For several rows of x they are made once.
float part_code_dot(uvec2 codes, uint high, uvec4 x) {
  const uvec4 bytes = uvec4(code_bytes(codes.x, high), code_bytes(codes.y, high >> 4));
  return float(quad_dot(((bytes | 0x80808080u) - 0x20202020u) ^ 0x80808080u, x));
}
float weight_code_dot(WeightChunk chunk, XChunk x) {
  precise const float first = fetched_part_scale(chunk.scale, chunk.part) * part_code_dot(chunk.codes.xy, chunk.high.x, x.first);
  precise const float second = fetched_part_scale(chunk.scale, chunk.part + 1u) * part_code_dot(chunk.codes.zw, chunk.high.y, x.second);
  precise const float result = x.scale * (first + second);
  return result;
}
#endif
#elif defined(VL2_WEIGHT_PARTS)
struct WeightPart {
  uvec2 codes, scale;
  uint high;
};
WeightPart fetch_weight_part(uint index) {
  const uint block = index >> 8, part = (index >> 4) & 15u;
  return WeightPart(weight_pairs[index >> 4], fetch_part_scale(block, part), scale_words[block * BLOCK_WORDS + part]);
}
uvec4 part_bytes(WeightPart part) {
  return signed_bytes(uvec4(code_bytes(part.codes.x, part.high), code_bytes(part.codes.y, part.high >> 4)), 32u);
}
float part_number(WeightPart part, uint index) { return fetched_part_scale(part.scale, (index >> 4) & 15u); }
const bool PARTS_ARE_APART = true;
float scaled_sum(int first, int second, vec2 numbers, vec2 x_numbers) {
  return x_numbers.x * (numbers.x * float(first) + numbers.y * float(second));
}
#else
void part_values8(uint codes, uint high_bits, float scale, out vec4 low, out vec4 high) {
  unsigned_values(code_bytes(codes, high_bits), low, high);
  low = scale * (low - 32.0);
  high = scale * (high - 32.0);
}
void block_values8(uint index, out vec4 low, out vec4 high) {
  const uint block = index >> 8, part = (index >> 4) & 15u;
  part_values8(weight_words[index >> 3], scale_words[block * BLOCK_WORDS + part] >> ((index & 8u) / 2u),
               fetched_part_scale(fetch_part_scale(block, part), part), low, high);
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
  vec4 low, high;  // f32: f16 has not enough bits for the scale
  part_values8(fetched.codes, fetched.high >> ((index & 8u) / 2u), fetched_part_scale(fetched.scale, (index >> 4) & 15u), low, high);
  return packed_halves(low, high);
}
#endif
#endif
