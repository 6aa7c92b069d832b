// One token's product with a weight: y = [y +] W norm(x) [+ addend], or y = silu(gate) * up, for one weight or for the chosen experts'.
//
//           Or a part of each head's rows times that head's row of x. Or the same of several tokens, each with its own x, ids and y.
//
// Shapes    x [k] or [heads, k] f32    norm [k] f32    weight [rows or 2 rows, k] or [experts, ...] WEIGHT    ids [top_k] u32    expert_weights [top_k] f32
//           addend, y [rows] f32, or y [top_k, rows]
// Work      one workgroup ROWS rows of the weight, which share K out among all invocations; along y the chosen experts, TOKENS tokens
//           each; see gemv_rows.glsl and gemv_core.glsl
// Numbers   products and sums in f32, in an order fixed by the sizes
// Needs     subgroup arithmetic, any subgroup size
// Variants  WEIGHT, BLOCKS
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2RMSNorm, DeepseekV2MLP, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#include "decode/gemv_bindings.glsl"
#include "decode/gemv_core.glsl"
#include "decode/gemv_rows.glsl"

const uint ALL_RESULTS = TOKENS * RESULTS;

void main() {
  start_rows(ROW_GROUP * RESULTS);
  const uint own = min(gl_LocalInvocationIndex, ALL_RESULTS - 1u);
  const float gain = ONE_SUBGROUP ? 0.0 : gain_of(own / RESULTS, own % RESULTS);
  gemv();
  if (ONE_SUBGROUP) {
    if (subgroupElect())
      [[unroll]] for (uint t = 0u; t < TOKENS; ++t) {
        const float scale = sum_scale(t, p.eps);
        [[unroll]] for (uint r = 0u; r < RESULTS; ++r)
          store_result(t, r, row_sum(t, r), PAIRS ? row_sum(t, RESULTS + r) : 0.0, scale, gain_of(t, r));
      }
    return;
  }
  for (uint i = gl_LocalInvocationIndex; i < ALL_RESULTS; i += gl_WorkGroupSize.x) {  // once around, unless there are many tokens
    const uint t = i / RESULTS, r = i % RESULTS;
    store_result(t, r, row_sum(t, r), PAIRS ? row_sum(t, RESULTS + r) : 0.0, sum_scale(t, p.eps),
                 i == gl_LocalInvocationIndex ? gain : gain_of(t, r));
  }
}
