// y[r, i] = silu(x[r, i]) * x[r, width + i].
//
// Shapes    x [rows, 2 width] ACT or f32    y [rows, width] ACT
// Work      an invocation a result; the results of all rows lie along x and y of the grid, y when x is full
// Numbers   f32; rounded once, at the store
// Needs     tier 0
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/swiglu.h"
#include "common/act_type.glsl"
#include "common/activation.glsl"

layout(local_size_x = SWIGLU_THREADS) in;
layout(push_constant) uniform Push { SwigluParams p; };
layout(binding = SWIGLU_X) readonly buffer X { act_t x[]; };
#ifdef ACT_f16
layout(binding = SWIGLU_X) readonly buffer X32 { float x_f32[]; };
#endif
layout(binding = SWIGLU_Y) writeonly buffer Y { act_t y[]; };

float load_x(uint at) {
#ifdef ACT_f16
  if (p.x_is_f32 != 0u)
    return x_f32[at];
#endif
  return float(x[at]);
}

void main() {
  const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint index = group * SWIGLU_THREADS + gl_LocalInvocationIndex;
  const uint row = index / p.width, column = index % p.width;
  if (row >= p.rows)
    return;
  const uint gate = p.x_offset + row * p.x_row_stride + column;
  y[p.y_offset + row * p.y_row_stride + column] = to_act(silu(load_x(gate)) * load_x(gate + p.width));
}
