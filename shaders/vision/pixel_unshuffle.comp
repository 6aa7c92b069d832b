// y[py * side + px][c * factor^2 + dy * factor + dx] = x[(factor * py + dy) * grid + factor * px + dx][c], zero past the grid, view by view.
//
// Shapes    x [views, grid^2, channels] ACT    y [views * side^2, channels * factor^2] ACT
// Work      one invocation an element of y
// Numbers   copies
// Needs     32-bit words; 16-bit storage for f16
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek_vl_v2.py, MlpProjector.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/pixel_unshuffle.h"
#include "common/act_type.glsl"
#include "common/flat_grid.glsl"

layout(local_size_x = PIXEL_UNSHUFFLE_THREADS) in;
layout(push_constant) uniform Push { PixelUnshuffleParams p; };
layout(binding = PIXEL_UNSHUFFLE_X) readonly buffer X { act_t x[]; };
layout(binding = PIXEL_UNSHUFFLE_Y) writeonly buffer Y { act_t y[]; };

void main() {
  const uint index = flat_group() * PIXEL_UNSHUFFLE_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint block = p.factor * p.factor, width = p.channels * block;
  const uint row = index / width, element = index % width;
  const uint channel = element / block, dy = element % block / p.factor, dx = element % p.factor;
  const uint view = row / (p.side * p.side), cell = row % (p.side * p.side);
  const uint grid_y = p.factor * (cell / p.side) + dy, grid_x = p.factor * (cell % p.side) + dx;
  act_t value = act_t(0.0);
  if (grid_y < p.grid && grid_x < p.grid)
    value = x[p.x_offset + ((view * p.grid + grid_y) * p.grid + grid_x) * p.channels + channel];
  y[p.y_offset + row * p.y_row_stride + element] = value;
}
