// Eight neighbouring cached activations as they lie in memory: ACT_f16 16 bytes, ACT_f32 32. Needs no 16-bit arithmetic or storage.
#ifndef VL2_ACT_CHUNK_GLSL
#define VL2_ACT_CHUNK_GLSL

#ifdef ACT_f16
#define ActChunk uvec4
#define LOAD_ACT_CHUNK(quads, chunk) quads[chunk]
void unpack_acts(uvec4 chunk, out vec4 low, out vec4 high) {
  low = vec4(unpackHalf2x16(chunk.x), unpackHalf2x16(chunk.y));
  high = vec4(unpackHalf2x16(chunk.z), unpackHalf2x16(chunk.w));
}
#else
struct ActChunk {
  uvec4 low, high;
};
#define LOAD_ACT_CHUNK(quads, chunk) ActChunk(quads[2u * (chunk)], quads[2u * (chunk) + 1u])
void unpack_acts(ActChunk chunk, out vec4 low, out vec4 high) {
  low = uintBitsToFloat(chunk.low);
  high = uintBitsToFloat(chunk.high);
}
#endif

#endif
