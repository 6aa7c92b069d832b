// residual += sum over j of weights[., j] * x[slot of pair (., j)], + shared.
//
// Shapes    x [tokens * top_k, width] ACT or f32, by slot    pair_slot [tokens * top_k] u32    weights [tokens, top_k] f32
//           shared [tokens, width] ACT or f32    residual [tokens, width] f32
// Work      a workgroup EXPERT_COMBINE_THREADS elements of one token; an invocation one element
// Numbers   f32, in the order of j, then shared, then the residual
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/expert_combine.h"
#include "common/act_type.glsl"

layout(local_size_x = EXPERT_COMBINE_THREADS) in;
layout(push_constant) uniform Push { ExpertCombineParams p; };
layout(binding = EXPERT_COMBINE_X) readonly buffer X { act_t x[]; };
layout(binding = EXPERT_COMBINE_PAIR_SLOT) readonly buffer PairSlot { uint pair_slot[]; };
layout(binding = EXPERT_COMBINE_WEIGHTS) readonly buffer Weights { float weights[]; };
layout(binding = EXPERT_COMBINE_SHARED) readonly buffer Shared { act_t shared_output[]; };
layout(binding = EXPERT_COMBINE_RESIDUAL) buffer Residual { float residual[]; };
#ifdef ACT_f16
layout(binding = EXPERT_COMBINE_X) readonly buffer X32 { float x_f32[]; };
layout(binding = EXPERT_COMBINE_SHARED) readonly buffer Shared32 { float shared_output_f32[]; };

float load_x(uint index) { return p.x_is_f32 != 0u ? x_f32[index] : float(x[index]); }
float load_shared(uint index) { return p.shared_is_f32 != 0u ? shared_output_f32[index] : float(shared_output[index]); }
#else
float load_x(uint index) { return x[index]; }
float load_shared(uint index) { return shared_output[index]; }
#endif

void main() {
  const uint column = gl_GlobalInvocationID.x, token = gl_WorkGroupID.y;
  if (column >= p.width)
    return;
  float sum = 0.0;
  for (uint j = 0u; j < p.top_k; ++j) {
    const uint pair = token * p.top_k + j;
    const uint slot = pair_slot[p.pair_slot_offset + pair];
    sum += weights[p.weights_offset + pair] * load_x(p.x_offset + slot * p.x_row_stride + column);
  }
  if (p.has_shared != 0u)
    sum += load_shared(p.shared_offset + token * p.shared_row_stride + column);
  residual[p.residual_offset + token * p.residual_row_stride + column] += sum;
}
