// One token's attention over the latents, then each head's values from its latent: y[h, i] = W[h][i] . (softmax(q[h] cache^T scale) cache[:, :latent]).
//
// Shapes    q [heads, latent + rope] f32    cache [capacity, latent + rope] CACHE    state: see decode_state.h
//           parts [heads, SPLITS, latent], limits [heads, SPLITS, 2] f32 and counter [heads] u32, on the way; counter 0 before and after
//           kv_b [heads * rows_per_head, latent] WEIGHT; W[h] its last value_width rows of head h    y [heads, value_width] f32,
//           or with VALUES_APART [heads, latent]
// Work      splits along x, HEADS heads a workgroup along y, conversations along z; see attention_core.glsl and conversation.glsl. The last to arrive multiplies by W: 8 invocations a row
// Numbers   f32
// Variants  CACHE = f32 | f16 | q8_0, WEIGHT, BATCHED
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward, in its absorbed form
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_attention.h"
#include "decode/conversation.glsl"

layout(push_constant) uniform Push { DecodeAttentionParams p; };
layout(binding = DECODE_ATTENTION_Q) readonly buffer Q { vec4 q_quads[]; };
#ifdef CACHE_q8_0
layout(binding = DECODE_ATTENTION_KEYS) readonly buffer Cache { uvec2 quads[]; } caches CACHES;
layout(binding = DECODE_ATTENTION_KEY_SCALES) readonly buffer CacheScales { uint words[]; } scales CACHES;
#else
layout(binding = DECODE_ATTENTION_KEYS) readonly buffer Cache { uvec4 quads[]; } caches CACHES;
#endif
layout(binding = DECODE_ATTENTION_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_ATTENTION_PARTS) coherent buffer Parts { vec4 part_quads[]; };
layout(binding = DECODE_ATTENTION_LIMITS) coherent buffer Limits { float limits[]; };
layout(binding = DECODE_ATTENTION_COUNTER) coherent buffer Counter { uint counter[]; };
layout(binding = DECODE_ATTENTION_WEIGHT) readonly buffer Weight { uvec4 weight_quads[]; };
layout(binding = DECODE_ATTENTION_Y) writeonly buffer Y { float y[]; };
#define VL2_WEIGHT_CHUNKS
#include "common/weight.glsl"
#include "decode/attention_core.glsl"

uint first_head;

void load_query8(uint h, uint chunk, out vec4 low, out vec4 high) {
  const uint at = CONVERSATION * (p.q_stride / 4u) + (min(first_head + h, p.heads - 1u) * KEY_CHUNKS + chunk) * 2u;
  low = q_quads[at];
  high = q_quads[at + 1u];
}
ActChunk load_key(uint h, uint s, uint chunk) { return LOAD_CACHE_CHUNK(OWN(caches).quads, OWN(scales).words, s * p.row_chunks + chunk, s, chunk); }
ActChunk load_value(uint h, uint s, uint chunk, ActChunk key) { return key; }  // lanes beyond the values throw theirs away

layout(constant_id = 10) const bool VALUES_APART = false;  // y is the attended latent [heads, latent]; W is somebody else's
layout(constant_id = 11) const uint ROWS_AT_ONCE = 2u;     // of W, an invocation's

const uint ROW_LANES = DECODE_ATTENTION_WEIGHT_LANES, ROW_TURNS = (VALUE_CHUNKS + ROW_LANES - 1u) / ROW_LANES;

void expand_values(uint head_count) {
  const uint rows = head_count * p.value_width, lane = gl_LocalInvocationIndex % ROW_LANES, step = THREADS / ROW_LANES;
  if (gl_LocalInvocationIndex < step * ROW_LANES)
    for (uint first = gl_LocalInvocationIndex / ROW_LANES; first < rows; first += step * ROWS_AT_ONCE) {
      WeightChunk chunks[ROWS_AT_ONCE * ROW_TURNS];  // all of the rows in flight
      [[unroll]] for (uint r = 0u; r < ROWS_AT_ONCE; ++r) {
        const uint row = min(first + r * step, rows - 1u);
        const uint weight = ((first_head + row / p.value_width) * p.rows_per_head + p.first_value_row + row % p.value_width) * p.weight_row_chunks;
        [[unroll]] for (uint t = 0u; t < ROW_TURNS; ++t)
          chunks[r * ROW_TURNS + t] = load_weight_chunk(weight + min(t * ROW_LANES + lane, VALUE_CHUNKS - 1u));
      }
      [[unroll]] for (uint r = 0u; r < ROWS_AT_ONCE; ++r) {
        const uint row = min(first + r * step, rows - 1u), head = row / p.value_width * VALUE_CHUNKS;
        float sum = 0.0;
        [[unroll]] for (uint t = 0u; t < ROW_TURNS; ++t) {
          const uint c = t * ROW_LANES + lane, at = (head + min(c, VALUE_CHUNKS - 1u)) * 2u;
          const float part = weight_dot(chunks[r * ROW_TURNS + t], 0u, attended[at], attended[at + 1u]);
          sum += c < VALUE_CHUNKS ? part : 0.0;
        }
        parts[row * ROW_LANES + lane] = sum;  // beyond the last row: the last again, with the same number
      }
    }
  barrier();
  for (uint row = gl_LocalInvocationIndex; row < rows; row += THREADS) {
    float sum = 0.0;
    for (uint i = 0u; i < ROW_LANES; ++i)
      sum += parts[row * ROW_LANES + i];
    y[CONVERSATION * p.y_stride + first_head * p.value_width + row] = sum;
  }
}

void main() {
  first_head = gl_WorkGroupID.y * HEADS;
  const uint head_count = min(HEADS, p.heads - first_head), visible = STATE_POSITION + 1u;
  if (gl_WorkGroupID.x >= active_splits(visible))
    return;
  const uint conversation_row = CONVERSATION * p.heads;
  if (!attend(gl_WorkGroupID.x, conversation_row + first_head, head_count, conversation_row + gl_WorkGroupID.y, visible))
    return;
  if (!VALUES_APART) {
    expand_values(head_count);
    return;
  }
  for (uint i = gl_LocalInvocationIndex; i < head_count * VALUE_CHUNKS * 8u; i += THREADS)
    y[CONVERSATION * p.y_stride + first_head * VALUE_CHUNKS * 8u + i] = attended[i / 4u][i % 4u];
}
