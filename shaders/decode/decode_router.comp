// One token's experts (or several tokens', along z): logits = W norm(x), then the top_k by score + bias, and their weights from the scores alone.
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

const float LOWEST = -3.402823466e38;
shared vec4 score_quads[DECODE_ROUTER_MAX_EXPERTS / 4u];    // by four, so that a loop over all experts is a few loads that do not wait
shared uvec4 choice_quads[DECODE_ROUTER_MAX_EXPERTS / 4u];  // ordered keys of score + bias
shared float chosen[DECODE_ROUTER_MAX_TOP_K];               // scores by rank

uint weight_chunk_of(uint r, uint c) { return min(gl_WorkGroupID.x * ROWS + r, p.expert_count - 1u) * p.row_chunks + c; }

void load_x8(uint t, uint e, out vec4 low, out vec4 high) {
  const uint at = gl_WorkGroupID.z * p.x_token_eights + e;
  low = x_quads[2u * at];
  high = x_quads[2u * at + 1u];
}

void load_norm8(uint e, out vec4 low, out vec4 high) {
  low = norm_quads[2u * e];
  high = norm_quads[2u * e + 1u];
}

void store_logit(uint r, float sum, float scale) {
  const uint expert = gl_WorkGroupID.x * ROWS + r;
  if (expert < p.expert_count)
    logits[gl_WorkGroupID.z * p.expert_count + expert] = sum * scale;
}

// Loops over all experts go by AT_ONCE quads; the experts past the last have the lowest logit and the lowest key, and come last.
const uint AT_ONCE = 4u;
uint padded_quads() { return (p.expert_count + 4u * AT_ONCE - 1u) / (4u * AT_ONCE) * AT_ONCE; }

float largest_score() {
  vec4 largest = score_quads[0];
  for (uint base = 0u; base < padded_quads(); base += AT_ONCE)
    [[unroll]] for (uint i = 0u; i < AT_ONCE; ++i)
      largest = max(largest, score_quads[base + i]);
  return max(max(largest.x, largest.y), max(largest.z, largest.w));
}

float sum_of_scores() {
  vec4 sum = vec4(0.0);
  for (uint base = 0u; base < padded_quads(); base += AT_ONCE)
    [[unroll]] for (uint i = 0u; i < AT_ONCE; ++i)
      sum += score_quads[base + i];
  return (sum.x + sum.y) + (sum.z + sum.w);
}

uint rank_of(uint e) {
  const uint key = choice_quads[e / 4u][e % 4u];
  uint rank = 0u;
  for (uint base = 0u; base < padded_quads(); base += AT_ONCE)
    [[unroll]] for (uint i = 0u; i < AT_ONCE; ++i) {
      const uvec4 others = choice_quads[base + i];
      const uvec4 places = 4u * (base + i) + uvec4(0u, 1u, 2u, 3u);
      const uvec4 before = uvec4(greaterThan(others, uvec4(key))) + uvec4(equal(others, uvec4(key))) * uvec4(lessThan(places, uvec4(e)));
      rank += before.x + before.y + before.z + before.w;
    }
  return rank;
}

// An invocation scores the experts that it ranks: every so manyth from its index on.
void choose_experts() {
  const uint threads = gl_WorkGroupSize.x, padded = 4u * padded_quads();
  for (uint e = gl_LocalInvocationIndex; e < padded; e += threads)
    score_quads[e / 4u][e % 4u] = e < p.expert_count ? logits[gl_WorkGroupID.z * p.expert_count + e] : LOWEST;
  barrier();
  const float largest = p.sigmoid == 0u ? largest_score() : 0.0;  // every invocation for itself: a few dozen numbers
  barrier();
  for (uint e = gl_LocalInvocationIndex; e < padded; e += threads) {
    const float logit = score_quads[e / 4u][e % 4u];
    const float score = p.sigmoid != 0u ? 1.0 / (1.0 + exp(-logit)) : exp(logit - largest);
    score_quads[e / 4u][e % 4u] = e < p.expert_count ? score : 0.0;
  }
  barrier();
  const float sum = p.sigmoid == 0u ? sum_of_scores() : 1.0;
  for (uint e = gl_LocalInvocationIndex; e < padded; e += threads) {
    const float score = score_quads[e / 4u][e % 4u] / sum;
    choice_quads[e / 4u][e % 4u] = e >= p.expert_count ? 0u : ordered_key(p.has_bias != 0u ? score + bias[e] : score);
  }
  barrier();
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += threads) {
    const uint rank = rank_of(e);
    if (rank < p.top_k) {
      ids[gl_WorkGroupID.z * p.top_k + rank] = e;
      chosen[rank] = score_quads[e / 4u][e % 4u] / sum;
    }
  }
  barrier();
  for (uint j = gl_LocalInvocationIndex; j < p.top_k; j += gl_WorkGroupSize.x) {
    float sum = 0.0;
    for (uint i = 0u; i < p.top_k; ++i)
      sum += chosen[i];
    weights[gl_WorkGroupID.z * p.top_k + j] = chosen[j] / (p.normalise != 0u ? sum + 1e-20 : 1.0) * p.factor;
  }
}

void main() {
  gemv();
  const float scale = sum_scale(0u, p.eps);
  if (ONE_SUBGROUP) {
    if (subgroupElect())
      [[unroll]] for (uint r = 0u; r < ROWS; ++r)
        store_logit(r, row_sum(0u, r), scale);
  } else if (gl_LocalInvocationIndex < ROWS) {
    store_logit(gl_LocalInvocationIndex, row_sum(0u, gl_LocalInvocationIndex), scale);
  }
  if (ONE_SUBGROUP || ROWS > 1u)
    memoryBarrierBuffer();  // one row: invocation 0 has stored it, and last_to_arrive() lets it wait itself
  if (!last_to_arrive(gl_WorkGroupID.z, gl_NumWorkGroups.x))
    return;
  choose_experts();
}
