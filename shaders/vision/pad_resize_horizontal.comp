// One axis of Pillow's resize: every row of a picture, or of a band of it, gets another width.
//
// Shapes    source [rows, source_width, 3] u8    bounds [out_width, 2]    weights [out_width, taps] i32    out [rows, out_width, 3] u8
// Work      one invocation four adjacent pixels of out, counted over the rows: three words that no other invocation writes
// Numbers   32-bit integers, rounded to 8 bits at the store: byte for byte what Pillow gives
// Needs     32-bit words
// Source    Pillow src/libImaging/Resample.c, ImagingResampleHorizontal_8bpc
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/pad_resize.h"
#include "common/flat_grid.glsl"

layout(local_size_x = PAD_RESIZE_THREADS) in;
layout(push_constant) uniform Push { PadResizeHorizontalParams p; };
layout(binding = PAD_RESIZE_SOURCE) readonly buffer Source { uint rgb_words[]; };
layout(binding = PAD_RESIZE_BOUNDS) readonly buffer Bounds { uint bounds[]; };
layout(binding = PAD_RESIZE_WEIGHTS) readonly buffer Weights { int weights[]; };
layout(binding = PAD_RESIZE_OUT) writeonly buffer Out { uint words_out[]; };

#include "common/rgb8.glsl"

uvec3 resampled(uint pixel) {
  if (pixel >= p.pixel_count)
    return uvec3(0u);
  const uint row = pixel / p.out_width, column = pixel % p.out_width;
  // A table that does not belong to this picture must not read past it.
  const uint count = min(bounds[p.bounds_offset + 2u * column + 1u], min(p.taps, p.source_width));
  const uint first = min(bounds[p.bounds_offset + 2u * column], p.source_width - count);
  const uint source = p.source_offset + 3u * (row * p.source_width + first);
  const uint table = p.weights_offset + column * p.taps;
  ivec3 sum = ivec3(1 << (PAD_RESIZE_PRECISION - 1u));
  for (uint tap = 0u; tap < count; ++tap)
    sum += ivec3(load_rgb(source + 3u * tap)) * weights[table + tap];
  return uvec3(clamp(sum >> PAD_RESIZE_PRECISION, ivec3(0), ivec3(255)));
}

void main() {
  const uint pack = flat_group() * PAD_RESIZE_THREADS + gl_LocalInvocationIndex;
  const uint pixel = pack * PAD_RESIZE_PIXELS;
  if (pixel >= p.pixel_count)
    return;
  const uvec3 words = pack_rgb(resampled(pixel), resampled(pixel + 1u), resampled(pixel + 2u), resampled(pixel + 3u));
  const uint word_count = (3u * p.pixel_count + 3u) / 4u;
  for (uint i = 0u; i < 3u; ++i)
    if (3u * pack + i < word_count)
      words_out[p.out_offset + 3u * pack + i] = words[i];
}
