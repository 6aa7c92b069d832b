// y = softmax(q cache^T * scale) cache[:, :value_width], causal, for each head; all heads share the cache.
//
// Shapes    q [T, heads, depth]    cache [S, depth]    y [T, heads, value_width]; all ACT
// Work      one workgroup a query and head; see attention/row.glsl
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mla_decode_attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { MlaDecodeAttentionParams p; };
layout(binding = MLA_DECODE_ATTENTION_Q) readonly buffer Q { act_t q[]; };
layout(binding = MLA_DECODE_ATTENTION_CACHE) readonly buffer Cache { act_t cache[]; };
layout(binding = MLA_DECODE_ATTENTION_Y) writeonly buffer Y { act_t y[]; };

uint q_head, y_head;  // where this workgroup's head starts

float load_q(uint t, uint d) { return float(q[q_head + t * p.q_row_stride + d]); }
float load_k(uint s, uint d) { return float(cache[p.cache_offset + s * p.cache_row_stride + d]); }
float load_v(uint s, uint c) { return load_k(s, c); }
void store_y(uint t, uint c, float value) { y[y_head + t * p.y_row_stride + c] = to_act(value); }

#include "attention/row.glsl"

void main() {
  const uint t = gl_WorkGroupID.x, head = gl_WorkGroupID.y;
  q_head = p.q_offset + head * p.q_head_stride;
  y_head = p.y_offset + head * p.y_head_stride;
  attention_row(t, p.first_position + t + 1u, p.depth, p.value_width);
}
