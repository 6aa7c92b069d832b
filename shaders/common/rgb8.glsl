// Pictures of 3 bytes a pixel, read and written as 32-bit words. The shader that includes this declares a buffer of words named rgb_words[].
#ifndef VL2_RGB8_GLSL
#define VL2_RGB8_GLSL

uint load_byte(uint byte_index) { return rgb_words[byte_index >> 2] >> (8u * (byte_index & 3u)) & 0xffu; }

// The pixel whose first byte is `byte_index`; reads no word that the pixel does not touch.
uvec3 load_rgb(uint byte_index) {
  const uint word = byte_index >> 2, shift = 8u * (byte_index & 3u);
  uint bits = rgb_words[word] >> shift;
  if (shift > 8u)
    bits |= rgb_words[word + 1u] << (32u - shift);
  return uvec3(bits, bits >> 8, bits >> 16) & 0xffu;
}

// Four adjacent pixels as the three words that they fill: what one invocation writes, so that no two write the same word.
uvec3 pack_rgb(uvec3 a, uvec3 b, uvec3 c, uvec3 d) {
  return uvec3(a.r | a.g << 8 | a.b << 16 | b.r << 24, b.g | b.b << 8 | c.r << 16 | c.g << 24, c.b | d.r << 8 | d.g << 16 | d.b << 24);
}

#endif
