// y = softmax(q k^T * scale) v for each batch and head, for many queries, on matrix units; causal or not.
//
// Shapes    q [batch, T, heads, depth]    k [batch, S, heads, depth]    v [batch, S, heads, value_width]    y like v with T; all f16
// Work      one workgroup a block of queries of a head; see attention/matrix.glsl. Heads change fastest, and the blocks that see most keys
//           come first, so that the last workgroups to start are short ones.
// Source    as attention.comp, which computes the same
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { AttentionParams p; };
layout(binding = ATTENTION_Q) readonly buffer Q { uvec4 q8[]; };
layout(binding = ATTENTION_K) readonly buffer K_ { uvec4 k8[]; };
layout(binding = ATTENTION_V) readonly buffer V { uvec4 v8[]; };
layout(binding = ATTENTION_Y) writeonly buffer Y { uvec4 y8[]; };

const uint NO_MASK = 0x7fffffffu;
uint q_head, k_head, v_head, y_head;  // where this workgroup's batch and head start, in eights, as all that follows

uvec4 load_q8(uint t, uint d8) { return q8[q_head + t * (p.q_row_stride / 8u) + d8]; }
uvec4 load_k8(uint s, uint d8) { return k8[k_head + s * (p.k_row_stride / 8u) + d8]; }
uvec4 load_v8(uint s, uint c8) { return v8[v_head + s * (p.v_row_stride / 8u) + c8]; }
void store_y8(uint t, uint c8, uvec4 values) { y8[y_head + t * (p.y_row_stride / 8u) + c8] = values; }

#include "attention/matrix.glsl"

void main() {
  const uint head = gl_WorkGroupID.x, batch = gl_WorkGroupID.z, block = gl_NumWorkGroups.y - 1u - gl_WorkGroupID.y;
  q_head = (p.q_offset + batch * p.q_batch_stride + head * p.q_head_stride) / 8u;
  k_head = (p.k_offset + batch * p.k_batch_stride + head * p.k_head_stride) / 8u;
  v_head = (p.v_offset + batch * p.v_batch_stride + head * p.v_head_stride) / 8u;
  y_head = (p.y_offset + batch * p.y_batch_stride + head * p.y_head_stride) / 8u;
  attention_matrix(block, p.query_count, p.key_count, p.causal != 0u ? p.first_position + 1u : NO_MASK);
}
