// f32 weights: a word an element.
float load_weight(uint index) { return uintBitsToFloat(weight_words[index]); }
vec4 load_weight4(uint index) {
  return uintBitsToFloat(uvec4(weight_words[index], weight_words[index + 1], weight_words[index + 2], weight_words[index + 3]));
}
