// y = softmax(q k^T * scale) v, causal, for each head, on matrix units: key s is [kv[s, head, :nope], k_rope[s]], value s is kv[s, head, nope:].
//
// Shapes    q [T, heads, nope + rope]    kv [S, heads, nope + value_width]    k_rope [S, rope]    y [T, heads, value_width]; all f16
// Work      one workgroup a block of queries of a head; see attention/matrix.glsl. Heads change fastest, and the blocks that see most keys
//           come first, so that the last workgroups to start are short ones. The 64 columns of k_rope are read where the cache has them.
// Source    as mla_attention.comp, which computes the same
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mla_attention.h"
#include "common/act_type.glsl"

layout(push_constant) uniform Push { MlaAttentionParams p; };
layout(binding = MLA_ATTENTION_Q) readonly buffer Q { uvec4 q8[]; };
layout(binding = MLA_ATTENTION_KV) readonly buffer Kv { uvec4 kv8[]; };
layout(binding = MLA_ATTENTION_K_ROPE) readonly buffer KRope { uvec4 k_rope8[]; };
layout(binding = MLA_ATTENTION_Y) writeonly buffer Y { uvec4 y8[]; };

uint q_head, kv_head, y_head;  // where this workgroup's head starts, in eights, as all that follows

uvec4 load_q8(uint t, uint d8) { return q8[q_head + t * (p.q_row_stride / 8u) + d8]; }
uvec4 load_k8(uint s, uint d8) {
  if (d8 < p.nope / 8u)
    return kv8[kv_head + s * (p.kv_row_stride / 8u) + d8];
  return k_rope8[(p.k_rope_offset + s * p.k_rope_row_stride) / 8u + d8 - p.nope / 8u];
}
uvec4 load_v8(uint s, uint c8) { return kv8[kv_head + s * (p.kv_row_stride / 8u) + p.nope / 8u + c8]; }
void store_y8(uint t, uint c8, uvec4 values) { y8[y_head + t * (p.y_row_stride / 8u) + c8] = values; }

#include "attention/matrix.glsl"

void main() {
  const uint head = gl_WorkGroupID.x, block = gl_NumWorkGroups.y - 1u - gl_WorkGroupID.y;
  q_head = (p.q_offset + head * p.q_head_stride) / 8u;
  kv_head = (p.kv_offset + head * p.kv_head_stride) / 8u;
  y_head = (p.y_offset + head * p.y_head_stride) / 8u;
  attention_matrix(block, p.query_count, p.key_count, p.first_position + 1u);
}
