// Eight neighbouring cached activations as they lie in memory: CACHE_q8_0 8 bytes and their scale, ACT_f16 16 bytes, ACT_f32 32. Needs no 16-bit
// arithmetic or storage.
//
// LOAD_CACHE_CHUNK: chunk number `at` of the cache, which is number `chunk` of segment number `segment`; what is not needed is not evaluated.
#ifndef VL2_ACT_CHUNK_GLSL
#define VL2_ACT_CHUNK_GLSL

#if defined(CACHE_q8_0)
#include "common/cache_codes.glsl"
#define CacheQuad uvec2  // what a cache is declared as an array of
struct ActChunk {
  uvec2 codes;
  float scale;
};
#define LOAD_CACHE_CHUNK(quads, scales, at, segment, chunk) \
  ActChunk(quads[at], CACHE_SCALE_OF(scales[(segment) * CACHE_SCALE_WORDS(KEY_CHUNKS) + (chunk) / 8u], chunk))
void unpack_acts(ActChunk chunk, out vec4 low, out vec4 high) { cache_values(chunk.codes, chunk.scale, low, high); }
#else
#define CacheQuad uvec4
#define LOAD_CACHE_CHUNK(quads, scales, at, segment, chunk) LOAD_ACT_CHUNK(quads, at)
#if defined(ACT_f16)
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

#endif
