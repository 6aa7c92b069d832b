// y[s, :] = W[expert of s] x[row of s, :], or silu(gate) * up of it, for all slots s, by tiles on matrix units: for many pairs.
//
// Shapes    x [rows, k] f16    weight [experts, columns (gated: 2 columns), k] WEIGHT    slot_pair [slots], offsets [E + 1] u32
//           y [slots, columns] f16 or f32
// Work      one workgroup a tile of one expert's slots; see matmul/gemm_matrix.glsl. An expert's last tile multiplies a half or a quarter of its
//           rows where that is enough. Along y the grid has as many groups as there can be tiles at worst (slots / tile + an incomplete one an
//           expert). A group finds its tile by a subgroup's scan over the experts' tile counts, and leaves when there is none: two loads and
//           a scan, where an indirect dispatch would wait for a list that another dispatch has to write behind a barrier.
// Numbers   products of f16, sums in f32; rounded once, at the store
// Needs     tier 3
// Variants  WEIGHT = f16, BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_vote : require
#define VL2_STORE_QUADS
#include "matmul/expert_rows.glsl"
#define X_BINDING EXPERT_MATMUL_X
layout(binding = EXPERT_MATMUL_WEIGHT) readonly buffer WeightPairs { uvec2 weight_pairs[]; };
layout(binding = EXPERT_MATMUL_WEIGHT) readonly buffer WeightQuads { uvec4 weight_quads[]; };
#define VL2_WEIGHT_HALVES
#define SCALES_BINDING EXPERT_MATMUL_SCALES
#include "common/weight.glsl"

uint tile_slot, tile_column;  // where the tile begins in y

uint row_x_start(uint row) { return slot_x_start(tile_slot + row); }
void store_quad(uint row, uint column, uint count, vec4 value) { store_results(tile_slot + row, tile_column + column, count, value); }
#include "matmul/gemm_matrix.glsl"

// The expert and the number of its tile that is tile `number` of this dispatch's; an expert beyond the last if there are fewer.
uvec2 find_tile(uint number) {
  uint before = 0u;  // tiles of the experts before `base`
  for (uint base = p.first_expert; base < p.end_expert; base += SUBGROUP_SIZE) {
    const uint expert = base + gl_SubgroupInvocationID;
    const uint tiles = expert < p.end_expert ? (first_slot(expert + 1u) - first_slot(expert) + TILE_ROWS - 1u) / TILE_ROWS : 0u;
    const uint beyond = before + subgroupInclusiveAdd(tiles);
    const bool here = number < beyond && number >= beyond - tiles;
    if (subgroupAny(here))
      return uvec2(subgroupMax(here ? expert : 0u), number - subgroupMax(here ? beyond - tiles : 0u));
    before = subgroupMax(beyond);
  }
  return uvec2(p.end_expert, 0u);
}

void main() {
  const uvec2 found = find_tile(gl_WorkGroupID.y);
  const uint expert = found.x;
  if (expert >= p.end_expert)
    return;  // the whole group
  const uint y_columns = GATED ? TILE_COLUMNS / 2u : TILE_COLUMNS;
  tile_slot = first_slot(expert) + found.y * TILE_ROWS;
  tile_column = gl_WorkGroupID.x * y_columns;
  const uint rows = min(TILE_ROWS, first_slot(expert + 1u) - tile_slot), columns = min(y_columns, p.columns - tile_column);
  start_tile(rows, (expert - p.first_expert) * p.weight_expert_stride + tile_column * p.weight_row_stride, p.weight_row_stride, p.up_offset, columns);
  multiply_tile(rows, columns, p.k);
}
