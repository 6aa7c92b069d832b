// y = activation(x W^T + bias) + residual, a subgroup a column: for few rows of x, where reading the weight is all the time there is.
//
// Shapes    x [rows, k] ACT    weight [columns, k] WEIGHT    bias [columns], residual [rows, columns] f32    y [rows, columns] ACT or f32
// Work      one workgroup COLUMNS_PER_GROUP columns, shared among its subgroups, of GEMV_X_ROWS rows, which lie along y; see
//           matmul/gemv_dot.glsl
// Numbers   products and sums in f32; rounded once, at the store
// Needs     subgroup arithmetic, any subgroup size
// Variants  ACT = f32 | f16, WEIGHT, BLOCKS
// Source    torch.nn.Linear
#version 460
#extension GL_GOOGLE_include_directive : require
#include "interface/matmul.h"
#define X_BINDING MATMUL_X
#include "matmul/x_rows.glsl"

layout(push_constant) uniform Push { MatmulParams p; };
layout(binding = MATMUL_WEIGHT) readonly buffer Weight { uint weight_words[]; };
layout(binding = MATMUL_WEIGHT) readonly buffer WeightQuads { uvec4 weight_quads[]; };
layout(constant_id = 2) const uint GEMV_X_ROWS = 1u;  // rows of x at a time
#define VL2_WEIGHT_QUADS
#define SCALES_BINDING MATMUL_SCALES
#include "common/weight.glsl"
#include "matmul/gemv_dot.glsl"
#include "matmul/epilogue.glsl"

void main() {
  const uint first_row = gl_WorkGroupID.y * GEMV_X_ROWS;
  uint x_start[GEMV_X_ROWS];  // rows beyond the last repeat it
  for (uint m = 0u; m < GEMV_X_ROWS; ++m)
    x_start[m] = p.x_offset + min(first_row + m, p.rows - 1u) * p.x_row_stride;
  const uint end = min((gl_WorkGroupID.x + 1u) * COLUMNS_PER_GROUP, p.columns);
  const uint step_columns = gl_NumSubgroups * GEMV_COLUMNS_AT_ONCE;
  for (uint column = gl_WorkGroupID.x * COLUMNS_PER_GROUP + gl_SubgroupID * GEMV_COLUMNS_AT_ONCE; column < end; column += step_columns) {
    subgroup_dots(x_start, 0u, p.weight_row_stride, column, p.columns, p.k);
    if (subgroupElect()) {
      for (uint m = 0u; m < GEMV_X_ROWS; ++m)
        for (uint j = 0u; j < GEMV_COLUMNS_AT_ONCE; ++j)
          if (first_row + m < p.rows && column + j < end)
            store_result(first_row + m, column + j, dot_sums[m * GEMV_COLUMNS_AT_ONCE + j]);
    }
  }
}
