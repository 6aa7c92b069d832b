// x[r] += rows_to_add[r % period], in place.
//
// Shapes    x [rows, width] f32    rows_to_add [period, width] f32
// Work      one invocation an element of x
// Numbers   f32
// Needs     32-bit words
// Source    DeepSeek-VL2 siglip_vit.py, the position embedding added to every view
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/add_rows.h"
#include "common/flat_grid.glsl"

layout(local_size_x = ADD_ROWS_THREADS) in;
layout(push_constant) uniform Push { AddRowsParams p; };
layout(binding = ADD_ROWS_ADDED) readonly buffer Added { float added[]; };
layout(binding = ADD_ROWS_X) buffer X { float x[]; };

void main() {
  const uint index = flat_group() * ADD_ROWS_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint row = index / p.width, element = index % p.width;
  x[p.x_offset + row * p.x_row_stride + element] += added[p.added_offset + row % p.period * p.added_row_stride + element];
}
