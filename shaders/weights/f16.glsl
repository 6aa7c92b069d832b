// f16 weights: two a word, the lower index in the lower half.
float load_weight(uint index) {
  const vec2 pair = unpackHalf2x16(weight_words[index >> 1]);
  return (index & 1u) == 0u ? pair.x : pair.y;
}
vec4 load_weight4(uint index) {
  return vec4(unpackHalf2x16(weight_words[index >> 1]), unpackHalf2x16(weight_words[(index >> 1) + 1]));
}
