// One token's experts: logits = W norm(x), then the top_k by score + bias, and their weights from the scores alone.
//
// Shapes    x, norm [k] f32    weight [experts, k] f32    bias [experts] f32    logits [experts] f32, on the way
//           counter [1] u32, 0 before and after    ids [top_k] u32    weights [top_k] f32
// Work      as decode_gemv.comp; the last workgroup to arrive chooses, ranking each expert against all others as router.comp does. It waits
//           for nobody: whoever comes last finds all logits written
// Numbers   f32; ranks by ordered keys, so NaN is last; sums in a fixed order
// Needs     subgroup arithmetic, any subgroup size
// Source    DeepSeek-VL2 modeling_deepseek.py, MoEGate.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_router.h"
#include "common/ordered_key.glsl"
#define WEIGHT_f32

layout(push_constant) uniform Push { DecodeRouterParams p; };
layout(binding = DECODE_ROUTER_X) readonly buffer X { vec4 x_quads[]; };
layout(binding = DECODE_ROUTER_NORM) readonly buffer Norm { vec4 norm_quads[]; };
layout(binding = DECODE_ROUTER_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_ROUTER_BIAS) readonly buffer Bias { float bias[]; };
layout(binding = DECODE_ROUTER_LOGITS) coherent buffer Logits { float logits[]; };
layout(binding = DECODE_ROUTER_COUNTER) coherent buffer Counter { uint counter[]; };
layout(binding = DECODE_ROUTER_IDS) writeonly buffer Ids { uint ids[]; };
layout(binding = DECODE_ROUTER_WEIGHTS) writeonly buffer Weights { float weights[]; };

#include "decode/gemv_core.glsl"
#include "decode/arrival.glsl"

shared float scores[DECODE_ROUTER_MAX_EXPERTS];
shared uint choices[DECODE_ROUTER_MAX_EXPERTS];  // ordered keys of score + bias
shared float chosen[DECODE_ROUTER_MAX_TOP_K];    // scores by rank

uint weight_chunk_of(uint r, uint c) { return min(gl_WorkGroupID.x * ROWS + r, p.expert_count - 1u) * p.row_chunks + c; }

void load_x8(uint c, out vec4 low, out vec4 high) {
  low = x_quads[2u * c];
  high = x_quads[2u * c + 1u];
}

void load_norm8(uint c, out vec4 low, out vec4 high) {
  low = norm_quads[2u * c];
  high = norm_quads[2u * c + 1u];
}

void store_logit(uint r, float sum, float scale) {
  const uint expert = gl_WorkGroupID.x * ROWS + r;
  if (expert < p.expert_count)
    logits[expert] = sum * scale;
}

void score_experts() {
  const uint threads = gl_WorkGroupSize.x;
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += threads)
    scores[e] = logits[e];
  barrier();
  float largest = scores[0], sum = 0.0;  // every invocation for itself: a few dozen numbers, no reduction
  if (p.sigmoid == 0u) {
    for (uint e = 1u; e < p.expert_count; ++e)
      largest = max(largest, scores[e]);
    for (uint e = 0u; e < p.expert_count; ++e)
      sum += exp(scores[e] - largest);
  }
  barrier();
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += threads) {
    const float score = p.sigmoid != 0u ? 1.0 / (1.0 + exp(-scores[e])) : exp(scores[e] - largest) / sum;
    scores[e] = score;
    choices[e] = ordered_key(p.has_bias != 0u ? score + bias[e] : score);
  }
  barrier();
}

void choose_experts() {
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += gl_WorkGroupSize.x) {
    const uint key = choices[e];
    uint rank = 0u;
    for (uint other = 0u; other < p.expert_count; ++other)
      rank += uint(choices[other] > key || (choices[other] == key && other < e));
    if (rank < p.top_k) {
      ids[rank] = e;
      chosen[rank] = scores[e];
    }
  }
  barrier();
  for (uint j = gl_LocalInvocationIndex; j < p.top_k; j += gl_WorkGroupSize.x) {
    float sum = 0.0;
    for (uint i = 0u; i < p.top_k; ++i)
      sum += chosen[i];
    weights[j] = chosen[j] / (p.normalise != 0u ? sum + 1e-20 : 1.0) * p.factor;
  }
}

void main() {
  gemv();
  const float scale = sum_scale(p.eps);
  if (ONE_SUBGROUP) {
    if (subgroupElect())
      [[unroll]] for (uint r = 0u; r < ROWS; ++r)
        store_logit(r, row_sum(r), scale);
  } else if (gl_LocalInvocationIndex < ROWS) {
    store_logit(gl_LocalInvocationIndex, row_sum(gl_LocalInvocationIndex), scale);
  }
  memoryBarrierBuffer();
  if (!last_to_arrive(0u, gl_NumWorkGroups.x))
    return;
  score_experts();
  choose_experts();
}
