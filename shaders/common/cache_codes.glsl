// The 8-bit cache (model/kv_cache.h): signed bytes, eight elements as two words in the order of weights/codes.glsl, and an f16 scale for every
// CACHE_BLOCK elements of a segment, two a word; a segment begins with a new word of scales.
#ifndef VL2_CACHE_CODES_GLSL
#define VL2_CACHE_CODES_GLSL
#include "interface/cache_rows.h"
#include "weights/codes.glsl"

// Of a block whose largest magnitude is given: rounded to f16, as it is stored. Saturated, so that no element exceeds what f16 holds. Rounded
// by hand: compilers (lavapipe's) make unpackHalf2x16(packHalf2x16(x)) x again, and codes would be of another scale than the stored one.
float cache_scale(float largest) {
  const float scale = min(largest / 127.0, CACHE_MAX_SCALE);
  if (scale < 6.103515625e-5)  // f16 counts in steps of 2^-24 there
    return roundEven(scale * 16777216.0) / 16777216.0;
  const uint bits = floatBitsToUint(scale);
  return uintBitsToFloat((bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu);
}

uvec2 cache_codes(vec4 low, vec4 high, float scale) {
  const float inverse = scale > 0.0 ? 1.0 / scale : 0.0;
  const uvec4 l = uvec4(ivec4(roundEven(clamp(low * inverse, -127.0, 127.0)))) & 255u;
  const uvec4 h = uvec4(ivec4(roundEven(clamp(high * inverse, -127.0, 127.0)))) & 255u;
  return uvec2(l.x | h.x << 8 | l.y << 16 | h.y << 24, l.z | h.z << 8 | l.w << 16 | h.w << 24);
}

void cache_values(uvec2 codes, float scale, out vec4 low, out vec4 high) {
  signed_values(codes, low, high);
  low *= scale;
  high *= scale;
}

// Words of scales of a segment of so many chunks of 8, and in them the one of a chunk.
#define CACHE_SCALE_WORDS(chunks) (((chunks) + 7u) / 8u)
#define CACHE_SCALE_OF(word, chunk) fetched_half_scale(word, (chunk) / 4u)

#endif
