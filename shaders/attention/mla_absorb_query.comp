// y[t, h, c] = sum over n of q[t, h, n] * W[h][n, c] for c < latent, and y[t, h, latent:] = q[t, h, nope:].
// W[h] is the first nope rows of head h in kv_b.
//
// Shapes    q [T, heads, nope + rope] ACT    kv_b [heads * rows_per_head, latent] WEIGHT    y [T, heads, latent + rope] ACT
// Work      one workgroup 64 columns of a head and token: 16 threads side by side, 4 columns each, times 16 slices of n
// Numbers   sums in f32; rounded once, at the store
// Variants  ACT = f32 | f16, WEIGHT = any
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (q_nope times W_UK)
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mla_absorb_query.h"
#include "common/act_type.glsl"

layout(local_size_x = MLA_ABSORB_QUERY_THREADS) in;
layout(push_constant) uniform Push { MlaAbsorbQueryParams p; };
layout(binding = MLA_ABSORB_QUERY_Q) readonly buffer Q { act_t q[]; };
layout(binding = MLA_ABSORB_QUERY_KV_B) readonly buffer KvB { uint weight_words[]; };
layout(binding = MLA_ABSORB_QUERY_Y) writeonly buffer Y { act_t y[]; };
#include "common/weight.glsl"

const uint QUADS = MLA_ABSORB_QUERY_QUADS, SLICES = MLA_ABSORB_QUERY_SLICES;
shared vec4 parts[SLICES * QUADS];

void main() {
  const uint thread = gl_LocalInvocationIndex;
  const uint head = p.first_head + gl_WorkGroupID.y, t = gl_WorkGroupID.z;
  const uint q_row = p.q_offset + t * p.q_row_stride + head * p.q_head_stride;
  const uint y_row = p.y_offset + t * p.y_row_stride + head * p.y_head_stride;

  const uint first = gl_WorkGroupID.x * QUADS * 4u;
  const uint quad = first + thread % QUADS * 4u;
  vec4 part = vec4(0.0);
  if (quad < p.latent) {
    const uint weight = p.kv_b_offset + gl_WorkGroupID.y * p.rows_per_head * p.kv_b_row_stride + quad;
    for (uint n = thread / QUADS; n < p.nope; n += SLICES)
      part += float(q[q_row + n]) * load_weight4(weight + n * p.kv_b_row_stride);
  }
  parts[thread] = part;
  barrier();

  const uint column = first + thread;
  if (thread < QUADS * 4u && column < p.latent) {
    float sum = 0.0;
    for (uint i = 0u; i < SLICES; ++i)
      sum += parts[i * QUADS + thread / 4u][thread % 4u];
    y[y_row + column] = to_act(sum);
  }
  if (gl_WorkGroupID.x == 0u)
    for (uint i = thread; i < p.rope; i += MLA_ABSORB_QUERY_THREADS)
      y[y_row + p.latent + i] = q[q_row + p.nope + i];
}
