// y = (x - mean) / sqrt(variance + eps) * weight + bias, row by row; the variance is the biased one.
//
// Shapes    x [rows, width] f32    y [rows, width] ACT    weight, bias [width] f32
// Work      one workgroup a row; a thread loads its quads once and keeps them, or takes every THREADS-th element in three passes
// Numbers   sums in f32; the variance from differences to the mean, not from the mean of squares, which cancels where |mean| is large
// Needs     subgroup arithmetic, any subgroup size
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 siglip_vit.py, the LayerNorms of the blocks
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/layer_norm.h"
#include "common/act_type.glsl"
#include "common/flat_grid.glsl"
#include "common/reduce.glsl"
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0) in;                      // one subgroup where barriers are slow
layout(constant_id = 1) const bool ONE_SUBGROUP = false;
layout(constant_id = 2) const uint QUADS = 0u;  // a thread keeps: together no less than a row; 0: rows that are not quads, or too many
const uint THREADS = gl_WorkGroupSize.x;
layout(push_constant) uniform Push { LayerNormParams p; };
layout(binding = LAYER_NORM_X) readonly buffer X { float x[]; };
layout(binding = LAYER_NORM_WEIGHT) readonly buffer Weight { float weight[]; };
layout(binding = LAYER_NORM_BIAS) readonly buffer Bias { float bias[]; };
layout(binding = LAYER_NORM_Y) writeonly buffer Y { act_t y[]; };
layout(binding = LAYER_NORM_X) readonly buffer XQuads { vec4 x_quads[]; };
layout(binding = LAYER_NORM_WEIGHT) readonly buffer WeightQuads { vec4 weight_quads[]; };
layout(binding = LAYER_NORM_BIAS) readonly buffer BiasQuads { vec4 bias_quads[]; };
layout(binding = LAYER_NORM_Y) writeonly buffer YQuads { act4_t y_quads[]; };

float row_sum(float value) {
  if (ONE_SUBGROUP)
    return subgroupAdd(value);
  return workgroup_sum(value);
}

// A row of whole quads, x and y at its first ones.
void norm_quads(uint x_first, uint y_first) {
  const uint count = p.width / 4u;
  vec4 kept[QUADS > 0u ? QUADS : 1u];
  vec4 sums = vec4(0.0), squares = vec4(0.0);
  [[unroll]] for (uint i = 0u; i < QUADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex;
    kept[i] = at < count ? x_quads[x_first + at] : vec4(0.0);
  }
  [[unroll]] for (uint i = 0u; i < QUADS; ++i)
    sums += kept[i];
  const float mean = row_sum((sums.x + sums.y) + (sums.z + sums.w)) / float(p.width);
  [[unroll]] for (uint i = 0u; i < QUADS; ++i) {
    kept[i] -= mean;
    if (i * THREADS + gl_LocalInvocationIndex < count)
      squares += kept[i] * kept[i];
  }
  const float scale = inversesqrt(row_sum((squares.x + squares.y) + (squares.z + squares.w)) / float(p.width) + p.eps);
  [[unroll]] for (uint i = 0u; i < QUADS; ++i) {
    const uint at = i * THREADS + gl_LocalInvocationIndex;
    if (at < count) {
      const vec4 value = kept[i] * scale * weight_quads[p.weight_offset / 4u + at] + bias_quads[p.bias_offset / 4u + at];
      y_quads[y_first + at] = act4_t(to_act(value.x), to_act(value.y), to_act(value.z), to_act(value.w));
    }
  }
}

void main() {
  const uint row = flat_group();
  if (row >= p.rows)
    return;
  const uint x_row = p.x_offset + row * p.x_row_stride;
  const uint y_row = p.y_offset + row * p.y_row_stride;
  if (QUADS > 0u) {
    norm_quads(x_row / 4u, y_row / 4u);
    return;
  }
  float sum = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += THREADS)
    sum += x[x_row + i];
  const float mean = row_sum(sum) / float(p.width);
  float squares = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += THREADS) {
    const float difference = x[x_row + i] - mean;
    squares += difference * difference;
  }
  const float scale = inversesqrt(row_sum(squares) / float(p.width) + p.eps);
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += THREADS)
    y[y_row + i] = to_act((x[x_row + i] - mean) * scale * weight[p.weight_offset + i] + bias[p.bias_offset + i]);
}
