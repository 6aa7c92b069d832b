// Elements one by one, four and eight, of a block format that has load_weight4().
float load_weight(uint index) { return load_weight4(index & ~3u)[index & 3u]; }
#ifdef VL2_WEIGHT_FOURS
vec4 load_weight_four(uint index) { return load_weight4(index); }
#endif
#ifdef VL2_WEIGHT_QUADS
void load_weight8(uint index, out vec4 low, out vec4 high) {
  low = load_weight4(index);
  high = load_weight4(index + 4u);
}
#endif
