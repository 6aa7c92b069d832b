// What matmul does to a sum before the store: bias, activation, residual; and the store itself.
#include "common/act_type.glsl"
#include "common/activation.glsl"

layout(constant_id = 6) const uint ACTIVATION = 0u;  // a constant, because it is code an unrolled store makes many times
layout(binding = MATMUL_BIAS) readonly buffer Bias { float bias[]; };
layout(binding = MATMUL_RESIDUAL) readonly buffer Residual { float residual[]; };
layout(binding = MATMUL_Y) writeonly buffer Y { act_t y[]; };
#ifdef ACT_f16
layout(binding = MATMUL_Y) writeonly buffer Y32 { float y_f32[]; };
#endif

#ifdef VL2_STORE_BIASED  // the includer has added it
float column_bias(uint column) { return p.has_bias != 0u ? bias[p.bias_offset + p.first_column + column] : 0.0; }
#endif

// `column` counts from the first of this dispatch. Not through matmul/store.glsl: with one more function between the sums and memory, NVIDIA's
// compiler (580.159) keeps the sums of gemm_coopmat in memory, and the product takes seven times as long.
void store_result(uint row, uint column, float value) {
  const uint y_column = p.first_column + column;
#ifndef VL2_STORE_BIASED
  if (p.has_bias != 0u)
    value += bias[p.bias_offset + y_column];
#endif
  if (ACTIVATION == MATMUL_GELU_TANH)
    value = gelu_tanh(value);
  else if (ACTIVATION == MATMUL_GELU_ERF)
    value = gelu_erf(value);
  if (p.has_residual != 0u)
    value += residual[p.residual_offset + row * p.residual_row_stride + y_column];
  const uint at = p.y_offset + row * p.y_row_stride + y_column;
#ifdef ACT_f16
  if (p.y_is_f32 != 0u) {
    y_f32[at] = value;
    return;
  }
#endif
  y[at] = to_act(value);
}

#ifdef VL2_STORE_QUADS
#extension GL_EXT_control_flow_attributes : require
// Four columns at once, in as few stores as their alignment allows.
layout(constant_id = 12) const bool Y_QUADS = false;  // rows of y and of the residual begin at multiples of 4 elements
layout(binding = MATMUL_RESIDUAL) readonly buffer ResidualQuads { vec4 residual_quads[]; };
layout(binding = MATMUL_Y) writeonly buffer YQuads { act4_t y_quads[]; };
layout(binding = MATMUL_Y) writeonly buffer Y32Quads { vec4 y_f32_quads[]; };

void store_results(uint row, uint column, uint count, vec4 value) {
  if (!Y_QUADS || count < 4u) {
    [[dont_unroll]] for (uint c = 0u; c < count; ++c)
      store_result(row, column + c, value[c]);
    return;
  }
  const uint y_column = p.first_column + column;
  if (p.has_bias != 0u) {
    const uint at = p.bias_offset + y_column;
    value += vec4(bias[at], bias[at + 1u], bias[at + 2u], bias[at + 3u]);
  }
  if (ACTIVATION == MATMUL_GELU_TANH)
    value = vec4(gelu_tanh(value.x), gelu_tanh(value.y), gelu_tanh(value.z), gelu_tanh(value.w));
  else if (ACTIVATION == MATMUL_GELU_ERF)
    value = vec4(gelu_erf(value.x), gelu_erf(value.y), gelu_erf(value.z), gelu_erf(value.w));
  if (p.has_residual != 0u)
    value += residual_quads[(p.residual_offset + row * p.residual_row_stride + y_column) >> 2];
  const uint at = (p.y_offset + row * p.y_row_stride + y_column) >> 2;
  if (p.y_is_f32 != 0u)
    y_f32_quads[at] = value;
  else
    y_quads[at] = act4_t(to_act(value.x), to_act(value.y), to_act(value.z), to_act(value.w));
}
#endif
