// y = activation(sum over slices + bias) + residual: what is left of a matmul whose K was cut in slices.
//
// Shapes    slices [slices * rows, columns] f32, one slice below the other    bias [columns], residual [rows, columns] f32    y [rows, columns] ACT or f32
// Work      one invocation four columns of a row
// Numbers   f32, the slices in their order, so that the sum is the same every time
// Needs     tier 0; rows of the slices at multiples of 16 bytes
// Variants  ACT = f32 | f16
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/matmul.h"
#include "common/flat_grid.glsl"

layout(local_size_x = ADD_SLICES_THREADS) in;
layout(push_constant) uniform Push { MatmulParams p; };
layout(binding = MATMUL_X) readonly buffer Slices { vec4 slice_quads[]; };
#define VL2_STORE_QUADS
#include "matmul/epilogue.glsl"

void main() {
  const uint quads = (p.columns + 3u) / 4u, at = flat_group() * ADD_SLICES_THREADS + gl_LocalInvocationIndex;
  const uint row = at / quads, quad = at % quads;
  if (row >= p.rows)
    return;
  const uint pitch = p.x_row_stride / 4u, first = p.x_offset / 4u + row * pitch + quad;
  vec4 sum = slice_quads[first];
  for (uint slice = 1u; slice < p.k; ++slice)
    sum += slice_quads[first + slice * p.rows * pitch];
  store_results(row, 4u * quad, min(p.columns - 4u * quad, 4u), sum);
}
