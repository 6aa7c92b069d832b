// y = activation(x W^T + bias) + residual, by tiles: for many rows of x.
//
// Shapes    x [rows, k] ACT    weight [columns, k] WEIGHT    bias [columns], residual [rows, columns] f32    y [rows, columns] ACT or f32
// Work      one workgroup a tile of y and a slice of K (slices: y holds one below the other, for add_slices to add); see matmul/gemm_tile.glsl
// Numbers   products and sums in f32; rounded once, at the store
// Needs     tier 0
// Variants  ACT = f32 | f16, WEIGHT, BLOCKS
// Source    torch.nn.Linear
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/matmul.h"
#define X_BINDING MATMUL_X
#include "matmul/x_rows.glsl"

layout(push_constant) uniform Push { MatmulParams p; };
layout(binding = MATMUL_WEIGHT) readonly buffer Weight { uint weight_words[]; };
#define SCALES_BINDING MATMUL_SCALES
#include "common/weight.glsl"
#include "matmul/epilogue.glsl"
#include "matmul/gemm_tile.glsl"

void main() {
  const uint first_row = gl_WorkGroupID.y * TILE_ROWS, first_column = gl_WorkGroupID.x * TILE_COLUMNS;
  const uint k_first = gl_WorkGroupID.z * p.k_slice;
  const uint rows = min(TILE_ROWS, p.rows - first_row), columns = min(TILE_COLUMNS, p.columns - first_column);
  // Rows beyond the last repeat it; their results are not stored.
  for (uint i = gl_LocalInvocationIndex; i < TILE_ROWS; i += TILE_THREADS)
    tile_x_start[i] = p.x_offset + (first_row + min(i, rows - 1u)) * p.x_row_stride + k_first;
  multiply_tile(first_column * p.weight_row_stride + k_first, p.weight_row_stride, columns, min(p.k_slice, p.k - k_first));
  store_tile(gl_WorkGroupID.z * p.rows + first_row, first_column, rows, columns);
}
