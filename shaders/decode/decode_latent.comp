// One token's row of the cache: [rms_norm(kv_a[:latent]), rope(kv_a[latent:])], at the position in the state.
//
// Shapes    kv_a [latent + rope] f32    norm [latent] f32    rope_table [positions, rope / 2, 2] f32    cache [capacity, latent + rope] ACT
// Work      one workgroup
// Numbers   f32; rounded once, at the store
// Needs     subgroup arithmetic, any subgroup size
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (kv_a_layernorm, apply_rotary_pos_emb)
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/decode_latent.h"
#include "interface/decode_state.h"
#include "common/act_type.glsl"
#include "common/reduce.glsl"

layout(local_size_x = DECODE_LATENT_THREADS) in;
layout(push_constant) uniform Push { DecodeLatentParams p; };
layout(binding = DECODE_LATENT_KV_A) readonly buffer KvA { float kv_a[]; };
layout(binding = DECODE_LATENT_NORM) readonly buffer Norm { float norm[]; };
layout(binding = DECODE_LATENT_ROPE) readonly buffer Rope { float rope_table[]; };
layout(binding = DECODE_LATENT_STATE) readonly buffer State { uint state[]; };
layout(binding = DECODE_LATENT_CACHE) writeonly buffer Cache { act_t cache[]; };

void main() {
  const uint position = state[DECODE_STATE_POSITION];
  const uint row = position * (p.latent + p.rope);
  for (uint i = gl_LocalInvocationIndex; i < p.rope / 2u; i += DECODE_LATENT_THREADS) {
    const uint angle = (position * (p.rope / 2u) + i) * 2u;
    const float cosine = rope_table[angle], sine = rope_table[angle + 1u];
    const float a = kv_a[p.latent + 2u * i], b = kv_a[p.latent + 2u * i + 1u];
    cache[row + p.latent + 2u * i] = to_act(a * cosine - b * sine);
    cache[row + p.latent + 2u * i + 1u] = to_act(b * cosine + a * sine);
  }
  float sum = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.latent; i += DECODE_LATENT_THREADS)
    sum += kv_a[i] * kv_a[i];
  const float scale = inversesqrt(workgroup_sum(sum) / float(p.latent) + p.eps);
  for (uint i = gl_LocalInvocationIndex; i < p.latent; i += DECODE_LATENT_THREADS)
    cache[row + i] = to_act(kv_a[i] * scale * norm[i]);
}
