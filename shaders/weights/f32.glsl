// f32 weights: a word an element.
float load_weight(uint index) { return uintBitsToFloat(weight_words[index]); }
vec4 load_weight4(uint index) {
  return uintBitsToFloat(uvec4(weight_words[index], weight_words[index + 1], weight_words[index + 2], weight_words[index + 3]));
}
#ifdef VL2_WEIGHT_FOURS
vec4 load_weight_four(uint index) { return uintBitsToFloat(weight_quads[index >> 2]); }
#endif
#ifdef VL2_WEIGHT_QUADS
void load_weight8(uint index, out vec4 low, out vec4 high) {
  low = uintBitsToFloat(weight_quads[index >> 2]);
  high = uintBitsToFloat(weight_quads[(index >> 2) + 1u]);
}
#endif
