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
#include "interface/decode_gemv.h"
#include "common/activation.glsl"

layout(push_constant) uniform Push { DecodeGemvParams p; };
layout(binding = DECODE_GEMV_X) readonly buffer X { vec4 x_quads[]; };
layout(binding = DECODE_GEMV_NORM) readonly buffer Norm { vec4 norm_quads[]; };
layout(binding = DECODE_GEMV_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_GEMV_IDS) readonly buffer Ids { uint ids[]; };
layout(binding = DECODE_GEMV_EXPERT_WEIGHTS) readonly buffer ExpertWeights { float expert_weights[]; };
layout(binding = DECODE_GEMV_ADDEND) readonly buffer Addend { float addend[]; };
layout(binding = DECODE_GEMV_Y) buffer Y { float y[]; };

#define SCALES_BINDING DECODE_GEMV_SCALES
#include "decode/gemv_core.glsl"
layout(constant_id = 6) const bool PAIRS = false;  // the first half of ROWS are gates, the second their ups
layout(constant_id = 7) const uint EXPERTS = DECODE_GEMV_DENSE;
const uint RESULTS = PAIRS ? ROWS / 2u : ROWS;  // of a workgroup

uint row_start[ROWS];  // chunks

uint weight_chunk_of(uint r, uint c) {
  if (EXPERTS != DECODE_GEMV_EXPERT_SUM)
    return row_start[r] + c;
  const uint chosen = c / p.segment_chunks;
  return row_start[r] + min(ids[chosen], p.expert_count - 1u) * p.expert_chunks + (c - chosen * p.segment_chunks);
}

void load_x8(uint e, out vec4 low, out vec4 high) {
  const uint at = EXPERTS == DECODE_GEMV_HEAD_ROWS ? gl_WorkGroupID.y * CHUNKS * EIGHTS + e : e;
  low = x_quads[2u * at];
  high = x_quads[2u * at + 1u];
}

void load_norm8(uint e, out vec4 low, out vec4 high) {
  low = norm_quads[2u * e];
  high = norm_quads[2u * e + 1u];
}

uint place_of(uint r) {
  const uint row = min(gl_WorkGroupID.x * RESULTS + r, p.rows - 1u);
  const bool many = EXPERTS == DECODE_GEMV_EXPERT_ROWS || EXPERTS == DECODE_GEMV_HEAD_ROWS;
  return p.first_row + row + (many ? gl_WorkGroupID.y * p.y_stride : 0u);
}

// What row r of the results gains: asked for before the weights, so that nothing is waited for between the last sum and the store.
float gain_of(uint r) {
  float gain = 0.0;
  if (p.has_addend != 0u)
    gain += addend[p.first_row + min(gl_WorkGroupID.x * RESULTS + r, p.rows - 1u)];
  if (p.accumulate != 0u)
    gain += y[place_of(r)];
  return gain;
}

void store_result(uint r, float sum, float up_sum, float scale, float expert_weight, float gain) {
  if (gl_WorkGroupID.x * RESULTS + r >= p.rows)
    return;
  float value = sum * scale;
  if (PAIRS)
    value = silu(value) * (up_sum * scale);
  if (EXPERTS == DECODE_GEMV_EXPERT_ROWS)
    value *= expert_weight;
  y[place_of(r)] = value + gain;
}

void main() {
  uint first = p.first_chunk;
  if (EXPERTS == DECODE_GEMV_EXPERT_ROWS)
    first += min(ids[gl_WorkGroupID.y], p.expert_count - 1u) * p.expert_chunks;
  if (EXPERTS == DECODE_GEMV_HEAD_ROWS)
    first += gl_WorkGroupID.y * p.expert_chunks;
  [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
    const uint row = min(gl_WorkGroupID.x * RESULTS + r % RESULTS, p.rows - 1u);  // beyond the last: the last again
    row_start[r] = first + (row + (r >= RESULTS ? p.pair_rows : 0u)) * p.row_chunks;
  }
  const float expert_weight = EXPERTS == DECODE_GEMV_EXPERT_ROWS ? expert_weights[gl_WorkGroupID.y] : 1.0;
  const float gain = ONE_SUBGROUP ? 0.0 : gain_of(min(gl_LocalInvocationIndex, RESULTS - 1u));
  gemv();
  const float scale = sum_scale(p.eps);
  if (ONE_SUBGROUP) {
    if (subgroupElect())
      [[unroll]] for (uint r = 0u; r < RESULTS; ++r)
        store_result(r, row_sum(r), PAIRS ? row_sum(RESULTS + r) : 0.0, scale, expert_weight, gain_of(r));
  } else if (gl_LocalInvocationIndex < RESULTS) {
    store_result(gl_LocalInvocationIndex, row_sum(gl_LocalInvocationIndex),
                 PAIRS ? row_sum(RESULTS + gl_LocalInvocationIndex) : 0.0, scale, expert_weight, gain);
  }
}
