// One token's row of the cache: [rms_norm(kv_a[:latent]), rope(kv_a[latent:])], at the position in the state.
//
// Shapes    kv_a [latent + rope] f32    norm [latent] f32    rope_table [positions, rope / 2, 2] f32    cache [capacity, latent + rope] CACHE
// Work      one workgroup a conversation; see conversation.glsl
// Numbers   f32; rounded once, at the store
// Needs     subgroup arithmetic, any subgroup size
// Variants  CACHE = f32 | f16 | q8_0, BATCHED
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (kv_a_layernorm, apply_rotary_pos_emb)
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_latent.h"
#include "decode/conversation.glsl"
#ifdef CACHE_q8_0
#include "common/cache_codes.glsl"
#else
#include "common/act_type.glsl"
#endif
#include "common/reduce.glsl"

layout(local_size_x = DECODE_LATENT_THREADS) in;
layout(push_constant) uniform Push { DecodeLatentParams p; };
layout(binding = DECODE_LATENT_KV_A) readonly buffer KvA { float kv_a[]; };
layout(binding = DECODE_LATENT_NORM) readonly buffer Norm { float norm[]; };
layout(binding = DECODE_LATENT_ROPE) readonly buffer Rope { float rope_table[]; };
layout(binding = DECODE_LATENT_STATE) readonly buffer State { uint state[]; };
#ifdef CACHE_q8_0
layout(binding = DECODE_LATENT_CACHE) writeonly buffer Cache { uvec2 codes8[]; } caches CACHES;
layout(binding = DECODE_LATENT_SCALES) writeonly buffer Scales { uint words[]; } scales CACHES;

shared float new_row[DECODE_LATENT_MAX_WIDTH], new_scales[DECODE_LATENT_MAX_WIDTH / CACHE_BLOCK + 1u];

// Invocations begin at different elements of their blocks: at different banks.
void cache_row(uint position) {
  const uint width = p.latent + p.rope, words = CACHE_SCALE_WORDS(width / 8u);
  barrier();
  for (uint block = gl_LocalInvocationIndex; block < 2u * words; block += DECODE_LATENT_THREADS) {
    float largest = 0.0;
    for (uint e = 0u; e < CACHE_BLOCK; ++e) {
      const uint d = block * CACHE_BLOCK + (e + block) % CACHE_BLOCK;
      if (d < width)
        largest = max(largest, abs(new_row[d]));
    }
    new_scales[block] = cache_scale(largest);
  }
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < width / 8u; i += DECODE_LATENT_THREADS) {
    const uint d = i * 8u;
    const vec4 low = vec4(new_row[d], new_row[d + 1u], new_row[d + 2u], new_row[d + 3u]);
    const vec4 high = vec4(new_row[d + 4u], new_row[d + 5u], new_row[d + 6u], new_row[d + 7u]);
    OWN(caches).codes8[position * (width / 8u) + i] = cache_codes(low, high, new_scales[d / CACHE_BLOCK]);
  }
  for (uint i = gl_LocalInvocationIndex; i < words; i += DECODE_LATENT_THREADS)
    OWN(scales).words[position * words + i] = packHalf2x16(vec2(new_scales[2u * i], new_scales[2u * i + 1u]));
}
#define PUT(at, value) new_row[at] = value
#else
layout(binding = DECODE_LATENT_CACHE) writeonly buffer Cache { act_t elements[]; } caches CACHES;
#define PUT(at, value) OWN(caches).elements[row + at] = to_act(value)
#endif

void main() {
  const uint position = STATE_POSITION, first = CONVERSATION * p.kv_a_stride;
#ifndef CACHE_q8_0
  const uint row = position * (p.latent + p.rope);
#endif
  for (uint i = gl_LocalInvocationIndex; i < p.rope / 2u; i += DECODE_LATENT_THREADS) {
    const uint angle = (position * (p.rope / 2u) + i) * 2u;
    const float cosine = rope_table[angle], sine = rope_table[angle + 1u];
    const float a = kv_a[first + p.latent + 2u * i], b = kv_a[first + p.latent + 2u * i + 1u];
    PUT(p.latent + 2u * i, a * cosine - b * sine);
    PUT(p.latent + 2u * i + 1u, b * cosine + a * sine);
  }
  float sum = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.latent; i += DECODE_LATENT_THREADS)
    sum += kv_a[first + i] * kv_a[first + i];
  const float scale = inversesqrt(workgroup_sum(sum) / float(p.latent) + p.eps);
  for (uint i = gl_LocalInvocationIndex; i < p.latent; i += DECODE_LATENT_THREADS)
    PUT(i, kv_a[first + i] * scale * norm[i]);
#ifdef CACHE_q8_0
  cache_row(position);
#endif
}
