// y = activation(x W^T + bias) + residual, or y = silu(gate) * up, by tiles that a whole workgroup holds as matrices: for many rows of x.
//
// Shapes    x [rows, k] f16    weight [columns (gated: 2 columns), k] f16    bias [columns], residual [rows, columns] f32    y [rows, columns] f16 or f32
// Work      one workgroup a tile of y. The driver spreads the matrices over the invocations and brings them through shared memory by itself; a
//           tensor layout says where they lie. Tiles at the edges, and the last step of K, are loaded through layouts that end where the tensor
//           does and give zeros beyond; whole ones through layouts that check nothing, with strides known to be multiples of 8.
// Numbers   products of f16, sums in f32; rounded once, at the store
// Needs     tier 4
// Source    torch.nn.Linear; gated: DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP.forward
#version 460
#extension GL_GOOGLE_include_directive : require
#pragma use_vulkan_memory_model
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_NV_cooperative_matrix2 : require
#extension GL_EXT_control_flow_attributes : require
#include "interface/matmul.h"
#include "common/act_type.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { MatmulParams p; };
layout(binding = MATMUL_X) readonly buffer X { float16_t x[]; };
layout(binding = MATMUL_WEIGHT) readonly buffer Weight { float16_t weight[]; };
#include "matmul/epilogue.glsl"

layout(constant_id = 1) const uint TILE_ROWS = 128u;
layout(constant_id = 2) const uint TILE_COLUMNS = 128u;  // rows of the weight; gated: one half gate's, one up's
layout(constant_id = 5) const uint TILE_K = 32u;         // 6: matmul/epilogue.glsl
layout(constant_id = 11) const uint X_ALIGNMENT = 1u;    // 8, 4 or 1: what divides the first element, the stride and the width of the rows of x
layout(constant_id = 13) const bool GATED = false;
const uint Y_COLUMNS = GATED ? TILE_COLUMNS / 2u : TILE_COLUMNS;

#define SUMS coopmat<float, gl_ScopeWorkgroup, TILE_ROWS, Y_COLUMNS, gl_MatrixUseAccumulator>
#define X_STEP coopmat<float16_t, gl_ScopeWorkgroup, TILE_ROWS, TILE_K, gl_MatrixUseA>
#define WEIGHT_STEP coopmat<float16_t, gl_ScopeWorkgroup, TILE_K, Y_COLUMNS, gl_MatrixUseB>

uint first_row, first_column;

float activate_result(const in uint row, const in uint column, const in float sum) {
  float value = sum;
  // Beyond the last row and column nothing is stored, and the last one's are read.
  const uint y_row = min(first_row + row, p.rows - 1u), y_column = p.first_column + min(first_column + column, p.columns - 1u);
  if (p.has_bias != 0u)
    value += bias[p.bias_offset + y_column];
  if (ACTIVATION == MATMUL_GELU_TANH)
    value = gelu_tanh(value);
  else if (ACTIVATION == MATMUL_GELU_ERF)
    value = gelu_erf(value);
  if (p.has_residual != 0u)
    value += residual[p.residual_offset + y_row * p.residual_row_stride + y_column];
  return value;
}

float silu_result(const in uint row, const in uint column, const in float sum) { return silu(sum); }

// Also counts what does not fit, of the results that are stored.
float saturate_result(const in uint row, const in uint column, const in float value) {
  if (first_row + row >= p.rows || first_column + column >= p.columns)
    return 0.0;
  return float(to_act(value));
}

void main() {
  first_row = gl_WorkGroupID.y * TILE_ROWS;
  first_column = gl_WorkGroupID.x * Y_COLUMNS;
  tensorViewNV<2, false, 1, 0> transposed = createTensorViewNV(2, false, 1, 0);
  tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> x_edge = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
  x_edge = setTensorLayoutDimensionNV(x_edge, p.rows, p.k);
  x_edge = setTensorLayoutStrideNV(x_edge, p.x_row_stride, 1u);
  tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> weight_edge = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
  weight_edge = setTensorLayoutDimensionNV(weight_edge, p.columns, p.k);
  weight_edge = setTensorLayoutStrideNV(weight_edge, p.weight_row_stride, 1u);

  SUMS sums = SUMS(0.0), up = SUMS(0.0);
  X_STEP x_step;
  WEIGHT_STEP weight_step;
  uint k = 0u;
  if (X_ALIGNMENT == 8u && first_row + TILE_ROWS <= p.rows && first_column + Y_COLUMNS <= p.columns) {
    const uint x_stride = p.x_row_stride & ~7u, weight_stride = p.weight_row_stride & ~7u, x_offset = p.x_offset & ~7u, up_offset = p.up_offset & ~7u;
    tensorLayoutNV<2> x_inner = createTensorLayoutNV(2);
    x_inner = setTensorLayoutDimensionNV(x_inner, p.rows, p.k);
    x_inner = setTensorLayoutStrideNV(x_inner, x_stride, 1u);
    tensorLayoutNV<2> weight_inner = createTensorLayoutNV(2);
    weight_inner = setTensorLayoutDimensionNV(weight_inner, p.columns, p.k);
    weight_inner = setTensorLayoutStrideNV(weight_inner, weight_stride, 1u);
    const uint whole_k = p.k / TILE_K * TILE_K;
    [[dont_unroll]] for (; k < whole_k; k += TILE_K) {
      coopMatLoadTensorNV(x_step, x, x_offset, sliceTensorLayoutNV(x_inner, first_row, TILE_ROWS, k, TILE_K));
      coopMatLoadTensorNV(weight_step, weight, 0u, sliceTensorLayoutNV(weight_inner, first_column, Y_COLUMNS, k, TILE_K), transposed);
      sums = coopMatMulAdd(x_step, weight_step, sums);
      if (GATED) {
        coopMatLoadTensorNV(weight_step, weight, up_offset, sliceTensorLayoutNV(weight_inner, first_column, Y_COLUMNS, k, TILE_K), transposed);
        up = coopMatMulAdd(x_step, weight_step, up);
      }
    }
  }
  [[dont_unroll]] for (; k < p.k; k += TILE_K) {
    coopMatLoadTensorNV(x_step, x, p.x_offset, sliceTensorLayoutNV(x_edge, first_row, TILE_ROWS, k, TILE_K));
    coopMatLoadTensorNV(weight_step, weight, 0u, sliceTensorLayoutNV(weight_edge, first_column, Y_COLUMNS, k, TILE_K), transposed);
    sums = coopMatMulAdd(x_step, weight_step, sums);
    if (GATED) {
      coopMatLoadTensorNV(weight_step, weight, p.up_offset, sliceTensorLayoutNV(weight_edge, first_column, Y_COLUMNS, k, TILE_K), transposed);
      up = coopMatMulAdd(x_step, weight_step, up);
    }
  }

  if (GATED) {
    coopMatPerElementNV(sums, sums, silu_result);
    sums = sums * up;
  } else {
    coopMatPerElementNV(sums, sums, activate_result);
  }
  tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> y_edge = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
  y_edge = setTensorLayoutDimensionNV(y_edge, p.rows, p.columns);
  y_edge = setTensorLayoutStrideNV(y_edge, p.y_row_stride, 1u);
  const uint y_start = p.y_offset + p.first_column;
  if (p.y_is_f32 != 0u) {
    coopMatStoreTensorNV(sums, y_f32, y_start, sliceTensorLayoutNV(y_edge, first_row, TILE_ROWS, first_column, Y_COLUMNS));
    return;
  }
  coopMatPerElementNV(sums, sums, saturate_result);
  coopmat<float16_t, gl_ScopeWorkgroup, TILE_ROWS, Y_COLUMNS, gl_MatrixUseAccumulator> rounded =
      coopmat<float16_t, gl_ScopeWorkgroup, TILE_ROWS, Y_COLUMNS, gl_MatrixUseAccumulator>(sums);
  coopMatStoreTensorNV(rounded, y, y_start, sliceTensorLayoutNV(y_edge, first_row, TILE_ROWS, first_column, Y_COLUMNS));
}
