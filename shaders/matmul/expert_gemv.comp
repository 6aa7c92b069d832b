// y[s, :] = W[expert of s] x[row of s, :] for all slots s, a subgroup a column: for few pairs, as in decode.
//
// Shapes    x [rows, k] ACT    weight [experts, columns, k] WEIGHT    slot_pair [slots], offsets [E + 1] u32    y [slots, columns] ACT or f32
// Work      one workgroup COLUMNS_PER_GROUP columns of one slot, shared among its subgroups; see matmul/gemv_dot.glsl. Slots lie along y. The
//           expert of a slot is found in offsets[] by halving.
// Numbers   products and sums in f32; rounded once, at the store
// Needs     subgroup arithmetic, any subgroup size
// Variants  ACT = f32 | f16, WEIGHT, BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#include "matmul/expert_rows.glsl"
#define X_BINDING EXPERT_MATMUL_X
#include "matmul/x_rows.glsl"
layout(binding = EXPERT_MATMUL_WEIGHT) readonly buffer WeightQuads { uvec4 weight_quads[]; };
const uint GEMV_X_ROWS = 1u;
#define VL2_WEIGHT_QUADS
#define SCALES_BINDING EXPERT_MATMUL_SCALES
#include "common/weight.glsl"
#include "matmul/gemv_dot.glsl"

void main() {
  const uint slot = gl_WorkGroupID.y;
  if (slot < first_slot(p.first_expert) || slot >= first_slot(p.end_expert))
    return;  // another dispatch's expert
  uint expert = p.first_expert, beyond = p.end_expert;  // the slot's expert is in expert .. beyond - 1
  while (beyond - expert > 1u) {
    const uint middle = (expert + beyond) / 2u;
    if (slot < first_slot(middle))
      beyond = middle;
    else
      expert = middle;
  }
  const uint x_start[1] = uint[1](slot_x_start(slot));
  const uint weight_start = (expert - p.first_expert) * p.weight_expert_stride;
  const uint end = min((gl_WorkGroupID.x + 1u) * COLUMNS_PER_GROUP, p.columns);
  const uint step_columns = gl_NumSubgroups * GEMV_COLUMNS_AT_ONCE;
  for (uint column = gl_WorkGroupID.x * COLUMNS_PER_GROUP + gl_SubgroupID * GEMV_COLUMNS_AT_ONCE; column < end; column += step_columns) {
    subgroup_dots(x_start, weight_start, p.weight_row_stride, column, p.columns, p.k);
    if (subgroupElect()) {
      for (uint j = 0u; j < GEMV_COLUMNS_AT_ONCE; ++j)
        if (column + j < end)
          store_result(slot, column + j, dot_sums[j]);
    }
  }
}
