// bf16 weights: two a word, the lower index in the lower half; a bf16 is the upper half of an f32.
float load_weight(uint index) {
  const uint word = weight_words[index >> 1];
  return uintBitsToFloat((index & 1u) == 0u ? word << 16 : word & 0xffff0000u);
}
vec4 load_weight4(uint index) {
  const uint low = weight_words[index >> 1], high = weight_words[(index >> 1) + 1];
  return uintBitsToFloat(uvec4(low << 16, low & 0xffff0000u, high << 16, high & 0xffff0000u));
}
