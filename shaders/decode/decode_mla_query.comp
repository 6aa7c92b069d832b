// One token's queries as they meet the cache: y[h, c] = sum over n of q[h, n] W[h][n, c], then rope(q[h, nope:]).
//
// Shapes    q [heads, nope + rope] f32    kv_b [heads * rows_per_head, latent] WEIGHT; W[h] its first nope rows of head h
//           rope_table [positions, rope / 2, 2] f32    state: see decode_state.h    y [heads, latent + rope] f32 or, with HALF_Y, f16
// Work      one workgroup 64 columns of a head: 8 invocations side by side times 32 slices of n. With BATCHED for TOKENS conversations, of which each
//           multiplies what is loaded of W; groups of them along z
// Numbers   f32; pairs of neighbours are rotated, as rope.comp does
// Variants  WEIGHT, BATCHED
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (q_nope times W_UK), apply_rotary_pos_emb
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/decode_mla_query.h"
#include "decode/conversation.glsl"

layout(local_size_x = DECODE_MLA_QUERY_THREADS) in;
layout(push_constant) uniform Push { DecodeMlaQueryParams p; };
layout(binding = DECODE_MLA_QUERY_Q) readonly buffer Q { float q[]; };
layout(binding = DECODE_MLA_QUERY_KV_B) readonly buffer KvB { uvec4 weight_quads[]; };
layout(binding = DECODE_MLA_QUERY_ROPE) readonly buffer Rope { float rope_table[]; };
layout(binding = DECODE_MLA_QUERY_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_MLA_QUERY_Y) writeonly buffer Y { vec2 y_pairs[]; };
layout(binding = DECODE_MLA_QUERY_Y) writeonly buffer HalfY { uint y_half_pairs[]; };
layout(constant_id = 0) const bool HALF_Y = false;
#ifdef BATCHED
layout(constant_id = 1) const uint TOKENS = 4u;
#else
const uint TOKENS = 1u;
#endif
#define VL2_WEIGHT_CHUNKS
#include "common/weight.glsl"

const uint SIDE = DECODE_MLA_QUERY_CHUNKS, SLICES = DECODE_MLA_QUERY_SLICES;
const uint AT_ONCE = 4u;                   // rows in flight
shared vec4 parts[SLICES * SIDE * 2u];

void store_pair(uint at, vec2 values) {
  if (HALF_Y)
    y_half_pairs[at] = packHalf2x16(clamp(values, -65504.0, 65504.0));
  else
    y_pairs[at] = values;
}

// Beyond the last: the last again, which finds the same.
uint conversation_of(uint token) {
#ifdef BATCHED
  return min(gl_WorkGroupID.z * TOKENS + token, p.conversations - 1u);
#else
  return 0u;
#endif
}

void rotate(uint conversation, uint q_head, uint y_head) {
  const uint position = state[conversation * DECODE_STATE_PITCH + DECODE_STATE_POSITION];
  for (uint i = gl_LocalInvocationIndex; i < p.rope / 2u; i += DECODE_MLA_QUERY_THREADS) {
    const uint angle = (position * (p.rope / 2u) + i) * 2u;
    const float cosine = rope_table[angle], sine = rope_table[angle + 1u];
    const float a = q[q_head + p.nope + 2u * i], b = q[q_head + p.nope + 2u * i + 1u];
    store_pair((y_head + p.latent) / 2u + i, vec2(a * cosine - b * sine, b * cosine + a * sine));
  }
}

// Adds up what the slices found for a conversation.
void finish(uint conversation, uint q_head, uint y_head, vec4 low_sum, vec4 high_sum) {
  const uint thread = gl_LocalInvocationIndex, pair = gl_WorkGroupID.x * SIDE * 4u + thread;
  parts[thread * 2u] = low_sum;
  parts[thread * 2u + 1u] = high_sum;
  barrier();
  if (thread < SIDE * 4u && pair * 2u < p.latent) {
    vec2 sum = vec2(0.0);
    [[unroll]] for (uint slice = 0u; slice < SLICES; ++slice) {
      const vec4 quad = parts[slice * SIDE * 2u + thread / 2u];
      sum += thread % 2u == 0u ? quad.xy : quad.zw;
    }
    store_pair(y_head / 2u + pair, sum);
  }
  if (gl_WorkGroupID.x == 0u)
    rotate(conversation, q_head, y_head);
}

void main() {
  const uint thread = gl_LocalInvocationIndex, head = gl_WorkGroupID.y;
  const uint chunk = min(gl_WorkGroupID.x * SIDE + thread % SIDE, p.latent / 8u - 1u);
  const uint weight = head * p.rows_per_head * p.row_chunks + chunk;
  uint q_heads[TOKENS], y_heads[TOKENS];
  vec4 low_sums[TOKENS], high_sums[TOKENS];
  [[unroll]] for (uint t = 0u; t < TOKENS; ++t) {
    q_heads[t] = conversation_of(t) * p.q_stride + head * (p.nope + p.rope);
    y_heads[t] = conversation_of(t) * p.y_stride + head * (p.latent + p.rope);
    low_sums[t] = high_sums[t] = vec4(0.0);
  }

  for (uint base = thread / SIDE; base < p.nope; base += SLICES * AT_ONCE) {
    WeightChunk chunks[AT_ONCE];
    [[unroll]] for (uint i = 0u; i < AT_ONCE; ++i)
      chunks[i] = load_weight_chunk(weight + min(base + i * SLICES, p.nope - 1u) * p.row_chunks);
    [[unroll]] for (uint i = 0u; i < AT_ONCE; ++i) {
      const uint n = base + i * SLICES;
      vec4 low, high;
      unpack_weights(chunks[i], low, high);
      [[unroll]] for (uint t = 0u; t < TOKENS; ++t) {
        const float factor = n < p.nope ? q[q_heads[t] + min(n, p.nope - 1u)] : 0.0;
        low_sums[t] += factor * low;
        high_sums[t] += factor * high;
      }
    }
  }

#ifdef BATCHED
  [[unroll]] for (uint t = 0u; t < TOKENS; ++t) {
    if (t > 0u)
      barrier();
    finish(conversation_of(t), q_heads[t], y_heads[t], low_sums[t], high_sums[t]);
  }
#else
  finish(0u, q_heads[0], y_heads[0], low_sums[0], high_sums[0]);  // no loop: with a barrier in one SwiftShader takes gigabytes and minutes
#endif
}
