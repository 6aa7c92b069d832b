// Eight neighbouring weights as they lie in memory, fetched by 16-byte loads and unpacked at the use, so that many can be in flight in few registers.
//
// The includer declares a buffer of uvec4 named weight_quads[]. A chunk is numbered from the start of that buffer.
#ifndef VL2_WEIGHT_CHUNK_GLSL
#define VL2_WEIGHT_CHUNK_GLSL

#ifdef WEIGHT_f32
struct WeightChunk {
  uvec4 low, high;
};
WeightChunk load_weight_chunk(uint chunk) { return WeightChunk(weight_quads[2u * chunk], weight_quads[2u * chunk + 1u]); }
void unpack_weights(WeightChunk chunk, out vec4 low, out vec4 high) {
  low = uintBitsToFloat(chunk.low);
  high = uintBitsToFloat(chunk.high);
}
#else
#define WeightChunk uvec4
uvec4 load_weight_chunk(uint chunk) { return weight_quads[chunk]; }
#ifdef WEIGHT_bf16
void unpack_weights(uvec4 chunk, out vec4 low, out vec4 high) {
  low = uintBitsToFloat(uvec4(chunk.x << 16, chunk.x & 0xffff0000u, chunk.y << 16, chunk.y & 0xffff0000u));
  high = uintBitsToFloat(uvec4(chunk.z << 16, chunk.z & 0xffff0000u, chunk.w << 16, chunk.w & 0xffff0000u));
}
#else
void unpack_weights(uvec4 chunk, out vec4 low, out vec4 high) {
  low = vec4(unpackHalf2x16(chunk.x), unpackHalf2x16(chunk.y));
  high = vec4(unpackHalf2x16(chunk.z), unpackHalf2x16(chunk.w));
}
#endif
#endif

float weight_dot(WeightChunk chunk, vec4 low, vec4 high) {
  vec4 weight_low, weight_high;
  unpack_weights(chunk, weight_low, weight_high);
  return dot(weight_low, low) + dot(weight_high, high);
}

#endif
