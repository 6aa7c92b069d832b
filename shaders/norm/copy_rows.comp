// y = x, element by element, between any two of f32 and f16 and any two row strides.
//
// Shapes    x, y [rows, heads, width] f32 or ACT
// Work      one thread an element
// Numbers   to f16: rounded to nearest, saturated
// Variants  ACT = f32 | f16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/copy_rows.h"
#include "common/act_type.glsl"
#include "common/flat_grid.glsl"

layout(local_size_x = COPY_ROWS_THREADS) in;
layout(push_constant) uniform Push { CopyRowsParams p; };
layout(binding = COPY_ROWS_X) readonly buffer X { act_t x[]; };
layout(binding = COPY_ROWS_Y) writeonly buffer Y { act_t y[]; };
#ifdef ACT_f16
layout(binding = COPY_ROWS_X) readonly buffer X32 { float x_f32[]; };
layout(binding = COPY_ROWS_Y) writeonly buffer Y32 { float y_f32[]; };
#endif

void main() {
  const uint index = flat_group() * COPY_ROWS_THREADS + gl_LocalInvocationIndex;
  if (index >= p.count)
    return;
  const uint column = index % p.width, head = index / p.width % p.heads, row = index / p.width / p.heads;
  const uint from = p.x_offset + row * p.x_row_stride + head * p.x_head_stride + column;
  const uint to = p.y_offset + row * p.y_row_stride + head * p.y_head_stride + column;
#ifdef ACT_f16
  const float value = p.x_is_f32 != 0u ? x_f32[from] : float(x[from]);
  if (p.y_is_f32 != 0u)
    y_f32[to] = value;
  else
    y[to] = to_act(value);
#else
  y[to] = x[from];
#endif
}
