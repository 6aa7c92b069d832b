// y = softmax(q k^T * scale) v, causal, for each head: key s is [kv[s, head, :nope], k_rope[s]], value s is kv[s, head, nope:].
//
// Shapes    q [T, heads, nope + rope]    kv [S, heads, nope + value_width]    k_rope [S, rope]    y [T, heads, value_width]; all ACT
// Work      one workgroup 64 queries of a head; see attention/tiled.glsl
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention, in its naive form
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mla_attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { MlaAttentionParams p; };
layout(binding = MLA_ATTENTION_Q) readonly buffer Q { act_t q[]; };
layout(binding = MLA_ATTENTION_KV) readonly buffer Kv { act_t kv[]; };
layout(binding = MLA_ATTENTION_K_ROPE) readonly buffer KRope { act_t k_rope[]; };
layout(binding = MLA_ATTENTION_Y) writeonly buffer Y { act_t y[]; };

uint q_head, kv_head, y_head;  // where this workgroup's head starts

float load_q(uint t, uint d) { return float(q[q_head + t * p.q_row_stride + d]); }
float load_k(uint s, uint d) {
  if (d < p.nope)
    return float(kv[kv_head + s * p.kv_row_stride + d]);
  return float(k_rope[p.k_rope_offset + s * p.k_rope_row_stride + d - p.nope]);
}
float load_v(uint s, uint c) { return float(kv[kv_head + s * p.kv_row_stride + p.nope + c]); }
void store_y(uint t, uint c, float value) { y[y_head + t * p.y_row_stride + c] = to_act(value); }

#include "attention/tiled.glsl"

void main() {
  const uint head = gl_WorkGroupID.y;
  q_head = p.q_offset + head * p.q_head_stride;
  kv_head = p.kv_offset + head * p.kv_head_stride;
  y_head = p.y_offset + head * p.y_head_stride;
  attention_tiled(p.query_count, p.key_count, p.first_position + 1u, p.nope + p.rope, p.value_width);
}
