// y[patch][c * patch_size^2 + dy * patch_size + dx] = (pixel / 255 - 0.5) / 0.5: the patches of every tile of a canvas as rows of a matrix.
//
// Shapes    canvas [height, canvas_width, 3] u8    y [tiles * grid^2, 3 * patch_size^2] ACT
// Work      one invocation an element of y
// Numbers   f32, rounded once at the store
// Needs     32-bit words
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 processing_deepseek_vl_v2.py, siglip_vit.py (PatchEmbed's weight order)
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/patchify.h"
#include "common/act_type.glsl"
#include "common/flat_grid.glsl"

layout(local_size_x = PATCHIFY_THREADS) in;
layout(push_constant) uniform Push { PatchifyParams p; };
layout(binding = PATCHIFY_CANVAS) readonly buffer Canvas { uint rgb_words[]; };
layout(binding = PATCHIFY_Y) writeonly buffer Y { act_t y[]; };

#include "common/rgb8.glsl"

void main() {
  const uint index = flat_group() * PATCHIFY_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint area = p.patch_size * p.patch_size, width = 3u * area;
  const uint row = index / width, element = index % width;
  const uint channel = element / area, dy = element % area / p.patch_size, dx = element % p.patch_size;
  const uint tile = p.first_tile + row / (p.grid * p.grid), cell = row % (p.grid * p.grid);
  const uint pixel_y = tile / p.tiles_w * p.view_size + cell / p.grid * p.patch_size + dy;
  const uint pixel_x = tile % p.tiles_w * p.view_size + cell % p.grid * p.patch_size + dx;
  const uint value = load_byte(p.canvas_offset + 3u * (pixel_y * p.canvas_width + pixel_x) + channel);
  y[p.y_offset + row * p.y_row_stride + element] = to_act((float(value) / 255.0 - 0.5) / 0.5);
}
