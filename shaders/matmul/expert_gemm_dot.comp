// y[s, :] = W[expert of s] x[row of s, :] for all slots s, by tiles and dot products of bytes: for many pairs and weights in blocks.
//
// Shapes    x [rows, k] as quantize_rows.comp makes it    weight [experts, columns, k] WEIGHT    slot_pair [slots], offsets [E + 1] u32
//           y [slots, columns] f16 or f32
// Work      one workgroup a tile of one expert's slots, found as in expert_gemm_tiled.comp; see matmul/gemm_dot.glsl
// Numbers   as gemm_dot.comp
// Needs     integer dot products, f16
// Variants  WEIGHT = BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#define ACT_f16  // what tier 2 stores
#define VL2_WEIGHT_PARTS
#include "matmul/expert_rows.glsl"
#define X_CODES_BINDING EXPERT_MATMUL_X
#define X_NUMBERS_BINDING EXPERT_MATMUL_X_NUMBERS
#define WEIGHT_BINDING EXPERT_MATMUL_WEIGHT
#define SCALES_BINDING EXPERT_MATMUL_SCALES
#include "common/weight.glsl"
#include "matmul/gemm_dot.glsl"

void main() {
  uint tile = gl_WorkGroupID.y, expert, begin, end;
  if (!find_tile(tile, TILE_ROWS, expert, begin, end))
    return;  // the whole group

  const uint first_row = begin + tile * TILE_ROWS, first_column = gl_WorkGroupID.x * TILE_COLUMNS;
  const uint rows = min(TILE_ROWS, end - first_row), columns = min(TILE_COLUMNS, p.columns - first_column);
  // Rows beyond the last repeat it; their results are not stored.
  for (uint i = gl_LocalInvocationIndex; i < TILE_ROWS; i += TILE_THREADS)
    tile_x_start[i] = slot_x_start(first_row + min(i, rows - 1u)) / PART;
  const uint weight_start = (expert - p.first_expert) * p.weight_expert_stride + first_column * p.weight_row_stride;
  multiply_tile(weight_start, p.weight_row_stride, columns, p.k);
  store_tile(first_row, first_column, rows, columns);
}
