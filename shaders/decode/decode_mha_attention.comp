// One token's multi-head attention: rotates its query and key, caches key and value, and attends: y[h] = softmax(q[h] k[h]^T scale) v[h].
//
// Shapes    q: qkv [3 * heads * width] f32: queries, keys, values    keys, values [capacity, heads * width] CACHE
//           rope_table [positions, width / 2, 2] f32    state: see decode_state.h    y [heads, width] f32
//           parts [heads, SPLITS, width], limits [heads, SPLITS, 2] f32 and counter [heads] u32, on the way; counter 0 before and after
// Work      splits along x, heads along y, conversations along z; see attention_core.glsl and conversation.glsl. The token's own key and value come from shared memory, rounded as the cache
//           rounds them; the split whose tile they are in writes them to the cache, so no level of its own is needed for that
// Numbers   f32; pairs (i, i + width / 2) are rotated, as rope.comp does
// Variants  CACHE = f32 | f16 | q8_0, BATCHED
// Source    transformers 4.38.2 modeling_llama.py, LlamaAttention
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_attention.h"
#include "decode/conversation.glsl"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { DecodeAttentionParams p; };
layout(binding = DECODE_ATTENTION_Q) readonly buffer Q { float q[]; };
#ifdef CACHE_q8_0
layout(binding = DECODE_ATTENTION_KEYS) buffer Keys { uvec2 quads[]; } keys CACHES;
layout(binding = DECODE_ATTENTION_KEY_SCALES) buffer KeyScales { uint words[]; } key_scales CACHES;
layout(binding = DECODE_ATTENTION_VALUES) buffer Values { uvec2 quads[]; } values CACHES;
layout(binding = DECODE_ATTENTION_VALUE_SCALES) buffer ValueScales { uint words[]; } value_scales CACHES;
#else
layout(binding = DECODE_ATTENTION_KEYS) buffer Keys { uvec4 quads[]; } keys CACHES;
layout(binding = DECODE_ATTENTION_KEYS) buffer KeyElements { act_t elements[]; } key_rows CACHES;
layout(binding = DECODE_ATTENTION_VALUES) buffer Values { uvec4 quads[]; } values CACHES;
layout(binding = DECODE_ATTENTION_VALUES) buffer ValueElements { act_t elements[]; } value_rows CACHES;
#endif
layout(binding = DECODE_ATTENTION_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_ATTENTION_PARTS) coherent buffer Parts { vec4 part_quads[]; };
layout(binding = DECODE_ATTENTION_LIMITS) coherent buffer Limits { float limits[]; };
layout(binding = DECODE_ATTENTION_COUNTER) coherent buffer Counter { uint counter[]; };
layout(binding = DECODE_ATTENTION_ROPE) readonly buffer Rope { float rope_table[]; };
layout(binding = DECODE_ATTENTION_Y) writeonly buffer Y { float y[]; };
#include "decode/attention_core.glsl"

uint position;
shared float new_query[DECODE_ATTENTION_MAX_HEAD], new_key[DECODE_ATTENTION_MAX_HEAD], new_value[DECODE_ATTENTION_MAX_HEAD];

#define SHARED_QUAD(array, at) vec4(array[at], array[(at) + 1u], array[(at) + 2u], array[(at) + 3u])

#if defined(CACHE_q8_0)
const uint BLOCKS = (KEY_CHUNKS * 8u + CACHE_BLOCK - 1u) / CACHE_BLOCK;
shared float new_scales[2u * (DECODE_ATTENTION_MAX_HEAD / CACHE_BLOCK)];  // of the key's blocks, then of the value's

#define NEW_CHUNK(array, chunk, scale) \
  ActChunk(cache_codes(SHARED_QUAD(array, (chunk) * 8u), SHARED_QUAD(array, (chunk) * 8u + 4u), scale), scale)
#define NEW_KEY(chunk) NEW_CHUNK(new_key, chunk, new_scales[(chunk) * 8u / CACHE_BLOCK])
#define NEW_VALUE(chunk) NEW_CHUNK(new_value, chunk, new_scales[BLOCKS + (chunk) * 8u / CACHE_BLOCK])
#else
#ifdef ACT_f16
uvec4 pack_acts(vec4 low, vec4 high) {
  low = clamp(low, -65504.0, 65504.0);
  high = clamp(high, -65504.0, 65504.0);
  return uvec4(packHalf2x16(low.xy), packHalf2x16(low.zw), packHalf2x16(high.xy), packHalf2x16(high.zw));
}
#else
ActChunk pack_acts(vec4 low, vec4 high) { return ActChunk(floatBitsToUint(low), floatBitsToUint(high)); }
#endif
#define NEW_KEY(chunk) pack_acts(SHARED_QUAD(new_key, (chunk) * 8u), SHARED_QUAD(new_key, (chunk) * 8u + 4u))
#define NEW_VALUE(chunk) pack_acts(SHARED_QUAD(new_value, (chunk) * 8u), SHARED_QUAD(new_value, (chunk) * 8u + 4u))
#endif

void load_query8(uint h, uint chunk, out vec4 low, out vec4 high) {
  low = SHARED_QUAD(new_query, chunk * 8u);
  high = SHARED_QUAD(new_query, chunk * 8u + 4u);
}
ActChunk load_key(uint h, uint s, uint chunk) {
  if (s == position)
    return NEW_KEY(chunk);
  return LOAD_CACHE_CHUNK(OWN(keys).quads, OWN(key_scales).words, s * p.row_chunks + gl_WorkGroupID.y * KEY_CHUNKS + chunk, s * p.heads + gl_WorkGroupID.y, chunk);
}
ActChunk load_value(uint h, uint s, uint chunk, ActChunk key) {
  if (s == position)
    return NEW_VALUE(chunk);
  return LOAD_CACHE_CHUNK(OWN(values).quads, OWN(value_scales).words, s * p.row_chunks + gl_WorkGroupID.y * KEY_CHUNKS + chunk, s * p.heads + gl_WorkGroupID.y, chunk);
}

// Rotated query and key, and value, to shared memory.
void load_token(uint head) {
  const uint width = p.q_width, half_width = width / 2u, all = p.heads * width;
  for (uint i = gl_LocalInvocationIndex; i < half_width; i += THREADS) {
    const uint angle = (position * half_width + i) * 2u, at = CONVERSATION * p.q_stride + head * width + i;
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

#ifdef CACHE_q8_0
// The scales of what load_token() has put to shared memory. Invocations begin at different elements of their blocks: at different banks.
void scale_token() {
  for (uint i = gl_LocalInvocationIndex; i < 2u * BLOCKS; i += THREADS) {
    const uint block = i % BLOCKS;
    float largest = 0.0;
    [[unroll]] for (uint e = 0u; e < CACHE_BLOCK; ++e) {
      const uint d = block * CACHE_BLOCK + (e + block) % CACHE_BLOCK;
      if (d < KEY_CHUNKS * 8u)
        largest = max(largest, abs(i < BLOCKS ? new_key[d] : new_value[d]));
    }
    new_scales[i] = cache_scale(largest);
  }
  barrier();
}

void cache_token(uint head) {
  scale_token();
  const uint segment = position * p.heads + head, words = CACHE_SCALE_WORDS(KEY_CHUNKS);
  for (uint i = gl_LocalInvocationIndex; i < KEY_CHUNKS; i += THREADS) {
    OWN(keys).quads[segment * KEY_CHUNKS + i] = NEW_KEY(i).codes;
    OWN(values).quads[segment * KEY_CHUNKS + i] = NEW_VALUE(i).codes;
  }
  for (uint i = gl_LocalInvocationIndex; i < words; i += THREADS) {
    const bool whole = 2u * i + 1u < BLOCKS;
    OWN(key_scales).words[segment * words + i] = packHalf2x16(vec2(new_scales[2u * i], whole ? new_scales[2u * i + 1u] : 0.0));
    OWN(value_scales).words[segment * words + i] = packHalf2x16(vec2(new_scales[BLOCKS + 2u * i], whole ? new_scales[BLOCKS + 2u * i + 1u] : 0.0));
  }
}
#else
void cache_token(uint head) {
  const uint row = position * p.heads * p.q_width + head * p.q_width;
  for (uint i = gl_LocalInvocationIndex; i < p.q_width; i += THREADS) {
    OWN(key_rows).elements[row + i] = to_act(new_key[i]);
    OWN(value_rows).elements[row + i] = to_act(new_value[i]);
  }
}
#endif

void main() {
  const uint head = gl_WorkGroupID.y, split = gl_WorkGroupID.x, row = CONVERSATION * p.heads + head;
  position = STATE_POSITION;
  const uint splits = active_splits(position + 1u);
  if (split >= splits)
    return;
  load_token(head);
  if (split == position / (GROUPS * KEYS) % splits)
    cache_token(head);
  if (attend(split, row, 1u, row, position + 1u))
    for (uint i = gl_LocalInvocationIndex; i < p.value_width; i += THREADS)
      y[CONVERSATION * p.y_stride + head * p.value_width + i] = attended[i / 4u][i % 4u];
}
