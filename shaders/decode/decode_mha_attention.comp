// One token's multi-head attention: rotates its query and key, caches key and value, and attends: y[h] = softmax(q[h] k[h]^T scale) v[h].
//
// Shapes    q: qkv [3 * heads * width] f32: queries, keys, values    keys, values [capacity, heads * width] ACT
//           rope_table [positions, width / 2, 2] f32    state: see decode_state.h    y [heads, width] f32
//           parts [heads, SPLITS, width], limits [heads, SPLITS, 2] f32 and counter [heads] u32, on the way; counter 0 before and after
// Work      splits along x, heads along y; see attention_core.glsl. The token's own key and value come from shared memory, rounded as the cache
//           rounds them; the split whose tile they are in writes them to the cache, so no level of its own is needed for that
// Numbers   f32; pairs (i, i + width / 2) are rotated, as rope.comp does
// Variants  ACT = f32 | f16
// Source    transformers 4.38.2 modeling_llama.py, LlamaAttention
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_attention.h"
#include "interface/decode_state.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { DecodeAttentionParams p; };
layout(binding = DECODE_ATTENTION_Q) readonly buffer Q { float q[]; };
layout(binding = DECODE_ATTENTION_KEYS) buffer Keys { uvec4 key_quads[]; };
layout(binding = DECODE_ATTENTION_KEYS) buffer KeyElements { act_t key_elements[]; };
layout(binding = DECODE_ATTENTION_VALUES) buffer Values { uvec4 value_quads[]; };
layout(binding = DECODE_ATTENTION_VALUES) buffer ValueElements { act_t value_elements[]; };
layout(binding = DECODE_ATTENTION_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_ATTENTION_PARTS) coherent buffer Parts { vec4 part_quads[]; };
layout(binding = DECODE_ATTENTION_LIMITS) coherent buffer Limits { float limits[]; };
layout(binding = DECODE_ATTENTION_COUNTER) coherent buffer Counter { uint counter[]; };
layout(binding = DECODE_ATTENTION_ROPE) readonly buffer Rope { float rope_table[]; };
layout(binding = DECODE_ATTENTION_Y) writeonly buffer Y { float y[]; };
#include "decode/attention_core.glsl"

uint position;
shared float new_query[DECODE_ATTENTION_MAX_HEAD], new_key[DECODE_ATTENTION_MAX_HEAD], new_value[DECODE_ATTENTION_MAX_HEAD];

#ifdef ACT_f16
uvec4 pack_acts(vec4 low, vec4 high) {
  low = clamp(low, -65504.0, 65504.0);
  high = clamp(high, -65504.0, 65504.0);
  return uvec4(packHalf2x16(low.xy), packHalf2x16(low.zw), packHalf2x16(high.xy), packHalf2x16(high.zw));
}
#else
ActChunk pack_acts(vec4 low, vec4 high) { return ActChunk(floatBitsToUint(low), floatBitsToUint(high)); }
#endif

#define SHARED_QUAD(array, at) vec4(array[at], array[(at) + 1u], array[(at) + 2u], array[(at) + 3u])

void load_query8(uint h, uint chunk, out vec4 low, out vec4 high) {
  low = SHARED_QUAD(new_query, chunk * 8u);
  high = SHARED_QUAD(new_query, chunk * 8u + 4u);
}
ActChunk load_key(uint h, uint s, uint chunk) {
  if (s == position)
    return pack_acts(SHARED_QUAD(new_key, chunk * 8u), SHARED_QUAD(new_key, chunk * 8u + 4u));
  return LOAD_ACT_CHUNK(key_quads, s * p.row_chunks + gl_WorkGroupID.y * KEY_CHUNKS + chunk);
}
ActChunk load_value(uint h, uint s, uint chunk, ActChunk key) {
  if (s == position)
    return pack_acts(SHARED_QUAD(new_value, chunk * 8u), SHARED_QUAD(new_value, chunk * 8u + 4u));
  return LOAD_ACT_CHUNK(value_quads, s * p.row_chunks + gl_WorkGroupID.y * KEY_CHUNKS + chunk);
}

// Rotated query and key, and value, to shared memory.
void load_token(uint head) {
  const uint width = p.q_width, half_width = width / 2u, all = p.heads * width;
  for (uint i = gl_LocalInvocationIndex; i < half_width; i += THREADS) {
    const uint angle = (position * half_width + i) * 2u, at = head * width + i;
    const float cosine = rope_table[angle], sine = rope_table[angle + 1u];
    const float qa = q[at], qb = q[at + half_width], ka = q[all + at], kb = q[all + at + half_width];
    new_query[i] = qa * cosine - qb * sine;
    new_query[i + half_width] = qb * cosine + qa * sine;
    new_key[i] = ka * cosine - kb * sine;
    new_key[i + half_width] = kb * cosine + ka * sine;
    new_value[i] = q[2u * all + at];
    new_value[i + half_width] = q[2u * all + at + half_width];
  }
  barrier();
}

void main() {
  const uint head = gl_WorkGroupID.y, split = gl_WorkGroupID.x;
  position = state[DECODE_STATE_POSITION];
  const uint splits = active_splits(position + 1u);
  if (split >= splits)
    return;
  load_token(head);
  if (split == position / (GROUPS * KEYS) % splits) {
    const uint row = position * p.heads * p.q_width + head * p.q_width;
    for (uint i = gl_LocalInvocationIndex; i < p.q_width; i += THREADS) {
      key_elements[row + i] = to_act(new_key[i]);
      value_elements[row + i] = to_act(new_value[i]);
    }
  }
  if (attend(split, head, 1u, head, position + 1u))
    for (uint i = gl_LocalInvocationIndex; i < p.value_width; i += THREADS)
      y[head * p.value_width + i] = attended[i / 4u][i % 4u];
}
