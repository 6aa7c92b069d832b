// f32 weights: a word an element.
#ifdef VL2_WEIGHT_CHUNKS
struct WeightChunk {
  uvec4 low, high;
};
WeightChunk load_weight_chunk(uint chunk) { return WeightChunk(weight_quads[2u * chunk], weight_quads[2u * chunk + 1u]); }
void unpack_weights(WeightChunk chunk, out vec4 low, out vec4 high) {
  low = uintBitsToFloat(chunk.low);
  high = uintBitsToFloat(chunk.high);
}
#include "weights/plain_chunk.glsl"
#else
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
#endif
