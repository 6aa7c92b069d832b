// y = activation(x W^T + bias) + residual, a subgroup a tile without shared memory: for many rows of x on a CPU driver.
//
// Shapes    x [rows, k] ACT    weight [columns, k] WEIGHT    bias [columns], residual [rows, columns] f32    y [rows, columns] ACT or f32
// Work      one workgroup, of one subgroup, a tile of y; see matmul/gemm_direct.glsl
// Numbers   products and sums in f32; rounded once, at the store
// Needs     subgroup ballot; workgroups as large as a subgroup
// Variants  ACT = f32 | f16, WEIGHT, BLOCKS
// Source    torch.nn.Linear
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/matmul.h"
#define X_BINDING MATMUL_X
#include "matmul/x_rows.glsl"

layout(push_constant) uniform Push { MatmulParams p; };
layout(binding = MATMUL_WEIGHT) readonly buffer Weight { uint weight_words[]; };
layout(binding = MATMUL_WEIGHT) readonly buffer WeightPairs { uvec2 weight_pairs[]; };
layout(binding = MATMUL_WEIGHT) readonly buffer WeightQuads { uvec4 weight_quads[]; };
#define VL2_WEIGHT_FOURS
#define SCALES_BINDING MATMUL_SCALES
#include "common/weight.glsl"
#define VL2_STORE_BIASED
#include "matmul/epilogue.glsl"
void store_biased(uint row, uint column, float value) { store_result(row, column, value); }
#include "matmul/gemm_direct.glsl"

void main() {
  const uint first_row = gl_WorkGroupID.y * TILE_ROWS, first_column = gl_WorkGroupID.x * TILE_COLUMNS;
  const uint rows = min(TILE_ROWS, p.rows - first_row), columns = min(TILE_COLUMNS, p.columns - first_column);
  uint x_start[ROW_VECTORS], weight_start[COLUMN_VECTORS];
  for (uint i = 0u; i < ROW_VECTORS; ++i)
    x_start[i] = p.x_offset + (first_row + min(i * LANES + gl_SubgroupInvocationID, rows - 1u)) * p.x_row_stride;
  for (uint j = 0u; j < COLUMN_VECTORS; ++j)
    weight_start[j] = (first_column + min(j * LANES + gl_SubgroupInvocationID, columns - 1u)) * p.weight_row_stride;
  multiply_tile(x_start, weight_start, p.k);
  store_tile(first_row, first_column, rows, columns);
}
