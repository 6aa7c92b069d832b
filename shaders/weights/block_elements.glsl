// Elements one by one, four and eight, of a block format that has block_values8(): elements index .. index + 7, index a multiple of 8.
vec4 load_weight4(uint index) {
  vec4 low, high;
  block_values8(index & ~7u, low, high);
  return (index & 4u) == 0u ? low : high;
}
float load_weight(uint index) { return load_weight4(index & ~3u)[index & 3u]; }
#ifdef VL2_WEIGHT_FOURS
vec4 load_weight_four(uint index) { return load_weight4(index); }
#endif
#ifdef VL2_WEIGHT_QUADS
void load_weight8(uint index, out vec4 low, out vec4 high) { block_values8(index, low, high); }
#endif
