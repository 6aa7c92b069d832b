// y = softmax(q k^T * scale) v for each batch and head, for many queries on a CPU driver; causal or not.
//
// Shapes    q [batch, T, heads, depth]    k [batch, S, heads, depth]    v [batch, S, heads, value_width]    y like v with T; all ACT
//           all offsets and strides of q, k and v, and both widths, are multiples of 4
// Work      one workgroup, of one subgroup, a block of queries of a head; see attention/direct.glsl
// Needs     subgroup ballot and arithmetic; workgroups as large as a subgroup
// Variants  ACT = f32 | f16
// Source    as attention.comp, which computes the same
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { AttentionParams p; };
layout(binding = ATTENTION_Q) readonly buffer Q { act4_t q[]; };
layout(binding = ATTENTION_K) readonly buffer K { act4_t k[]; };
layout(binding = ATTENTION_V) readonly buffer V { act4_t v4[]; };
layout(binding = ATTENTION_V) readonly buffer V1 { act_t v[]; };
layout(binding = ATTENTION_Y) writeonly buffer Y { act_t y[]; };

const uint NO_MASK = 0x7fffffffu;
uint q_head, k_head, v_head, y_head;  // where this workgroup's batch and head start

vec4 load_q4(uint t, uint d) { return vec4(q[(q_head + t * p.q_row_stride + d) >> 2]); }
vec4 load_k4(uint s, uint d) { return vec4(k[(k_head + s * p.k_row_stride + d) >> 2]); }
vec4 load_v4(uint s, uint c) { return vec4(v4[(v_head + s * p.v_row_stride + c) >> 2]); }
float load_v(uint s, uint c) { return float(v[v_head + s * p.v_row_stride + c]); }
void store_y(uint t, uint c, float value) { y[y_head + t * p.y_row_stride + c] = to_act(value); }

#define KEY_PARTS 1
#include "attention/direct.glsl"

void main() {
  const uint head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z;
  q_head = p.q_offset + batch * p.q_batch_stride + head * p.q_head_stride;
  k_head = p.k_offset + batch * p.k_batch_stride + head * p.k_head_stride;
  v_head = p.v_offset + batch * p.v_batch_stride + head * p.v_head_stride;
  y_head = p.y_offset + batch * p.y_batch_stride + head * p.y_head_stride;
  attention_direct(p.query_count, p.key_count, p.causal != 0u ? p.first_position + 1u : NO_MASK, p.depth, p.depth, p.value_width);
}
