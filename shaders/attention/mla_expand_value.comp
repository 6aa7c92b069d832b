// y[t, h, i] = sum over c of W[h][i, c] * u[t, h, c]. W[h] is the last value_width rows of head h in kv_b.
//
// Shapes    u [T, heads, latent] ACT    kv_b [heads * (nope + value_width), latent] WEIGHT    y [T, heads, value_width] ACT
// Work      one workgroup 16 elements of y: 16 threads a row of W, 4 columns each at a time
// Numbers   sums in f32; rounded once, at the store
// Variants  ACT = f32 | f16, WEIGHT = any
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (W_UV times the attended latent)
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/mla_expand_value.h"
#include "common/act_type.glsl"

layout(local_size_x = MLA_EXPAND_VALUE_THREADS) in;
layout(push_constant) uniform Push { MlaExpandValueParams p; };
layout(binding = MLA_EXPAND_VALUE_U) readonly buffer U { act_t u[]; };
layout(binding = MLA_EXPAND_VALUE_KV_B) readonly buffer KvB { uint weight_words[]; };
layout(binding = MLA_EXPAND_VALUE_Y) writeonly buffer Y { act_t y[]; };
#include "common/weight.glsl"

const uint ROWS = MLA_EXPAND_VALUE_ROWS, LANES = MLA_EXPAND_VALUE_LANES;
shared float parts[ROWS * LANES];

void main() {
  const uint thread = gl_LocalInvocationIndex;
  const uint head = p.first_head + gl_WorkGroupID.y, t = gl_WorkGroupID.z;
  const uint u_row = p.u_offset + t * p.u_row_stride + head * p.u_head_stride;

  const uint first = gl_WorkGroupID.x * ROWS;
  const uint row = first + thread / LANES;
  float part = 0.0;
  if (row < p.value_width) {
    const uint weight_row = gl_WorkGroupID.y * (p.nope + p.value_width) + p.nope + row;
    const uint weight = p.kv_b_offset + weight_row * p.kv_b_row_stride;
    for (uint c = thread % LANES * 4u; c < p.latent; c += LANES * 4u) {
      const uint from = u_row + c;
      const vec4 four = load_weight4(weight + c);
      if (c + 4u <= p.latent)
        part += dot(four, vec4(float(u[from]), float(u[from + 1u]), float(u[from + 2u]), float(u[from + 3u])));
      else  // one to three are left
        part += four.x * float(u[from]) + (c + 1u < p.latent ? four.y * float(u[from + 1u]) : 0.0) +
                (c + 2u < p.latent ? four.z * float(u[from + 2u]) : 0.0);
    }
  }
  parts[thread] = part;
  barrier();

  if (thread < ROWS && first + thread < p.value_width) {
    float sum = 0.0;
    for (uint i = 0u; i < LANES; ++i)
      sum += parts[thread * LANES + i];
    y[p.y_offset + t * p.y_row_stride + head * p.y_head_stride + first + thread] = to_act(sum);
  }
}
