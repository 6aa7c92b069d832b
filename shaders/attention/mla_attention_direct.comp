// y = softmax(q k^T * scale) v, causal, for each head on a CPU driver: key s is [kv[s, head, :nope], k_rope[s]], value s is kv[s, head, nope:].
//
// Shapes    q [T, heads, nope + rope]    kv [S, heads, nope + value_width]    k_rope [S, rope]    y [T, heads, value_width]; all ACT
//           all offsets and strides of q, kv and k_rope, and all widths, are multiples of 4
// Work      one workgroup, of one subgroup, a block of queries of a head; see attention/direct.glsl
// Needs     subgroup ballot and arithmetic; workgroups as large as a subgroup
// Variants  ACT = f32 | f16
// Source    as mla_attention.comp, which computes the same
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mla_attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { MlaAttentionParams p; };
layout(binding = MLA_ATTENTION_Q) readonly buffer Q { act4_t q[]; };
layout(binding = MLA_ATTENTION_KV) readonly buffer Kv { act4_t kv4[]; };
layout(binding = MLA_ATTENTION_KV) readonly buffer Kv1 { act_t kv[]; };
layout(binding = MLA_ATTENTION_K_ROPE) readonly buffer KRope { act4_t k_rope[]; };
layout(binding = MLA_ATTENTION_Y) writeonly buffer Y { act_t y[]; };

uint q_head, kv_head, y_head;  // where this workgroup's head starts

vec4 load_q4(uint t, uint d) { return vec4(q[(q_head + t * p.q_row_stride + d) >> 2]); }
vec4 load_k4(uint s, uint d) { return vec4(kv4[(kv_head + s * p.kv_row_stride + d) >> 2]); }
vec4 load_k4_rest(uint s, uint d) { return vec4(k_rope[(p.k_rope_offset + s * p.k_rope_row_stride + d - p.nope) >> 2]); }
vec4 load_v4(uint s, uint c) { return vec4(kv4[(kv_head + s * p.kv_row_stride + p.nope + c) >> 2]); }
float load_v(uint s, uint c) { return float(kv[kv_head + s * p.kv_row_stride + p.nope + c]); }
void store_y(uint t, uint c, float value) { y[y_head + t * p.y_row_stride + c] = to_act(value); }

#define KEY_PARTS 2
#include "attention/direct.glsl"

void main() {
  const uint head = gl_WorkGroupID.y;
  q_head = p.q_offset + head * p.q_head_stride;
  kv_head = p.kv_offset + head * p.kv_head_stride;
  y_head = p.y_offset + head * p.y_head_stride;
  attention_direct(p.query_count, p.key_count, p.first_position + 1u, p.nope, p.nope + p.rope, p.value_width);
}
