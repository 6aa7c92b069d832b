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

// `column` counts from the first of this dispatch.
void store_result(uint row, uint column, float value) {
  const uint y_column = p.first_column + column;
  if (p.has_bias != 0u)
    value += bias[p.bias_offset + y_column];
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
