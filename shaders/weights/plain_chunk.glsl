// What the plain formats share of VL2_WEIGHT_CHUNKS, behind WeightChunk, load_weight_chunk() and unpack_weights().
const uint WEIGHT_CHUNK = 8u;
float weight_dot(WeightChunk chunk, const uint eight, vec4 low, vec4 high) {
  vec4 weight_low, weight_high;
  unpack_weights(chunk, weight_low, weight_high);
  return dot(weight_low, low) + dot(weight_high, high);
}
