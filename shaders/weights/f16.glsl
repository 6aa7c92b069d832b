// f16 weights: two a word, the lower index in the lower half.
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
uvec4 load_weight_halves(uint index) { return weight_quads[index >> 3]; }
#endif
