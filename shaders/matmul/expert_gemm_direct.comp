// y[s, :] = W[expert of s] x[row of s, :] for all slots s, a subgroup a tile without shared memory: for many pairs on a CPU driver.
//
// Shapes    x [rows, k] ACT    weight [experts, columns, k] WEIGHT    slot_pair [slots], offsets [E + 1] u32    y [slots, columns] ACT or f32
// Work      one workgroup, of one subgroup, a tile of one expert's slots, found as expert_gemm_tiled.comp finds it; see matmul/gemm_direct.glsl
// Numbers   products and sums in f32; rounded once, at the store
// Needs     subgroup ballot; workgroups as large as a subgroup
// Variants  ACT = f32 | f16, WEIGHT, BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#include "matmul/expert_rows.glsl"
#define X_BINDING EXPERT_MATMUL_X
#include "matmul/x_rows.glsl"
layout(binding = EXPERT_MATMUL_WEIGHT) readonly buffer WeightPairs { uvec2 weight_pairs[]; };
layout(binding = EXPERT_MATMUL_WEIGHT) readonly buffer WeightQuads { uvec4 weight_quads[]; };
#define VL2_WEIGHT_FOURS
#define SCALES_BINDING EXPERT_MATMUL_SCALES
#include "common/weight.glsl"

float column_bias(uint column) { return 0.0; }
void store_biased(uint slot, uint column, float value) { store_result(slot, column, value); }
#include "matmul/gemm_direct.glsl"

void main() {
  uint tile = gl_WorkGroupID.y, expert, begin, end;
  if (!find_tile(tile, TILE_ROWS, expert, begin, end))
    return;  // the whole group
  const uint first_row = begin + tile * TILE_ROWS, first_column = gl_WorkGroupID.x * TILE_COLUMNS;
  const uint rows = min(TILE_ROWS, end - first_row), columns = min(TILE_COLUMNS, p.columns - first_column);
  uint x_start[ROW_VECTORS], weight_start[COLUMN_VECTORS];
  for (uint i = 0u; i < ROW_VECTORS; ++i)
    x_start[i] = slot_x_start(first_row + min(i * LANES + gl_SubgroupInvocationID, rows - 1u));
  for (uint j = 0u; j < COLUMN_VECTORS; ++j)
    weight_start[j] = (expert - p.first_expert) * p.weight_expert_stride +
                      (first_column + min(j * LANES + gl_SubgroupInvocationID, columns - 1u)) * p.weight_row_stride;
  multiply_tile(x_start, weight_start, p.k);
  store_tile(first_row, first_column, rows, columns);
}
