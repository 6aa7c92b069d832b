// Q4_K weights: nibbles, eight a word; for every 256 elements two f16, and for every 32 of them a 6-bit scale and a 6-bit minimum in 12 bytes.
#include "weights/blocks.glsl"

// Scale and minimum of the 32 elements that are part number `part` of a block.
vec2 part_line(uvec4 header, uint part) {
  const uint at = (part & 3u) * 8u;
  const uint low_s = header.y >> at, low_m = header.z >> at, rest = header.w >> at;
  const bool second = part >= 4u;  // those have their two high bits above the numbers of the first four
  const uint s = second ? (rest & 15u) | ((low_s >> 2) & 48u) : low_s & 63u;
  const uint m = second ? ((rest >> 4) & 15u) | ((low_m >> 2) & 48u) : low_m & 63u;
  return unpackHalf2x16(header.x) * vec2(s, m);
}

#ifdef VL2_WEIGHT_CHUNKS
const uint WEIGHT_CHUNK = 32u;
struct WeightChunk {
  uvec4 codes, header;
  uint part;
};
WeightChunk load_weight_chunk(uint chunk) { return WeightChunk(weight_quads[chunk], scale_quads[chunk >> 3], chunk & 7u); }
float weight_dot(WeightChunk chunk, const uint eight, vec4 low, vec4 high) {
  const vec2 line = part_line(chunk.header, chunk.part);
  vec4 code_low, code_high;
  unsigned_values(nibble_bytes(chunk.codes[eight]), code_low, code_high);
  return line.x * (dot(code_low, low) + dot(code_high, high)) - line.y * (dot(low, vec4(1.0)) + dot(high, vec4(1.0)));
}
#ifdef VL2_WEIGHT_CODE_DOTS
float weight_code_dot(WeightChunk chunk, XChunk x) {
  const vec2 line = part_line(chunk.header, chunk.part);
  const int sum = quad_dot(nibble_quad(chunk.codes.xy), x.first) + quad_dot(nibble_quad(chunk.codes.zw), x.second);
  precise const float result = line.x * x.scale * float(sum) - line.y * x.scaled_sum;
  return result;
}
#endif
#elif defined(VL2_WEIGHT_PARTS)
struct WeightPart {
  uvec2 codes;
  uvec4 header;
};
WeightPart fetch_weight_part(uint index) { return WeightPart(weight_pairs[index >> 4], scale_quads[index >> 8]); }
uvec4 part_bytes(WeightPart part) { return nibble_quad(part.codes); }
// Of a block's first half the scale, of its second the minimum.
float part_number(WeightPart part, uint index) { return part_line(part.header, (index >> 5) & 7u)[(index >> 4) & 1u]; }
const bool PARTS_ARE_APART = false;
float scaled_sum(int first, int both, vec2 numbers, vec2 x_numbers) {
  return numbers.x * x_numbers.x * float(both) - numbers.y * x_numbers.y;
}
#else
void part_values8(uint codes, vec2 line, out vec4 low, out vec4 high) {
  unsigned_values(nibble_bytes(codes), low, high);
  low = line.x * low - line.y;
  high = line.x * high - line.y;
}
void block_values8(uint index, out vec4 low, out vec4 high) {
  part_values8(weight_words[index >> 3], part_line(scale_quads[index >> 8], (index >> 5) & 7u), low, high);
}
#include "weights/block_elements.glsl"
#ifdef VL2_WEIGHT_HALVES
struct WeightFetch {
  uint codes;
  uvec4 header;
};
WeightFetch fetch_weights(uint index) { return WeightFetch(weight_words[index >> 3], scale_quads[index >> 8]); }
uvec4 fetched_halves(WeightFetch fetched, uint index) {
  vec4 low, high;
  part_values8(fetched.codes, part_line(fetched.header, (index >> 5) & 7u), low, high);  // f32: f16 has not enough bits for a line
  return packed_halves(low, high);
}
#endif
#endif
