// y[s, :] = W[expert of s] x[row of s, :] for all slots s, by tiles: for many pairs.
//
// Shapes    x [rows, k] ACT    weight [experts, columns, k] WEIGHT    slot_pair [slots], offsets [E + 1] u32    y [slots, columns] ACT or f32
// Work      one workgroup a tile of one expert's slots. Along y the grid has as many groups as there can be tiles at worst (slots / tile + an
//           incomplete one an expert); a group finds its expert by counting the tiles of those before, and leaves early when there is none.
//           A scan of offsets[] is nothing beside a tile, and no list of tiles has to be made, read back or dispatched indirectly.
// Numbers   products and sums in f32; rounded once, at the store
// Needs     tier 0
// Variants  ACT = f32 | f16, WEIGHT, BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#include "matmul/expert_rows.glsl"
#define X_BINDING EXPERT_MATMUL_X
#include "matmul/x_rows.glsl"
#define SCALES_BINDING EXPERT_MATMUL_SCALES
#include "common/weight.glsl"
#include "matmul/gemm_tile.glsl"

void main() {
  uint tile = gl_WorkGroupID.y, expert, begin, end;
  if (!find_tile(tile, TILE_ROWS, expert, begin, end))
    return;  // the whole group

  const uint first_row = begin + tile * TILE_ROWS, first_column = gl_WorkGroupID.x * TILE_COLUMNS;
  const uint rows = min(TILE_ROWS, end - first_row), columns = min(TILE_COLUMNS, p.columns - first_column);
  // Rows beyond the last repeat it; their results are not stored.
  for (uint i = gl_LocalInvocationIndex; i < TILE_ROWS; i += TILE_THREADS)
    tile_x_start[i] = slot_x_start(first_row + min(i, rows - 1u));
  const uint weight_start = (expert - p.first_expert) * p.weight_expert_stride + first_column * p.weight_row_stride;
  multiply_tile(weight_start, p.weight_row_stride, columns, p.k);
  store_tile(first_row, first_column, rows, columns);
}
