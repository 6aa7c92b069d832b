// y = activation(x W^T + bias) + residual, by tiles and dot products of bytes: for many rows of x and weights in blocks.
//
// Shapes    x [rows, k] as quantize_rows.comp makes it    weight [columns, k] WEIGHT    bias [columns], residual [rows, columns] f32
//           y [rows, columns] f16 or f32
// Work      one workgroup a tile of y; see matmul/gemm_dot.glsl
// Numbers   products of bytes summed in integers over 32 elements (Q6_K: 16), in f32 beyond; rounded once, at the store. x has lost what 8 bits
//           lose: 0.4 % of the largest of 32, at random
// Needs     integer dot products, f16
// Variants  WEIGHT = BLOCKS
// Source    torch.nn.Linear
#version 460
#extension GL_GOOGLE_include_directive : require
#define ACT_f16  // what tier 2 stores
#include "interface/matmul.h"

layout(push_constant) uniform Push { MatmulParams p; };
#define X_CODES_BINDING MATMUL_X
#define X_NUMBERS_BINDING MATMUL_X_NUMBERS
#define WEIGHT_BINDING MATMUL_WEIGHT
#define SCALES_BINDING MATMUL_SCALES
#define VL2_WEIGHT_PARTS
#include "common/weight.glsl"
#include "matmul/epilogue.glsl"
#include "matmul/gemm_dot.glsl"

void main() {
  const uint first_row = gl_WorkGroupID.y * TILE_ROWS, first_column = gl_WorkGroupID.x * TILE_COLUMNS;
  const uint rows = min(TILE_ROWS, p.rows - first_row), columns = min(TILE_COLUMNS, p.columns - first_column);
  // Rows beyond the last repeat it; their results are not stored.
  for (uint i = gl_LocalInvocationIndex; i < TILE_ROWS; i += TILE_THREADS)
    tile_x_start[i] = (first_row + min(i, rows - 1u)) * (p.k / PART);
  multiply_tile(first_column * p.weight_row_stride, p.weight_row_stride, columns, p.k);
  store_tile(first_row, first_column, rows, columns);
}
