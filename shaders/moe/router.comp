// The top_k experts of each token by score + bias, and their weights from the scores alone.
//
// Shapes    logits [tokens, experts] f32    bias [experts] f32    ids [tokens, top_k] u32    weights [tokens, top_k] f32
// Work      one workgroup a token; an expert's rank is the number of experts before it, counted against all of them:
//           no sort, no rounds of maximum, and always a permutation, whatever the logits
// Numbers   f32; ranks by ordered keys, so NaN is last; the sum of the chosen in order of rank
// Needs     subgroup arithmetic, any subgroup size
// Source    DeepSeek-VL2 modeling_deepseek.py, MoEGate.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/router.h"
#include "common/ordered_key.glsl"
#include "common/reduce.glsl"

layout(local_size_x = ROUTER_THREADS) in;
layout(push_constant) uniform Push { RouterParams p; };
layout(binding = ROUTER_LOGITS) readonly buffer Logits { float logits[]; };
layout(binding = ROUTER_BIAS) readonly buffer Bias { float bias[]; };
layout(binding = ROUTER_IDS) writeonly buffer Ids { uint ids[]; };
layout(binding = ROUTER_WEIGHTS) writeonly buffer Weights { float weights[]; };

shared float scores[ROUTER_MAX_EXPERTS];
shared uint choices[ROUTER_MAX_EXPERTS];  // ordered keys of score + bias
shared float chosen[ROUTER_MAX_TOP_K];    // scores by rank

void store_score(uint expert, float score) {
  scores[expert] = score;
  choices[expert] = ordered_key(p.has_bias != 0u ? score + bias[p.bias_offset + expert] : score);
}

void softmax_scores(uint row) {
  float largest = uintBitsToFloat(0xff800000u);  // -inf
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += ROUTER_THREADS)
    largest = max(largest, logits[row + e]);
  largest = workgroup_max(largest);
  float sum = 0.0;
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += ROUTER_THREADS)
    sum += exp(logits[row + e] - largest);
  sum = workgroup_sum(sum);
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += ROUTER_THREADS)
    store_score(e, exp(logits[row + e] - largest) / sum);
}

void sigmoid_scores(uint row) {
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += ROUTER_THREADS)
    store_score(e, 1.0 / (1.0 + exp(-logits[row + e])));
}

/// How many experts stand before `expert` in descending order of choice.
uint rank_of(uint expert) {
  const uint key = choices[expert];
  uint rank = 0u;
  for (uint other = 0u; other < p.expert_count; ++other)
    rank += uint(choices[other] > key || (choices[other] == key && other < expert));
  return rank;
}

void main() {
  const uint token = gl_WorkGroupID.x;
  const uint row = p.logits_offset + token * p.logits_row_stride;
  if (p.sigmoid != 0u)
    sigmoid_scores(row);
  else
    softmax_scores(row);
  barrier();
  for (uint e = gl_LocalInvocationIndex; e < p.expert_count; e += ROUTER_THREADS) {
    const uint rank = rank_of(e);
    if (rank < p.top_k) {
      ids[p.ids_offset + token * p.top_k + rank] = e;
      chosen[rank] = scores[e];
    }
  }
  barrier();
  if (gl_LocalInvocationIndex < p.top_k) {
    float sum = 0.0;
    for (uint j = 0u; j < p.top_k; ++j)
      sum += chosen[j];
    const float divisor = p.normalise != 0u ? sum + 1e-20 : 1.0;
    weights[p.weights_offset + token * p.top_k + gl_LocalInvocationIndex] = chosen[gl_LocalInvocationIndex] / divisor * p.factor;
  }
}
