// The other axis of Pillow's resize, onto a canvas: columns get another height, and what the picture does not cover the background.
//
// Shapes    source [source_height, fit_width, 3] u8    bounds [fit_height, 2]    weights [fit_height, taps] i32    canvas [., canvas_width, 3]
// Work      one invocation four adjacent pixels of the canvas, counted over the rows: three words that no other invocation writes
// Numbers   32-bit integers, rounded to 8 bits at the store: byte for byte what Pillow gives
// Needs     32-bit words
// Source    Pillow src/libImaging/Resample.c, ImagingResampleVertical_8bpc; PIL.ImageOps.pad
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/pad_resize.h"
#include "common/flat_grid.glsl"

layout(local_size_x = PAD_RESIZE_THREADS) in;
layout(push_constant) uniform Push { PadResizeVerticalParams p; };
layout(binding = PAD_RESIZE_SOURCE) readonly buffer Source { uint rgb_words[]; };
layout(binding = PAD_RESIZE_BOUNDS) readonly buffer Bounds { uint bounds[]; };
layout(binding = PAD_RESIZE_WEIGHTS) readonly buffer Weights { int weights[]; };
layout(binding = PAD_RESIZE_OUT) writeonly buffer Out { uint words_out[]; };

#include "common/rgb8.glsl"

uvec3 painted(uint pixel) {
  if (pixel >= p.pixel_count)
    return uvec3(0u);
  // Left of or above the rectangle these wrap round to large numbers.
  const uint column = pixel % p.canvas_width - p.x, row = pixel / p.canvas_width - p.y;
  if (column >= p.fit_width || row >= p.fit_height)
    return uvec3(PAD_RESIZE_BACKGROUND);
  const uint pitch = 3u * p.fit_width;
  const uint top = p.source_offset + 3u * column;
  if (p.taps == 0u)
    return load_rgb(top + row * pitch);
  // A table that does not belong to this picture must not read past it.
  const uint count = min(bounds[p.bounds_offset + 2u * row + 1u], min(p.taps, p.source_height));
  const uint first = min(bounds[p.bounds_offset + 2u * row], p.source_height - count);
  const uint table = p.weights_offset + row * p.taps;
  ivec3 sum = ivec3(1 << (PAD_RESIZE_PRECISION - 1u));
  for (uint tap = 0u; tap < count; ++tap)
    sum += ivec3(load_rgb(top + (first + tap) * pitch)) * weights[table + tap];
  return uvec3(clamp(sum >> PAD_RESIZE_PRECISION, ivec3(0), ivec3(255)));
}

void main() {
  const uint pack = flat_group() * PAD_RESIZE_THREADS + gl_LocalInvocationIndex;
  const uint pixel = pack * PAD_RESIZE_PIXELS;
  if (pixel >= p.pixel_count)
    return;
  const uvec3 words = pack_rgb(painted(pixel), painted(pixel + 1u), painted(pixel + 2u), painted(pixel + 3u));
  const uint word_count = (3u * p.pixel_count + 3u) / 4u;
  for (uint i = 0u; i < 3u; ++i)
    if (3u * pack + i < word_count)
      words_out[p.out_offset + 3u * pack + i] = words[i];
}
