// One token's product with a weight: y = [y +] W norm(x) [+ addend], or y = silu(gate) * up, for one weight or for the chosen experts'.
//
//           Or a part of each head's rows times that head's row of x.
//
// Shapes    x [k] or [heads, k] f32    norm [k] f32    weight [rows or 2 rows, k] or [experts, ...] WEIGHT    ids [top_k] u32    expert_weights [top_k] f32
//           addend, y [rows] f32, or y [top_k, rows]
// Work      one workgroup ROWS rows of the weight, which share K out among all invocations; along y the chosen experts; see gemv_core.glsl
// Numbers   products and sums in f32, in an order fixed by the sizes
// Needs     subgroup arithmetic, any subgroup size
// Variants  WEIGHT, BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2RMSNorm, DeepseekV2MLP, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#include "decode/gemv_bindings.glsl"
#include "decode/gemv_core.glsl"
#include "decode/gemv_rows.glsl"

void main() {
  start_rows(gl_WorkGroupID.x * RESULTS);
  const float gain = ONE_SUBGROUP ? 0.0 : gain_of(min(gl_LocalInvocationIndex, RESULTS - 1u));
  gemv();
  const float scale = sum_scale(p.eps);
  if (ONE_SUBGROUP) {
    if (subgroupElect())
      [[unroll]] for (uint r = 0u; r < RESULTS; ++r)
        store_result(r, row_sum(r), PAIRS ? row_sum(RESULTS + r) : 0.0, scale, gain_of(r));
  } else if (gl_LocalInvocationIndex < RESULTS) {
    store_result(gl_LocalInvocationIndex, row_sum(gl_LocalInvocationIndex),
                 PAIRS ? row_sum(RESULTS + gl_LocalInvocationIndex) : 0.0, scale, gain);
  }
}
