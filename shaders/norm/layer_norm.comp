// y = (x - mean) / sqrt(variance + eps) * weight + bias, row by row; the variance is the biased one.
//
// Shapes    x [rows, width] f32    y [rows, width] ACT    weight, bias [width] f32
// Work      one workgroup a row; each thread takes every LAYER_NORM_THREADS-th element, in three passes
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

layout(local_size_x_id = 0) in;                      // LAYER_NORM_THREADS, or one subgroup where barriers are slow
layout(constant_id = 1) const bool ONE_SUBGROUP = false;
const uint THREADS = gl_WorkGroupSize.x;
layout(push_constant) uniform Push { LayerNormParams p; };
layout(binding = LAYER_NORM_X) readonly buffer X { float x[]; };
layout(binding = LAYER_NORM_WEIGHT) readonly buffer Weight { float weight[]; };
layout(binding = LAYER_NORM_BIAS) readonly buffer Bias { float bias[]; };
layout(binding = LAYER_NORM_Y) writeonly buffer Y { act_t y[]; };

float row_sum(float value) {
  if (ONE_SUBGROUP)
    return subgroupAdd(value);
  return workgroup_sum(value);
}

void main() {
  const uint row = flat_group();
  if (row >= p.rows)
    return;
  const uint x_row = p.x_offset + row * p.x_row_stride;
  const uint y_row = p.y_offset + row * p.y_row_stride;
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
