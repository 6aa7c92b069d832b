// y = x / sqrt(mean(x^2) + eps) * weight, row by row.
//
// Shapes    x [rows, width] f32    y [rows, width] ACT    weight [width] f32
// Work      one workgroup a row; each thread sums every THREADS-th element
// Numbers   sums in f32; rounded once, at the store
// Needs     subgroup arithmetic, any subgroup size
// Variants  ACT = f32 | f16
// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2RMSNorm.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/rms_norm.h"
#include "common/act_type.glsl"
#include "common/reduce.glsl"

layout(local_size_x_id = 0) in;                      // RMS_NORM_THREADS, or one subgroup where barriers are slow
layout(constant_id = 1) const bool ONE_SUBGROUP = false;
const uint THREADS = gl_WorkGroupSize.x;
layout(push_constant) uniform Push { RmsNormParams p; };
layout(binding = RMS_NORM_X) readonly buffer X { float x[]; };
layout(binding = RMS_NORM_WEIGHT) readonly buffer Weight { float weight[]; };
layout(binding = RMS_NORM_Y) writeonly buffer Y { act_t y[]; };

float row_sum(float value) {
  if (ONE_SUBGROUP)
    return subgroupAdd(value);
  return workgroup_sum(value);
}

void main() {
  const uint x_row = p.x_offset + gl_WorkGroupID.x * p.x_row_stride;
  const uint y_row = p.y_offset + gl_WorkGroupID.x * p.y_row_stride;
  float sum = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += THREADS) {
    const float value = x[x_row + i];
    sum += value * value;
  }
  const float scale = inversesqrt(row_sum(sum) / float(p.width) + p.eps);
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += THREADS)
    y[y_row + i] = to_act(x[x_row + i] * scale * weight[i]);
}
