// y = softmax(q k^T * scale) v for each batch and head, for many queries; causal or not.
//
// Shapes    q [batch, T, heads, depth]    k [batch, S, heads, depth]    v [batch, S, heads, value_width]    y like v with T; all ACT
// Work      one workgroup 64 queries of a head; see attention/tiled.glsl
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 siglip_vit.py, Attention.forward; transformers 4.38.2 modeling_llama.py, LlamaAttention.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { AttentionParams p; };
layout(binding = ATTENTION_Q) readonly buffer Q { act_t q[]; };
layout(binding = ATTENTION_K) readonly buffer K { act_t k[]; };
layout(binding = ATTENTION_V) readonly buffer V { act_t v[]; };
layout(binding = ATTENTION_Y) writeonly buffer Y { act_t y[]; };

const uint NO_MASK = 0x7fffffffu;
uint q_head, k_head, v_head, y_head;  // where this workgroup's batch and head start

float load_q(uint t, uint d) { return float(q[q_head + t * p.q_row_stride + d]); }
float load_k(uint s, uint d) { return float(k[k_head + s * p.k_row_stride + d]); }
float load_v(uint s, uint c) { return float(v[v_head + s * p.v_row_stride + c]); }
void store_y(uint t, uint c, float value) { y[y_head + t * p.y_row_stride + c] = to_act(value); }

#include "attention/tiled.glsl"

void main() {
  const uint head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z;
  q_head = p.q_offset + batch * p.q_batch_stride + head * p.q_head_stride;
  k_head = p.k_offset + batch * p.k_batch_stride + head * p.k_head_stride;
  v_head = p.v_offset + batch * p.v_batch_stride + head * p.v_head_stride;
  y_head = p.y_offset + batch * p.y_batch_stride + head * p.y_head_stride;
  attention_tiled(p.query_count, p.key_count, p.causal != 0u ? p.first_position + 1u : NO_MASK, p.depth, p.value_width);
}
