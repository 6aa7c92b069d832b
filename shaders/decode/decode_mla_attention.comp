// One token's attention over the latents, then each head's values from its latent: y[h, i] = W[h][i] . (softmax(q[h] cache^T scale) cache[:, :latent]).
//
// Shapes    q [heads, latent + rope] f32    cache [capacity, latent + rope] ACT    state: see decode_state.h
//           parts [heads, SPLITS, latent], limits [heads, SPLITS, 2] f32 and counter [heads] u32, on the way; counter 0 before and after
//           kv_b [heads * rows_per_head, latent] WEIGHT; W[h] its last value_width rows of head h    y [heads, value_width] f32
// Work      splits along x, HEADS heads a workgroup along y; see attention_core.glsl. The last to arrive multiplies by W: 8 invocations a row
// Numbers   f32
// Variants  ACT = f32 | f16, WEIGHT
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward, in its absorbed form
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_attention.h"
#include "interface/decode_state.h"

layout(push_constant) uniform Push { DecodeAttentionParams p; };
layout(binding = DECODE_ATTENTION_Q) readonly buffer Q { vec4 q_quads[]; };
layout(binding = DECODE_ATTENTION_KEYS) readonly buffer Cache { uvec4 cache_quads[]; };
layout(binding = DECODE_ATTENTION_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_ATTENTION_PARTS) coherent buffer Parts { vec4 part_quads[]; };
layout(binding = DECODE_ATTENTION_LIMITS) coherent buffer Limits { float limits[]; };
layout(binding = DECODE_ATTENTION_COUNTER) coherent buffer Counter { uint counter[]; };
layout(binding = DECODE_ATTENTION_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_ATTENTION_Y) writeonly buffer Y { float y[]; };
#include "decode/weight_chunk.glsl"
#include "decode/attention_core.glsl"

uint first_head;

void load_query8(uint h, uint chunk, out vec4 low, out vec4 high) {
  const uint at = (min(first_head + h, p.heads - 1u) * KEY_CHUNKS + chunk) * 2u;
  low = q_quads[at];
  high = q_quads[at + 1u];
}
ActChunk load_key(uint h, uint s, uint chunk) { return LOAD_ACT_CHUNK(cache_quads, s * p.row_chunks + chunk); }
ActChunk load_value(uint h, uint s, uint chunk, ActChunk key) { return key; }  // lanes beyond the values throw theirs away

void expand_values(uint head_count) {
  const uint row_lanes = DECODE_ATTENTION_WEIGHT_LANES, rows = head_count * p.value_width;
  for (uint i = gl_LocalInvocationIndex; i < rows * row_lanes; i += THREADS) {
    const uint row = i / row_lanes, h = row / p.value_width;
    const uint weight = ((first_head + h) * p.rows_per_head + p.first_value_row + row % p.value_width) * p.weight_row_chunks;
    float sum = 0.0;
    [[unroll]] for (uint c0 = 0u; c0 < VALUE_CHUNKS; c0 += row_lanes) {
      const uint c = c0 + i % row_lanes;
      if (c < VALUE_CHUNKS) {
        const uint at = (h * VALUE_CHUNKS + c) * 2u;
        sum += weight_dot(load_weight_chunk(weight + c), attended[at], attended[at + 1u]);
      }
    }
    parts[i] = sum;
  }
  barrier();
  for (uint row = gl_LocalInvocationIndex; row < rows; row += THREADS) {
    float sum = 0.0;
    for (uint i = 0u; i < row_lanes; ++i)
      sum += parts[row * row_lanes + i];
    y[first_head * p.value_width + row] = sum;
  }
}

void main() {
  first_head = gl_WorkGroupID.y * HEADS;
  const uint head_count = min(HEADS, p.heads - first_head);
  if (attend(gl_WorkGroupID.x, first_head, head_count, gl_WorkGroupID.y, state[DECODE_STATE_POSITION] + 1u))
    expand_values(head_count);
}
